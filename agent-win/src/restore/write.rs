//! Writing what comes: each file beside its place, and put there once it's whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use coffer_format::chunk::Compression;
use coffer_format::limits::PACK_RAW_MAX;
use coffer_format::node::{NodeKind, NodeMeta};
use coffer_format::wire::{Placement, RestoreNode};

use super::{Restored, place};
use crate::path::{as_path, split};
use crate::platform;

/// Most sentences that are kept.
const LACKING_MAX: usize = 10_000;

/// A restore under way.
pub(super) struct Restoring {
    root: Vec<u8>,
    /// Directories that may be written to, and what's to be put back on those that are new.
    directories: BTreeMap<Vec<u8>, Option<New>>,
    batch: HashMap<u32, Growing>,
    /// Where each file is in the end, for its other names.
    places: HashMap<u32, Vec<u8>>,
    /// Other names of files: which file, where, and how the point calls it.
    links: Vec<(u32, Vec<u8>, Vec<u8>)>,
    broken: HashSet<u32>,
    done: Restored,
}

/// A directory that the restore made.
struct New {
    shown: Vec<u8>,
    meta: NodeMeta,
}

/// A file that isn't whole yet.
struct Growing {
    file: File,
    working: Vec<u8>,
    place: Vec<u8>,
    shown: Vec<u8>,
    meta: NodeMeta,
}

impl Restoring {
    pub(super) fn new(root: &Path) -> Restoring {
        let root = platform::path_bytes(root);
        Restoring {
            directories: BTreeMap::from([(root.clone(), None)]),
            root,
            batch: HashMap::new(),
            places: HashMap::new(),
            links: Vec::new(),
            broken: HashSet::new(),
            done: Restored::default(),
        }
    }

    pub(super) fn lack(&mut self, path: &[u8], what: impl Into<String>) {
        if self.done.lacking.len() < LACKING_MAX {
            self.done.lacking.push((path.to_vec(), what.into()));
        }
    }

    pub(super) fn begin(&mut self, node: RestoreNode) {
        let shown = node.path.0.to_vec();
        if let Err(error) = self.try_begin(node) {
            self.lack(&shown, format!("wasn't restored: {error}"));
        }
    }

    fn try_begin(&mut self, node: RestoreNode) -> io::Result<()> {
        let place = place::below(&self.root, &node.path.0).ok_or_else(|| {
            io::Error::other("its name can't be used on this computer; restore it on the box")
        })?;
        let parent = split(&place).map_or(&b""[..], |(parent, _)| parent);
        if place != self.root && !self.directories.contains_key(parent) {
            return Err(io::Error::other("its folder wasn't restored"));
        }
        let RestoreNode { index, path, meta, hard_link_to } = node;
        match (meta.kind, hard_link_to) {
            (_, Some(first)) => self.links.push((first, place, path.0.to_vec())),
            (NodeKind::Directory, None) => self.directory(place, New { shown: path.0.to_vec(), meta })?,
            (NodeKind::File, None) => {
                let working = [parent, format!("/.coffer-restoring-{index}").as_bytes()].concat();
                free(&place)?;
                let file = OpenOptions::new().write(true).create_new(true).open(as_path(&working))?;
                platform::expect_size(&file, &meta)?;
                self.batch.insert(index, Growing { file, working, place, shown: path.0.to_vec(), meta });
            }
            (_, None) => {
                free(&place)?;
                let lacking = platform::put_special(&as_path(&place), &meta)?;
                self.done.files += 1;
                lacking.into_iter().for_each(|what| self.lack(&path.0, what));
            }
        }
        Ok(())
    }

