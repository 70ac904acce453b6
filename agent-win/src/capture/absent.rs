//! What's asked for by name, or was mounted, and isn't there. That's no deletion: the point keeps what it had of it, as of a
//! file that can't be read, and says since when. Only what's no longer asked for is given up.
//!
//! Where a volume was mounted there's a bare folder once it's gone. What lies in there is captured besides, where the volume
//! has nothing by that name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use coffer_format::NodeId;
use coffer_format::node::NodeKind;
use coffer_format::op::Name;

use super::carried::{Carried, Missing, notice_names};
use super::identity::{Identity, is_same_here};
use super::pass::{Here, Pass};
use super::strangers::Strangers;
use super::{CaptureError, Target};
use crate::clock::{now_ms, utc};
use crate::config::below;
use crate::journal::{JournalChange, Known};
use crate::path::{ends, folded, split, within};
use crate::platform::{Directory, Mounts, is_gone, path_bytes, stat_path};
use crate::scan::{ListedEntry, Stat, Walk};

/// Noted with the mount points once all of them are known. An older journal has none (or that of a version for which overlays and
/// images were no volumes), nor has one that was recalled.
const ALL_KNOWN: &[u8] = b"all kinds";

type Result<T> = std::result::Result<T, CaptureError>;

/// What isn't there in a look.
#[derive(Default)]
pub(super) struct Absent {
    pub(super) mounts: Mounts,
    /// Where volumes were mounted that were captured.
    pub(super) remembered: BTreeSet<Vec<u8>>,
    are_all_known: bool,
    is_whole: bool,
    /// What the newest point says isn't there, and since when.
    pub(super) before: BTreeMap<Vec<u8>, u64>,
    strangers: Strangers,
    /// Mount points without their volumes, and the device that each volume was.
    pub(super) bare: BTreeMap<Vec<u8>, u64>,
    /// Includes, and folders on the way to one, at which there's nothing.
    pub(super) places: BTreeSet<Vec<u8>>,
    /// What's missing and kept below a folder that got another name.
    pub(super) carried: Carried,
    /// What's missing and known, for when a folder above it is met at another path.
    pub(super) missing: Vec<Missing>,
    /// By include: where what it had was kept, and something else is now.
    pub(super) displaced: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Mount points of missing volumes of which nothing is kept, as the folder that they're in left what's included.
    pub(super) out: BTreeSet<Vec<u8>>,
    /// Mount points that volumes went along from.
    pub(super) left: BTreeSet<Vec<u8>>,
    /// Includes that aren't met, and why.
    includes: BTreeMap<Vec<u8>, String>,
    /// By mount point: files of the bare folder that stand back behind the volume's, and the first of them.
    covered: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    /// Folders that got another name in this look, and the name.
    moved: Vec<MovedFolder>,
    /// Since when each of what isn't there hasn't been, once the look is done.
    since: BTreeMap<Vec<u8>, u64>,
}

/// A folder that got another name in a look.
struct MovedFolder {
    node: NodeId,
    parent: NodeId,
    name: Name,
    path: Vec<u8>,
}

impl Absent {
    /// Whether a path is, or lies below, one that isn't there.
    fn has(&self, path: &[u8]) -> bool {
        self.places.iter().any(|absent| within(path, absent).is_some())
            || self.bare_over(path).is_some()
            || self.strangers.over(path).is_some()
    }

    /// The nearest mount point without its volume that a path is or lies below, and the device that the volume was. What lies on
    /// a volume that's mounted in a bare folder is that one's.
    fn bare_over(&self, path: &[u8]) -> Option<(&Vec<u8>, &u64)> {
        let is_over = |mounted: &[u8]| mounted == path || below(path, mounted);
        let (bare, device) =
            self.bare.iter().filter(|(bare, _)| is_over(bare)).max_by_key(|(bare, _)| bare.len())?;
        let is_nearer = |mounted: &Vec<u8>| mounted.len() > bare.len() && is_over(mounted);
        (!self.mounts.volumes().any(is_nearer)).then_some((bare, device))
    }

    /// Mount points that a path leads to.
    fn remembered_below(&self, path: &[u8]) -> impl Iterator<Item = &Vec<u8>> {
        let (own, inside) = (self.remembered.get(path), [path, b"/"].concat());
        let deeper = self.remembered.range(inside.clone()..);
        own.into_iter().chain(deeper.take_while(move |mounted| mounted.starts_with(&inside)))
    }

