//! What takes the messages of a restore: a file system, written to by the agent's own restorer, or a tar stream.

mod archive;
mod comparing;
mod paths;
mod pool;
mod posix_acl;
mod sparse;

use std::io;
use std::path::{Path, PathBuf};

use coffer_agent::restore::{self as agent, Existing, Goal, RestoreError, Specials};
use coffer_format::entry::ReportLine;
use coffer_format::wire::{LeftOut, Message};

pub use archive::Archive;
pub(crate) use comparing::Comparison;

/// What happens where something is already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// What is there stays; the restored one is left out and named.
    Skip,
    /// Both: the restored one gets `.restored` added to its name.
    KeepBoth,
    Overwrite,
}

/// What a restore did.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub files: u64,
    pub bytes: u64,
    /// There already, as the point has them.
    pub alike: u64,
    /// Left alone because something else was there.
    pub skipped: Vec<PathBuf>,
    /// What couldn't be done, and why.
    pub failed: Vec<(PathBuf, String)>,
    /// What the other end couldn't give, and why.
    pub left_out: Vec<(PathBuf, String)>,
    /// What's to be said of the restore as a whole.
    pub told: Vec<String>,
}

impl Outcome {
    fn lose(&mut self, files: Vec<LeftOut>) {
        let line = |file: LeftOut| (shown(&file.path), file.what);
        self.left_out.extend(files.into_iter().map(line));
    }

    fn end(&mut self, failed: Vec<ReportLine>) {
        for ReportLine { path, what } in failed {
            match path.0.is_empty() {
                true => self.told.push(what),
                false => self.failed.push((shown(&path), what)),
            }
        }
    }
}

fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(path).into_owned())
}

/// What a restore goes into.
pub trait Sink {
    /// Bytes written so far.
    fn bytes(&mut self) -> u64;
    /// Takes the next message.
    fn take(&mut self, message: Message) -> io::Result<()>;
}

/// Takes the messages of a restore, and writes files.
pub struct Restorer {
    agent: agent::Restorer,
    outcome: Outcome,
}

impl Restorer {
    /// Restores below `root`, which is made if it isn't there. Devices, set-id bits and the like are left off.
    pub fn new(root: &Path, conflict: Conflict) -> io::Result<Restorer> {
        Restorer::with(root, conflict, Specials::LeaveOff, &[])
    }

    /// `paths`: what is asked for, as the point has it. Folders on the way to that stay as they are.
    pub fn with(
        root: &Path,
        conflict: Conflict,
        specials: Specials,
        paths: &[Vec<u8>],
    ) -> io::Result<Restorer> {
        let goal = Goal::of_operator(root.to_owned(), conflict.into(), specials);
        let agent = agent::Restorer::new(&goal, paths).map_err(|error| match error {
            RestoreError::Target(path, cause) => {
                let sentence =
                    format!("{} can't be restored to ({cause}): choose another folder", path.display());
                io::Error::other(sentence)
            }
            other => io::Error::other(other),
        })?;
        Ok(Restorer { agent, outcome: Outcome::default() })
    }

    /// Ends the restore: folders get their metadata, deepest first. After one that broke off as well.
    pub fn finish(self) -> Outcome {
        let Restorer { agent, mut outcome } = self;
        let agent::Restored { files, bytes, alike, lacking, kept, left_out, .. } = agent.finish();
        let lines =
            |lines: Vec<(Vec<u8>, String)>| lines.into_iter().map(|(path, what)| (shown(&path), what));
        outcome.failed.extend(lines(lacking));
        outcome.left_out.extend(lines(left_out));
        outcome.skipped.extend(kept.iter().map(|path| shown(path)));
        Outcome { files, bytes, alike, ..outcome }
    }
}

impl Sink for Restorer {
    fn bytes(&mut self) -> u64 {
        self.agent.bytes()
    }

    fn take(&mut self, message: Message) -> io::Result<()> {
        let taken = match message {
            Message::RestoreEnd { nodes, bytes, failed } => {
                self.outcome.end(failed);
                self.agent.take(Message::RestoreEnd { nodes, bytes, failed: Vec::new() })
            }
            message => self.agent.take(message),
        };
        match taken {
            Ok(_) => Ok(()),
            Err(error @ RestoreError::Full(_)) => Err(io::Error::new(io::ErrorKind::StorageFull, error)),
            Err(_) => Err(misplaced()),
        }
    }
}

impl From<Conflict> for Existing {
    fn from(conflict: Conflict) -> Existing {
        match conflict {
            Conflict::Skip => Existing::Nothing,
            Conflict::KeepBoth => Existing::Beside,
            Conflict::Overwrite => Existing::All,
        }
    }
}

fn misplaced() -> io::Error {
    io::Error::other("a message came that has no place in a restore: use programs of the same version")
}
