//! One segment, read back from a cartridge with every block and the whole checked.

use std::io::{self, Read, Write};

use coffer_format::FileHash;
use coffer_format::container::{BLOCK_LEN, BLOCK_PAYLOAD_MAX, BlockKind, ContainerEntry, Label};

use super::block_of;
use crate::drive::{Drive, LocateOutcome, ReadOutcome, SpaceOutcome};
use crate::{BlockAddress, TapeError};

/// Where a segment lies on its cartridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPlace {
    pub container: u32,
    pub entry: ContainerEntry,
    /// Address of its first block; `None` goes by filemarks.
    pub start: Option<BlockAddress>,
}

/// Copies a segment to `sink`. On error what the sink got must be thrown away.
pub fn read_segment(
    drive: &mut Drive,
    label: &Label,
    place: &SegmentPlace,
    sink: &mut dyn Write,
) -> Result<(), TapeError> {
    let mut reader = SegmentReader::open(drive, label, place)?;
    while let Some(payload) = reader.next_payload()? {
        sink.write_all(payload).map_err(TapeError::Sink)?;
    }
    Ok(())
}

/// A segment as a stream. The end is only reached if all its bytes were right.
#[derive(Debug)]
pub struct SegmentReader<'a> {
    drive: &'a mut Drive,
    label: &'a Label,
    place: &'a SegmentPlace,
    block: Vec<u8>,
    /// The block in the buffer was read ahead, on opening.
    ahead: bool,
    /// What of the payload in the buffer wasn't handed out: offset and end in the block.
    ready: (usize, usize),
    blocks_done: u32,
    left: u64,
    hasher: blake3::Hasher,
    failure: Option<TapeError>,
}

impl<'a> SegmentReader<'a> {
    /// Goes to the segment's first block. An address that leads elsewhere isn't trusted further.
    pub fn open(drive: &'a mut Drive, label: &'a Label, place: &'a SegmentPlace) -> Result<Self, TapeError> {
        let mut reader = SegmentReader {
            drive,
            label,
            place,
            block: vec![0; BLOCK_LEN],
            ahead: false,
            ready: (0, 0),
            blocks_done: 0,
            left: place.entry.bytes,
            hasher: blake3::Hasher::new(),
            failure: None,
        };
        let located = match place.start {
            Some(start) => reader.drive.locate(start)?,
            None => LocateOutcome::Unsupported,
        };
        if located == LocateOutcome::Done {
            reader.ahead = match reader.read_block() {
                Ok(_) => true,
                Err(error) if error.is_damage() => false,
                Err(error) => return Err(error),
            };
        }
        if !reader.ahead {
            reader.go_by_filemarks()?;
        }
        Ok(reader)
    }

    /// The next bytes; `None` after the last, if all of them were right.
    pub fn next_payload(&mut self) -> Result<Option<&[u8]>, TapeError> {
        if self.left == 0 {
            self.check_whole()?;
            return Ok(None);
        }
        let len = match std::mem::take(&mut self.ahead) {
            true => self.expected_len(),
            false => self.read_block()?,
        };
        self.blocks_done += 1;
        self.left -= len as u64;
        let start = coffer_format::container::BLOCK_HEADER_LEN;
        let payload = &self.block[start..start + len];
        self.hasher.update(payload);
        Ok(Some(payload))
    }

    /// What made [`Read`] fail, if it was the tape.
    pub fn take_failure(&mut self) -> Option<TapeError> {
        self.failure.take()
    }

    /// Whether any byte was asked for.
    pub(super) fn is_untouched(&self) -> bool {
        self.blocks_done == 0
    }

    /// Whether all was read and found right.
    pub(super) fn is_finished(&self) -> bool {
        self.left == 0 && self.ready.0 == self.ready.1 && self.check_whole().is_ok()
    }

    fn number(&self) -> u32 {
        self.place.entry.first_block + self.blocks_done
    }

    fn expected_len(&self) -> usize {
        self.left.min(BLOCK_PAYLOAD_MAX as u64) as usize
    }

    /// Reads the next block into the buffer; it must be the very one. Returns its payload's length.
    fn read_block(&mut self) -> Result<usize, TapeError> {
        let len = match self.drive.read_block(&mut self.block)? {
            ReadOutcome::Block(len) => len,
            ReadOutcome::TooLong => return Err(self.damaged("a block of another length")),
            ReadOutcome::Filemark => return Err(self.damaged("the container ends here")),
            ReadOutcome::EndOfData => return Err(self.damaged("the data ends here")),
        };
        let decoded = block_of(&self.block[..len], self.label, self.place.container);
        let (header, payload) = decoded.map_err(|error| match error {
            TapeError::Damaged { what, .. } => self.damaged(&what),
            other => other,
        })?;
        let is_it = header.kind == BlockKind::Segment
            && header.segment == self.place.entry.segment
            && header.number == self.number()
            && payload.len() == self.expected_len();
        if !is_it {
            return Err(self.damaged("another block than the index says"));
        }
        Ok(payload.len())
    }

    fn go_by_filemarks(&mut self) -> Result<(), TapeError> {
        go_to_file(self.drive, self.place.container)?;
        let count = self.place.entry.first_block;
        if count == 0 {
            return Ok(());
        }
        match self.drive.space_blocks(i32::try_from(count).map_err(|_| self.damaged("no such block"))?)? {
            SpaceOutcome::Done => Ok(()),
            SpaceOutcome::Unsupported => self.skip_blocks(count),
            _ => Err(self.damaged("the container ends before it")),
        }
    }

    fn skip_blocks(&mut self, count: u32) -> Result<(), TapeError> {
        for _ in 0..count {
            match self.drive.read_block(&mut self.block) {
                Ok(ReadOutcome::Block(_) | ReadOutcome::TooLong) => {}
                Ok(_) => return Err(self.damaged("the container ends before it")),
                Err(error) if error.is_medium_error() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn check_whole(&self) -> Result<(), TapeError> {
        match FileHash(*self.hasher.finalize().as_bytes()) == self.place.entry.hash {
            true => Ok(()),
            false => Err(TapeError::WrongBytes {
                container: self.place.container,
                segment: self.place.entry.segment,
            }),
        }
    }

    fn damaged(&self, what: &str) -> TapeError {
        TapeError::Damaged { container: self.place.container, block: self.number(), what: what.to_owned() }
    }

    fn fill(&mut self) -> Result<usize, TapeError> {
        let len = self.next_payload()?.map_or(0, <[u8]>::len);
        let start = coffer_format::container::BLOCK_HEADER_LEN;
        self.ready = (start, start + len);
        Ok(len)
    }
}

impl Read for SegmentReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.ready.0 == self.ready.1 {
            match self.fill() {
                Ok(0) => return Ok(0),
                Ok(_) => {}
                Err(error) => {
                    let told = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
                    self.failure = Some(error);
                    return Err(told);
                }
            }
        }
        let len = out.len().min(self.ready.1 - self.ready.0);
        out[..len].copy_from_slice(&self.block[self.ready.0..self.ready.0 + len]);
        self.ready.0 += len;
        Ok(len)
    }
}

/// Goes to the first block of a tape file.
pub(super) fn go_to_file(drive: &mut Drive, file: u32) -> Result<(), TapeError> {
    drive.rewind()?;
    let count = i32::try_from(file).map_err(|_| TapeError::LostEnd("no such container"))?;
    if count > 0 && drive.space_filemarks(count)? != SpaceOutcome::Done {
        return Err(TapeError::Damaged {
            container: file,
            block: 0,
            what: "the cartridge ends before it".to_owned(),
        });
    }
    Ok(())
}
