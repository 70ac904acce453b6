//! Folders of a restore: made at once, and given what belongs to them last.
//!
//! A folder that's begun has a mark in it until it's finished, so that a restore which goes on after another was broken off
//! knows it for one of its own.

use std::io;

use coffer_format::node::NodeMeta;

use super::Restored;
use super::existing::Existing;
use super::folders::working_name;
use super::growing::Spot;
use super::place::Drives;
use super::write::Restoring;
use crate::path::split;
use crate::platform::{self, HeldEntry};
use crate::scan::{ObjectId, Stat};

/// The mark of a folder that's begun and not finished.
pub(crate) const BEGUN: &[u8] = b".coffer-restoring-7b1f0c5e2a94d863-folder";

/// A folder that may be written to.
#[derive(Default)]
pub(super) struct Directory {
    /// Which it is; none is the one above all.
    pub(super) object: Option<ObjectId>,
    pub(super) is_new: bool,
    /// Made by this very run: it has nothing but what came from here.
    pub(super) is_made: bool,
    kept: Option<Kept>,
}

/// What a folder had.
struct Kept {
    shown: Vec<u8>,
    meta: NodeMeta,
}

impl Restoring {
    /// The top of a drive is nobody's to change.
    pub(super) fn is_drive(&self, place: &[u8]) -> bool {
        self.drives == Drives::Drive
            && cfg!(windows)
            && place.iter().filter(|byte| **byte == b'/').count() == 1
    }

    /// A folder that's there is kept. One that was asked for gets what it had; one on the way to that stays as it is.
    pub(super) fn directory(&mut self, index: u32, spot: Spot, meta: NodeMeta) -> io::Result<()> {
        let made = platform::begin_folder(&spot.folder, &spot.name, (&working_name(index), BEGUN), &meta)?;
        let is_made = made.is_some();
        made.into_iter().flatten().for_each(|what| self.lack(&spot.shown, what));
        let folder = self.folders.folder(&spot.place)?;
        let was_begun = || std::fs::symlink_metadata(folder.place(BEGUN)).is_ok_and(|mark| mark.is_file());
        let is_new = is_made || was_begun();
        let object = Some(folder.object()?);
        // One that has what it had is so again once files that lacked were put into it.
        let is_as_it_was =
            || platform::stat_path(&folder.place(b".")).is_ok_and(|stat| is_alike(&stat, &meta));
        let is_theirs = !self.is_asked(&spot.shown)
            || matches!(self.rule, Existing::Nothing | Existing::Beside) && !is_as_it_was();
        let stays = self.is_drive(&spot.place) || (!is_new && is_theirs);
        if !is_new && is_theirs && self.is_asked(&spot.shown) {
            // Its times go with what's put into it; who may do what with it is another matter.
            let has_access = platform::has_attributes(&folder.place(b"."), &meta);
            if !has_access.unwrap_or(false) {
                self.keep(index, &spot);
            }
        }
        let kept = (!stays).then_some(Kept { shown: spot.shown, meta });
        self.directories.entry(spot.place).or_insert(Directory { object, is_new, is_made, kept });
        self.decided.insert(index);
        Ok(())
    }

    fn is_asked(&self, shown: &[u8]) -> bool {
        let covers = |named: &Vec<u8>| {
            shown.strip_prefix(&named[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        self.named.is_empty() || self.named.iter().any(covers)
    }

    /// Folders get what belongs to them last, the deepest first: writing into them changes their times.
    pub(super) fn finish(mut self) -> Restored {
        self.drop_batch();
        self.end_batches();
        self.finish_streams();
        for (place, directory) in std::mem::take(&mut self.directories).into_iter().rev() {
            let Directory { object, is_new, kept: Some(Kept { shown, meta }), .. } = directory else {
                continue;
            };
            if is_new {
                self.unmark(&place);
            }
            let lacking = self.put_back(&place, object, &meta);
            lacking.into_iter().for_each(|what| self.lack(&shown, what));
        }
        self.folders.release();
        self.sync_names();
        self.say_not_given();
        self.so_far();
        self.done
    }

    fn unmark(&mut self, place: &[u8]) {
        match self.folders.folder(place).and_then(|folder| folder.remove(BEGUN)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the mark of a folder that was restored is left behind");
            }
            _ => {}
        }
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

/// Whether a folder has the times, owner and permissions that it had.
fn is_alike(stat: &Stat, meta: &NodeMeta) -> bool {
    (stat.mtime_ns, stat.mode, stat.uid, stat.gid) == (meta.mtime_ns, meta.mode, meta.uid, meta.gid)
}