    fn since_when(&self) -> BTreeMap<Vec<u8>, u64> {
        let now = now_ms();
        let is_told = |path: &&Vec<u8>| self.strangers.over(path).is_none();
        let paths = self.includes.keys().chain(self.bare.keys().filter(is_told));
        let paths = paths.chain(self.strangers.refused());
        paths.map(|path| (path.clone(), self.before.get(path).copied().unwrap_or(now))).collect()
    }
}

impl Pass<'_> {
    /// Finds what isn't there before a look; what the look must go to besides.
    pub(super) fn look_for_absent(&mut self, target: &Target) -> Result<Target> {
        let before = match self.is_first_look {
            true => self.reading.journal.absent()?,
            false => std::mem::take(&mut self.absent.before),
        };
        let (left, out) = (std::mem::take(&mut self.absent.left), std::mem::take(&mut self.absent.out));
        let displaced = std::mem::take(&mut self.absent.displaced);
        if !left.is_empty() {
            // An earlier look of this capture took something along: the journal knows where to.
            self.reading.outlet.settle()?;
        }
        let mut absent = Absent { before, left, out, displaced, ..Absent::default() };
        let mut remembered = self.reading.journal.mounts()?;
        remembered.retain(|path| !absent.left.contains(path));
        absent.are_all_known = remembered.contains(ALL_KNOWN);
        absent.before.retain(|path, _| self.scope.is_reachable(path));
        for path in remembered.into_iter().filter(|path| path.starts_with(b"/")) {
            match self.scope.is_reachable(&path) {
                true => absent.remembered.insert(path),
                false => {
                    self.reading.outlet.note(JournalChange::Unwanted { path })?;
                    continue;
                }
            };
        }
        absent.mounts = self.mounted(&absent.remembered)?;
        absent.strangers =
            self.look_for_strangers(&absent.mounts, &absent.remembered, absent.are_all_known)?;
        // One whose server or disk is gone may be mounted still.
        let is_gone = |path: &Vec<u8>| {
            !absent.mounts.has_volume(path) || stat_path(&self.reading.view.at(path)).is_err()
        };
        for path in absent.remembered.clone().into_iter().filter(is_gone) {
            let device = match self.reading.journal.find(&path)? {
                Some(node) => self.reading.journal.node(node)?.map(|known| known.stat.device),
                None => None,
            };
            match device {
                Some(device) => drop(absent.bare.insert(path, device)),
                // Nothing of it is at the box: the folder is captured like any other.
                None => {
                    absent.remembered.remove(&path);
                    self.reading.outlet.note(JournalChange::Unwanted { path })?;
                }
            }
        }
        absent.places = self.places();
        absent.is_whole = matches!(target, Target::Everything);
        let (mut carried, over) = self.carried_before()?;
        carried.retain(|kept, include| absent.displaced.get(include) != Some(kept));
        absent.carried = carried;
        let mut with_returned = self.with_returned(target, &absent);
        notice_names(&mut with_returned, &over);
        absent.missing = self.find_missing(&absent)?;
        self.awaited = self.to_be_met(&absent);
        self.absent = absent;
        Ok(with_returned)
    }

    fn mounted(&self, remembered: &BTreeSet<Vec<u8>>) -> Result<Mounts> {
        let mounts = Mounts::read().map_err(CaptureError::Mounts)?;
        let waiting: Vec<&Vec<u8>> = remembered.iter().filter(|path| mounts.waits_for_a_look(path)).collect();
        if waiting.is_empty() {
            return Ok(mounts);
        }
        for path in waiting {
            if let Err(error) = self.reading.view.directory(path) {
                tracing::debug!(%error, "a volume isn't mounted though somebody looks");
            }
        }
        Mounts::read().map_err(CaptureError::Mounts)
    }

    /// The first folder on the way to each include that isn't there.
    fn places(&self) -> BTreeSet<Vec<u8>> {
        let mut places: BTreeSet<Vec<u8>> = BTreeSet::new();
        for way in self.scope.ways() {
            let is_below = places.iter().any(|place| below(way, place));
            if !way.is_empty() && !is_below && stat_path(&self.reading.view.at(way)).is_err() {
                places.insert(way.to_vec());
            }
        }
        places
    }

    /// Nobody watched what wasn't there: once it is, all of it is looked at. So is a bare folder once it's seen.
    fn with_returned(&self, target: &Target, absent: &Absent) -> Target {
        let mut target = target.clone();
        let returned = absent.before.keys().filter(|path| !absent.has(path));
        let bared = absent.bare.keys().filter(|path| !absent.before.contains_key(*path));
        for path in returned.chain(bared) {
            let Some((parent, name)) = split(path) else { continue };
            target.notice(parent.to_vec(), name.to_vec());
            if stat_path(&self.reading.view.at(path)).is_ok_and(|stat| stat.kind == NodeKind::Directory) {
                target.notice_all(path.clone());
            }
        }
        target
    }

    /// Paths that are asked for by name and must be met: in a look at a part, those that may have come or gone. The root always
    /// is.
    fn to_be_met(&self, absent: &Absent) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let is_open = |path: &[u8]| absent.is_whole || absent.before.contains_key(path) || absent.has(path);
        // What lies below another volume than its own isn't met: that volume is told of.
        let is_hidden = |path: &[u8]| absent.strangers.over(path).is_some();
        let includes =
            self.scope.includes().filter(|path| !path.is_empty() && is_open(path) && !is_hidden(path));
        includes.map(compared).collect()
    }

    /// Whether nothing else is to be expected than that a folder can't be opened.
    pub(super) fn is_absent(&self, path: &[u8]) -> bool {
        self.absent.has(path)
    }

    /// The folder whose volume is gone that a path is or lies in. It's looked at as one: what lies in there got mixed up with what
    /// the volume has.
    pub(super) fn bare_over(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.absent.bare_over(path).map(|(bare, _)| bare.clone())
    }

    /// Whether an opened folder lies on the volume that's expected there. One that's reached from its parent can only lie
    /// elsewhere where something is or was mounted.
    pub(super) fn is_on_its_volume(&self, path: &[u8], directory: &Directory, is_by_path: bool) -> bool {
        let Absent { mounts, remembered, .. } = &self.absent;
        let is_asked = is_by_path || mounts.has_volume(path) || remembered.contains(path);
        !is_asked || mounts.is_still(path, directory).unwrap_or(false)
    }

    /// Remembers that a volume is mounted where a folder was listed.
    pub(super) fn remember_mount(&mut self, path: &[u8], directory: &Directory) -> Result<()> {
        let Absent { mounts, remembered, .. } = &self.absent;
        if !mounts.has_volume(path) {
            return Ok(());
        }
        if remembered.contains(path) {
            return self.remember_identity(path, directory);
        }
        if self.scope.leads_over(path) || !directory.is_pseudo().unwrap_or(true) {
            self.absent.remembered.insert(path.to_vec());
            self.reading.outlet.note(JournalChange::Mounted { path: path.to_vec() })?;
            self.remember_identity(path, directory)?;
        }
        Ok(())
    }

    pub(super) fn mounts(&self) -> &Mounts {
        &self.absent.mounts
    }

    pub(super) fn strangers(&self) -> &Strangers {
        &self.absent.strangers
    }

    pub(super) fn strangers_mut(&mut self) -> &mut Strangers {
        &mut self.absent.strangers
    }

    /// Where no journal remembers what was mounted: a folder on another device than the one that it's in was.
    pub(super) fn recall_mounts(
        &mut self,
        here: &Here<'_>,
        known: &HashMap<Vec<u8>, Known>,
        entries: &[ListedEntry],
    ) -> Result<()> {
        if self.absent.are_all_known {
            return Ok(());
        }
        let Some(device) = self.device_then(here.node, known)? else { return Ok(()) };
        let now = crate::platform::device_of(here.directory);
        let is_elsewhere =
            |known: &Known| known.stat.kind == NodeKind::Directory && known.stat.device != device;
        for (name, known) in known.iter().filter(|(_, known)| is_elsewhere(known)) {
            let is_there = entries.iter().any(|entry| {
                entry.name == **name && entry.stat.as_ref().map_or(true, |stat| Some(stat.device) != now)
            });
            let path = here.child(name);
            if !is_there && self.scope.is_reachable(&path) && !self.absent.mounts.has_volume(&path) {
                self.absent.remembered.insert(path.clone());
                self.absent.bare.insert(path.clone(), known.stat.device);
                self.reading.outlet.note(JournalChange::Mounted { path })?;
            }
        }
        Ok(())
    }

    /// The device that a folder lay on; of the root, of which nothing is kept, the one of most of its folders.
    fn device_then(&self, node: NodeId, known: &HashMap<Vec<u8>, Known>) -> Result<Option<u64>> {
        if node != NodeId::ROOT {
            return Ok(self.reading.journal.node(node)?.map(|known| known.stat.device));
        }
        let mut devices: BTreeMap<u64, usize> = BTreeMap::new();
        for known in known.values() {
            *devices.entry(known.stat.device).or_default() += 1;
        }
        Ok(devices.into_iter().max_by_key(|(_, count)| *count).map(|(device, _)| device))
    }

    /// What an entry is to be compared as where something is or was mounted; `None` where there's nothing to compare.
    pub(super) fn as_expected(
        &mut self,
        walk: &mut Walk,
        here: &Here<'_>,
        (path, name): (&[u8], &[u8]),
        stat: Stat,
        before: Option<&Known>,
    ) -> Result<Option<Stat>> {
        if self.stranger_over(path).is_some() {
            return Ok(None);
        }
        let is_folder = stat.kind == NodeKind::Directory;
        let bare = self.absent.bare_over(path).map(|(bare, device)| (bare.clone(), *device));
        if let Some((bare, device)) = bare
            && let Some(known) = before
            && (bare == path || !is_of_bare(known, &stat, device))
        {
            self.met(path);
            if is_folder && known.stat.kind == NodeKind::Directory {
                if here.is_whole {
                    self.push_directory(walk, here, name, known.node, (false, here.is_hinted));
                }
            } else {
                let (count, _) = self.absent.covered.entry(bare).or_insert_with(|| (0, path.to_vec()));
                *count += 1;
            }
            return Ok(None);
        }
        let was_folder = before.is_some_and(|known| known.stat.kind == NodeKind::Directory);
        if !is_folder && was_folder && self.is_way(path) {
            let what = "isn't a folder any more, and isn't captured as long as what lay below it is missing";
            self.reading.report.add_missing(path, what);
            self.keep(path.to_vec());
            return Ok(None);
        }
        if was_folder && self.scope.is_included(path) && self.leads_nowhere(path, &stat) {
            self.keep(path.to_vec());
            return Ok(None);
        }
        if !is_folder || !self.absent.mounts.has_volume(path) || self.reading.view.is_root(path) {
            return Ok(Some(stat));
        }
        self.met(path);
        match self.absent.mounts.top(path, here.directory, name, stat) {
            Ok(Some(top)) => return Ok(Some(top)),
            Err(error) if !is_gone(&error) => {
                self.lacks = true;
                self.reading.report.unreadable(path, &error);
            }
            // Mounted or unmounted this very moment: the next look sees that.
            Ok(None) | Err(_) => self.torn.push(path.to_vec()),
        }
        Ok(None)
    }

    /// Whether it's a link to what isn't there.
    fn leads_nowhere(&self, path: &[u8], stat: &Stat) -> bool {
        let end = || std::fs::metadata(self.reading.view.at(path));
        stat.kind == NodeKind::Symlink && end().is_err_and(|error| is_gone(&error))
    }

    /// Whether a name that isn't there any more stays in the point.
    pub(super) fn keeps(&mut self, here: &Here<'_>, name: &[u8]) -> bool {
        if here.is_bare {
            return true;
        }
        let path = here.child(name);
        let is_kept = self.scope.leads_over(&path)
            || self.absent.remembered_below(&path).next().is_some()
            || self.absent.has_carried(&path);
        if is_kept {
            self.keep(path);
        }
        is_kept
    }

    /// Whether something that's asked for by name, or a volume, lies below a folder.
    fn is_way(&self, path: &[u8]) -> bool {
        let is_over = |include: &[u8]| within(include, path).is_some_and(|rest| !rest.is_empty());
        self.scope.includes().any(is_over)
            || self.absent.remembered_below(path).any(|mounted| is_over(mounted))
            || self.absent.carried.keys().any(|kept| is_over(kept))
    }

    /// Whether a folder on the way to something was made anew: what the box has below it isn't gone with the old one.
    pub(super) fn is_way_anew(&self, path: &[u8], before: &Known, now: &Stat) -> bool {
        self.is_other_folder(before, now) && self.is_way(path)
    }

    /// Whether a folder has the name of another one that isn't met elsewhere.
    pub(super) fn is_other_folder(&self, before: &Known, now: &Stat) -> bool {
        let are_folders = before.stat.kind == NodeKind::Directory && now.kind == NodeKind::Directory;
        let is_elsewhere = || self.absent.moved.iter().any(|folder| folder.node == before.node);
        are_folders && !is_same_here(&before.stat, now) && !is_elsewhere()
    }

    /// It goes on as the one that had its name.
    pub(super) fn way_anew(&mut self, before: Known) -> Identity {
        self.taken_over.insert(before.node);
        Identity::Successor(Box::new(before))
    }

    /// What isn't there any more stays, and all that's asked for below it is missing.
    fn keep(&mut self, path: Vec<u8>) {
        let mounts: Vec<Vec<u8>> = self.absent.remembered_below(&path).cloned().collect();
        let scope = self.scope.clone();
        let is_over = |include: &[u8]| within(include, &path).is_some();
        self.awaited.extend(scope.includes().filter(|include| is_over(include)).map(compared));
        for mounted in mounts {
            self.absent.bare.entry(mounted).or_insert(0);
        }
        self.absent.places.insert(path);
    }

    /// A folder got another name: where the old one is kept although it isn't there, it has only the new one from now on.
    pub(super) fn moved(&mut self, node: NodeId, parent: NodeId, name: Name, path: Vec<u8>) -> Result<()> {
        self.carry_along(node, &path)?;
        self.absent.moved.push(MovedFolder { node, parent, name, path });
        Ok(())
    }

    /// Whether a folder, or one that it lies in, is a known one: that can't be met in itself.
    pub(super) fn is_in(&self, here: &Here<'_>, node: NodeId) -> Result<bool> {
        let is_over = |moved: &MovedFolder| moved.node == node && within(here.path, &moved.path).is_some();
        if here.node == node || self.absent.moved.iter().any(is_over) {
            return Ok(true);
        }
        let mut way = here.path;
        while let Some((folder, _)) = split(way) {
            if self.reading.journal.find(way)? == Some(node) {
                return Ok(true);
            }
            way = folder;
        }
        Ok(false)
    }

    /// Says what isn't there.
    pub(super) fn say_absent(&mut self) -> Result<()> {
        self.take_old_names_back()?;
        for include in std::mem::take(&mut self.awaited).into_values() {
            let why = self.why_not_met(&include)?;
            self.absent.includes.insert(include, why);
        }
        self.say_led_elsewhere();
        for path in self.absent.out.clone() {
            self.lacks = true;
            let what = "the volume that was mounted here is missing, and the folder that it was in has left what's included: this point has \
                        nothing of it any more";
            self.reading.report.add_missing(&path, what);
        }
        self.absent.since = self.absent.since_when();
        for (path, since_ms) in self.absent.since.clone() {
            let since = utc(since_ms);
            let covered = self.absent.covered.get(&path);
            let what = match self.absent.includes.get(&path).filter(|_| !self.absent.bare.contains_key(&path))
            {
                Some(why) => why.replace("{since}", &since),
                None if self.stranger_over(&path).is_some() => self.sentence_of_stranger(&path, &since),
                None => volume_missing(&since, covered, self.scope.is_included(&path)),
            };
            self.reading.report.add_missing(&path, what);
            self.lacks = true;
        }
        if self.absent.is_whole && !self.absent.are_all_known {
            self.reading.outlet.note(JournalChange::Mounted { path: ALL_KNOWN.to_vec() })?;
        }
        Ok(())
    }

    /// What's asked for by a name that has become a link, or leads elsewhere by now, isn't what this look went to.
    fn say_led_elsewhere(&mut self) {
        if cfg!(windows) {
            return;
        }
        let scope = self.scope.clone();
        for include in scope.includes() {
            let path = self.reading.view.at(include);
            if !std::fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_symlink()) {
                continue;
            }
            let Ok(target) = std::fs::canonicalize(&path) else { continue };
            let target = path_bytes(&target);
            let is_met = |one: &[u8]| within(&target, one).is_some() || within(one, &target).is_some();
            if !scope.includes().any(is_met) {
                self.lacks = true;
                let what = "leads elsewhere since this capture began, and what it leads to isn't in this point: the next one follows it";
                self.reading.report.add_missing(include, what);
            }
        }
    }

    fn take_old_names_back(&mut self) -> Result<()> {
        let moved = std::mem::take(&mut self.absent.moved);
        let Absent { places, bare, left, .. } = &self.absent;
        if moved.is_empty() || places.is_empty() && bare.is_empty() && left.is_empty() {
            return Ok(());
        }
        // Names that this look took back already must be out of the journal.
        self.reading.outlet.settle()?;
        for MovedFolder { node, parent, name, .. } in moved {
            for (old_parent, old_name) in self.reading.journal.names(node)? {
                let Some(folder) = self.reading.journal.path(old_parent)? else { continue };
                let path = [&folder[..], b"/", old_name.as_bytes()].concat();
                let is_old = self.absent.has(&path) || self.absent.left.contains(&path);
                if (old_parent, &old_name) != (parent, &name) && is_old {
                    self.reading.outlet.unlink(old_parent, old_name)?;
                }
            }
        }
        Ok(())
    }

    fn why_not_met(&self, include: &[u8]) -> Result<String> {
        if let Some(why) = self.why_carried(include) {
            return Ok(why);
        }
        let known = match self.reading.journal.find(include)? {
            Some(node) => self.reading.journal.node(node)?,
            None => None,
        };
        let is_kept = known.is_some();
        let was_folder = known.is_some_and(|known| known.stat.kind == NodeKind::Directory);
        Ok(match stat_path(&self.reading.view.at(include)) {
            Ok(stat) if was_folder && self.leads_nowhere(include, &stat) => {
                "was a folder and has been missing since {since}: there's a link now that leads nowhere; the point keeps what the \
                 last one had of it. Put it back, or what the link leads to; if it's gone for good, take it out of the configuration"
                    .to_owned()
            }
            Err(error) if is_kept && error.kind() == std::io::ErrorKind::PermissionDenied => format!(
                "is included and couldn't be reached since {{since}} ({error}); the point keeps what the last one had of it. Let the \
                 agent search the folders above it; if it's gone for good, take it out of the configuration"
            ),
            Err(error) if is_kept => format!(
                "is included and has been missing since {{since}} ({error}); the point keeps what the last one had of it. Mount \
                 it or put it back; if it's gone for good, take it out of the configuration"
            ),
            Err(error) => format!("is included but can't be found ({error}); mount or correct it"),
            Ok(_) if self.scope.is_own(include) => {
                "is included and is the agent's own folder, which is in no point; take it out of the configuration".to_owned()
            }
            Ok(_) => match self.closed_above(include) {
                Some((folder, error)) => format!(
                    "is included and there, but couldn't be reached: {folder} can't be listed ({error}); let the agent list it"
                ),
                None => "is included and there, but couldn't be reached: include it by its path without links, short names and \
                         mount points"
                    .to_owned(),
            },
        })
    }

    /// The first folder above a path that can't be opened.
    fn closed_above(&self, path: &[u8]) -> Option<(String, std::io::Error)> {
        let mut above = ends(path).map(|end| &path[..end]).filter(|folder| folder.len() < path.len());
        above.find_map(|folder| {
            let error = self.reading.view.directory(folder).err()?;
            Some((String::from_utf8_lossy(folder).into_owned(), error))
        })
    }

    /// Whether something has gone or come back since the newest point: that's news, though nothing else has changed.
    pub(super) fn is_absence_news(&self) -> bool {
        !self.absent.since.keys().eq(self.absent.before.keys())
    }

    /// For the journal, with the point that says it.
    pub(super) fn note_absent(&mut self) -> Result<()> {
        let paths = self.absent.since.clone().into_iter().collect();
        self.reading.outlet.note(JournalChange::Absent { paths })?;
        let carried = self.absent.carried.clone().into_iter().collect();
        self.reading.outlet.note(JournalChange::Carried { carried })?;
        for path in std::mem::take(&mut self.absent.left) {
            if !self.absent.remembered.contains(&path) {
                self.reading.outlet.note(JournalChange::Unwanted { path })?;
            }
        }
        self.note_strangers()
    }
}

/// A path by what it's compared by.
fn compared(path: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (folded(path).into_owned(), path.to_vec())
}

/// Whether something was captured from a bare folder already, and isn't the volume's.
fn is_of_bare(known: &Known, stat: &Stat, volume: u64) -> bool {
    let before = &known.stat;
    let is_here = before.device == stat.device;
    let is_numbered_alike =
        before.inode != 0 && (before.inode, before.fixed_birth()) == (stat.inode, stat.fixed_birth());
    let is_same = is_numbered_alike && (is_here || stat.fixed_birth() != 0);
    before.kind == stat.kind && (is_same || is_here && volume != stat.device)
}

fn volume_missing(since: &str, covered: Option<&(u64, Vec<u8>)>, is_included: bool) -> String {
    let mend = match is_included {
        true => "take it out of what the configuration includes",
        false => "exclude this folder in the configuration",
    };
    let besides = covered.map_or_else(String::new, |(count, first)| {
        format!(" ({count} files aren't captured, the first: {})", String::from_utf8_lossy(first))
    });
    format!(
        "the volume that's mounted here has been missing since {since}; the point keeps what the last one had of it, and of what \
         lies in the bare folder only what takes none of its names{besides}. Mount it; if it's gone for good, {mend}"
    )
}
