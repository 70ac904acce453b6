//! Hashes of a segment's bytes as they pass: of all of them, and of all before the trailer.

use coffer_format::FileHash;
use coffer_format::segment::Trailer;

/// What a segment's bytes must hash to (BLAKE3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedHash {
    /// All before the trailer: what the trailer itself says.
    BeforeTrailer(FileHash),
    /// The whole file.
    Whole(FileHash),
}

/// Both hashes in one pass.
#[derive(Debug, Default)]
pub(super) struct SegmentHasher {
    hasher: blake3::Hasher,
    /// The last bytes so far, at most a trailer's.
    tail: Vec<u8>,
    bytes: u64,
}

/// What has passed.
#[derive(Debug)]
pub(super) struct SegmentHashes {
    before_trailer: FileHash,
    pub(super) whole: FileHash,
    tail: Vec<u8>,
    pub(super) bytes: u64,
}

impl SegmentHasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let keep = bytes.len().min(Trailer::LEN);
        let (front, end) = bytes.split_at(bytes.len() - keep);
        let spare = (self.tail.len() + keep).saturating_sub(Trailer::LEN);
        self.hasher.update(&self.tail[..spare]).update(front);
        self.tail.drain(..spare);
        self.tail.extend_from_slice(end);
    }

    pub(super) fn finish(mut self) -> SegmentHashes {
        let before_trailer = FileHash(*self.hasher.finalize().as_bytes());
        let whole = FileHash(*self.hasher.update(&self.tail).finalize().as_bytes());
        SegmentHashes { before_trailer, whole, tail: self.tail, bytes: self.bytes }
    }
}

impl SegmentHashes {
    pub(super) fn matches(&self, expected: ExpectedHash) -> bool {
        match expected {
            ExpectedHash::BeforeTrailer(hash) => hash == self.before_trailer,
            ExpectedHash::Whole(hash) => hash == self.whole,
        }
    }

    /// Whether these are the bytes of a closed segment, all of them, by what its own trailer says.
    pub(super) fn is_whole_segment(&self) -> bool {
        let trailer = coffer_format::from_bytes::<Trailer>(&self.tail);
        trailer.is_ok_and(|trailer| trailer.file_len == self.bytes && trailer.hash == self.before_trailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_hash_as_the_whole(bytes in proptest::collection::vec(any::<u8>(), 64..600), cuts in proptest::collection::vec(1usize..200, 1..9)) {
            let mut hasher = SegmentHasher::default();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                hasher.update(piece);
                rest = after;
            }
            hasher.update(rest);
            let hashes = hasher.finish();
            let whole = FileHash(*blake3::hash(&bytes).as_bytes());
            let before = FileHash(*blake3::hash(&bytes[..bytes.len() - 64]).as_bytes());
            prop_assert!(hashes.matches(ExpectedHash::Whole(whole)));
            prop_assert!(hashes.matches(ExpectedHash::BeforeTrailer(before)));
            prop_assert_eq!(hashes.bytes, bytes.len() as u64);
        }
    }
}
