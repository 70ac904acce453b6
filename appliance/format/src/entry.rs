//! The plaintext of a metadata record: one entry, and when the vault wrote it.

use crate::event::Event;
use crate::manifest::Map;
use crate::op::Op;
use crate::{Blob, ConfigId, Lsn, PartNo, PointSeq, SegmentId};

kinds! {
    /// In what state the files of a point can be started from.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Consistency {
        /// The applications had written out what they had (VSS with all writers).
        1 = Application,
        /// As after a power cut: all files of one instant.
        2 = Crash,
        /// Each file by itself is whole, but not all of one instant; the report names what changed while it was read.
        3 = PerFile,
        /// No snapshot could be taken: nothing had been written for a while before, and nothing was while it was read.
        4 = Quiet,
    }
}

layout! {
    /// One thing that a person should know, of a path.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ReportLine { pub path: Blob, pub what: String }
}

kinds! {
    /// What a remark is about. Decisions are made by this, never by the sentence.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum RemarkKind {
        /// Something that was asked for by name isn't there; what the point before had of it is kept.
        1 = Missing,
        /// A file or folder couldn't be read; what the point before had of it is kept.
        2 = Unread,
        /// A program keeps the file to itself; the next point tries again.
        3 = Locked,
        /// The file changed while it was read.
        4 = Changed,
        /// The bytes are there, and something that belongs to them isn't: attributes, streams, a name that's too long.
        5 = Partial,
        /// An application didn't take part, or a file that it named is missing.
        6 = Application,
        /// No snapshot was taken of it, or nobody could tell whether it was quiet.
        7 = NoSnapshot,
        /// The bytes lie elsewhere, such as in a cloud.
        8 = Elsewhere,
        /// There are more remarks than are kept.
        9 = More,
        /// Of an agent that doesn't say.
        10 = Other,
    }
}

layout! {
    /// One thing that a person should know about a capture.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Remark { pub kind: RemarkKind, pub path: Blob, pub what: String }
}

impl From<ReportLine> for Remark {
    fn from(line: ReportLine) -> Remark {
        Remark { kind: RemarkKind::Other, path: line.path, what: line.what }
    }
}

layout! {
    /// What a capture cost, in bytes and files. `sent` is compressed, on the wire, without framing.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct PointStats { pub files: u64, pub bytes: u64, pub sent: u64, pub stored: u64 }
}

layout! {
    /// All segments of one stream below `segment`, and the first `bytes` of that one (which needn't exist where that's 0).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
    pub struct Watermark { pub segment: SegmentId, pub bytes: u64 }
}

layout! {
    /// Where the data streams ended when a point was closed: the point is whole wherever all of that is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct DataUpTo { pub fresh: Watermark, pub bulk: Watermark }
}

kinds! {
    /// What an entry says.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Body {
        /// Part `part` of point `point`: visible once the point is closed.
        1 = Part { config: ConfigId, point: PointSeq, part: PartNo, ops: Vec<Op> },
        /// As `PointClosed`, before remarks had kinds. Read, never written.
        2 = PointClosedV1 {
            config: ConfigId,
            point: PointSeq,
            parts: PartNo,
            captured_ms: u64,
            consistency: Consistency,
            stats: PointStats,
            data: DataUpTo,
            report: Vec<ReportLine>,
        },
        /// Ranges of a long map; the pages of one map, joined in order, are its ranges. Chunk indices are the page's own.
        3 = MapPage { map: Map },
        4 = Event { event: Event },
        /// The point is whole.
        5 = PointClosed {
            config: ConfigId,
            point: PointSeq,
            parts: PartNo,
            captured_ms: u64,
            consistency: Consistency,
            stats: PointStats,
            data: DataUpTo,
            remarks: Vec<Remark>,
        },
    }
}

layout! {
    /// One entry. `vault_ms`: milliseconds since 1970-01-01 UTC on the vault's clock. `batch`: first record of the
    /// batch it became durable with. Batches are synced one after another, so where a record is missing, what follows
    /// it in the same batch was never acknowledged, and what follows it in a later batch was.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Entry { pub vault_ms: u64, pub batch: Lsn, pub body: Body }
}

/// What closed a point, whichever version of it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointEnd {
    pub config: ConfigId,
    pub point: PointSeq,
    pub parts: PartNo,
    pub captured_ms: u64,
    pub consistency: Consistency,
    pub stats: PointStats,
    pub data: DataUpTo,
    pub remarks: Vec<Remark>,
}

impl Body {
    /// What closed a point; none for anything else.
    pub fn point_end(&self) -> Option<PointEnd> {
        if !matches!(self, Body::PointClosedV1 { .. } | Body::PointClosed { .. }) {
            return None;
        }
        match self.clone() {
            Body::PointClosedV1 { config, point, parts, captured_ms, consistency, stats, data, report } => {
                let remarks = report.into_iter().map(Remark::from).collect();
                Some(PointEnd { config, point, parts, captured_ms, consistency, stats, data, remarks })
            }
            Body::PointClosed { config, point, parts, captured_ms, consistency, stats, data, remarks } => {
                Some(PointEnd { config, point, parts, captured_ms, consistency, stats, data, remarks })
            }
            _ => None,
        }
    }
}
