//! Databases made of several files are read together: the database, then its log, while nobody can tear them.

use std::collections::BTreeMap;

use coffer_format::NodeId;
use coffer_format::node::NodeKind;
use coffer_format::op::Name;

use super::CaptureError;
use super::file_task::FileTask;
use super::pass::{Here, Pass};
use super::reading::FileRead;
use super::sqlite_hold::{Asked, SqliteHold};
use crate::journal::{Known, Settled};
use crate::path::{as_path, split};
use crate::platform::{SourceFile, stat_path};

/// Files that belong to the database before the suffix.
const COMPANIONS: [&[u8]; 2] = [b"-wal", b"-journal"];
/// A log that begins anew while it's read is read again so many times.
const LOG_TRIES: usize = 3;
/// Head of a write-ahead log; its salts change whenever the log begins anew.
const LOG_HEAD: usize = 32;

/// The database that a file belongs to: itself where it has no such suffix.
pub(super) fn database_of(path: &[u8]) -> &[u8] {
    COMPANIONS.iter().find_map(|suffix| path.strip_suffix(*suffix)).unwrap_or(path)
}

/// Files of one directory, those of one database together.
pub(super) struct Groups {
    pub(super) databases: BTreeMap<Vec<u8>, Vec<FileTask>>,
    pub(super) single: Vec<FileTask>,
}

/// Sorts out which files belong to a database in use.
pub(super) fn grouped(tasks: Vec<FileTask>) -> Groups {
    let mut groups = Groups { databases: BTreeMap::new(), single: Vec::new() };
    for task in tasks {
        let database = database_of(&task.path);
        let is_companion = database.len() < task.path.len();
        if is_companion || has_database_name(database) || has_companion(database) {
            groups.databases.entry(database.to_vec()).or_default().push(task);
        } else {
            groups.single.push(task);
        }
    }
    groups
}

fn has_database_name(path: &[u8]) -> bool {
    let suffixes: [&[u8]; 5] = [b".db", b".sqlite", b".sqlite3", b".db3", b".sqlitedb"];
    suffixes.iter().any(|suffix| path.len() > suffix.len() && path.ends_with(suffix))
}

fn has_companion(database: &[u8]) -> bool {
    // A companion that's quiet isn't among the tasks; large files are worth the question.
    stat_path(&as_path(&[database, b"-wal"].concat())).is_ok()
}

