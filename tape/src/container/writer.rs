//! Writes containers at the end of a cartridge's data.

use std::io::{self, Read};

use coffer_format::container::{
    BLOCK_LEN, BLOCK_PAYLOAD_MAX, BlockHeader, BlockKind, CONTAINER_SEGMENTS_MAX, ContainerEntry,
    ContainerIndex, Label, encode_block,
};
use coffer_format::{SegmentId, to_bytes};

use super::hash::SegmentHasher;
use super::label::require_label;
use super::tail::find_end;
use super::{ContainerReceipt, PlannedSegment, RecordedSegment, RefusedSegment, read_segment};
use crate::drive::{Drive, SpaceOutcome, WriteOutcome};
use crate::{BlockAddress, TapeError};

/// Where the tape stands, as far as the writer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    EndOfData,
    /// Something was read: wind before writing.
    Elsewhere,
    /// A command failed: what was written is for the next opening to find out.
    Unknown,
}

/// A cartridge open for appending. Nothing else may use the drive meanwhile.
#[derive(Debug)]
pub struct ContainerWriter<'d> {
    drive: &'d mut Drive,
    label: Label,
    next: u32,
    at: At,
}

/// How one segment went.
enum Segment {
    Recorded(ContainerEntry),
    Refused(String),
    /// No room: its blocks so far are not in the index.
    Cut,
}

/// A container being written.
struct Open {
    container: u32,
    start: Option<BlockAddress>,
    blocks: u32,
    warned: bool,
}

