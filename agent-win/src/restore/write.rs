//! Writing what comes. Each node is decided once: put in its place, left alone, or named as lacking.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use coffer_format::chunk::Compression;
use coffer_format::node::{NodeKind, NodeMeta};
use coffer_format::wire::{LeftOut, Placement, RestoreNode};

use super::batch::Ending;
use super::directories::Directory;
use super::existing::Existing;
use super::folders::{Folders, working_name};
use super::growing::{Growing, Spot, is_full};
use super::links::Link;
use super::place::{Drives, place};
use super::pool::{PackJob, Pool};
use super::put::{Verdict, forget, judge};
use super::specials::{self, Specials};
use super::streams::{Stream, parted};
use super::twin::Twin;
use super::waiting::WaitingFiles;
use super::{Goal, NOT_GIVEN, Restored};
use crate::path::split;
use crate::platform::{self, HeldEntry, HeldFolder};
use crate::scan::ObjectId;

/// Most sentences that are kept.
const LACKING_MAX: usize = 10_000;

/// A restore under way.
pub(super) struct Restoring {
    pub(super) folders: Folders,
    pub(super) drives: Drives,
    pub(super) rule: Existing,
    specials: Specials,
    pub(super) waits: WaitingFiles,
    /// What was asked for, by names joined with slashes; everything where there's none.
    pub(super) named: Vec<Vec<u8>>,
    /// Folders that may be written to, and what's to be put back on them.
    pub(super) directories: BTreeMap<Vec<u8>, Directory>,
    pub(super) batch: HashMap<u32, Arc<Growing>>,
    /// Which of the batch are streams, and what they're called.
    pub(super) batch_streams: HashMap<u32, Vec<u8>>,
    /// Where each file is in the end, for its other names and its streams.
    pub(super) places: HashMap<u32, Placed>,
    pub(super) links: Vec<Link>,
    /// The batch before, which the disk is still at work on.
    pub(super) ending: Option<Ending>,
    pub(super) streams: Vec<Stream>,
    /// What's settled already: the box sends everything again after the line was broken.
    pub(super) decided: HashSet<u32>,
    pool: Pool,
    /// Bytes of files that came to nothing.
    pub(super) wasted: u64,
    /// There's no room for more.
    pub(super) is_full: bool,
    /// A folder on each disk that was written to.
    pub(super) disks: BTreeMap<u64, Arc<HeldFolder>>,
    pub(super) done: Restored,
    /// The first that wasn't given to its owner, and how many there are.
    not_given: Option<(Vec<u8>, u64)>,
}

/// A file or folder that's in its place.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) place: Vec<u8>,
    pub(super) object: ObjectId,
}

impl Restoring {
    /// What's in `paths` was asked for: everything where there's none.
    pub(super) fn new(goal: &Goal, paths: &[Vec<u8>]) -> io::Result<Restoring> {
        let normal = |path: &Vec<u8>| {
            let names: Vec<&[u8]> =
                path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
            names.join(&b'/')
        };
        Ok(Restoring {
            folders: Folders::open(goal.to.as_deref())?,
            drives: goal.drives(),
            rule: goal.existing,
            specials: goal.specials,
            waits: goal.waits.clone(),
            named: paths.iter().map(normal).filter(|path| !path.is_empty()).collect(),
            directories: BTreeMap::from([(Vec::new(), Directory::default())]),
            batch: HashMap::new(),
            batch_streams: HashMap::new(),
            places: HashMap::new(),
            links: Vec::new(),
            ending: None,
            streams: Vec::new(),
            decided: HashSet::new(),
            pool: Pool::start(),
            wasted: 0,
            is_full: false,
            disks: BTreeMap::new(),
            done: Restored::default(),
            not_given: None,
        })
    }

    pub(super) fn so_far(&mut self) -> &Restored {
        self.done.bytes = self.pool.bytes() - self.wasted;
        &self.done
    }

    /// Everything comes again, over another line.
    pub(super) fn go_on(&mut self) {
        self.end_batches();
        self.done.left_out.clear();
        self.drop_batch();
    }

    /// Nothing is left of what isn't whole.
    pub(super) fn drop_batch(&mut self) {
        self.links.clear();
        self.batch_streams.clear();
        for (_, growing) in self.take_batch() {
            self.waste(growing);
        }
    }

    /// The files under way, which nobody writes to any more.
    pub(super) fn take_batch(&mut self) -> Vec<(u32, Growing)> {
        self.pool.wait();
        let batch = std::mem::take(&mut self.batch).into_iter();
        batch.filter_map(|(index, growing)| Some((index, Arc::into_inner(growing)?))).collect()
    }

    fn waste(&mut self, growing: Growing) {
        self.wasted += growing.written();
        growing.discard();
    }

    pub(super) fn lack(&mut self, path: &[u8], what: impl Into<String>) {
        let what = what.into();
        if what == NOT_GIVEN {
            self.not_given.get_or_insert_with(|| (path.to_vec(), 0)).1 += 1;
            return;
        }
        if self.done.lacking.len() < LACKING_MAX {
            self.done.lacking.push((path.to_vec(), what));
        }
    }

    /// One line says of all that they aren't their owners'.
    pub(super) fn say_not_given(&mut self) {
        if let Some((first, count)) = self.not_given.take() {
            let more =
                if count > 1 { format!("; so it is with {} others", count - 1) } else { String::new() };
            self.done.lacking.push((first, format!("{NOT_GIVEN}{more}")));
        }
    }

