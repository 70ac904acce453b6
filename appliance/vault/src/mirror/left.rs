//! Damaged segments are left as they are until the box sends what is damaged of them: what is sound, before the damage or behind it, can be
//! restored meanwhile, and a box that takes the branch over gets it.
//!
//! The damage is listed in the catalog. The box is told only of what is before it, and goes on there.

use coffer_format::SegmentId;

use super::rest::{FIRST, next_due, read_what_can, sound_end};
use super::{Here, Mirror, unless_full};
use crate::catalog::{self, DamageKind, Stretch};
use crate::disk::{DiskFile, FileMark, Named, file_len};
use crate::segment::{Scanned, scan};
use crate::{Result, VaultError};

/// What is listed of it.
pub(super) const DAMAGED: &[u8] = b"a record doesn't decrypt";

/// A segment that is left with its damage.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Left {
    /// Where the box goes on: there the damage begins.
    pub(super) from: u64,
    /// Which file that was seen in, and its length.
    file: FileMark,
    len: u64,
}

impl Mirror {
    /// Finds out what a segment's file has that isn't whole: from then on that counts. It's left as it is where anything is sound behind
    /// damage; else it ends with its last sound record. With the tails locked.
    pub(super) fn take_stock(&self, segment: SegmentId, file: &dyn DiskFile) -> Result<Here> {
        if self.has_rest(segment)? {
            return self.cut_damage(segment, file);
        }
        let bytes = read_what_can(file)?;
        let found = self.key_in(segment, &bytes).map(|key| scan(&bytes, &key, FIRST));
        match found.filter(|found| !found.damaged.is_empty()) {
            Some(found) => self.leave_as_it_is(segment, file, &found),
            None => self.cut_damage(segment, file),
        }
    }

    fn leave_as_it_is(&self, segment: SegmentId, file: &dyn DiskFile, found: &Scanned) -> Result<Here> {
        let io = VaultError::io("read", self.path_of(segment));
        let (mark, len) = match (file.mark(), file.size()) {
            (Ok(mark), Ok(len)) => (mark, len),
            (Err(error), _) | (_, Err(error)) => return Err(io(error)),
        };
        let left = Left { from: sound_end(found), file: mark, len };
        let forgotten = self.is_given_up(segment)?;
        let here = Here { bytes: found.end, hash: None, forgotten, left: Some(left) };
        self.reading.files.forget(segment);
        self.here().insert(segment, here);
        self.list_less(segment, found.end)?;
        let db = self.db()?;
        for (offset, len) in &found.damaged {
            let stretch = Stretch { segment, offset: *offset, len: *len, kind: DamageKind::Changed };
            unless_full(catalog::put_damage(&db, &stretch, DAMAGED, 0).map(drop))?;
        }
        Ok(here)
    }

    /// The box sends what is damaged: the segment ends where that begins, and what is behind it is kept beside it. With the tails locked.
    pub(super) fn make_room(&self, segment: SegmentId, from: u64) -> Result<()> {
        let path = self.path_of(segment);
        let tail = self.open_tail(segment)?;
        let bytes = read_what_can(&*tail.file)?;
        let Some(key) = self.key_in(segment, &bytes) else {
            // What is in its place is something else by now.
            return self.cut_damage(segment, &*tail.file).map(drop);
        };
        self.keep(segment, &bytes, next_due(&scan(&bytes, &key, FIRST), from))?;
        tail.file
            .truncate(from)
            .and_then(|()| tail.file.sync())
            .map_err(VaultError::io("truncate", &path))?;
        self.reading.files.forget(segment);
        self.here().insert(segment, Here { bytes: from, ..Here::default() });
        self.list_less(segment, from)
    }

    /// The box has sent what it has itself of what is damaged before `from`, and goes on there.
    pub(super) fn go_on_from(&self, segment: SegmentId, from: u64) {
        if let Some(Here { left: Some(left), .. }) = self.here().get_mut(&segment) {
            left.from = left.from.max(from);
        }
    }

    /// Whether a segment that is left as it is may be another one by now.
    fn has_changed(&self, segment: SegmentId, left: &Left) -> bool {
        let (disk, path) = (&self.reading.disk, self.path_of(segment));
        let is_it = matches!(disk.look_up(&path), Ok(Named::File(mark)) if mark == left.file);
        !is_it || !matches!(file_len(&**disk, &path), Ok(Some(len)) if len == left.len)
    }

    /// Segments that were lost count again as far as their files are back in their places.
    pub(super) fn take_back_lost(&self) -> Result<()> {
        let mut failed = None;
        for segment in self.damaged_segments() {
            let here = self.here().get(&segment).copied().unwrap_or_default();
            let is_other = match &here.left {
                Some(left) => self.has_changed(segment, left),
                None => {
                    let len = file_len(&*self.reading.disk, &self.path_of(segment));
                    matches!(len, Ok(Some(len)) if len > here.bytes)
                }
            };
            if is_other && here.hash.is_none() && !here.forgotten {
                failed = self.take_back(segment).err().or(failed);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Finds out what is in the place of a segment that isn't whole.
    pub(super) fn take_back(&self, segment: SegmentId) -> Result<()> {
        let mut tails = self.tails.lock().map_err(|_| VaultError::ReadOnly)?;
        let here = self.here().get(&segment).copied().unwrap_or_default();
        if here.hash.is_some() || here.forgotten {
            return Ok(());
        }
        tails.remove(&segment);
        self.reading.files.forget(segment);
        let found = self.settle(segment)?;
        self.here().insert(segment, found);
        if found.hash.is_some() {
            self.note_whole(segment)?;
        }
        if found.due() != here.due() {
            tracing::info!(%segment, bytes = found.due(), before = here.due(), "what is here of a damaged segment of this branch has changed");
            self.note_news();
        }
        Ok(())
    }

    /// Whether the catalog lists damage in a segment.
    pub(super) fn is_listed_as_damaged(&self, segment: SegmentId) -> Result<bool> {
        catalog::is_damaged(&*self.db()?, segment)
    }
}
