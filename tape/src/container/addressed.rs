//! Segments by their block addresses alone: what a vault's catalog knows, without reading a cartridge's indexes first.

use std::io::Write;

use coffer_format::SegmentId;
use coffer_format::container::{BLOCK_LEN, BLOCK_PAYLOAD_MAX, BlockKind, Label};

use super::hash::SegmentHasher;
use super::{ExpectedHash, block_of};
use crate::drive::{Drive, LocateOutcome, ReadOutcome};
use crate::{BlockAddress, TapeError};

/// A segment, and where its catalog says that it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressedSegment {
    pub segment: SegmentId,
    pub container: u32,
    pub start: BlockAddress,
    /// Length of the whole file.
    pub bytes: u64,
    pub expected: ExpectedHash,
}

/// Reads segments of the cartridge in a drive. Winds only where the next one doesn't lie right behind the last.
#[derive(Debug)]
pub struct AddressReader<'d> {
    drive: &'d mut Drive,
    label: Label,
    /// Where the tape stands, if that is known.
    at: Option<BlockAddress>,
    block: Vec<u8>,
}

impl<'d> AddressReader<'d> {
    pub fn new(drive: &'d mut Drive, label: Label) -> AddressReader<'d> {
        AddressReader { drive, label, at: None, block: vec![0; BLOCK_LEN] }
    }

    /// Copies a segment to `sink`. On error what the sink got must be thrown away. Damage ([`TapeError::is_damage`]) may
    /// also mean that the address is wrong: scan the cartridge for it then.
    pub fn read(&mut self, wanted: &AddressedSegment, sink: &mut dyn Write) -> Result<(), TapeError> {
        if self.at != Some(wanted.start) {
            self.at = None;
            if self.drive.locate(wanted.start)? != LocateOutcome::Done {
                return Err(damaged(wanted, 0, "the drive doesn't go to its address"));
            }
        }
        self.at = None;
        let mut hasher = SegmentHasher::default();
        let (mut left, mut next) = (wanted.bytes, None);
        while left > 0 {
            let len = left.min(BLOCK_PAYLOAD_MAX as u64) as usize;
            next = Some(self.read_block(wanted, next, len, &mut hasher, sink)?);
            left -= len as u64;
        }
        if !hasher.finish().matches(wanted.expected) {
            return Err(TapeError::WrongBytes { container: wanted.container, segment: wanted.segment });
        }
        let blocks = wanted.bytes.div_ceil(BLOCK_PAYLOAD_MAX as u64);
        self.at = Some(BlockAddress(wanted.start.0 + blocks));
        Ok(())
    }

    /// Reads the block numbered `number`, or (the first) of whatever number. Returns the next one's.
    fn read_block(
        &mut self,
        wanted: &AddressedSegment,
        number: Option<u32>,
        len: usize,
        hasher: &mut SegmentHasher,
        sink: &mut dyn Write,
    ) -> Result<u32, TapeError> {
        let here = number.unwrap_or(0);
        let found = match self.drive.read_block(&mut self.block)? {
            ReadOutcome::Block(found) => found,
            _ => return Err(damaged(wanted, here, "there is no block of it here")),
        };
        let (header, payload) = block_of(&self.block[..found], &self.label, wanted.container)?;
        let is_it = header.kind == BlockKind::Segment
            && header.segment == wanted.segment
            && number.is_none_or(|number| number == header.number)
            && payload.len() == len;
        if !is_it {
            return Err(damaged(wanted, here, "another block than the catalog says"));
        }
        hasher.update(payload);
        sink.write_all(payload).map_err(TapeError::Sink)?;
        Ok(header.number + 1)
    }
}

fn damaged(wanted: &AddressedSegment, block: u32, what: &str) -> TapeError {
    TapeError::Damaged { container: wanted.container, block, what: what.to_owned() }
}
