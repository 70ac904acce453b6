//! Damaged segments are left as they are: what is sound of them, before the damage or behind it, can be restored, and a box that takes the
//! branch over gets it. The damage is listed in the catalog.
//!
//! The box is told of what is before the damage, and sends from there. Of that only what is damaged here is taken, stretch by stretch: what
//! is sound is never written over, as the box may have lost that.

use coffer_format::SegmentId;

use super::append::out_of_step;
use super::stock::Damaged;
use super::{Here, Mirror, unless_full};
use crate::catalog::{self, DamageKind, Stretch};
use crate::disk::{DiskFile, FileMark, Named, file_len};
use crate::{Result, VaultError};

/// What is listed of it.
pub(super) const DAMAGED: &[u8] = b"a record doesn't decrypt";

/// A segment that is left with its damage.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Left {
    /// Where the box goes on.
    pub(super) from: u64,
    /// Where the damaged stretch ends that it sends.
    until: u64,
    /// Which file that was seen in, and its length.
    file: FileMark,
    len: u64,
}

impl Left {
    /// Where the box goes on if it's in the middle of what is damaged still, and where that ends.
    fn goes_on_in(&self, damaged: &Damaged) -> Option<(u64, u64)> {
        let ends = damaged.stretches.iter().map(|(offset, len)| (*offset, offset + len));
        let is_in = |(offset, end): &(u64, u64)| (*offset..*end).contains(&self.from);
        let until = ends.into_iter().find(is_in).map(|(_, end)| end);
        let is_at_end = self.until == u64::MAX && self.from >= damaged.end;
        until.or(is_at_end.then_some(u64::MAX)).map(|until| (self.from, until))
    }
}

impl Mirror {
    pub(super) fn leave_as_it_is(
        &self,
        segment: SegmentId,
        file: &dyn DiskFile,
        damaged: &Damaged,
    ) -> Result<Here> {
        let path = self.path_of(segment);
        let mark = file.mark().map_err(VaultError::io("read", &path))?;
        let len = file.size().map_err(VaultError::io("read", &path))?;
        let before = self.here().get(&segment).and_then(|here| here.left);
        let before = before.filter(|left| left.file == mark && left.len == len);
        let (from, until) = before.and_then(|left| left.goes_on_in(damaged)).unwrap_or_else(|| {
            let (offset, len) = damaged.stretches.first().copied().unwrap_or_default();
            (offset, offset + len)
        });
        let left = Left { from, until, file: mark, len };
        let forgotten = self.is_given_up(segment)?;
        let here = Here { bytes: damaged.end, hash: None, forgotten, left: Some(left) };
        self.reading.files.forget(segment);
        self.here().insert(segment, here);
        self.list_less(segment, damaged.end)?;
        let db = self.db()?;
        for (offset, len) in &damaged.stretches {
            let stretch = Stretch { segment, offset: *offset, len: *len, kind: DamageKind::Changed };
            unless_full(catalog::put_damage(&db, &stretch, DAMAGED, 0).map(drop))?;
        }
        Ok(here)
    }

    /// Takes of what the box sends whatever is damaged here: nothing that is sound is written over. Returns what is here then. With the tails
    /// locked.
    pub(super) fn write_over(
        &self,
        segment: SegmentId,
        left: Left,
        closed_len: u64,
        bytes: &[u8],
    ) -> Result<Here> {
        let (began, mut place) = (left.from, left);
        let end = began + bytes.len() as u64;
        loop {
            let until = place.until.min(end);
            let part = &bytes[(place.from - began) as usize..(until - began) as usize];
            let is_all = until == closed_len;
            let len = self.write_part(segment, &place, part, is_all)?;
            if until < place.until && !is_all {
                let gone_on = Left { from: until, len, ..place };
                let here = self.here().get(&segment).copied().unwrap_or_default();
                let here = Here { left: Some(gone_on), ..here };
                self.here().insert(segment, here);
                return Ok(here);
            }
            let here = self.look_behind(segment, until, is_all)?;
            match here.left.filter(|next| next.from >= until && next.from < end) {
                Some(next) => place = next,
                None => {
                    if here.due() != end {
                        // What is between is sound here.
                        self.note_news();
                    }
                    return Ok(here);
                }
            }
        }
    }

    /// Returns the file's length.
    fn write_part(&self, segment: SegmentId, place: &Left, bytes: &[u8], is_all: bool) -> Result<u64> {
        let (path, end) = (self.path_of(segment), place.from + bytes.len() as u64);
        let file = self.open_file(segment)?.filter(|_| !self.has_changed(segment, place));
        let Some(file) = file else {
            let found = self.settle_again(segment)?;
            self.note_news();
            return Err(out_of_step(segment, place.from, found.due()));
        };
        if let Err(source) = file.write_at(place.from, bytes) {
            if end > place.len {
                file.truncate(place.len).map_err(|_| VaultError::ReadOnly)?;
            }
            return Err(VaultError::Io { doing: "write", path, source });
        }
        if is_all && place.len > end {
            // It was closed with another end.
            file.truncate(end).map_err(VaultError::io("truncate", &path))?;
        }
        self.sync(segment, &*file)?;
        Ok(if is_all { end } else { place.len.max(end) })
    }

    /// The box has sent all of a damaged stretch, which ended at `behind`: whether that puts it right is seen now, and where it goes on.
    fn look_behind(&self, segment: SegmentId, behind: u64, is_all: bool) -> Result<Here> {
        // What is right now isn't listed where the catalog was made while it was damaged.
        self.list_anew(segment)?;
        self.reading.forget_entries();
        if let Some(Here { left: Some(left), .. }) = self.here().get_mut(&segment) {
            // It isn't in the middle of that any more.
            left.len = u64::MAX;
        }
        let mut found = self.settle_again(segment)?;
        if let Some(left) = found.left.as_mut().filter(|left| !is_all && left.from < behind) {
            // The box has nothing better of that itself, and goes on at the next; at last, with the end that it closed it with.
            let next = catalog::damage_behind(&*self.db()?, segment, behind)?;
            (left.from, left.until) = next.unwrap_or((found.bytes.max(behind), u64::MAX));
            self.here().insert(segment, found);
        }
        Ok(found)
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
        for segment in self.not_as_they_came()? {
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
        let found = self.settle_again(segment)?;
        if found.due() != here.due() {
            tracing::info!(%segment, bytes = found.due(), before = here.due(), "what is here of a damaged segment of this branch has changed");
            self.note_news();
        }
        Ok(())
    }

    /// Finds out what is in a segment's place: that counts from now on. With the tails locked.
    pub(super) fn settle_again(&self, segment: SegmentId) -> Result<Here> {
        self.reading.files.forget(segment);
        let found = self.settle(segment)?;
        self.here().insert(segment, found);
        if found.hash.is_some() {
            self.note_whole(segment)?;
        }
        Ok(found)
    }
}
