//! A disk whose power can be cut at any operation, and that then keeps any subset of what wasn't synced.
//!
//! Every operation that changes something is counted. At the chosen count the power is cut: that operation and all later
//! ones fail. `reboot` gives the disk that the next start would find: what was synced, and of each
//! unsynced write (in pieces of 512 bytes), truncation, creation, removal and rename a pseudo-random choice.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Disk, DiskFile, FileMark, Named};

/// When the power is cut, and which choice of unsynced writes survives.
#[derive(Debug, Clone, Copy)]
pub struct PowerCut {
    /// The operation (from 0) that no longer happens.
    pub at_operation: u64,
    /// Chooses what survives.
    pub seed: u64,
}

/// See the module.
#[derive(Clone)]
pub struct CrashDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What programs see now.
    now: BTreeMap<PathBuf, Arc<Mutex<Node>>>,
    /// Directory entries that survive a cut.
    durable: BTreeMap<PathBuf, Arc<Mutex<Node>>>,
    operations: u64,
    cut: Option<PowerCut>,
    dead: bool,
    fail_sync: bool,
    free: Option<u64>,
}

#[derive(Default)]
struct Node {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Default for CrashDisk {
    fn default() -> Self {
        CrashDisk::new()
    }
}

impl CrashDisk {
    /// An empty disk that never loses power.
    pub fn new() -> CrashDisk {
        CrashDisk(Arc::new(Mutex::new(State::default())))
    }
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the disk")
    }
    /// Cuts the power at that operation.
    pub fn cut_power(&self, cut: PowerCut) {
        self.state().cut = Some(cut);
    }
    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }
    /// From now on every `sync` fails, as a dying disk's would.
    pub fn fail_syncs(&self, fail: bool) {
        self.state().fail_sync = fail;
    }
    /// Sets how much can still be written; `None` is no limit.
    pub fn set_free(&self, free: Option<u64>) {
        self.state().free = free;
    }
    /// Flips a bit in a file, in memory and on the medium.
    pub fn flip_bit(&self, path: &Path, offset: u64) {
        let state = self.state();
        let mut node = state.now[path].lock().expect("see state");
        node.now[offset as usize] ^= 1;
        if let Some(byte) = node.durable.get_mut(offset as usize) {
            *byte ^= 1;
        }
    }

    /// The disk as the next start finds it.
    pub fn reboot(&self) -> CrashDisk {
        let state = self.state();
        let mut random = Random(state.cut.map_or(1, |cut| cut.seed) | 1);
        let mut found = State::default();
        let paths: std::collections::BTreeSet<_> =
            state.now.keys().chain(state.durable.keys()).cloned().collect();
        for path in paths {
            let (before, after) = (state.durable.get(&path), state.now.get(&path));
            let same = matches!((before, after), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
            let kept = if same || random.flip() { after } else { before };
            if let Some(node) = kept {
                let node = node.lock().expect("see state").survivor(&mut random);
                let node =
                    Arc::new(Mutex::new(Node { durable: node.clone(), now: node, unsynced: Vec::new() }));
                found.now.insert(path.clone(), node.clone());
                found.durable.insert(path, node);
            }
        }
        CrashDisk(Arc::new(Mutex::new(found)))
    }
}

impl Node {
    fn survivor(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match change {
                Change::Truncate(size) if random.flip() => bytes.resize(*size as usize, 0),
                Change::Truncate(_) => {}
                Change::Write(offset, data) => {
                    for (piece, part) in data.chunks(512).enumerate() {
                        if random.flip() {
                            put(&mut bytes, *offset + 512 * piece as u64, part);
                        }
                    }
                }
            }
        }
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, part: &[u8]) {
    let end = offset as usize + part.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(part);
}

struct Random(u64);

impl Random {
    fn flip(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 64 != 0
    }
}

