//! What's kept although it isn't there goes along with the folder that it was in: where that gets another name, the point keeps it below the new
//! one.

use std::collections::BTreeMap;

use coffer_format::NodeId;

use super::CaptureError;
use super::absent::Absent;
use super::pass::Pass;
use crate::journal::JournalChange;
use crate::path::{split, within};
use crate::platform::stat_path;

type Result<T> = std::result::Result<T, CaptureError>;

/// By the path at which it's kept: the include that it's asked for by, at which there's nothing.
pub(super) type Carried = BTreeMap<Vec<u8>, Vec<u8>>;

impl Absent {
    /// Whether something that was carried along is kept at a path or below it.
    pub(super) fn has_carried(&self, path: &[u8]) -> bool {
        self.carried.keys().any(|kept| within(kept, path).is_some())
    }

    /// Where what an include had is kept.
    pub(super) fn carried_from(&self, include: &[u8]) -> Option<&Vec<u8>> {
        self.carried.iter().find(|(_, of)| *of == include).map(|(kept, _)| kept)
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
            match is_asked(&include) && !is_there(&include) && !is_there(&kept) {
                true => {
                    carried.insert(kept, include);
                }
                false => over.push(kept),
            }
        }
        Ok((carried, over))
    }

    /// A known folder is met at another path: takes along what is missing below it. Nothing of this look is in the journal yet that tells of
    /// the new path.
    pub(super) fn carry_along(&mut self, node: NodeId, to: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut from = Vec::new();
        for (parent, name) in self.reading.journal.names(node)? {
            let Some(folder) = self.reading.journal.path(parent)? else { continue };
            let told = [&folder[..], b"/", name.as_bytes()].concat();
            // A folder above it may have been met at another path before.
            from.push(self.absent.path_now(&told));
            from.push(told);
        }
        from.retain(|path| path != to);
        from.dedup();
        for path in &from {
            self.carry_volumes(path, to)?;
            self.carry_includes(path, to)?;
        }
        Ok(from)
    }

    fn carry_volumes(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let mounts: Vec<Vec<u8>> = self.absent.remembered_below(from).cloned().collect();
        for mounted in mounts {
            let Some(rest) = within(&mounted, from).filter(|rest| !rest.is_empty()) else { continue };
            if self.absent.mounts.has_volume(&mounted) {
                continue;
            }
            let now = [to, rest].concat();
            let device = self.absent.bare.remove(&mounted).filter(|device| *device != 0);
            let device = device.map_or_else(|| self.device_at(&mounted), |device| Ok(Some(device)))?;
            self.absent.remembered.remove(&mounted);
            let since = self.absent.before.remove(&mounted);
            let identity = self.reading.journal.volumes()?.remove(&mounted);
            self.reading.outlet.note(JournalChange::Unwanted { path: mounted })?;
            let Some(device) = device.filter(|_| !self.absent.mounts.has_volume(&now)) else { continue };
            self.absent.remembered.insert(now.clone());
            self.absent.bare.insert(now.clone(), device);
            self.absent.before.extend(since.map(|since| (now.clone(), since)));
            self.reading.outlet.note(JournalChange::Mounted { path: now.clone() })?;
            if let Some(identity) = identity {
                self.reading.outlet.note(JournalChange::Volume { path: now, identity })?;
            }
        }
        Ok(())
    }

    fn carry_includes(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let scope = self.scope.clone();
        let mut moving = Carried::new();
        for include in scope.includes() {
            let Some(rest) = within(include, from).filter(|rest| !rest.is_empty()) else { continue };
            if stat_path(&self.reading.view.at(include)).is_err()
                && self.reading.journal.find(include)?.is_some()
            {
                moving.insert([to, rest].concat(), include.to_vec());
            }
        }
        for (kept, include) in &self.absent.carried {
            if let Some(rest) = within(kept, from).filter(|rest| !rest.is_empty()) {
                moving.insert([to, rest].concat(), include.clone());
            }
        }
        if moving.is_empty() {
            return Ok(());
        }
        self.absent.carried.retain(|_, include| !moving.values().any(|one| one == include));
        self.absent.carried.append(&mut moving);
        // Before the folder's new name: where the capture ends here, the next one knows of both or of neither.
        let carried = self.absent.carried.clone().into_iter().collect();
        self.reading.outlet.note(JournalChange::Carried { carried })
    }

    fn device_at(&self, path: &[u8]) -> Result<Option<u64>> {
        let Some(node) = self.reading.journal.find(path)? else { return Ok(None) };
        Ok(self.reading.journal.node(node)?.map(|known| known.stat.device))
    }

    /// What's said of an include that's missing and was carried along.
    pub(super) fn why_carried(&self, include: &[u8]) -> Option<String> {
        let kept = String::from_utf8_lossy(self.absent.carried_from(include)?);
        Some(format!(
            "is included and has been missing since {{since}}; the folder that it was in has another name now, where the point keeps what the last \
             one had of it ({kept}). Put it back, or correct the configuration"
        ))
    }

    /// The target, with the names that stay for nothing any more.
    pub(super) fn notice_names(target: &mut super::Target, paths: &[Vec<u8>]) {
        for (folder, name) in paths.iter().filter_map(|path| split(path)) {
            target.notice(folder.to_vec(), name.to_vec());
        }
    }
}
