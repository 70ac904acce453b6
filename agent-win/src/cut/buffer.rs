//! The raw bytes of a pack in the making: a fixed run of memory, filled from the front, never grown.

use coffer_format::limits::PACK_RAW_MAX;

/// What a read past the page cache asks of memory, of positions and of lengths; no device asks for more.
pub(crate) const ALIGNMENT: usize = 4096;

/// Room for [`PACK_RAW_MAX`] bytes, of which some are filled. It begins at an aligned address.
#[derive(Debug)]
pub(crate) struct RawBuffer {
    memory: Vec<u8>,
    start: usize,
    filled: usize,
}

impl RawBuffer {
    pub(crate) fn new() -> RawBuffer {
        let memory = vec![0; PACK_RAW_MAX + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        RawBuffer { memory, start, filled: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..][..self.filled]
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.room_mut()[..bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// What isn't filled; whatever was read into it stays until more is filled.
    pub(crate) fn room(&self) -> &[u8] {
        &self.memory[self.start + self.filled..self.start + PACK_RAW_MAX]
    }

    pub(crate) fn room_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start + self.filled..self.start + PACK_RAW_MAX]
    }

    /// Fills with `len` bytes that were read into the room, `skipped` bytes behind what is filled.
    pub(crate) fn keep(&mut self, skipped: usize, len: usize) {
        let end = self.start + self.filled;
        if skipped > 0 {
            self.memory.copy_within(end + skipped..end + skipped + len, end);
        }
        self.filled += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_closes_up_to_what_was_there() {
        let mut buffer = RawBuffer::new();
        buffer.push(b"ab");
        buffer.room_mut()[..8].copy_from_slice(b"01234567");
        buffer.keep(0, 2);
        buffer.keep(3, 3);
        assert_eq!(buffer.bytes(), b"ab01567");
        assert_eq!(buffer.room().len(), PACK_RAW_MAX - 7);
        buffer.clear();
        assert_eq!(buffer.room().as_ptr().align_offset(ALIGNMENT), 0);
    }
}
