//! Bringing files back on the computer itself, with everything that the box has of them: to their place, or to below a
//! folder. The box sends nodes in their order (directories before what's in them), then bytes, batch by batch.
//!
//! A file gets its name once it's whole, in one step, so that nothing is ever half-written; what's there already is replaced
//! only as the rule says; nothing is ever removed. Names from the box and links on the way never lead elsewhere.

mod folders;
mod growing;
mod place;
mod put;
mod reach;
mod streams;
mod waiting;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_format::wire::{Message, ReplaceRule};
use coffer_format::{ConfigId, PointSeq};

use crate::wire::{Wire, WireError, comes_unasked};
pub use waiting::WaitingFiles;
use write::Restoring;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

/// What's said of a file that's replaced later.
pub const AT_RESTART: &str = "is in use; it's replaced when the computer next starts";

/// What is to be restored, and where to.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) config: ConfigId,
    pub(crate) point: PointSeq,
    /// As the point has them; everything where there are none.
    pub(crate) paths: Vec<Vec<u8>>,
    pub(crate) goal: Goal,
}

/// Where files go, and what happens where something is already.
#[derive(Debug, Clone)]
pub struct Goal {
    /// Below this folder, which is made where it isn't there; to their place where there's none.
    pub to: Option<PathBuf>,
    pub replace: ReplaceRule,
    /// The agent's list of files that were in use.
    pub waits: WaitingFiles,
}

/// What a restore came to.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    pub files: u64,
    pub bytes: u64,
    /// Left alone because they are as the point has them.
    pub alike: u64,
    /// Whole, and put in their place when the computer next starts.
    pub at_restart: Vec<Vec<u8>>,
    /// Paths as the point has them, and what's wrong with each: not there, or not all of it.
    pub lacking: Vec<(Vec<u8>, String)>,
    /// How many of these the box couldn't give: damaged, away, or not there at that point.
    pub left_out: u64,
}

/// Why a restore ended early. What's whole by then stays.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("{} can't be restored to; choose another folder or check the disk", .0.display())]
    Target(PathBuf, #[source] io::Error),
}

/// A restore under way. It outlives the line: over another it goes on with what isn't there yet.
pub(crate) struct Restore {
    order: Order,
    restoring: Restoring,
}

impl Restore {
    pub(crate) fn new(order: Order) -> Result<Restore, RestoreError> {
        let shown = || order.goal.to.clone().unwrap_or_else(|| Path::new("/").to_owned());
        let restoring = Restoring::new(&order).map_err(|error| RestoreError::Target(shown(), error))?;
        Ok(Restore { order, restoring })
    }

    /// Restores until everything is there or the line breaks. `tell` hears how far it is after each message, and says whether
    /// to go on.
    pub(crate) fn run(
        &mut self,
        wire: &Wire,
        tell: &mut dyn FnMut(&Restored) -> Result<(), WireError>,
    ) -> Result<(), RestoreError> {
        self.restoring.go_on();
        let Order { config, point, paths, .. } = &self.order;
        let paths = paths.iter().map(|path| path[..].into()).collect();
        wire.send(Message::RestoreWanted { config: *config, point: *point, paths })?;
        while !self.take(wire.receive(ANSWER_TIMEOUT)?.ok_or(WireError::Lost)?)? {
            tell(self.restoring.so_far())?;
        }
        Ok(())
    }

    /// True after the last message.
    fn take(&mut self, message: Message) -> Result<bool, WireError> {
        match message {
            Message::RestoreNodes { nodes } => nodes.into_iter().for_each(|node| self.restoring.begin(node)),
            Message::RestorePack { compression, raw_len, placements, payload } => {
                self.restoring.pack(compression, raw_len, &placements, &payload.0);
            }
            Message::RestoreBatchEnd => self.restoring.finish_batch(),
            Message::RestoreLeftOut { files } => {
                files.into_iter().for_each(|file| self.restoring.leave_out(file));
            }
            Message::RestoreEnd { failed, .. } => {
                self.restoring.finish_batch();
                for line in failed {
                    self.restoring.lack(&line.path.0, line.what);
                }
                return Ok(true);
            }
            Message::Configs { .. } => {}
            message if comes_unasked(&message) => {}
            _ => return Err(WireError::Unexpected("a message that has no place in a restore")),
        }
        Ok(false)
    }

    /// Folders get what belongs to them. After a restore that isn't whole as well: what's there is as it should be.
    pub(crate) fn finish(self) -> Restored {
        self.restoring.finish()
    }
}

/// Restores in one go.
pub(crate) fn restore(wire: &Wire, order: Order) -> Result<Restored, RestoreError> {
    let mut restore = Restore::new(order)?;
    restore.run(wire, &mut |_| Ok(()))?;
    Ok(restore.finish())
}