    /// The box couldn't give all of it: what has come is thrown away. Over another line it may.
    pub(super) fn leave_out(&mut self, file: LeftOut) {
        if let Some(index) = file.index {
            self.links.retain(|link| link.index != index);
            self.batch_streams.remove(&index);
            self.pool.wait();
            if let Some(growing) = self.batch.remove(&index).and_then(Arc::into_inner) {
                self.waste(growing);
            }
        }
        if self.done.left_out.len() < LACKING_MAX {
            self.done.left_out.push((file.path.0, file.what));
        }
    }

    pub(super) fn begin(&mut self, node: RestoreNode) {
        if self.is_full || self.decided.contains(&node.index) {
            return;
        }
        let (index, shown) = (node.index, node.path.0.to_vec());
        if let Err(error) = self.try_begin(node) {
            self.not_restored(index, &shown, &error);
        }
    }

    /// A full disk is nothing that each file has to say.
    pub(super) fn not_restored(&mut self, index: u32, shown: &[u8], error: &io::Error) {
        if is_full(error) {
            self.is_full = true;
            return;
        }
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
            self.grow(index, spot, meta)?;
            self.batch_streams.insert(index, name);
            return Ok(());
        }
        if hard_link_to.is_none() && self.specials == Specials::LeaveOff {
            let left_off = specials::leave_off(&mut meta)?;
            left_off.into_iter().for_each(|what| self.lack(&spot.shown, what));
        }
        match (meta.kind, hard_link_to) {
            (_, Some(first)) => self.links.push(Link { index, first, spot }),
            (NodeKind::Directory, None) => self.directory(index, spot, meta)?,
            (_, None) => self.begin_file(index, spot, meta)?,
        }
        Ok(())
    }

    fn begin_file(&mut self, index: u32, mut spot: Spot, meta: NodeMeta) -> io::Result<()> {
        let is_made = self.directories.get(spot.parent()).is_some_and(|folder| folder.is_made);
        let verdict = match is_made {
            // Should something be there all the same, taking its name says so.
            true => Verdict::Put,
            false => judge(&spot.folder, &spot.name, &meta, self.rule)?,
        };
        match verdict {
            Verdict::Alike(object) if meta.kind == NodeKind::File => {
                return self.compare(index, spot, meta, object);
            }
            Verdict::Alike(object) => {
                if self.rule.replaces() && meta.kind != NodeKind::Symlink {
                    let entry = HeldEntry::open_file(&spot.folder, &spot.name)?;
                    let is_it = entry.object()? == object;
                    let lacking = if is_it { entry.put_back(&meta) } else { Vec::new() };
                    lacking.into_iter().for_each(|what| self.lack(&spot.shown, what));
                }
                self.alike(index, &spot, object);
                return Ok(());
            }
            Verdict::InTheWay if self.rule == Existing::Beside => spot = spot.beside()?,
            Verdict::InTheWay => {
                self.keep(index, &spot);
                return Ok(());
            }
            Verdict::Put => {}
        }
        match meta.kind {
            NodeKind::File => self.grow(index, spot, meta),
            _ => self.special(index, spot, &meta),
        }
    }

    /// A file is there that looks as the point has it: whether it is, its bytes tell. One that can't be read isn't known to be.
    fn compare(&mut self, index: u32, spot: Spot, meta: NodeMeta, object: ObjectId) -> io::Result<()> {
        let twin = Twin::open(&spot, object).or_else(|error| match self.rule.replaces() {
            true => Ok(None),
            false => Err(error),
        })?;
        match twin {
            Some(twin) => {
                let growing = Growing::beside_twin(index, spot, meta, twin, self.rule);
                self.batch.insert(index, Arc::new(growing));
                Ok(())
            }
            None => self.grow(index, spot, meta),
        }
    }

    fn grow(&mut self, index: u32, spot: Spot, meta: NodeMeta) -> io::Result<()> {
        self.batch.insert(index, Arc::new(Growing::create(index, spot, meta)?));
        Ok(())
    }

    pub(super) fn alike(&mut self, index: u32, spot: &Spot, object: ObjectId) {
        // One that an earlier restore left waiting isn't what's wanted any more.
        forget(&spot.folder, &spot.name);
        self.decided.insert(index);
        self.done.alike += 1;
        self.places.insert(index, Placed { place: spot.place.clone(), object });
    }

    /// Something else is there, and stays.
    pub(super) fn keep(&mut self, index: u32, spot: &Spot) {
        self.decided.insert(index);
        if self.done.kept.len() < LACKING_MAX {
            self.done.kept.push(spot.shown.clone());
        }
    }

    /// What has no bytes is made at once, beside its place as well.
    fn special(&mut self, index: u32, spot: Spot, meta: &NodeMeta) -> io::Result<()> {
        let entry = HeldEntry::create_special(&spot.folder, &working_name(index), meta)?;
        let lacking = entry.put_back(meta);
        self.put(index, &spot, entry, Some(meta), lacking)
    }

    pub(super) fn pack(
        &mut self,
        compression: Compression,
        raw_len: u32,
        placements: Vec<Placement>,
        payload: Vec<u8>,
    ) {
        let wanted = placements.into_iter();
        let wanted = wanted.filter_map(|one| Some((self.batch.get(&one.index)?.clone(), one)));
        let placements: Vec<_> = wanted.collect();
        if !placements.is_empty() {
            self.pool.write(PackJob { compression, raw_len, placements, payload });
        }
    }
}
