//! Which node an entry of a directory is.
//!
//! A number tells an object from others only where it's unique and lasting. What a listing gives as 0 has none: there a name
//! alone counts. And a file that has one name only can't be another known one whose own name is still there.

use std::collections::{HashMap, HashSet};

use coffer_format::NodeId;
use coffer_format::node::NodeKind;
use coffer_format::op::Name;

use super::CaptureError;
use super::pass::{Here, Pass};
use crate::journal::Known;
use crate::platform::{IS_BIRTH_FIXED, IS_DEVICE_LASTING, is_gone, stat_path};
use crate::scan::Stat;

/// At most so many second names of new files are remembered.
const NEW_OBJECTS_MAX: usize = 500_000;

/// Which node an entry is.
pub(super) enum Identity {
    /// The one that had this name.
    Same(Box<Known>),
    /// One that had (or has) another name.
    Moved(Box<Known>),
    /// A new file under a name whose file is gone: it goes on as that one's next version.
    Successor(Box<Known>),
    /// Another name of a file that's new in this capture.
    AnotherName(NodeId),
    New,
}

impl Identity {
    /// Whether a folder is where it was, and has the write time that it had.
    pub(super) fn is_as_before(&self, now: &Stat) -> bool {
        // Some have none for their top.
        matches!(self, Identity::Same(known) if known.stat.mtime_ns == now.mtime_ns && now.mtime_ns != 0)
    }
}

type Result<T> = std::result::Result<T, CaptureError>;