impl Pass<'_> {
    /// Reads the files of one database under a hold, if one can be had.
    pub(super) fn read_database(
        &mut self,
        here: &Here<'_>,
        database: Vec<u8>,
        tasks: Vec<FileTask>,
    ) -> Result<(), CaptureError> {
        // A snapshot needs no hold: nobody writes to it.
        let stands_still = self.reading.view.stands_still(&database);
        let asked = if stands_still { Asked::Needless } else { SqliteHold::ask(&as_path(&database)) };
        let hold = match asked {
            Asked::Held(hold) => hold,
            Asked::Needless | Asked::Refused => {
                if matches!(asked, Asked::Refused) {
                    self.torn.push(database);
                }
                return tasks.into_iter().try_for_each(|task| self.read_or_defer(task));
            }
        };
        self.reading.kept_open = Some(Vec::new());
        let read = self.read_held(here, &database, tasks);
        let lasted = hold.release();
        self.reading.kept_open = None;
        let is_whole = read?;
        match lasted {
            true if is_whole => drop(self.held.insert(database)),
            true => {}
            false => self.torn.push(database),
        }
        Ok(())
    }

    /// True where everything was read.
    fn read_held(
        &mut self,
        here: &Here<'_>,
        database: &[u8],
        mut tasks: Vec<FileTask>,
    ) -> Result<bool, CaptureError> {
        let (parent, mut is_whole) = (here.node, true);
        for suffix in [b"".as_slice(), COMPANIONS[0], COMPANIONS[1]] {
            let path = [database, suffix].concat();
            let listed = tasks.iter().position(|task| task.path == path).map(|at| tasks.swap_remove(at));
            // What the directory's listing said may be old by now: only what's seen under the hold counts.
            let seen = split(&path).and_then(|(_, name)| here.directory.entry(name));
            let Some(Ok(stat)) = seen.map(|entry| entry.stat) else {
                self.gone_under_hold(parent, &path)?;
                continue;
            };
            let task = match listed {
                Some(task) => Some(FileTask { stat, ..task }),
                None => self.newer(parent, &path, stat)?,
            };
            let Some(task) = task else { continue };
            is_whole &= match suffix {
                b"-wal" => self.read_log(task)?,
                _ => matches!(self.read_now(task)?, FileRead::Unchanged | FileRead::Changed),
            };
        }
        Ok(is_whole)
    }

    /// A log that grows while it's read is whole up to where it was; one that began anew is not.
    fn read_log(&mut self, task: FileTask) -> Result<bool, CaptureError> {
        let (path, stat, node, parent) = (task.path.clone(), task.stat, task.node, task.directory);
        let mut next = Some(task);
        for _ in 0..LOG_TRIES {
            let Some(task) = next.take() else { break };
            let before = log_head(&path);
            let read = self.read_now(task)?;
            if matches!(read, FileRead::Failed | FileRead::Vanished) {
                return Ok(false);
            }
            if before.is_some() && before == log_head(&path) {
                return Ok(true);
            }
            self.reading.outlet.settle()?;
            let known = self.reading.journal.node(node)?;
            let stat = stat_path(&as_path(&path)).map_or(stat, |now| now.numbered_as(&stat));
            next = known.map(|known| FileTask {
                path: path.clone(),
                node,
                stat,
                known: Some(known),
                link: None,
                had: None,
                directory: parent,
                host: None,
            });
        }
        self.torn.push(path);
        Ok(false)
    }

    fn gone_under_hold(&mut self, parent: NodeId, path: &[u8]) -> Result<(), CaptureError> {
        let Some(name) = name_of(path) else { return Ok(()) };
        match self.named_still(parent, &name)? {
            Some(_) => self.take_back(parent, name),
            None => Ok(()),
        }
    }

    /// What the box has under a name, as long as this look hasn't taken the name back.
    fn named_still(&self, parent: NodeId, name: &Name) -> Result<Option<Known>, CaptureError> {
        match self.taken_back.contains(name.as_bytes()) {
            true => Ok(None),
            false => Ok(self.reading.journal.child(parent, name.as_bytes())?),
        }
    }

    /// A file of the group that has changed since the directory was listed.
    fn newer(
        &mut self,
        parent: NodeId,
        path: &[u8],
        stat: crate::scan::Stat,
    ) -> Result<Option<FileTask>, CaptureError> {
        let Some(name) = name_of(path).filter(|_| stat.kind == NodeKind::File) else { return Ok(None) };
        let (path, directory) = (path.to_vec(), parent);
        Ok(match self.named_still(parent, &name)? {
            Some(known)
                if known.settled != Settled::No
                    && known.done.is_none()
                    && !known.stat.bytes_differ(&stat) =>
            {
                None
            }
            Some(known) => {
                let node = known.node;
                Some(FileTask {
                    path,
                    node,
                    stat,
                    known: Some(known),
                    link: None,
                    had: None,
                    directory,
                    host: None,
                })
            }
            None => {
                // It wasn't there when the folder was listed: the old name is still to be taken back, before it's given anew.
                if self.leaving.remove(&(parent, name.clone())).is_some() {
                    self.take_back(parent, name.clone())?;
                }
                let node = self.allocate();
                Some(FileTask {
                    path,
                    node,
                    stat,
                    known: None,
                    link: Some((parent, name)),
                    had: None,
                    directory,
                    host: None,
                })
            }
        })
    }
}

fn log_head(path: &[u8]) -> Option<[u8; LOG_HEAD]> {
    let mut head = [0; LOG_HEAD];
    let source = SourceFile::open(&as_path(path)).ok()?;
    (source.read_at(&mut head, 0).ok()? == LOG_HEAD).then_some(head)
}

fn name_of(path: &[u8]) -> Option<Name> {
    let start = path.iter().rposition(|byte| *byte == b'/')? + 1;
    Name::new(&path[start..]).ok()
}
