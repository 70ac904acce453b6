//! Writing what comes. Each node is decided once: put in its place, left alone, or named as lacking.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use coffer_format::chunk::Compression;
use coffer_format::node::{NodeKind, NodeMeta};
use coffer_format::wire::{LeftOut, Placement, ReplaceRule, RestoreNode};

use super::folders::{Folders, working_name};
use super::growing::{Growing, Grown, Spot, discard, unpacked};
use super::place::{Drives, place};
use super::put::{Put, Verdict, forget, judge, put};
use super::streams::{Stream, parted};
use super::waiting::WaitingFiles;
use super::{Order, Restored};
use crate::path::split;
use crate::platform::{self, HeldEntry};
use crate::scan::ObjectId;

/// Most sentences that are kept.
const LACKING_MAX: usize = 10_000;

/// A restore under way.
pub(super) struct Restoring {
    pub(super) folders: Folders,
    drives: Drives,
    pub(super) rule: ReplaceRule,
    waits: WaitingFiles,
    /// What was asked for, by names joined with slashes; everything where there's none.
    named: Vec<Vec<u8>>,
    /// Folders that may be written to, and what's to be put back on them.
    pub(super) directories: BTreeMap<Vec<u8>, Directory>,
    batch: HashMap<u32, Growing>,
    /// Which of the batch are streams, and what they're called.
    batch_streams: HashMap<u32, Vec<u8>>,
    /// Where each file is in the end, for its other names and its streams.
    pub(super) places: HashMap<u32, Placed>,
    links: Vec<Link>,
    pub(super) streams: Vec<Stream>,
    /// What's settled already: the box sends everything again after the line was broken.
    pub(super) decided: HashSet<u32>,
    /// What the box couldn't give, this time.
    left_out: Vec<(Vec<u8>, String)>,
    pub(super) done: Restored,
}

/// A folder that may be written to.
#[derive(Default)]
pub(super) struct Directory {
    /// Which it is; none is the one above all.
    pub(super) object: Option<ObjectId>,
    pub(super) is_new: bool,
    kept: Option<Kept>,
}

/// What a folder had.
struct Kept {
    shown: Vec<u8>,
    meta: NodeMeta,
}

/// A file or folder that's in its place.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) place: Vec<u8>,
    pub(super) object: ObjectId,
}

/// Another name of a file.
struct Link {
    index: u32,
    first: u32,
    spot: Spot,
    meta: NodeMeta,
}

impl Restoring {
    pub(super) fn new(order: &Order) -> io::Result<Restoring> {
        let normal = |path: &Vec<u8>| {
            let names: Vec<&[u8]> =
                path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
            names.join(&b'/')
        };
        Ok(Restoring {
            folders: Folders::open(order.goal.to.as_deref())?,
            drives: if order.goal.to.is_some() { Drives::Folder } else { Drives::Drive },
            rule: order.goal.replace,
            waits: order.goal.waits.clone(),
            named: order.paths.iter().map(normal).filter(|path| !path.is_empty()).collect(),
            directories: BTreeMap::from([(Vec::new(), Directory::default())]),
            batch: HashMap::new(),
            batch_streams: HashMap::new(),
            places: HashMap::new(),
            links: Vec::new(),
            streams: Vec::new(),
            decided: HashSet::new(),
            left_out: Vec::new(),
            done: Restored::default(),
        })
    }

    pub(super) fn so_far(&self) -> &Restored {
        &self.done
    }

    /// Everything comes again, over another line.
    pub(super) fn go_on(&mut self) {
        self.left_out.clear();
        self.drop_batch();
    }

    fn drop_batch(&mut self) {
        self.links.clear();
        self.batch_streams.clear();
        for growing in std::mem::take(&mut self.batch).into_values() {
            self.done.bytes -= growing.written;
            growing.discard();
        }
    }

    pub(super) fn lack(&mut self, path: &[u8], what: impl Into<String>) {
        if self.done.lacking.len() < LACKING_MAX {
            self.done.lacking.push((path.to_vec(), what.into()));
        }
    }

    /// The box couldn't give all of it: what has come is thrown away. Over another line it may.
    pub(super) fn leave_out(&mut self, file: LeftOut) {
        if let Some(index) = file.index {
            self.links.retain(|link| link.index != index);
            self.batch_streams.remove(&index);
            if let Some(growing) = self.batch.remove(&index) {
                self.done.bytes -= growing.written;
                growing.discard();
            }
        }
        if self.left_out.len() < LACKING_MAX {
            self.left_out.push((file.path.0, file.what));
        }
    }

    pub(super) fn begin(&mut self, node: RestoreNode) {
        if self.decided.contains(&node.index) {
            return;
        }
        let (index, shown) = (node.index, node.path.0.to_vec());
        if let Err(error) = self.try_begin(node) {
            self.not_restored(index, &shown, &error);
        }
    }

    pub(super) fn not_restored(&mut self, index: u32, shown: &[u8], error: &io::Error) {
        self.decided.insert(index);
        self.lack(shown, format!("wasn't restored: {error}"));
    }