impl<'d> ContainerWriter<'d> {
    /// Finds the end of data, makes sure that the last container is closed and that its index can be read.
    pub fn open(drive: &'d mut Drive) -> Result<ContainerWriter<'d>, TapeError> {
        let label = require_label(drive)?;
        let next = find_end(drive, &label)?;
        Ok(ContainerWriter { drive, label, next, at: At::EndOfData })
    }

    /// As [`ContainerWriter::open`], refusing another cartridge than the one with this name.
    pub fn open_expecting(drive: &'d mut Drive, wanted: &Label) -> Result<ContainerWriter<'d>, TapeError> {
        let found = require_label(drive)?;
        if found.cartridge != wanted.cartridge {
            return Err(TapeError::WrongCartridge { wanted: wanted.barcode.clone(), found: found.barcode });
        }
        ContainerWriter::open(drive)
    }

    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Number of the container that is written next.
    pub fn next_container(&self) -> u32 {
        self.next
    }

    /// Writes as much of `plan` as fits into one container, in order. `open` gives the bytes of a segment.
    ///
    /// Returns when the medium has it all. A segment whose source fails is named in the receipt and costs only itself.
    /// After an error nothing of this container counts, and the writer must be opened again.
    pub fn write(
        &mut self,
        plan: &[PlannedSegment],
        open: &mut dyn FnMut(SegmentId) -> io::Result<Box<dyn Read>>,
    ) -> Result<ContainerReceipt, TapeError> {
        self.wind_to_end()?;
        if self.drive.is_nearly_full()? {
            return Err(TapeError::CartridgeFull);
        }
        self.at = At::Unknown;
        let mut container =
            Open { container: self.next, start: self.drive.position()?, blocks: 0, warned: false };
        let mut receipt = self.write_segments(&mut container, plan, open)?;
        self.close(&mut container, &mut receipt)?;
        self.at = At::EndOfData;
        self.next += 1;
        Ok(receipt)
    }

    /// Reads back everything a receipt names.
    pub fn verify(&mut self, receipt: &ContainerReceipt) -> Result<(), TapeError> {
        if self.at == At::Unknown {
            return Err(TapeError::Stopped);
        }
        self.at = At::Elsewhere;
        for recorded in &receipt.recorded {
            read_segment(self.drive, &self.label, &receipt.place(recorded), &mut io::sink())?;
        }
        Ok(())
    }

    fn wind_to_end(&mut self) -> Result<(), TapeError> {
        match self.at {
            At::EndOfData => return Ok(()),
            At::Unknown => return Err(TapeError::Stopped),
            At::Elsewhere => {}
        }
        match self.drive.space_end()? {
            SpaceOutcome::Done => self.at = At::EndOfData,
            _ => {
                self.at = At::Unknown;
                return Err(TapeError::LostEnd("the drive didn't wind there"));
            }
        }
        Ok(())
    }

    fn write_segments(
        &mut self,
        container: &mut Open,
        plan: &[PlannedSegment],
        open: &mut dyn FnMut(SegmentId) -> io::Result<Box<dyn Read>>,
    ) -> Result<ContainerReceipt, TapeError> {
        let (mut recorded, mut refused) = (Vec::new(), Vec::new());
        let mut left = plan.iter();
        let mut not_written = Vec::new();
        while recorded.len() < CONTAINER_SEGMENTS_MAX && !container.warned {
            let Some(planned) = left.next() else { break };
            match self.write_segment(container, planned, open)? {
                Segment::Recorded(entry) => {
                    let start =
                        container.start.map(|start| BlockAddress(start.0 + u64::from(entry.first_block)));
                    recorded.push(RecordedSegment { entry, start });
                }
                Segment::Refused(why) => refused.push(RefusedSegment { segment: planned.segment, why }),
                Segment::Cut => not_written.push(planned.segment),
            }
        }
        not_written.extend(left.map(|planned| planned.segment));
        let full = container.warned;
        Ok(ContainerReceipt { container: container.container, recorded, refused, not_written, full })
    }

    fn write_segment(
        &mut self,
        container: &mut Open,
        planned: &PlannedSegment,
        open: &mut dyn FnMut(SegmentId) -> io::Result<Box<dyn Read>>,
    ) -> Result<Segment, TapeError> {
        let unreadable =
            |error: io::Error| Segment::Refused(format!("it can't be read ({error}): verify the disk"));
        let mut source = match open(planned.segment) {
            Ok(source) => source,
            Err(error) => return Ok(unreadable(error)),
        };
        let first_block = container.blocks;
        let mut hasher = SegmentHasher::default();
        let mut payload = vec![0; BLOCK_PAYLOAD_MAX];
        let mut left = planned.bytes;
        while left > 0 {
            let len = left.min(BLOCK_PAYLOAD_MAX as u64) as usize;
            if let Err(error) = source.read_exact(&mut payload[..len]) {
                return Ok(unreadable(error));
            }
            hasher.update(&payload[..len]);
            self.write_block(container, BlockKind::Segment, planned.segment, &payload[..len])?;
            left -= len as u64;
            if left > 0 && container.warned {
                return Ok(Segment::Cut);
            }
        }
        if !matches!(source.read(&mut payload[..1]), Ok(0)) {
            return Ok(Segment::Refused("it is longer than the catalog says: verify the disk".to_owned()));
        }
        let hashes = hasher.finish();
        if hashes.bytes == 0 || !hashes.matches(planned.expected) {
            return Ok(Segment::Refused(
                "its bytes on disk are not those it was closed with: verify the disk".to_owned(),
            ));
        }
        Ok(Segment::Recorded(ContainerEntry {
            segment: planned.segment,
            first_block,
            bytes: planned.bytes,
            hash: hashes.whole,
        }))
    }

    /// Index, filemark, synchronize.
    fn close(&mut self, container: &mut Open, receipt: &mut ContainerReceipt) -> Result<(), TapeError> {
        let entries = receipt.recorded.iter().map(|recorded| recorded.entry.clone()).collect();
        let index = to_bytes(&ContainerIndex { container: container.container, entries });
        for payload in index.chunks(BLOCK_PAYLOAD_MAX) {
            self.write_block(container, BlockKind::Index, SegmentId(0), payload)?;
        }
        self.check_addresses(container, receipt)?;
        if self.drive.write_filemarks(1)? == WriteOutcome::EarlyWarning {
            container.warned = true;
        }
        self.drive.synchronize()?;
        receipt.full = container.warned;
        Ok(())
    }

    /// Addresses are given only if the drive counts as we do.
    fn check_addresses(&mut self, container: &Open, receipt: &mut ContainerReceipt) -> Result<(), TapeError> {
        let Some(start) = container.start else { return Ok(()) };
        let expected = BlockAddress(start.0 + u64::from(container.blocks));
        let found = self.drive.position()?;
        if found != Some(expected) {
            tracing::warn!(drive = self.drive.name(), %expected, ?found, "the drive counts blocks in its own way");
            receipt.recorded.iter_mut().for_each(|recorded| recorded.start = None);
        }
        Ok(())
    }

    fn write_block(
        &mut self,
        container: &mut Open,
        kind: BlockKind,
        segment: SegmentId,
        payload: &[u8],
    ) -> Result<(), TapeError> {
        let header = BlockHeader {
            kind,
            cartridge: self.label.cartridge,
            container: container.container,
            number: container.blocks,
            payload_len: payload.len() as u32,
            segment,
        };
        let block = encode_block(&header, payload);
        debug_assert_eq!(block.len(), BLOCK_LEN);
        if self.drive.write_block(&block)? == WriteOutcome::EarlyWarning {
            container.warned = true;
        }
        container.blocks += 1;
        Ok(())
    }
}
