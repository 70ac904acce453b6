//! Where another volume is mounted than the one that was captured, or one over a folder that was. What's there now is none of what
//! the point has by those names, and what the point has isn't gone: it's kept, and nothing of the other is taken, until the right
//! one is back or somebody sets the configuration anew.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::NodeId;
use coffer_format::node::NodeKind;

use super::CaptureError;
use super::pass::{Here, Pass};
use crate::config::below;
use crate::journal::JournalChange;
use crate::platform::{Directory, Mounts, may_be_same_volume, may_stand_for};

type Result<T> = std::result::Result<T, CaptureError>;

/// Volumes as they're known, and the others.
#[derive(Default)]
pub(super) struct Strangers {
    /// By mount point, what tells the volume from others.
    identities: BTreeMap<Vec<u8>, String>,
    /// The same as the last point has it.
    captured: BTreeMap<Vec<u8>, String>,
    /// Where others are mounted now, and the configuration's revision when that was first seen.
    seen: BTreeMap<Vec<u8>, u32>,
    /// Those that nobody has accepted.
    refused: BTreeSet<Vec<u8>>,
}

impl Strangers {
    pub(super) fn refused(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.refused.iter()
    }

    /// The mount point of another volume that a path is or lies below.
    pub(super) fn over(&self, path: &[u8]) -> Option<&Vec<u8>> {
        self.refused.iter().find(|stranger| *stranger == path || below(path, stranger))
    }
}

impl Pass<'_> {
    /// Finds what's mounted where something else was. `remembered` are the mount points of volumes that were captured; all of
    /// them where `are_all_known`.
    pub(super) fn look_for_strangers(
        &self,
        mounts: &Mounts,
        remembered: &BTreeSet<Vec<u8>>,
        are_all_known: bool,
    ) -> Result<Strangers> {
        let journal = &self.reading.journal;
        let (captured, before) = (journal.volumes()?, journal.strangers()?);
        let mut strangers = Strangers { identities: captured.clone(), captured, ..Strangers::default() };
        for path in mounts.volumes().filter(|path| self.scope.is_reachable(path)) {
            let is_other = match remembered.contains(path) {
                true => self.is_other_volume(mounts, path, strangers.identities.get(path))?,
                false => are_all_known && self.covers_captured(path)?,
            };
            if is_other {
                let revision = before.get(path).copied().unwrap_or(self.revision);
                strangers.seen.insert(path.clone(), revision);
                if revision >= self.revision {
                    strangers.refused.insert(path.clone());
                }
            }
        }
        Ok(strangers)
    }

    fn is_other_volume(&self, mounts: &Mounts, path: &[u8], known: Option<&String>) -> Result<bool> {
        let Some(known) = known.filter(|_| !self.reading.view.is_root(path)) else { return Ok(false) };
        if self.reading.journal.find(path)?.is_none() {
            return Ok(false);
        }
        // One that can't be opened is looked at as one that's gone.
        let now = self.reading.view.directory(path).ok().and_then(|top| mounts.identity(path, &top));
        Ok(now.is_some_and(|now| !may_stand_for(known, &now)))
    }

    /// Whether a folder at that path was captured, with something in it, when nothing was mounted there.
    fn covers_captured(&self, path: &[u8]) -> Result<bool> {
        if self.reading.view.is_root(path) {
            return Ok(false);
        }
        let Some(node) = self.reading.journal.find(path)? else { return Ok(false) };
        let known = self.reading.journal.node(node)?;
        let is_folder = known.is_some_and(|known| known.stat.kind == NodeKind::Directory);
        Ok(is_folder && !self.reading.journal.children(node)?.is_empty())
    }

    /// The mount point of a volume that nobody asked for that a path is or lies below.
    pub(super) fn stranger_over<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        self.strangers().over(path).map(|stranger| &path[..stranger.len()])
    }

    /// Remembers which volume is mounted where a folder was listed.
    pub(super) fn remember_identity(&mut self, path: &[u8], top: &Directory) -> Result<()> {
        let Some(identity) = self.mounts().identity(path, top) else { return Ok(()) };
        if self.strangers().identities.get(path) == Some(&identity) {
            return Ok(());
        }
        self.strangers_mut().identities.insert(path.to_vec(), identity.clone());
        self.reading.outlet.note(JournalChange::Volume { path: path.to_vec(), identity })
    }

    /// Whether a known object lay on another volume than the one that an entry lies on. A device's number and those on it are given
    /// to the next one once a volume is gone.
    pub(super) fn is_of_another_volume(
        &self,
        here: &Here<'_>,
        (path, name): (&[u8], &[u8]),
        known: NodeId,
    ) -> Result<bool> {
        let Strangers { identities, captured, .. } = self.strangers();
        if captured.is_empty() {
            return Ok(false);
        }
        let now = match self.mounts().has_volume(path) {
            true => here.directory.open_child(name).ok().and_then(|top| self.mounts().identity(path, &top)),
            false => nearest(identities, path).cloned(),
        };
        let Some(now) = now else { return Ok(false) };
        for (parent, name) in self.reading.journal.names(known)? {
            let Some(folder) = self.reading.journal.path(parent)? else { continue };
            let then = nearest(captured, &[&folder[..], b"/", name.as_bytes()].concat());
            if then.is_none_or(|then| may_be_same_file_system(then, &now)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// For the journal, with the point that says it.
    pub(super) fn note_strangers(&mut self) -> Result<()> {
        let strangers = self.strangers().seen.clone().into_iter().collect();
        self.reading.outlet.note(JournalChange::Strangers { strangers })
    }

    /// What's said of one. `is_volume`: what was captured there was a volume, too.
    pub(super) fn sentence_of_stranger(&self, path: &[u8], since: &str) -> String {
        let (what, mend) = match self.strangers().identities.contains_key(path) {
            true => {
                ("another volume than the one that was captured is mounted here", "mount the right one again")
            }
            false => ("a volume is mounted over this folder", "unmount it"),
        };
        format!(
            "{what}, since {since}: the point keeps what the last one had, and has nothing of what's there now; {mend}, or, if it \
             takes the other's place for good, set the configuration once more with `coffer config set`"
        )
    }
}

/// The volume that a path lies on, of those at these mount points.
fn nearest<'i>(identities: &'i BTreeMap<Vec<u8>, String>, path: &[u8]) -> Option<&'i String> {
    let over = identities.iter().filter(|(mounted, _)| *mounted == path || below(path, mounted));
    over.max_by_key(|(mounted, _)| mounted.len()).map(|(_, identity)| identity)
}

/// As with volumes, whatever folder of each is mounted.
fn may_be_same_file_system(one: &str, other: &str) -> bool {
    let known =
        |identity: &str| identity.split('\t').take(2).map(str::to_owned).collect::<Vec<_>>().join("\t");
    may_be_same_volume(&known(one), &known(other))
}