    fn try_begin(&mut self, node: RestoreNode) -> io::Result<()> {
        let RestoreNode { index, path, mut meta, hard_link_to } = node;
        let stream = platform::stream_of(&meta).map(|mark| parted(&path.0, mark)).transpose()?;
        let host = stream.as_ref().map_or(&path.0[..], |(host, _)| host);
        let place = place(host, self.drives).ok_or_else(|| {
            io::Error::other("its name can't be used on this computer; restore it to a folder, or on the box")
        })?;
        let Some((parent, name)) = split(&place).map(|(parent, name)| (parent.to_vec(), name.to_vec()))
        else {
            self.decided.insert(index);
            return Ok(());
        };
        if !self.directories.contains_key(&parent) {
            return Err(io::Error::other("its folder wasn't restored"));
        }
        let folder = if self.is_drive(&place) {
            self.folders.folder(&parent)?
        } else {
            self.folders.clean_folder(&parent)?
        };
        let spot = Spot { folder, name, place, shown: path.0.to_vec() };
        if let Some((_, name)) = stream {
            // Only its bytes are its own.
            meta.attrs.clear();
            self.batch.insert(index, Growing::create(index, spot, meta)?);
            self.batch_streams.insert(index, name);
            return Ok(());
        }
        match (meta.kind, hard_link_to) {
            (_, Some(first)) => self.links.push(Link { index, first, spot, meta }),
            (NodeKind::Directory, None) => self.directory(index, spot, meta)?,
            (kind, None) => match judge(&spot.folder, &spot.name, &meta, self.rule)? {
                Verdict::Alike(object) => self.alike(index, &spot, object),
                Verdict::Put if kind == NodeKind::File => {
                    self.batch.insert(index, Growing::create(index, spot, meta)?);
                }
                Verdict::Put => self.special(index, spot, &meta)?,
            },
        }
        Ok(())
    }

    fn alike(&mut self, index: u32, spot: &Spot, object: ObjectId) {
        // One that an earlier restore left waiting isn't what's wanted any more.
        forget(&spot.folder, &spot.name);
        self.decided.insert(index);
        self.done.alike += 1;
        self.places.insert(index, Placed { place: spot.place.clone(), object });
    }

    /// The top of a drive is nobody's to change.
    fn is_drive(&self, place: &[u8]) -> bool {
        self.drives == Drives::Drive
            && cfg!(windows)
            && place.iter().filter(|byte| **byte == b'/').count() == 1
    }

    /// A folder that's there is kept. One that was asked for gets what it had; one on the way to that stays as it is.
    fn directory(&mut self, index: u32, spot: Spot, meta: NodeMeta) -> io::Result<()> {
        let is_new = spot.folder.make_folder(&spot.name, platform::is_guarded(&meta))?;
        if is_new {
            let lacking = platform::begin_folder(&spot.folder, &spot.name, &meta);
            lacking.into_iter().for_each(|what| self.lack(&spot.shown, what));
        }
        let object = Some(self.folders.folder(&spot.place)?.object()?);
        let is_theirs = self.rule == ReplaceRule::Nothing || !self.is_asked(&spot.shown);
        let stays = self.is_drive(&spot.place) || (!is_new && is_theirs);
        let kept = (!stays).then_some(Kept { shown: spot.shown, meta });
        self.directories.entry(spot.place).or_insert(Directory { object, is_new, kept });
        self.decided.insert(index);
        Ok(())
    }