impl Pass<'_> {
    /// Where a listing doesn't tell how many names a file has, it's asked; one that's as it was has as many as it had.
    pub(super) fn with_links(&mut self, path: &[u8], stat: Stat, before: Option<&Known>) -> Option<Stat> {
        if stat.links != 0 {
            return Some(stat);
        }
        match before {
            Some(known)
                if known.stat.links != 0 && Stat { links: known.stat.links, ..stat } == known.stat =>
            {
                Some(known.stat)
            }
            _ => match stat_path(&self.reading.view.at(path)) {
                Ok(whole) => Some(whole.numbered_as(&stat)),
                Err(error) => {
                    self.reading.report.unreadable(path, &error);
                    None
                }
            },
        }
    }

    pub(super) fn identity(
        &mut self,
        here: &Here<'_>,
        (path, name): (&[u8], &Name),
        stat: &Stat,
        before: Option<Known>,
        present: &HashSet<u64>,
    ) -> Result<Identity> {
        if let Some(known) = &before
            && is_same_here(&known.stat, stat)
            && !self.taken_over.contains(&known.node)
        {
            if is_known_by_name(&known.stat, stat) && self.reading.journal.names(known.node)?.len() > 1 {
                // They were taken for names of one file when its number still counted: only one of them goes on as it.
                self.taken_over.insert(known.node);
            }
            if let Some(node) = self.stored_before(here, known, stat)? {
                return Ok(Identity::AnotherName(node));
            }
            return Ok(before.map_or(Identity::New, |known| Identity::Same(Box::new(known))));
        }
        if stat.may_have_names()
            && let Some(node) = self.new_objects.get(&(stat.device, stat.inode))
            && !self.unsent.contains_key(node)
        {
            return Ok(Identity::AnotherName(*node));
        }
        let known = if stat.inode == 0 { Vec::new() } else { self.reading.journal.same_objects(stat)? };
        for known in known {
            if self.is_moved(here, (path, name), stat, &known)? {
                if stat.kind == NodeKind::File {
                    self.met_elsewhere.insert(known.node);
                }
                return Ok(Identity::Moved(Box::new(known)));
            }
        }
        match before {
            Some(known) if self.is_succeeded(&known, stat, present)? => {
                self.taken_over.insert(known.node);
                Ok(Identity::Successor(Box::new(known)))
            }
            _ => Ok(Identity::New),
        }
    }

    /// Whether an object goes on here as what it was when it was last seen.
    fn is_moved(
        &self,
        here: &Here<'_>,
        (path, name): (&[u8], &Name),
        stat: &Stat,
        known: &Known,
    ) -> Result<bool> {
        let is_in_itself =
            || Ok::<_, CaptureError>(stat.kind == NodeKind::Directory && self.is_in(here, known.node)?);
        let is_kept = || {
            let is_file = stat.kind == NodeKind::File;
            Ok::<_, CaptureError>(is_file && self.is_kept_by_another_name((here.node, name), known)?)
        };
        Ok(!self.taken_over.contains(&known.node)
            && (stat.may_have_names() || !self.is_still_there(here, known)?)
            && !is_in_itself()?
            && !self.is_of_another_volume(here, (path, name.as_bytes()), known.node)?
            && !is_kept()?)
    }

    /// The node of another name of the same file that's there, where names of one file are stored apart.
    fn stored_before(&self, here: &Here<'_>, known: &Known, stat: &Stat) -> Result<Option<NodeId>> {
        if !stat.may_have_names() || is_known_by_name(&known.stat, stat) {
            return Ok(None);
        }
        let first = self.reading.journal.same_object(stat)?.filter(|first| first.node < known.node);
        match first {
            Some(first) if !self.taken_over.contains(&first.node) && self.is_still_there(here, &first)? => {
                Ok(Some(first.node))
            }
            _ => Ok(None),
        }
    }

    /// A folder that's known by a name in itself, as earlier versions of this agent may have left it, hasn't that name.
    pub(super) fn take_circles_back(
        &mut self,
        here: &Here<'_>,
        known: &mut HashMap<Vec<u8>, Known>,
    ) -> Result<()> {
        // One that's newer than this folder can be over it only where it was moved there.
        let may_be_over = |known: &Known| known.stat.kind == NodeKind::Directory && known.node <= here.node;
        let older: Vec<(Vec<u8>, NodeId)> = known
            .iter()
            .filter(|(_, known)| may_be_over(known))
            .map(|(name, known)| (name.clone(), known.node))
            .collect();
        for (name, node) in older {
            if self.is_in(here, node)?
                && let Ok(own) = Name::new(&name)
            {
                known.remove(&name);
                self.take_back(here.node, own)?;
            }
        }
        Ok(())
    }

    /// An object that wasn't known, and may have more names than the one it was seen by.
    pub(super) fn remember_object(&mut self, stat: &Stat, node: NodeId) -> Result<()> {
        if !stat.may_have_names() {
            return Ok(());
        }
        if self.new_objects.len() >= NEW_OBJECTS_MAX {
            self.read_deferred()?;
            self.reading.outlet.settle()?;
            self.new_objects.clear();
        }
        self.new_objects.insert((stat.device, stat.inode), node);
        Ok(())
    }

    /// Programs save by writing a new file and renaming it over the old one.
    fn is_succeeded(&self, known: &Known, stat: &Stat, present: &HashSet<u64>) -> Result<bool> {
        let is_file = stat.kind == NodeKind::File && known.stat.kind == NodeKind::File;
        Ok(is_file
            && !self.met_elsewhere.contains(&known.node)
            && !present.contains(&known.stat.inode)
            && self.reading.journal.names(known.node)?.len() == 1)
    }

    /// A directory that's seen at a second place at the same time is mounted there again; a file with one name that's seen
    /// at a second place is another one, or mounted as well: each is another node. Where a place can't be looked at, nobody
    /// knows, and what's stored twice is mixed up with nothing.
    fn is_still_there(&self, here: &Here<'_>, known: &Known) -> Result<bool> {
        for (parent, name) in self.reading.journal.names(known.node)? {
            let is_named = |entry: Option<crate::scan::ListedEntry>| {
                // Where names are folded, the entry has its own: one in another case isn't there any more.
                entry
                    .filter(|entry| entry.name == name.as_bytes())
                    .is_some_and(|entry| entry.stat.map_or(true, |stat| stat.is_same_object(&known.stat)))
            };
            let is_there = if parent == here.node {
                is_named(here.directory.entry(name.as_bytes()))
            } else {
                let Some(path) = self.reading.journal.path(parent)? else { continue };
                match self.reading.view.directory(&path) {
                    Ok(directory) => is_named(directory.entry(name.as_bytes())),
                    Err(error) => !is_gone(&error),
                }
            };
            if is_there {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether what has the same name as before is the same object. Where a device has another number from one start of the computer
/// to the next, that says nothing; elsewhere files of two devices have no numbers that could be compared.
pub(super) fn is_same_here(before: &Stat, now: &Stat) -> bool {
    let is_comparable = !IS_DEVICE_LASTING || before.device == now.device;
    let has_numbers = before.inode != 0 && now.inode != 0 && is_comparable;
    before.kind == now.kind
        && (!has_numbers || (before.inode, before.fixed_birth()) == (now.inode, now.fixed_birth()))
}

/// Whether it's only by its name that it's the same: then nothing but the same times says that its bytes are.
pub(super) fn is_known_by_name(before: &Stat, now: &Stat) -> bool {
    now.inode == 0 || before.device != now.device && now.fixed_birth() == 0
}

/// Whether the number may have been another file's before: a birth time would tell.
pub(super) fn may_be_reused(stat: &Stat) -> bool {
    IS_BIRTH_FIXED && stat.btime_ns == 0
}
