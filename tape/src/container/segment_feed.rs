//! Segments on their way to the drive: read, hashed, cut into blocks.

use std::io::{self, Read};

use coffer_format::SegmentId;
use coffer_format::container::{
    BLOCK_HEADER_LEN, BLOCK_PAYLOAD_MAX, BlockHeader, BlockKind, CONTAINER_SEGMENTS_MAX, ContainerEntry,
    Label, seal_block,
};

use super::PlannedSegment;
use super::hash::SegmentHasher;
use super::write_ahead::{Ended, Feed};

/// How one segment went, if all its blocks came to be written.
#[derive(Debug)]
pub(super) enum Outcome {
    Recorded(ContainerEntry),
    /// Its source wasn't what the plan said: why, and what to do.
    Refused(String),
}

/// A segment all of whose blocks were handed in.
#[derive(Debug)]
pub(super) struct Fed {
    pub(super) segment: SegmentId,
    /// Number of the block behind its last.
    pub(super) end_block: u32,
    pub(super) outcome: Outcome,
}

/// Makes one container's segment blocks.
pub(super) struct SegmentFeed<'a> {
    pub(super) label: &'a Label,
    pub(super) container: u32,
    pub(super) blocks: u32,
    pub(super) feed: &'a mut Feed,
}

impl SegmentFeed<'_> {
    /// Hands in one segment after the other, until all of `plan` is in, the container can name no more, or the drive takes
    /// no more.
    pub(super) fn feed_all(
        &mut self,
        plan: &[PlannedSegment],
        open: &mut dyn FnMut(SegmentId) -> io::Result<Box<dyn Read>>,
    ) -> Vec<Fed> {
        let mut all: Vec<Fed> = Vec::new();
        let mut recorded = 0;
        for planned in plan {
            if recorded == CONTAINER_SEGMENTS_MAX {
                break;
            }
            let Ok(outcome) = self.feed_one(planned, open) else { break };
            recorded += usize::from(matches!(outcome, Outcome::Recorded(_)));
            all.push(Fed { segment: planned.segment, end_block: self.blocks, outcome });
        }
        all
    }

    fn feed_one(
        &mut self,
        planned: &PlannedSegment,
        open: &mut dyn FnMut(SegmentId) -> io::Result<Box<dyn Read>>,
    ) -> Result<Outcome, Ended> {
        let first_block = self.blocks;
        let mut source = match open(planned.segment) {
            Ok(source) => source,
            // Whoever gave the plan wants the drive: what isn't begun stays for another container.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(Ended),
            Err(error) => return Ok(unreadable(&error)),
        };
        let mut hasher = SegmentHasher::default();
        let mut left = planned.bytes;
        while left > 0 {
            let len = left.min(BLOCK_PAYLOAD_MAX as u64) as usize;
            if let Err(error) = self.feed_block(planned.segment, source.as_mut(), len, &mut hasher)? {
                return Ok(unreadable(&error));
            }
            left -= len as u64;
        }
        if !matches!(source.read(&mut [0]), Ok(0)) {
            return Ok(Outcome::Refused("it is longer than the catalog says: verify the disk".to_owned()));
        }
        let hashes = hasher.finish();
        if hashes.bytes == 0 || !hashes.matches(planned.expected) {
            return Ok(Outcome::Refused(
                "its bytes on disk are not those it was closed with: verify the disk".to_owned(),
            ));
        }
        let (segment, bytes) = (planned.segment, planned.bytes);
        Ok(Outcome::Recorded(ContainerEntry { segment, first_block, bytes, hash: hashes.whole }))
    }

    /// Reads right into the block that goes to the drive.
    fn feed_block(
        &mut self,
        segment: SegmentId,
        source: &mut dyn Read,
        len: usize,
        hasher: &mut SegmentHasher,
    ) -> Result<io::Result<()>, Ended> {
        let mut block = self.feed.buffer()?;
        let payload = &mut block[BLOCK_HEADER_LEN..BLOCK_HEADER_LEN + len];
        if let Err(error) = source.read_exact(payload) {
            self.feed.forget(block);
            return Ok(Err(error));
        }
        hasher.update(payload);
        let header = BlockHeader {
            kind: BlockKind::Segment,
            cartridge: self.label.cartridge,
            container: self.container,
            number: self.blocks,
            payload_len: len as u32,
            segment,
        };
        seal_block(&header, &mut block);
        self.blocks += 1;
        self.feed.write(block).map(Ok)
    }
}

fn unreadable(error: &io::Error) -> Outcome {
    Outcome::Refused(format!("it can't be read ({error}): verify the disk"))
}
