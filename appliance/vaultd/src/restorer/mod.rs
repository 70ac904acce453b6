//! Writing a restore to a file system: files from packs in parallel, metadata once a batch is whole, directories last.
//!
//! Nothing that is there already is replaced unless that was asked for, and then only by a rename of the finished file. Names
//! from the other end never lead outside the target.

mod archive;
mod meta;
mod paths;
mod pool;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use coffer_format::entry::ReportLine;
use coffer_format::node::{NodeKind, NodeMeta};
use coffer_format::wire::{LeftOut, Message, RestoreNode};

pub use archive::Archive;
use paths::Target;
use pool::{PackJob, Pool};

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
    /// Left alone because something was there.
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
    fn bytes(&self) -> u64;
    /// Takes the next message.
    fn take(&mut self, message: Message) -> io::Result<()>;
}

/// A file or other object that is being written.
#[derive(Debug)]
pub(crate) struct Written {
    /// Where it's written.
    pub(crate) path: PathBuf,
    pub(crate) meta: NodeMeta,
    /// Set once all bytes and metadata are there.
    pub(crate) finished: AtomicBool,
}

/// A node of the batch under way.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) index: u32,
    pub(crate) written: Arc<Written>,
    /// Where it belongs, if that is elsewhere.
    pub(crate) belongs: PathBuf,
}

/// Takes the messages of a restore.
pub struct Restorer {
    target: Target,
    conflict: Conflict,
    pool: Pool,
    batch: Vec<Node>,
    /// Files by their index, for placements.
    files: HashMap<u32, Arc<Written>>,
    /// Where each file is in the end, for hard links.
    places: HashMap<u32, PathBuf>,
    directories: BTreeMap<PathBuf, RestoreNode>,
    links: Vec<(u32, PathBuf)>,
    outcome: Outcome,
}

impl Restorer {
    /// Restores below `root`, which is made if it isn't there.
    pub fn new(root: &Path, conflict: Conflict) -> io::Result<Restorer> {
        Ok(Restorer {
            target: Target::open(root)?,
            conflict,
            pool: Pool::start(),
            batch: Vec::new(),
            files: HashMap::new(),
            places: HashMap::new(),
            directories: BTreeMap::new(),
            links: Vec::new(),
            outcome: Outcome::default(),
        })
    }
}

impl Sink for Restorer {
    fn bytes(&self) -> u64 {
        self.pool.bytes()
    }

    fn take(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::RestoreNodes { nodes } => {
                nodes.into_iter().for_each(|node| self.begin(node));
                Ok(())
            }
            Message::RestorePack { compression, raw_len, placements, payload } => {
                let wanted = placements
                    .into_iter()
                    .filter_map(|placement| Some((self.files.get(&placement.index)?.clone(), placement)))
                    .collect();
                self.pool.write(PackJob { compression, raw_len, placements: wanted, payload: payload.0 });
                Ok(())
            }
            Message::RestoreBatchEnd => {
                self.finish_batch();
                Ok(())
            }
            Message::RestoreLeftOut { files } => {
                files.iter().filter_map(|file| file.index).for_each(|index| self.throw_away(index));
                self.outcome.lose(files);
                Ok(())
            }
            Message::RestoreEnd { failed, .. } => {
                self.finish_batch();
                self.outcome.end(failed);
                Ok(())
            }
            _ => Err(misplaced()),
        }
    }
}

impl Restorer {
    /// Ends the restore: directories get their metadata, deepest first.
    pub fn finish(mut self) -> Outcome {
        self.finish_batch();
        for (path, node) in std::mem::take(&mut self.directories).into_iter().rev() {
            if let Err(error) = meta::apply(&path, &node.meta) {
                self.outcome.failed.push((path, error.to_string()));
            }
        }
        self.outcome.bytes = self.pool.bytes();
        self.outcome
    }

    fn begin(&mut self, node: RestoreNode) {
        let shown = shown(&node.path);
        match self.try_begin(node) {
            Ok(true) => {}
            Ok(false) => self.outcome.skipped.push(shown),
            Err(error) => self.outcome.failed.push((shown, error.to_string())),
        }
    }

    /// Finds where a node goes. `false`: something is there, and stays.
    fn try_begin(&mut self, node: RestoreNode) -> io::Result<bool> {
        let path = self.target.resolve(&node.path)?;
        let there = std::fs::symlink_metadata(&path).ok();
        if node.meta.kind == NodeKind::Directory {
            match (there, self.conflict) {
                (None, _) => std::fs::create_dir(&path)?,
                (Some(found), Conflict::Overwrite) if found.is_dir() => {}
                // A directory that was there keeps its owner, mode and times.
                (Some(found), _) if found.is_dir() => return Ok(true),
                (Some(_), _) => return Ok(false),
            }
            self.directories.insert(path, node);
            return Ok(true);
        }
        let (written, belongs) = match (there, self.conflict) {
            (None, _) => (path.clone(), path),
            (Some(_), Conflict::Skip) => return Ok(false),
            (Some(_), Conflict::KeepBoth) => {
                let beside = paths::free_name(&path);
                (beside.clone(), beside)
            }
            (Some(found), Conflict::Overwrite) if found.is_dir() => return Ok(false),
            (Some(_), Conflict::Overwrite) => (paths::working_name(&path, node.index), path),
        };
        if let Some(first) = node.hard_link_to {
            self.links.push((first, belongs));
            return Ok(true);
        }
        let RestoreNode { index, meta, .. } = node;
        let is_file = meta.kind == NodeKind::File;
        let written = Arc::new(Written { path: written, meta, finished: AtomicBool::new(false) });
        if is_file {
            self.files.insert(index, written.clone());
        }
        self.batch.push(Node { index, written, belongs });
        Ok(true)
    }

    /// The other end couldn't give all of it.
    fn throw_away(&mut self, index: u32) {
        self.outcome.failed.extend(self.pool.wait());
        self.files.remove(&index);
        let Some(at) = self.batch.iter().position(|node| node.index == index) else { return };
        let node = self.batch.swap_remove(at);
        match std::fs::remove_file(&node.written.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.outcome.failed.push((node.written.path.clone(), format!("is half-written: {error}")));
            }
            _ => {}
        }
    }

    fn finish_batch(&mut self) {
        self.outcome.failed.extend(self.pool.wait());
        let batch = std::mem::take(&mut self.batch);
        self.outcome.files += batch.len() as u64;
        self.files.clear();
        for node in &batch {
            if node.written.meta.kind == NodeKind::File {
                self.places.insert(node.index, node.belongs.clone());
            }
        }
        self.outcome.failed.extend(meta::finish_all(batch));
        for (first, path) in std::mem::take(&mut self.links) {
            let linked = match self.places.get(&first) {
                Some(target) => relink(target, &path),
                None => Err(io::Error::other("the file that it's another name of wasn't restored")),
            };
            match linked {
                Ok(()) => self.outcome.files += 1,
                Err(error) => self.outcome.failed.push((path, error.to_string())),
            }
        }
    }
}

fn misplaced() -> io::Error {
    io::Error::other("a message came that has no place in a restore: use programs of the same version")
}

fn relink(target: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(target, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let working = paths::working_name(path, 0);
            std::fs::hard_link(target, &working)?;
            std::fs::rename(&working, path)
        }
        other => other,
    }
}