    fn directory(&mut self, place: Vec<u8>, new: New) -> io::Result<()> {
        let new = match fs::create_dir(as_path(&place)) {
            Ok(()) => Some(new),
            // One that was there stays as it is.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(as_path(&place))?;
                if !found.is_dir() {
                    return Err(error);
                }
                None
            }
            Err(error) => return Err(error),
        };
        self.directories.entry(place).or_insert(new);
        Ok(())
    }

    pub(super) fn pack(
        &mut self,
        compression: Compression,
        raw_len: u32,
        placements: &[Placement],
        payload: &[u8],
    ) {
        let raw = unpacked(compression, raw_len, payload);
        for placement in placements {
            let Some(growing) = self.batch.get(&placement.index) else { continue };
            let from = placement.offset as usize;
            let written = raw.as_ref().map_err(ToString::to_string).and_then(|raw| {
                let bytes = raw
                    .get(from..from + placement.len as usize)
                    .ok_or_else(|| "the box sent bytes that don't fit together".to_owned())?;
                platform::write_all_at(&growing.file, bytes, placement.at).map_err(|error| error.to_string())
            });
            match written {
                Ok(()) => self.done.bytes += u64::from(placement.len),
                Err(error) => {
                    let shown = growing.shown.clone();
                    if self.broken.insert(placement.index) {
                        self.lack(&shown, format!("wasn't restored: {error}"));
                    }
                }
            }
        }
    }

    /// Every node so far has all its bytes.
    pub(super) fn finish_batch(&mut self) {
        for (index, growing) in std::mem::take(&mut self.batch) {
            let (shown, working) = (growing.shown.clone(), growing.working.clone());
            let is_broken = self.broken.contains(&index);
            let finished = if is_broken { Ok(Vec::new()) } else { self.finish_file(index, growing) };
            match finished {
                Ok(lacking) if !is_broken => {
                    self.done.files += 1;
                    lacking.into_iter().for_each(|what| self.lack(&shown, what));
                }
                Ok(_) => remove(&working),
                Err(error) => {
                    self.lack(&shown, format!("wasn't restored: {error}"));
                    remove(&working);
                }
            }
        }
        for (first, place, shown) in std::mem::take(&mut self.links) {
            match self.link(first, &place) {
                Ok(()) => self.done.files += 1,
                Err(error) => self.lack(&shown, format!("wasn't restored: {error}")),
            }
        }
    }

    fn finish_file(&mut self, index: u32, growing: Growing) -> io::Result<Vec<String>> {
        let Growing { file, working, place, meta, .. } = growing;
        file.set_len(meta.size)?;
        file.sync_all()?;
        drop(file);
        free(&place)?;
        fs::rename(as_path(&working), as_path(&place))?;
        self.places.insert(index, place.clone());
        Ok(platform::put_back(&as_path(&place), &meta))
    }

    fn link(&self, first: u32, place: &[u8]) -> io::Result<()> {
        let target = self.places.get(&first);
        let target =
            target.ok_or_else(|| io::Error::other("the file that it's another name of isn't there"))?;
        fs::hard_link(as_path(target), as_path(place))
    }

    /// Directories get what belongs to them last, the deepest first: writing into them changes their times.
    pub(super) fn finish(mut self) -> Restored {
        self.finish_batch();
        for (place, new) in std::mem::take(&mut self.directories).into_iter().rev() {
            let Some(New { shown, meta }) = new else { continue };
            for what in platform::put_back(&as_path(&place), &meta) {
                self.lack(&shown, what);
            }
        }
        self.done
    }
}

/// Nothing that's there is replaced.
fn free(place: &[u8]) -> io::Result<()> {
    match fs::symlink_metadata(as_path(place)) {
        Ok(_) => Err(io::Error::other("something is there already; restore to another folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove(working: &[u8]) {
    if let Err(error) = fs::remove_file(as_path(working)) {
        tracing::warn!(%error, "a file that couldn't be restored is left behind");
    }
}

fn unpacked(compression: Compression, raw_len: u32, payload: &[u8]) -> io::Result<Vec<u8>> {
    let raw_len = raw_len as usize;
    if raw_len > PACK_RAW_MAX {
        return Err(io::Error::other("the box sent more than fits a pack"));
    }
    let raw = match compression {
        Compression::Raw => payload.to_vec(),
        Compression::Zstd => zstd::bulk::decompress(payload, raw_len)?,
    };
    if raw.len() == raw_len {
        Ok(raw)
    } else {
        Err(io::Error::other("a pack has another length than it says"))
    }
}
