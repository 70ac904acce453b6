//! What a writer is asked for, and what it did.

use coffer_format::SegmentId;
use coffer_format::container::ContainerEntry;

use super::{ExpectedHash, SegmentPlace};
use crate::BlockAddress;

/// A segment to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedSegment {
    pub segment: SegmentId,
    /// Length of the whole file.
    pub bytes: u64,
    pub expected: ExpectedHash,
}

/// A segment that is on the cartridge, as the cartridge's own index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedSegment {
    pub entry: ContainerEntry,
    /// Address of its first block on the cartridge; `None` if the drive tells no addresses.
    pub start: Option<BlockAddress>,
}

/// A segment that isn't recorded because its source wasn't what the plan said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSegment {
    pub segment: SegmentId,
    /// What is wrong, and what to do.
    pub why: String,
}

/// A closed container: the medium said that all of it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerReceipt {
    pub container: u32,
    pub recorded: Vec<RecordedSegment>,
    pub refused: Vec<RefusedSegment>,
    /// What of the plan is left for another container, in order.
    pub not_written: Vec<SegmentId>,
    /// The cartridge takes no more: go on with another one.
    pub full: bool,
}

impl ContainerReceipt {
    /// Where to read a recorded segment from.
    pub fn place(&self, recorded: &RecordedSegment) -> SegmentPlace {
        SegmentPlace { container: self.container, entry: recorded.entry.clone(), start: recorded.start }
    }
}
