//! The other names of what lost one.
//!
//! What's noticed are names. A file that was changed by one of its names may have lost that one by the time that it's looked at, and
//! nothing tells of the others: they'd keep the bytes that the file had before. So where a look at what was noticed finds that a name
//! is gone or another file's, the other names of what was known by it are looked at as well; of a folder, those of all that was in it.

use std::collections::HashSet;

use coffer_format::NodeId;
use coffer_format::node::NodeKind;

use super::pass::{Pass, whole};
use super::{CaptureError, Target};
use crate::journal::Known;
use crate::scan::{Pending, Walk};

/// So many that lost a name are remembered; beyond them everything is looked at.
const LOST_MAX: usize = 100_000;

type Result<T> = std::result::Result<T, CaptureError>;

/// What lost a name in this capture.
pub(super) struct OtherNames {
    /// Folders, and what has other names, that wait to have those looked at.
    lost: HashSet<NodeId>,
    /// Whose other names were looked at.
    done: HashSet<NodeId>,
    /// Those names: each further look goes there as well.
    names: Target,
}

impl OtherNames {
    pub(super) fn new() -> OtherNames {
        OtherNames { lost: HashSet::new(), done: HashSet::new(), names: Target::nothing() }
    }

    fn is_overfull(&self) -> bool {
        self.lost.len() + self.done.len() >= LOST_MAX
    }
}

impl Pass<'_> {
    /// What a further look goes to: the other names that an earlier one found, too.
    pub(super) fn with_other_names(&self, target: &Target) -> Target {
        let mut target = target.clone();
        target.add(&self.other_names.names);
        target
    }

    /// That node isn't there any more by a name that it had.
    pub(super) fn lost_a_name(&mut self, node: NodeId, kind: NodeKind) -> Result<()> {
        if !self.is_partial || self.encloses || self.other_names.is_overfull() {
            return Ok(());
        }
        let has_others = || Ok::<_, CaptureError>(self.reading.journal.names(node)?.len() > 1);
        if kind == NodeKind::Directory || has_others()? {
            self.other_names.lost.insert(node);
        }
        Ok(())
    }

    /// Looks at the other names of all that lost one; whether there were any.
    pub(super) fn look_at_other_names(&mut self, walk: &mut Walk) -> Result<bool> {
        let mut were_any = false;
        while self.is_partial && !self.other_names.lost.is_empty() {
            let lost = std::mem::take(&mut self.other_names.lost);
            if !self.have_others(&lost)? {
                break;
            }
            were_any = true;
            // What was met elsewhere meanwhile is known to be there from now on.
            self.know_what_was_sent()?;
            let names = self.others_of(lost)?;
            match &names {
                Target::Everything => {
                    self.is_partial = false;
                    walk.push(Pending { is_hinted: self.is_first_look, ..whole(Vec::new(), NodeId::ROOT) });
                }
                Target::These(dirty) => self.push_dirty(walk, &dirty.directories)?,
            }
            self.other_names.names.add(&names);
            self.walk_on(walk)?;
            self.read_deferred()?;
        }
        Ok(were_any)
    }

    /// Whether any of these has other names, or something in it: most that's removed hasn't.
    fn have_others(&self, lost: &HashSet<NodeId>) -> Result<bool> {
        let mut is_any = self.other_names.is_overfull();
        self.each_below(lost.iter().copied().collect(), |_| {
            is_any = true;
            Ok(false)
        })?;
        Ok(is_any)
    }

    fn others_of(&mut self, lost: HashSet<NodeId>) -> Result<Target> {
        let mut names = if self.other_names.is_overfull() { Target::Everything } else { Target::nothing() };
        let mut done = std::mem::take(&mut self.other_names.done);
        let gone = lost.into_iter().filter_map(|node| {
            self.is_met_elsewhere(node).map(|is_met| (!is_met).then_some(node)).transpose()
        });
        let gone = gone.collect::<Result<Vec<_>>>()?;
        self.each_below(gone, |node| {
            if done.insert(node) {
                for (folder, name) in self.reading.journal.names(node)? {
                    if let Some(folder) = self.reading.journal.path(folder)? {
                        names.notice(folder, name.as_bytes().to_vec());
                    }
                }
            }
            Ok(done.len() < LOST_MAX)
        })?;
        if done.len() >= LOST_MAX {
            names = Target::Everything;
        }
        self.other_names.done = done;
        Ok(names)
    }

    /// Whether it's a folder that has another place by now, to which this look went.
    fn is_met_elsewhere(&self, node: NodeId) -> Result<bool> {
        let known = self.reading.journal.node(node)?;
        if known.is_none_or(|known| known.stat.kind != NodeKind::Directory) {
            return Ok(false);
        }
        let names = self.reading.journal.names(node)?;
        Ok(names.into_iter().any(|name| !self.leaving.contains_key(&name)))
    }

    /// Gives each of these that's no folder, and each with several names that's known below those that are, until it's told to end.
    fn each_below(&self, lost: Vec<NodeId>, mut take: impl FnMut(NodeId) -> Result<bool>) -> Result<()> {
        let mut folders = Vec::new();
        for node in lost {
            match self.reading.journal.node(node)? {
                Some(known) if known.stat.kind == NodeKind::Directory => folders.push(node),
                Some(_) if !take(node)? => return Ok(()),
                _ => {}
            }
        }
        while let Some(folder) = folders.pop() {
            self.reading.progress.check()?;
            for known in self.reading.journal.children(folder)?.into_values() {
                let is_folder = known.stat.kind == NodeKind::Directory;
                if !is_folder && !may_have_others(&known) {
                    continue;
                }
                let has_others = self.reading.journal.names(known.node)?.len() > 1;
                match is_folder {
                    // It was met elsewhere.
                    true if has_others => {}
                    true => folders.push(known.node),
                    false if has_others && !take(known.node)? => return Ok(()),
                    false => {}
                }
            }
        }
        Ok(())
    }
}

/// Where the box was asked what it has, nobody knows how many names a file had.
fn may_have_others(known: &Known) -> bool {
    known.stat.links != 1
}
