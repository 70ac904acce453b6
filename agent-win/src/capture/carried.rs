//! What's kept although it isn't there goes along with the folder that it was in: where that gets another name, the point keeps it below the new
//! one. Folders are told by their nodes: names may have been swapped.

use std::collections::BTreeMap;

use coffer_format::NodeId;

use super::CaptureError;
use super::Target;
use super::absent::Absent;
use super::pass::Pass;
use crate::journal::JournalChange;
use crate::path::{split, within};
use crate::platform::stat_path;

type Result<T> = std::result::Result<T, CaptureError>;

/// By the path at which it's kept: the include that it's asked for by, at which there's nothing.
pub(super) type Carried = BTreeMap<Vec<u8>, Vec<u8>>;

/// A missing thing of which the box has something.
pub(super) struct Missing {
    node: NodeId,
    /// Where the point keeps it.
    path: Vec<u8>,
    /// Folders above it, the nearest first, as they were before this look, each with the path from there to it.
    above: Vec<(NodeId, Vec<u8>)>,
    what: What,
}

#[derive(Clone)]
enum What {
    /// With the device that it was.
    Volume(u64),
    /// With its path in the configuration.
    Include(Vec<u8>),
}

impl Absent {
    /// Whether a missing volume is kept at a path.
    fn has_volume_of(&self, path: &[u8]) -> bool {
        self.missing.iter().any(|one| one.path == path && matches!(one.what, What::Volume(_)))
    }

    /// Whether something that was carried along is kept at a path or below it.
    pub(super) fn has_carried(&self, path: &[u8]) -> bool {
        self.carried.keys().any(|kept| within(kept, path).is_some())
    }
}

