//! What the agent remembers of what the box has: one SQLite file per configuration, and one signature file per file
//! that's cut in pages. The journal is written only after the box said `Committed`, in the order of the parts. Losing it
//! loses nothing: the box recalls all of it.

mod absent;
mod change;
mod committed;
mod known;
mod looked;
mod position;
mod reader;
mod remarks;
mod schema;
mod signatures;
mod volumes;

use std::path::PathBuf;

use coffer_format::{NodeId, PartNo, PointSeq};

pub use change::Journal;
pub(crate) use change::{JournalChange, Memory, Remembered};
pub(crate) use known::{Known, MemoryKind, Settled, attrs_hash};
pub use position::Position;
pub(crate) use position::{Standing, Totals};
pub(crate) use reader::JournalReader;
pub(crate) use remarks::{Remarked, are_alike, remarked};
pub(crate) use signatures::{ChangedPages, PageSignature, PageSignatures, ZERO_PAGE};

/// One part of one point: names the state of the box right after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartAt {
    pub point: PointSeq,
    pub part: PartNo,
}

/// Why the journal couldn't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the agent's journal {0} can't be used; check the folder and the disk")]
    Database(PathBuf, #[source] rusqlite::Error),
    #[error(
        "the agent's memory of page signatures of file {0} can't be kept; free some space or check the disk"
    )]
    Signatures(NodeId, #[source] std::io::Error),
    #[error("the agent's folder {0} can't be used; check its permissions and the disk")]
    Folder(PathBuf, #[source] std::io::Error),
}

impl JournalError {
    /// Whether the journal's file is damaged: it's of no use any more, and all of it can be recalled from the box.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, JournalError::Database(_, error) if schema::is_damage(error))
    }
}
