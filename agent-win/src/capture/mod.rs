//! One capture: find what changed, read it, send it, remember it.
//!
//! One thread looks and reads (`pass`, `reading`), workers name and compress, and the calling thread sends (`sender`).
//! Every queue between them is bounded, so a slow line slows the reading and nothing piles up. The journal changes
//! only when the box has committed; whatever goes wrong before that is simply looked at again.

mod absent;
mod carried;
mod compare;
mod content;
mod file_task;
mod group;
mod identity;
mod item;
mod lost;
mod moves;
mod named_files;
mod other_names;
mod outlet;
mod pages;
mod pass;
mod prefetch;
mod progress;
mod reading;
mod recollect;
mod report;
mod reread;
mod run;
mod seen;
mod sender;
mod sqlite_hold;
mod strangers;
mod streams;
mod target;
mod unread;

use std::io;
use std::path::PathBuf;

use coffer_format::entry::{Consistency, Remark, RemarkKind};
use coffer_format::{NodeId, PartNo, PointSeq};

use crate::journal::JournalError;
use crate::state::StateError;
use crate::wire::WireError;

pub(crate) use lost::LostNodes;
pub use progress::Progress;
pub use run::{CaptureJob, CaptureOrder, capture};
pub use target::{Dirty, Target};

/// Where a capture goes on: the point and part to send next, and the first free node number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub point: PointSeq,
    pub part: PartNo,
    pub next_node: NodeId,
    /// No point of this configuration has been closed yet.
    pub is_first: bool,
    /// The agent's memory was not what the box has, and was recalled.
    pub is_recalled: bool,
    /// The box asked for that: it needs a point of which it knows that the agent has compared all of it.
    pub is_point_wanted: bool,
}

/// What came of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing had changed: there's no new point.
    Unchanged {
        report: Vec<Remark>,
    },
    Closed(Closed),
}

impl Outcome {
    /// What a person should know of it.
    pub fn report(&self) -> &[Remark] {
        match self {
            Outcome::Unchanged { report } => report,
            Outcome::Closed(closed) => &closed.report,
        }
    }

    /// Whether the newest point is all there is. It isn't where a command for an application failed, which has no path: what it
    /// would have written isn't there to be captured.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.report().iter().all(|line| line.kind != RemarkKind::Application || !line.path.0.is_empty())
    }
}

/// A point that the box has closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    pub point: PointSeq,
    pub consistency: Consistency,
    /// Files and bytes that were new or changed, and bytes sent for them.
    pub files: u64,
    pub bytes: u64,
    pub sent: u64,
    pub report: Vec<Remark>,
}

/// Why a capture ended early. What was committed stays; the next capture goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Key(#[from] StateError),
    #[error(
        "the box finds that what this computer sends isn't what its names say, so {} is damaged, it seems; enrol this computer again with a \
         new code",
        .0.display()
    )]
    KeyInDoubt(PathBuf),
    #[error("the capture was stopped and goes on at the next start")]
    Stopped,
    #[error(
        "the snapshot of {0} was lost while it was read, so this point isn't finished, and the capture goes on with another \
         snapshot; where that happens again, give snapshots more room with `vssadmin resize shadowstorage`"
    )]
    SnapshotLost(String),
    #[error("the exclusions can't be used; correct the configuration")]
    Patterns(#[from] globset::Error),
    #[error(
        "the system doesn't say what's mounted; without that a volume that's gone would be taken for deleted files"
    )]
    Mounts(#[source] io::Error),
    #[error("the agent couldn't start its threads; restart it")]
    Threads(#[source] io::Error),
    #[error("a thread of the agent failed; please report this with the agent's log")]
    Panicked,
    #[error("the agent's memory of {0} can't be written; free some space or check the disk")]
    Memory(PathBuf, #[source] io::Error),
    #[error("the box sent a map of file {0} that can't be used; check the box with `coffer verify`")]
    BadAnswer(NodeId),
}