impl Pass<'_> {
    /// What was carried along before, as far as it's still asked for and still missing; and the rest, which has no other reason to stay.
    pub(super) fn carried_before(&self) -> Result<(Carried, Vec<Vec<u8>>)> {
        let is_there = |path: &[u8]| stat_path(&self.reading.view.at(path)).is_ok();
        let is_asked = |include: &[u8]| self.scope.includes().any(|one| one == include);
        let (mut carried, mut over) = (Carried::new(), Vec::new());
        let mut known = self.reading.journal.carried()?;
        // An earlier look of this capture may have carried it.
        known.extend(self.absent.carried.clone());
        for (kept, include) in known {
            let is_kept = is_asked(&include) && !is_there(&include);
            match is_kept && self.reading.journal.find(&kept)?.is_some() {
                true => {
                    carried.insert(kept, include);
                }
                false => over.push(kept),
            }
        }
        Ok((carried, over))
    }

    /// Everything that's missing and of which the box has something, before a look.
    pub(super) fn find_missing(&self, absent: &Absent) -> Result<Vec<Missing>> {
        let volumes = absent.bare.iter().map(|(path, device)| (path.clone(), What::Volume(*device)));
        let is_missing = |include: &&[u8]| absent.places.iter().any(|place| within(include, place).is_some());
        let includes = self.scope.includes().filter(is_missing);
        let includes = includes.map(|include| (include.to_vec(), What::Include(include.to_vec())));
        let carried =
            absent.carried.iter().map(|(kept, include)| (kept.clone(), What::Include(include.clone())));
        let mut missing = Vec::new();
        for (path, what) in volumes.chain(includes).chain(carried) {
            let Some(node) = self.reading.journal.find(&path)? else { continue };
            let above = self.folders_above(&path)?;
            missing.push(Missing { node, path, above, what });
        }
        Ok(missing)
    }

    fn folders_above(&self, path: &[u8]) -> Result<Vec<(NodeId, Vec<u8>)>> {
        let (mut above, mut at) = (Vec::new(), path);
        while let Some((folder, _)) = split(at) {
            if let Some(node) = self.reading.journal.find(folder)? {
                above.push((node, path[folder.len()..].to_vec()));
            }
            at = folder;
        }
        Ok(above)
    }

    /// A known folder is met at another path: takes along what is missing below it. A volume that's met itself isn't missing.
    pub(super) fn carry_along(&mut self, node: NodeId, to: &[u8]) -> Result<()> {
        let is_met = |one: &Missing| one.node == node && matches!(one.what, What::Volume(_));
        let met: Vec<Missing> = self.absent.missing.extract_if(.., |one| is_met(one)).collect();
        for Missing { path, .. } in met {
            self.leave_place(&path);
            self.absent.before.remove(&path);
            // What is there now is looked at as what it is.
            self.torn.push(path);
        }
        for at in 0..self.absent.missing.len() {
            let one = &mut self.absent.missing[at];
            let Some(depth) = one.above.iter().position(|(folder, _)| *folder == node) else { continue };
            let now = [to, &one.above[depth].1].concat();
            // Wherever the folders above that one go, this goes with it.
            one.above.truncate(depth + 1);
            let before = std::mem::replace(&mut one.path, now.clone());
            match one.what.clone() {
                What::Volume(device) => self.carry_volume(&before, &now, device)?,
                What::Include(include) => self.carry_include(&before, &now, &include)?,
            }
        }
        Ok(())
    }

    fn carry_volume(&mut self, before: &[u8], now: &[u8], device: u64) -> Result<()> {
        let identity = self.reading.journal.volumes()?.remove(before);
        self.leave_place(before);
        self.absent.left.remove(now);
        let since = self.absent.before.remove(before);
        if self.absent.mounts.has_volume(now) {
            return Ok(());
        }
        if !self.scope.is_reachable(now) {
            self.absent.out.insert(before.to_vec());
            return Ok(());
        }
        self.absent.remembered.insert(now.to_vec());
        self.absent.bare.insert(now.to_vec(), device);
        self.absent.before.extend(since.map(|since| (now.to_vec(), since)));
        self.reading.outlet.note(JournalChange::Mounted { path: now.to_vec() })?;
        match identity {
            Some(identity) => {
                self.reading.outlet.note(JournalChange::Volume { path: now.to_vec(), identity })
            }
            None => Ok(()),
        }
    }

    /// Until the point is closed the journal knows it by both places: where the capture ends before, one of the two has it.
    fn leave_place(&mut self, path: &[u8]) {
        self.absent.left.insert(path.to_vec());
        // Two may have changed places.
        if !self.absent.has_volume_of(path) {
            self.absent.remembered.remove(path);
            self.absent.bare.remove(path);
        }
    }

    fn carry_include(&mut self, before: &[u8], now: &[u8], include: &[u8]) -> Result<()> {
        if self.absent.carried.get(before).is_some_and(|of| of == include) {
            self.absent.carried.remove(before);
        }
        if now != include {
            self.absent.carried.insert(now.to_vec(), include.to_vec());
        }
        let mut carried = self.reading.journal.carried()?;
        carried.extend(self.absent.carried.clone());
        self.reading.outlet.note(JournalChange::Carried { carried: carried.into_iter().collect() })
    }

    /// Something is met where what an include had was kept: that itself, or what took its name.
    pub(super) fn met_where_kept(&mut self, path: &[u8], is_itself: bool) {
        if let Some(include) = self.absent.carried.remove(path).filter(|_| !is_itself) {
            self.absent.displaced.insert(include, path.to_vec());
        }
    }

    /// What's said of an include that's missing and was carried along.
    pub(super) fn why_carried(&self, include: &[u8]) -> Option<String> {
        let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        if let Some((kept, _)) = self.absent.carried.iter().find(|(_, of)| *of == include) {
            return Some(format!(
                "is included and has been missing since {{since}}; the folder that it was in has another name now, where the point keeps what the \
                 last one had of it ({}). Put it back, or correct the configuration",
                shown(kept)
            ));
        }
        let kept = self.absent.displaced.get(include)?;
        Some(format!(
            "is included and has been missing since {{since}}; what the last point had of it was kept at {}, where something else is now: this one \
             has nothing of it. Put it back, or correct the configuration",
            shown(kept)
        ))
    }
}

/// Has the names looked at that stay for nothing any more.
pub(super) fn notice_names(target: &mut Target, paths: &[Vec<u8>]) {
    for (folder, name) in paths.iter().filter_map(|path| split(path)) {
        target.notice(folder.to_vec(), name.to_vec());
    }
}
