//! Names whose files can't be read. Each keeps what the last point had by that name, whatever file has the name by now, and whatever
//! became of the one that had it; and each is named in the report.
//!
//! The bytes that the box has can't be sent again, so they stay with their node: that stays with the name that can't be read, and the file
//! that it was, under another name, is captured as a file of its own once it differs.

use std::io;

use coffer_format::NodeId;
use coffer_format::node::NodeKind;
use coffer_format::op::Name;

use super::CaptureError;
use super::identity::is_same_here;
use super::pass::Pass;
use super::report::Said;
use crate::journal::Known;
use crate::platform::{SourceFile, is_gone, stat_path};
use crate::scan::Stat;

type Result<T> = std::result::Result<T, CaptureError>;

/// Another name of a file that's sent first.
pub(super) struct LateLink {
    pub(super) parent: NodeId,
    pub(super) name: Name,
    pub(super) node: NodeId,
    pub(super) path: Vec<u8>,
    /// What the name was of.
    pub(super) had: Option<NodeId>,
}

impl Pass<'_> {
    /// Whether a name keeps what it was of, as another file has taken it that can't be opened; then that's said.
    pub(super) fn keeps_unread(&mut self, path: &[u8], stat: &Stat, before: Option<&Known>) -> Result<bool> {
        let Some(known) = before.filter(|known| is_other_file(known, stat)) else { return Ok(false) };
        let Some(error) = self.cannot_be_opened(path) else { return Ok(false) };
        self.kept.insert(known.node);
        self.lacks = true;
        self.reading.report.unreadable(path, &error);
        // It may be known by other names, of which nothing was noticed.
        if stat.may_have_names() {
            for known in self.reading.journal.same_objects(stat)? {
                self.say_of_all_names(path, known.node, stat)?;
            }
        }
        Ok(true)
    }

    /// Whether a folder has the name of another one, and can't be opened: what the box has below that name isn't gone for all that's known.
    pub(super) fn is_closed_anew(&self, path: &[u8], before: &Known, now: &Stat) -> bool {
        let is_closed = || self.reading.view.directory(path).is_err_and(|error| !is_gone(&error));
        self.is_other_folder(before, now) && is_closed()
    }

    /// Whether what the box has of a file stays with another name that it had: another file has that name and can't be opened, or it
    /// lies where there's nothing now.
    pub(super) fn is_kept_by_another_name(&self, own: (NodeId, &Name), known: &Known) -> Result<bool> {
        if self.kept.contains(&known.node) {
            return Ok(true);
        }
        for (parent, name) in self.reading.journal.names(known.node)? {
            if (parent, &name) == own {
                continue;
            }
            let Some(folder) = self.reading.journal.path(parent)? else { continue };
            let path = [&folder[..], b"/", name.as_bytes()].concat();
            if self.is_absent(&path) {
                return Ok(true);
            }
            let is_other =
                || stat_path(&self.reading.view.at(&path)).is_ok_and(|stat| is_other_file(known, &stat));
            if self.scope.is_reachable(&path) && is_other() && self.cannot_be_opened(&path).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn cannot_be_opened(&self, path: &[u8]) -> Option<io::Error> {
        SourceFile::open(&self.reading.view.at(path)).err().filter(|error| !is_gone(error))
    }

    /// A file couldn't be read that has other names: what was said of the one by which it was tried holds for all.
    pub(super) fn say_of_all_names(&mut self, path: &[u8], node: NodeId, stat: &Stat) -> Result<()> {
        let Some((kind, what)) = self.reading.report.said_of(path) else { return Ok(()) };
        for (parent, name) in self.reading.journal.names(node)? {
            let Some(folder) = self.reading.journal.path(parent)? else { continue };
            let other = [&folder[..], b"/", name.as_bytes()].concat();
            let is_it = || stat_path(&self.reading.view.at(&other)).is_ok_and(|now| now.is_same_object(stat));
            if other != path && self.scope.is_reachable(&other) && is_it() {
                self.reading.report.add(kind, &other, what.clone());
            }
        }
        Ok(())
    }

    /// A file under a name that was another's couldn't be read after all.
    pub(super) fn give_back(&mut self, (parent, name): (NodeId, Name), had: Option<NodeId>) -> Result<()> {
        // What goes on by another name may have other bytes by now.
        let is_free = |node: &NodeId| !self.met_elsewhere.contains(node) && !self.taken_over.contains(node);
        match had.filter(is_free) {
            Some(node) => {
                self.kept.insert(node);
                self.taken_back.remove(name.as_bytes());
                self.reading.outlet.link(parent, name, node)
            }
            None => Ok(()),
        }
    }

    /// What's said of another name of a file that couldn't be read.
    pub(super) fn say_late(&mut self, link: LateLink, said: Option<Said>) -> Result<()> {
        if let Some((kind, what)) = said {
            self.lacks = true;
            self.reading.report.add(kind, &link.path, what);
        }
        self.give_back((link.parent, link.name), link.had)
    }
}

/// Whether a file has the name of another one.
fn is_other_file(known: &Known, stat: &Stat) -> bool {
    stat.kind == NodeKind::File && known.stat.kind != NodeKind::Directory && !is_same_here(&known.stat, stat)
}