    fn is_asked(&self, shown: &[u8]) -> bool {
        let covers = |named: &Vec<u8>| {
            shown.strip_prefix(&named[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        self.named.is_empty() || self.named.iter().any(covers)
    }

    /// What has no bytes is made at once, beside its place as well.
    fn special(&mut self, index: u32, spot: Spot, meta: &NodeMeta) -> io::Result<()> {
        let entry = HeldEntry::create_special(&spot.folder, &working_name(index), meta)?;
        let lacking = entry.put_back(meta);
        self.put(index, &spot, entry, Some(meta), lacking)
    }

    /// From the working name to the place. `meta` is of what's new there, and gets what only the place allows.
    fn put(
        &mut self,
        index: u32,
        spot: &Spot,
        mut entry: HeldEntry,
        meta: Option<&NodeMeta>,
        mut lacking: Vec<String>,
    ) -> io::Result<()> {
        let put = match put(&mut entry, &spot.folder, &spot.name, self.rule, &self.waits) {
            Ok(put) => put,
            Err(error) => {
                discard(entry);
                return Err(error);
            }
        };
        if put == Put::Now
            && let Some(meta) = meta
        {
            lacking.extend(entry.put_identity(meta));
        }
        self.settle(index, spot, (put, entry.object()?), lacking);
        Ok(())
    }

    /// It's there, or will be.
    fn settle(&mut self, index: u32, spot: &Spot, (put, object): (Put, ObjectId), lacking: Vec<String>) {
        self.decided.insert(index);
        self.done.files += 1;
        let place = match put {
            Put::Now => spot.place.clone(),
            Put::AtRestart(waiting) => {
                self.done.at_restart.push(spot.shown.clone());
                [spot.parent(), b"/", &waiting].concat()
            }
        };
        self.places.insert(index, Placed { place, object });
        lacking.into_iter().for_each(|what| self.lack(&spot.shown, what));
    }

    pub(super) fn pack(
        &mut self,
        compression: Compression,
        raw_len: u32,
        placements: &[Placement],
        payload: &[u8],
    ) {
        if !placements.iter().any(|placement| self.batch.contains_key(&placement.index)) {
            return;
        }
        let raw = unpacked(compression, raw_len, payload);
        for placement in placements {
            let Some(growing) = self.batch.get_mut(&placement.index) else { continue };
            let before = growing.written;
            growing.write(placement, &raw);
            self.done.bytes += growing.written - before;
        }
    }

    /// Every node so far has all its bytes.
    pub(super) fn finish_batch(&mut self) {
        let mut folders = BTreeMap::new();
        for (index, growing) in std::mem::take(&mut self.batch) {
            let (spot, written) = (growing.spot.clone(), growing.written);
            if let Err(error) = self.finish_file(index, growing) {
                self.done.bytes -= written;
                self.not_restored(index, &spot.shown, &error);
            }
            folders.insert(spot.parent().to_vec(), spot.folder);
        }
        for link in std::mem::take(&mut self.links) {
            let (index, shown) = (link.index, link.spot.shown.clone());
            if let Err(error) = self.link(link) {
                self.not_restored(index, &shown, &error);
            }
        }
        for folder in folders.into_values() {
            if let Err(error) = folder.sync() {
                tracing::warn!(%error, "a folder's names may not have reached the disk yet");
            }
        }
        self.folders.release();
    }

    fn finish_file(&mut self, index: u32, growing: Growing) -> io::Result<()> {
        if let Some(name) = self.batch_streams.remove(&index) {
            return self.keep_stream(index, growing, name);
        }
        let Grown { entry, spot, meta, lacking } = growing.complete()?;
        if self.rule == ReplaceRule::Nothing
            && let Err(error) = judge(&spot.folder, &spot.name, &meta, self.rule)
        {
            // Somebody has put something there meanwhile.
            discard(entry);
            return Err(error);
        }
        self.put(index, &spot, entry, Some(&meta), lacking)
    }

    fn link(&mut self, link: Link) -> io::Result<()> {
        let Link { index, first, spot, meta } = link;
        let Placed { place: first, .. } = self.places.get(&first).cloned().ok_or_else(|| {
            io::Error::other("the file that it's another name of isn't there; restore that one as well")
        })?;
        let (parent, name) = split(&first).ok_or(io::ErrorKind::NotFound)?;
        let folder = self.folders.folder(parent)?;
        let stats =
            [folder.place(name), spot.folder.place(&spot.name)].map(|place| platform::stat_path(&place));
        let same = match stats {
            [Ok(first), Ok(there)] if first.is_same_object(&there) => Some(there.object()),
            _ => None,
        };
        let verdict = match same.filter(|_| self.rule != ReplaceRule::Nothing) {
            Some(object) => Verdict::Alike(object),
            None => judge(&spot.folder, &spot.name, &meta, self.rule)?,
        };
        if let Verdict::Alike(object) = verdict {
            self.alike(index, &spot, object);
            return Ok(());
        }
        let entry = HeldEntry::create_link(&spot.folder, &working_name(index), (&folder, name))?;
        self.put(index, &spot, entry, None, Vec::new())
    }

    /// Folders get what belongs to them last, the deepest first: writing into them changes their times.
    pub(super) fn finish(mut self) -> Restored {
        self.drop_batch();
        self.finish_streams();
        self.done.left_out = self.left_out.len() as u64;
        self.done.lacking.append(&mut self.left_out);
        for (place, directory) in std::mem::take(&mut self.directories).into_iter().rev() {
            let Directory { object, kept: Some(Kept { shown, meta }), .. } = directory else { continue };
            let lacking = self.put_back(&place, object, &meta);
            lacking.into_iter().for_each(|what| self.lack(&shown, what));
        }
        self.done
    }

    fn put_back(&mut self, place: &[u8], object: Option<ObjectId>, meta: &NodeMeta) -> Vec<String> {
        let Some((parent, name)) = split(place) else { return Vec::new() };
        // Nobody else's hold on it, not even ours, is to be in the way.
        self.folders.release();
        let opened = self.folders.folder(parent).and_then(|folder| HeldEntry::open(&folder, name));
        match opened.and_then(|entry| Ok((entry.object()?, entry))) {
            Ok((found, _)) if Some(found) != object => {
                vec![
                    "was put somewhere else meanwhile, and what's in its place now was left alone".to_owned(),
                ]
            }
            Ok((_, entry)) => {
                let mut lacking = entry.put_back(meta);
                lacking.extend(entry.put_identity(meta));
                lacking
            }
            Err(error) => vec![format!("was restored without its permissions and times ({error})")],
        }
    }
}
