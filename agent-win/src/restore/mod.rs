//! Bringing files back on the computer itself, with everything that the box has of them: to their place, or to below a
//! folder. The box sends nodes in their order (directories before what's in them), then bytes, batch by batch.
//!
//! A file gets its name once it's whole, in one step, so that nothing is ever half-written; what's there already is replaced
//! only as the rule says; nothing is ever removed. Names from the box and links on the way never lead elsewhere.

mod batch;
mod directories;
mod existing;
mod folders;
mod growing;
mod links;
mod place;
mod pool;
mod put;
mod reach;
mod specials;
mod streams;
mod twin;
mod waiting;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_format::wire::{Message, ReplaceRule};
use coffer_format::{ConfigId, PointSeq};

use crate::wire::{Wire, WireError, comes_unasked};
pub(crate) use directories::BEGUN;
pub use existing::Existing;
pub(crate) use folders::is_working;
use place::Drives;
pub use specials::Specials;
pub use waiting::WaitingFiles;
use write::Restoring;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

/// What's said of a file that's replaced later.
pub const AT_RESTART: &str = "is in use; it's replaced when the computer next starts";

/// What's said of a file whose owner only root could make it. Of many, one line says it.
#[cfg_attr(windows, allow(dead_code, reason = "owners are given by rights there, not by a user's number"))]
pub(crate) const NOT_GIVEN: &str =
    "belongs to whoever restored it, not to its owner: only root can give files away";

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
    pub existing: Existing,
    pub specials: Specials,
    /// The agent's list of files that were in use.
    waits: WaitingFiles,
    /// Whether an agent restores, and not an operator.
    by: By,
}

/// Who restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Agent,
    Operator,
}

impl Goal {
    /// Of an agent, on the computer that it looks after.
    pub fn of_agent(
        to: Option<PathBuf>,
        replace: ReplaceRule,
        specials: Specials,
        waits: WaitingFiles,
    ) -> Goal {
        Goal { to, existing: replace.into(), specials, waits, by: By::Agent }
    }

    /// Of an operator, on any computer: names are kept as they are, whatever system they come from.
    pub fn of_operator(to: PathBuf, existing: Existing, specials: Specials) -> Goal {
        let waits = WaitingFiles::new(PathBuf::new());
        Goal { to: Some(to), existing, specials, waits, by: By::Operator }
    }

    fn drives(&self) -> Drives {
        match (self.by, &self.to) {
            (By::Operator, _) => Drives::Named,
            (By::Agent, Some(_)) => Drives::Folder,
            (By::Agent, None) => Drives::Drive,
        }
    }
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
    /// What the box couldn't give: damaged, away, or not there at that point.
    pub left_out: Vec<(Vec<u8>, String)>,
    /// Where something else was, and stays.
    pub kept: Vec<Vec<u8>>,
}

/// What's said of something that's in the way.
const IN_THE_WAY: &str =
    "wasn't restored: something is there already; restore to another folder, or replace it";

/// Why a restore ended early. What's whole by then stays.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("{} can't be restored to; choose another folder or check the disk", .0.display())]
    Target(PathBuf, #[source] io::Error),
    #[error(
        "the disk is full: {0} files were restored by then; free space there and restore again: it goes on with what isn't there"
    )]
    Full(u64),
}

/// A restore under way. It outlives the line: over another it goes on with what isn't there yet.
pub(crate) struct Restore {
    order: Order,
    restoring: Restoring,
}

impl Restore {
    pub(crate) fn new(order: Order) -> Result<Restore, RestoreError> {
        let shown = || order.goal.to.clone().unwrap_or_else(|| Path::new("/").to_owned());
        let restoring = Restoring::new(&order.goal, &order.paths)
            .map_err(|error| RestoreError::Target(shown(), error))?;
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
        while !self.restoring.take(wire.receive(ANSWER_TIMEOUT)?.ok_or(WireError::Lost)?)? {
            tell(self.restoring.so_far())?;
        }
        Ok(())
    }

    /// Folders get what belongs to them. After a restore that isn't whole as well: what's there is as it should be.
    pub(crate) fn finish(self) -> Restored {
        let mut done = self.restoring.finish();
        done.lacking
            .extend(std::mem::take(&mut done.kept).into_iter().map(|path| (path, IN_THE_WAY.to_owned())));
        done
    }
}

impl Restoring {
    /// True after the last message.
    fn take(&mut self, message: Message) -> Result<bool, RestoreError> {
        match message {
            Message::RestoreNodes { nodes } => nodes.into_iter().for_each(|node| self.begin(node)),
            Message::RestorePack { compression, raw_len, placements, payload } => {
                self.pack(compression, raw_len, placements, payload.0);
            }
            Message::RestoreBatchEnd => self.finish_batch(),
            Message::RestoreLeftOut { files } => {
                files.into_iter().for_each(|file| self.leave_out(file));
            }
            Message::RestoreEnd { failed, .. } => {
                self.finish_batch();
                self.end_batches();
                for line in failed {
                    self.lack(&line.path.0, line.what);
                }
                return self.check_room().map(|()| true);
            }
            Message::Configs { .. } => {}
            message if comes_unasked(&message) => {}
            _ => return Err(WireError::Unexpected("a message that has no place in a restore").into()),
        }
        self.check_room().map(|()| false)
    }

    /// On a full disk nothing more is tried.
    fn check_room(&mut self) -> Result<(), RestoreError> {
        if !self.is_full {
            return Ok(());
        }
        self.drop_batch();
        Err(RestoreError::Full(self.done.files))
    }
}

/// A restore whose messages somebody else receives.
pub struct Restorer(Restoring);

impl Restorer {
    /// Of what's in `paths`, as the point has them; of everything where there are none.
    pub fn new(goal: &Goal, paths: &[Vec<u8>]) -> Result<Restorer, RestoreError> {
        // A batch's files are open at once.
        crate::platform::prepare();
        let shown = || goal.to.clone().unwrap_or_else(|| Path::new("/").to_owned());
        Restoring::new(goal, paths).map(Restorer).map_err(|error| RestoreError::Target(shown(), error))
    }

    /// Takes the next message; true after the last.
    pub fn take(&mut self, message: Message) -> Result<bool, RestoreError> {
        self.0.take(message)
    }

    /// Bytes written so far.
    pub fn bytes(&mut self) -> u64 {
        self.0.so_far().bytes
    }

    /// Folders get what belongs to them, and everything reaches the disk. After a restore that isn't whole as well.
    pub fn finish(self) -> Restored {
        self.0.finish()
    }
}

/// Restores in one go.
pub(crate) fn restore(wire: &Wire, order: Order) -> Result<Restored, RestoreError> {
    let mut restore = Restore::new(order)?;
    restore.run(wire, &mut |_| Ok(()))?;
    Ok(restore.finish())
}
