//! A container without a readable index, block by block: which of its segments are whole.

use coffer_format::SegmentId;
use coffer_format::container::{
    BLOCK_LEN, BLOCK_PAYLOAD_MAX, BlockHeader, BlockKind, ContainerEntry, ContainerIndex, Label,
};

use super::block_of;
use super::hash::SegmentHasher;
use crate::TapeError;
use crate::drive::{Drive, ReadOutcome};

/// Most unreadable blocks in a row before the rest of a container is given up.
const UNREADABLE_MAX: u32 = 64;

/// Something that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Number of the block in its container, as far as it's known.
    pub block: u32,
    pub what: String,
}

/// What a walk found.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) index: ContainerIndex,
    pub(super) damage: Vec<Damage>,
    pub(super) end: WalkEnd,
}

/// Where a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkEnd {
    /// Behind the container's filemark.
    Filemark,
    EndOfData,
    /// Amid blocks that can't be read.
    GivenUp,
}

/// A segment of which blocks follow one another.
struct Run {
    segment: SegmentId,
    first_block: u32,
    next_block: u32,
    hasher: SegmentHasher,
}

struct Walk {
    entries: Vec<ContainerEntry>,
    damage: Vec<Damage>,
    run: Option<Run>,
}

/// Walks from the first block of `container`. A segment is listed if all its blocks are there and its own trailer says
/// that it's whole.
pub(super) fn walk(drive: &mut Drive, label: &Label, container: u32) -> Result<Walked, TapeError> {
    let mut walk = Walk { entries: Vec::new(), damage: Vec::new(), run: None };
    let mut block = vec![0; BLOCK_LEN];
    let (mut number, mut unreadable) = (0, 0);
    let end = loop {
        let read = match drive.read_block(&mut block) {
            Ok(ReadOutcome::Filemark) => break WalkEnd::Filemark,
            Ok(ReadOutcome::EndOfData) => break WalkEnd::EndOfData,
            Ok(ReadOutcome::TooLong) => Err("a block of another length".to_owned()),
            Ok(ReadOutcome::Block(len)) => {
                block_of(&block[..len], label, container).map_err(|error| error.to_string())
            }
            Err(error) if error.is_medium_error() => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        match read {
            Ok((header, payload)) => {
                unreadable = 0;
                number = header.number;
                walk.take(&header, payload);
            }
            Err(what) => {
                unreadable += 1;
                walk.run = None;
                walk.damage.push(Damage { block: number, what });
            }
        }
        number += 1;
        if unreadable >= UNREADABLE_MAX {
            break WalkEnd::GivenUp;
        }
    };
    walk.end_run();
    Ok(Walked { index: ContainerIndex { container, entries: walk.entries }, damage: walk.damage, end })
}

impl Walk {
    fn take(&mut self, header: &BlockHeader, payload: &[u8]) {
        if header.kind != BlockKind::Segment {
            self.end_run();
            return;
        }
        let follows = |run: &Run| run.segment == header.segment && run.next_block == header.number;
        if !self.run.as_ref().is_some_and(follows) {
            self.end_run();
            let (segment, first_block) = (header.segment, header.number);
            self.run =
                Some(Run { segment, first_block, next_block: first_block, hasher: SegmentHasher::default() });
        }
        if let Some(run) = &mut self.run {
            run.next_block += 1;
            run.hasher.update(payload);
        }
        if payload.len() < BLOCK_PAYLOAD_MAX {
            self.end_run();
        }
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let hashes = run.hasher.finish();
        if hashes.is_whole_segment() {
            let (segment, first_block) = (run.segment, run.first_block);
            self.entries.push(ContainerEntry {
                segment,
                first_block,
                bytes: hashes.bytes,
                hash: hashes.whole,
            });
        }
    }
}
