//! One node as the journal knows it.

use coffer_format::NodeId;
use coffer_format::node::{Attr, AttrKind, NodeKind};
use coffer_format::nt_basic::NtBasic;
use coffer_format::{Encode, Writer};
use rusqlite::Row;

use super::PartAt;
use crate::scan::Stat;

/// How the bytes of a node are remembered, to know which of them changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryKind {
    /// Nothing is remembered; the box knows.
    Unknown,
    /// No bytes.
    None,
    /// The ids of its chunks, in the journal.
    Chunks,
    /// A signature of each page, in a file of its own.
    Pages,
}

/// Whether a node's bytes are as it was described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It may have changed without a trace while it was read, or couldn't be read: it must be read again.
    No,
    /// All of it was read.
    Whole,
    /// It was read where the system says that it had changed. All of it is read at the next look at everything.
    AsTold,
}

impl Settled {
    pub(super) fn code(self) -> i64 {
        self as i64
    }
    fn from_code(code: i64) -> Settled {
        match code {
            1 => Settled::Whole,
            2 => Settled::AsTold,
            _ => Settled::No,
        }
    }
}

impl MemoryKind {
    pub(super) fn code(self) -> i64 {
        self as i64
    }
    fn from_code(code: i64) -> MemoryKind {
        match code {
            1 => MemoryKind::None,
            2 => MemoryKind::Chunks,
            3 => MemoryKind::Pages,
            _ => MemoryKind::Unknown,
        }
    }
}

/// A node as it was last sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) node: NodeId,
    /// As the file system described it then.
    pub(crate) stat: Stat,
    /// See [`attrs_hash`].
    pub(crate) attrs: [u8; 16],
    /// Size of the version that the box has: other than the file's own while it's sent in several parts.
    pub(crate) sent_size: u64,
    pub(crate) memory: MemoryKind,
    /// The part that brought its bytes.
    pub(crate) content: PartAt,
    pub(crate) settled: Settled,
    /// Sent so far, where more parts must follow.
    pub(crate) done: Option<u64>,
}

/// Stands for all attributes of a node, so that the journal needn't keep them. That somebody has read it is no news.
pub(crate) fn attrs_hash(attrs: &[Attr]) -> [u8; 16] {
    if attrs.is_empty() {
        return [0; 16];
    }
    let mut w = Writer::default();
    for attr in attrs {
        if attr.kind == AttrKind::NtBasic {
            let value = NtBasic::identity(&attr.value).into();
            Attr { value, ..attr.clone() }.encode(&mut w);
        } else {
            attr.encode(&mut w);
        }
    }
    let mut out = [0; 16];
    out.copy_from_slice(&blake3::hash(&w.0).as_bytes()[..16]);
    out
}

/// The columns that [`read`] takes, of a table named `n`.
pub(super) const COLUMNS: &str = "n.node, n.kind, n.size, n.mode, n.uid, n.gid, n.mtime, n.ctime, n.btime, n.device, \
     n.inode, n.rdev, n.links, n.kept, n.attrs, n.sent_size, n.memory, n.point, n.part, n.settled, n.done";

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Known> {
    let number = |column: usize| row.get::<_, i64>(column).map(|value| value as u64);
    let stat = Stat {
        kind: NodeKind::from_code(row.get(1)?).ok_or(rusqlite::Error::IntegralValueOutOfRange(1, 0))?,
        size: number(2)?,
        mode: row.get(3)?,
        uid: row.get(4)?,
        gid: row.get(5)?,
        mtime_ns: row.get(6)?,
        ctime_ns: row.get(7)?,
        btime_ns: row.get(8)?,
        device: number(9)?,
        inode: number(10)?,
        rdev: number(11)?,
        links: number(12)?,
        kept_bytes: number(13)?,
    };
    Ok(Known {
        node: NodeId(number(0)?),
        stat,
        attrs: row.get(14)?,
        sent_size: number(15)?,
        memory: MemoryKind::from_code(row.get(16)?),
        content: PartAt {
            point: coffer_format::PointSeq(number(17)?),
            part: coffer_format::PartNo(row.get(18)?),
        },
        settled: Settled::from_code(row.get(19)?),
        done: row.get::<_, Option<i64>>(20)?.map(|done| done as u64),
    })
}