impl State {
    /// Counts a changing operation; fails once the power is gone.
    fn tick(&mut self) -> io::Result<()> {
        if self.cut.is_some_and(|cut| self.operations >= cut.at_operation) {
            self.dead = true;
        }
        self.operations += 1;
        self.alive()
    }
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }
    fn find(&self, path: &Path) -> io::Result<Arc<Mutex<Node>>> {
        self.now.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for CrashDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.tick()?;
        if state.now.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = Arc::new(Mutex::new(Node::default()));
        state.now.insert(path.into(), node.clone());
        Ok(Arc::new(CrashFile { disk: self.clone(), node }))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.alive()?;
        Ok(Arc::new(CrashFile { node: state.find(path)?, disk: self.clone() }))
    }
    fn look_up(&self, path: &Path) -> io::Result<Named> {
        let state = self.state();
        state.alive()?;
        Ok(state.now.get(path).map_or(Named::Nothing, |node| Named::File(mark_of(node))))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        let inside = state.now.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        state.now.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        let node = state.find(from)?;
        state.now.remove(from);
        state.now.insert(to.into(), node);
        Ok(())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        if state.fail_sync {
            return Err(medium_failed());
        }
        let State { now, durable, .. } = &mut *state;
        durable.retain(|path, _| path.parent() != Some(dir));
        let inside = now.iter().filter(|(path, _)| path.parent() == Some(dir));
        durable.extend(inside.map(|(path, node)| (path.clone(), node.clone())));
        Ok(())
    }
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.state().alive()
    }
    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.state().free.unwrap_or(1 << 40))
    }
}

fn mark_of(node: &Arc<Mutex<Node>>) -> FileMark {
    FileMark { device: 0, number: Arc::as_ptr(node).addr() as u64 }
}

/// What the operating system says of it.
fn medium_failed() -> io::Error {
    nix::errno::Errno::EIO.into()
}

struct CrashFile {
    disk: CrashDisk,
    node: Arc<Mutex<Node>>,
}

impl CrashFile {
    fn node(&self) -> std::sync::MutexGuard<'_, Node> {
        self.node.lock().expect("no test panics while it holds a file")
    }
}

impl DiskFile for CrashFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.tick();
        let mut node = self.node();
        // A write under way when the power goes may have reached the medium in part.
        let just_cut =
            outcome.is_err() && state.cut.is_some_and(|cut| cut.at_operation + 1 == state.operations);
        if outcome.is_ok() || just_cut {
            let grows = (offset + bytes.len() as u64).saturating_sub(node.now.len() as u64);
            if let Some(free) = state.free.as_mut() {
                if *free < grows {
                    let fits = bytes.len() - (grows - *free) as usize;
                    *free = 0;
                    put(&mut node.now, offset, &bytes[..fits]);
                    node.unsynced.push(Change::Write(offset, bytes[..fits].to_vec()));
                    return Err(io::ErrorKind::StorageFull.into());
                }
                *free -= grows;
            }
            put(&mut node.now, offset, bytes);
            node.unsynced.push(Change::Write(offset, bytes.to_vec()));
        }
        outcome
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.state().alive()?;
        let node = self.node();
        let end = offset as usize + buffer.len();
        let found = node.now.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
    fn forget_cached(&self) -> io::Result<()> {
        self.disk.state().alive()
    }
    fn size(&self) -> io::Result<u64> {
        self.disk.state().alive()?;
        Ok(self.node().now.len() as u64)
    }
    fn mark(&self) -> io::Result<FileMark> {
        self.disk.state().alive()?;
        Ok(mark_of(&self.node))
    }
    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.tick()?;
        let mut node = self.node();
        if let Some(free) = state.free.as_mut() {
            *free += (node.now.len() as u64).saturating_sub(size);
        }
        node.now.resize(size as usize, 0);
        node.unsynced.push(Change::Truncate(size));
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.tick()?;
        if state.fail_sync {
            return Err(medium_failed());
        }
        let mut node = self.node();
        node.durable = node.now.clone();
        node.unsynced.clear();
        Ok(())
    }
}
