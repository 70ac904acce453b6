//! One segment, read back from a cartridge with every block and the whole checked.

use std::io::{self, Read, Write};

use coffer_format::FileHash;
use coffer_format::container::{BLOCK_HEADER_LEN, BLOCK_PAYLOAD_MAX, BlockKind, ContainerEntry, Label};

use super::block_of;
use super::read_ahead::{Blocks, read_ahead};
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
    stream_segment(drive, label, place, |reader| {
        while let Some(payload) = reader.next_payload()? {
            sink.write_all(payload).map_err(TapeError::Sink)?;
        }
        Ok(())
    })
}

/// Lets `work` read a segment as a stream, while the drive reads ahead. A segment that isn't read at all costs nothing.
pub fn stream_segment<T>(
    drive: &mut Drive,
    label: &Label,
    place: &SegmentPlace,
    work: impl FnOnce(&mut SegmentReader<'_>) -> T,
) -> T {
    let count = place.entry.bytes.div_ceil(BLOCK_PAYLOAD_MAX as u64);
    let start = |drive: &mut Drive, block: &mut [u8]| Start { drive, label, place }.go(block);
    read_ahead(drive, count, start, |blocks| {
        let mut reader = SegmentReader {
            blocks,
            label,
            place,
            block: Vec::new(),
            ready: (0, 0),
            blocks_done: 0,
            left: place.entry.bytes,
            hasher: blake3::Hasher::new(),
            failure: None,
        };
        work(&mut reader)
    })
}

/// A segment as a stream. The end is only reached if all its bytes were right.
pub struct SegmentReader<'a> {
    blocks: &'a mut Blocks,
    label: &'a Label,
    place: &'a SegmentPlace,
    block: Vec<u8>,
    /// What of the payload in the buffer wasn't handed out: offset and end in the block.
    ready: (usize, usize),
    blocks_done: u32,
    left: u64,
    hasher: blake3::Hasher,
    failure: Option<TapeError>,
}

impl SegmentReader<'_> {
    /// The next bytes; `None` after the last, if all of them were right.
    pub fn next_payload(&mut self) -> Result<Option<&[u8]>, TapeError> {
        if self.left == 0 {
            self.check_whole()?;
            return Ok(None);
        }
        let used = std::mem::take(&mut self.block);
        if !used.is_empty() {
            self.blocks.give_back(used);
        }
        let number = self.place.entry.first_block.saturating_add(self.blocks_done);
        let Some(read) = self.blocks.next() else {
            return Err(damaged(self.place, number, "the drive stopped"));
        };
        let (block, outcome) = read?;
        let len = check_block(self.label, self.place, self.blocks_done, &block, outcome)?;
        self.block = block;
        self.blocks_done += 1;
        self.left -= len as u64;
        let payload = &self.block[BLOCK_HEADER_LEN..BLOCK_HEADER_LEN + len];
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

    fn check_whole(&self) -> Result<(), TapeError> {
        match FileHash(*self.hasher.finalize().as_bytes()) == self.place.entry.hash {
            true => Ok(()),
            false => Err(TapeError::WrongBytes {
                container: self.place.container,
                segment: self.place.entry.segment,
            }),
        }
    }

    fn fill(&mut self) -> Result<usize, TapeError> {
        let len = self.next_payload()?.map_or(0, <[u8]>::len);
        self.ready = (BLOCK_HEADER_LEN, BLOCK_HEADER_LEN + len);
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

/// The way to a segment's first block.
struct Start<'a> {
    drive: &'a mut Drive,
    label: &'a Label,
    place: &'a SegmentPlace,
}

impl Start<'_> {
    /// Goes there. An address that leads elsewhere isn't trusted further; one that doesn't leaves the block read.
    fn go(mut self, block: &mut [u8]) -> Result<Option<ReadOutcome>, TapeError> {
        let located = match self.place.start {
            Some(start) => self.drive.locate(start)?,
            None => LocateOutcome::Unsupported,
        };
        if located == LocateOutcome::Done {
            let first = self.drive.read_block(block);
            let right = first
                .and_then(|outcome| check_block(self.label, self.place, 0, block, outcome).map(|_| outcome));
            match right {
                Ok(outcome) => return Ok(Some(outcome)),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        self.go_by_filemarks(block).map(|()| None)
    }

    fn go_by_filemarks(&mut self, block: &mut [u8]) -> Result<(), TapeError> {
        go_to_file(self.drive, self.place.container)?;
        let count = self.place.entry.first_block;
        if count == 0 {
            return Ok(());
        }
        let winding = i32::try_from(count).map_err(|_| damaged(self.place, count, "no such block"))?;
        match self.drive.space_blocks(winding)? {
            SpaceOutcome::Done => Ok(()),
            SpaceOutcome::Unsupported => self.skip_blocks(count, block),
            _ => Err(damaged(self.place, count, "the container ends before it")),
        }
    }

    fn skip_blocks(&mut self, count: u32, block: &mut [u8]) -> Result<(), TapeError> {
        for _ in 0..count {
            match self.drive.read_block(block) {
                Ok(ReadOutcome::Block(_) | ReadOutcome::TooLong) => {}
                Ok(_) => return Err(damaged(self.place, count, "the container ends before it")),
                Err(error) if error.is_medium_error() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Makes sure that what was read is a segment's block `number`, counted from its first. Returns its payload's length.
fn check_block(
    label: &Label,
    place: &SegmentPlace,
    number: u32,
    block: &[u8],
    outcome: ReadOutcome,
) -> Result<usize, TapeError> {
    let at = place.entry.first_block.saturating_add(number);
    let len = match outcome {
        ReadOutcome::Block(len) => len,
        ReadOutcome::TooLong => return Err(damaged(place, at, "a block of another length")),
        ReadOutcome::Filemark => return Err(damaged(place, at, "the container ends here")),
        ReadOutcome::EndOfData => return Err(damaged(place, at, "the data ends here")),
    };
    let decoded = block_of(&block[..len], label, place.container);
    let (header, payload) = decoded.map_err(|error| match error {
        TapeError::Damaged { what, .. } => damaged(place, at, &what),
        other => other,
    })?;
    let before = u64::from(number) * BLOCK_PAYLOAD_MAX as u64;
    let is_it = header.kind == BlockKind::Segment
        && header.segment == place.entry.segment
        && header.number == at
        && payload.len() as u64 == (place.entry.bytes - before).min(BLOCK_PAYLOAD_MAX as u64);
    match is_it {
        true => Ok(payload.len()),
        false => Err(damaged(place, at, "another block than the index says")),
    }
}

fn damaged(place: &SegmentPlace, block: u32, what: &str) -> TapeError {
    TapeError::Damaged { container: place.container, block, what: what.to_owned() }
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
