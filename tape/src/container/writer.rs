//! Writes containers at the end of a cartridge's data.

use std::io::{self, Read};

use coffer_format::container::{
    BLOCK_LEN, BLOCK_PAYLOAD_MAX, BlockHeader, BlockKind, ContainerIndex, Label, encode_block,
};
use coffer_format::set_catalog::catalog_base;
use coffer_format::{SegmentId, to_bytes};

use super::label::require_label;
use super::segment_feed::{Outcome, SegmentFeed};
use super::set_catalog::{CatalogItems, CatalogMoment, CatalogSource, Pages, no_catalog};
use super::tail::find_end;
use super::write_ahead::write_ahead;
use super::{ContainerReceipt, PlannedSegment, RecordedSegment, RefusedSegment, read_segment};
use crate::drive::{Drive, SpaceOutcome, WriteOutcome};
use crate::{BlockAddress, TapeError};

/// How often a container's index is written.
const INDEX_COPIES: usize = 2;

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
    /// Returns when the medium has it all. A segment whose source fails is named in the receipt and costs only itself; where
    /// `open` fails with [`io::ErrorKind::Interrupted`], the container is closed before that segment.
    /// After an error nothing of this container counts, and the writer must be opened again.
    pub fn write(
        &mut self,
        plan: &[PlannedSegment],
        open: &mut dyn FnMut(SegmentId) -> io::Result<Box<dyn Read>>,
    ) -> Result<ContainerReceipt, TapeError> {
        self.write_with_catalog(plan, open, &mut no_catalog)
    }

    /// As [`ContainerWriter::write`], with the catalog of the set that `catalog` gives: before a cartridge's first container,
    /// and behind the segments of each.
    pub fn write_with_catalog(
        &mut self,
        plan: &[PlannedSegment],
        open: &mut dyn FnMut(SegmentId) -> io::Result<Box<dyn Read>>,
        catalog: &mut CatalogSource<'_>,
    ) -> Result<ContainerReceipt, TapeError> {
        self.wind_to_end()?;
        if self.drive.is_nearly_full()? {
            return Err(TapeError::CartridgeFull);
        }
        self.at = At::Unknown;
        let mut container =
            Open { container: self.next, start: self.drive.position()?, blocks: 0, warned: false };
        if self.next == 1 {
            self.write_catalog(&mut container, catalog(CatalogMoment::Beginning))?;
        }
        let mut receipt = self.write_segments(&mut container, plan, open)?;
        if !receipt.recorded.is_empty() {
            let (number, after) = (self.next, catalog_base(self.next));
            let closing = CatalogMoment::Closing { container: number, after, recorded: &receipt.recorded };
            self.write_catalog(&mut container, catalog(closing))?;
        }
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

    /// Writes the segments' blocks and sees which came to be whole. What early warning cut, or what wasn't begun, is left
    /// for another container.
    fn write_segments(
        &mut self,
        container: &mut Open,
        plan: &[PlannedSegment],
        open: &mut dyn FnMut(SegmentId) -> io::Result<Box<dyn Read>>,
    ) -> Result<ContainerReceipt, TapeError> {
        let (label, number, blocks) = (&self.label, container.container, container.blocks);
        let plan_now = if container.warned { &[] } else { plan };
        let (fed, written) = write_ahead(self.drive, |feed| {
            SegmentFeed { label, container: number, blocks, feed }.feed_all(plan_now, open)
        })?;
        container.blocks += written.blocks;
        container.warned |= written.warned;
        let (mut recorded, mut refused) = (Vec::new(), Vec::new());
        let mut done = 0;
        for fed in fed.into_iter().take_while(|fed| fed.end_block <= container.blocks) {
            done += 1;
            match fed.outcome {
                Outcome::Recorded(entry) => {
                    let start = container.start.map(|at| BlockAddress(at.0 + u64::from(entry.first_block)));
                    recorded.push(RecordedSegment { entry, start });
                }
                Outcome::Refused(why) => refused.push(RefusedSegment { segment: fed.segment, why }),
            }
        }
        let not_written = plan[done..].iter().map(|planned| planned.segment).collect();
        let full = container.warned;
        Ok(ContainerReceipt { container: number, recorded, refused, not_written, full })
    }

    /// Writes a catalog, as far as there is room.
    fn write_catalog(&mut self, container: &mut Open, items: CatalogItems) -> Result<(), TapeError> {
        for page in Pages::new(items) {
            if container.warned {
                break;
            }
            self.write_block(container, BlockKind::Catalog, SegmentId(0), &page)?;
        }
        Ok(())
    }

    /// Index (twice: one bad block mustn't cost it), filemark, synchronize.
    fn close(&mut self, container: &mut Open, receipt: &mut ContainerReceipt) -> Result<(), TapeError> {
        let entries = receipt.recorded.iter().map(|recorded| recorded.entry.clone()).collect();
        let index = to_bytes(&ContainerIndex { container: container.container, entries });
        for payload in [&index; INDEX_COPIES].into_iter().flat_map(|index| index.chunks(BLOCK_PAYLOAD_MAX)) {
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
