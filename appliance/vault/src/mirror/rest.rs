//! What is sound behind the damage of a segment of which the box sends what is damaged. It's kept beside the segment (`<segment>.rest`, the
//! file as it was) until the box has sent that, and then takes its place again: so each record comes from whichever side has it.
//!
//! It's only ever taken from where a segment ends here. It goes once the segment is whole; where the box doesn't send on, it's put back with
//! its damage.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::MutexGuard;

use coffer_format::segment::{SegmentHeader, Trailer};
use coffer_format::{FileHash, SegmentId, from_bytes};
use ring::aead::LessSafeKey;

use super::{Here, Mirror};
use crate::disk::DiskFile;
use crate::mending::is_of_another;
use crate::placing::write_whole;
use crate::segment::{Scanned, scan, segments_dir};
use crate::{Result, VaultError};

pub(super) const FIRST: u64 = SegmentHeader::LEN as u64;
/// What is read at once: what the disk can't read of it counts as damaged.
const PIECE: usize = 64 << 10;

/// What was kept of a segment.
pub(super) struct Rest {
    /// It's of no use before so many bytes of the segment are here.
    due: u64,
}

impl Mirror {
    /// Keeps what is sound behind the first damage in a segment's file, if anything is and the disk has room. Returns where the damage
    /// begins; 0 where nothing in the file is of use as it is.
    pub(super) fn keep_rest(&self, segment: SegmentId, file: &dyn DiskFile) -> Result<u64> {
        let mut bytes = read_what_can(file)?;
        if is_of_another(segment, &bytes) {
            bytes.clear();
        }
        let is_kept = self.rests()?.contains_key(&segment);
        let older = if is_kept { self.read_rest(segment) } else { None };
        let key = self.key_in(segment, &bytes);
        let found = key.as_ref().map(|key| scan(&bytes, key, FIRST));
        let (Some(key), Some(found)) = (key, found.filter(|found| !found.index.records.is_empty())) else {
            // Its header comes again with the first bytes, and opens the rest.
            if older.is_none() && bytes.len() as u64 > FIRST {
                self.keep_if_it_fits(segment, &bytes, FIRST)?;
            }
            return Ok(0);
        };
        let sound = sound_end(&found);
        if let Some(older) = &older {
            take_sound(&mut bytes, &found, older, &key);
        } else if found.damaged.is_empty() {
            return Ok(sound);
        }
        let found = scan(&bytes, &key, FIRST);
        let due = if sound_end(&found) > sound { sound } else { next_due(&found, sound) };
        self.keep_if_it_fits(segment, &bytes, due)?;
        Ok(sound)
    }

    fn keep_if_it_fits(&self, segment: SegmentId, bytes: &[u8], due: u64) -> Result<()> {
        match self.keep(segment, bytes, due) {
            Err(error) if error.is_disk_full() => {
                tracing::error!(%segment, %error, "what is sound of a damaged segment can't be kept; the box is asked for all of it");
                Ok(())
            }
            kept => kept,
        }
    }

    /// Keeps a segment's bytes beside it; `due`: they're of no use before so many bytes of it are here.
    pub(super) fn keep(&self, segment: SegmentId, bytes: &[u8], due: u64) -> Result<()> {
        write_whole(&self.reading, &self.rest_path(segment), bytes)?;
        self.rests()?.insert(segment, Rest { due });
        Ok(())
    }

    /// How far a file's records decrypt without a gap; 0 where there's no use in it at all.
    pub(super) fn sound_len(&self, segment: SegmentId, file: &dyn DiskFile) -> Result<u64> {
        let bytes = read_what_can(file)?;
        let found = self.key_in(segment, &bytes).map(|key| scan(&bytes, &key, FIRST));
        Ok(found.as_ref().map_or(0, sound_end))
    }

    /// Lists what was kept by an earlier run.
    pub(super) fn find_rests(&self) -> Result<()> {
        let dir = segments_dir(&self.reading.dir);
        for name in self.reading.disk.list(&dir).map_err(VaultError::io("list", &dir))? {
            let Some(segment) = parse_name(&name) else { continue };
            self.rests()?.insert(segment, Rest { due: 0 });
            let here = self.here().get(&segment).copied().unwrap_or_default();
            if here.hash.is_some() {
                self.discard_rest(segment);
            } else if here.forgotten {
                self.put_rest_back(segment)?;
            }
        }
        Ok(())
    }

    /// Takes from what was kept whatever goes on where a segment ends here.
    pub fn fill(&self) -> Result<()> {
        let due: Vec<SegmentId> = {
            let rests = self.rests()?;
            let here = self.here();
            let bytes = |segment| here.get(segment).map_or(0, |here| here.bytes);
            rests.iter().filter(|(id, rest)| bytes(id) >= rest.due).map(|(id, _)| *id).collect()
        };
        let mut failed = None;
        for segment in due {
            match self.fill_one(segment, false) {
                Err(error) if error.is_disk_full() => {
                    tracing::error!(%segment, %error, "there's no room to put a segment together; it's tried again");
                }
                filled => failed = filled.err().or(failed),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// What was kept comes back into its place with the damage that it has, so that it can be restored: of all segments where no box is
    /// there, else of those that the box can't go on with.
    pub fn put_rests_back(&self, is_box_there: bool) -> Result<()> {
        let mut kept: BTreeSet<SegmentId> = self.rests()?.keys().copied().collect();
        if kept.is_empty() {
            return Ok(());
        }
        if is_box_there {
            let stuck = self.stuck()?;
            kept.retain(|segment| stuck.contains(segment));
        }
        let mut failed = None;
        for segment in kept {
            failed = self.put_rest_back(segment).err().or(failed);
        }
        self.refresh()?;
        failed.map_or(Ok(()), Err)
    }

    /// What was kept of one segment comes back into its place with the damage that it has.
    pub(super) fn put_rest_back(&self, segment: SegmentId) -> Result<()> {
        if self.rests()?.contains_key(&segment) {
            self.fill_one(segment, true)?;
        }
        Ok(())
    }

    fn fill_one(&self, segment: SegmentId, with_damage: bool) -> Result<()> {
        let mut tails = self.tails.lock().map_err(|_| VaultError::ReadOnly)?;
        tails.remove(&segment);
        let here = self.here().get(&segment).copied().unwrap_or_default();
        let mut tail = self.open_tail(segment)?;
        let all = if here.hash.is_none() { self.with_rest(segment, &*tail.file)? } else { None };
        let Some(all) = all else {
            self.discard_rest(segment);
            return Ok(());
        };
        self.check_tail(segment, &tail, here.bytes)?;
        let whole = hash_if_whole(&all).filter(|_| !is_of_another(segment, &all));
        let found = self.key_in(segment, &all).map(|key| scan(&all, &key, FIRST));
        let is_of_use = found.as_ref().is_some_and(|found| !found.damaged.is_empty());
        let with_damage = with_damage && is_of_use;
        let end = match whole.is_some() || with_damage {
            true => all.len() as u64,
            false => found.as_ref().map_or(0, sound_end).max(here.bytes),
        };
        self.write(segment, &mut tail, &all[here.bytes as usize..end as usize])?;
        self.reading.files.forget(segment);
        self.here().insert(segment, Here { bytes: end, hash: whole, ..here });
        if whole.is_some() {
            self.note_whole(segment)?;
        }
        let due = match whole.is_some() || with_damage {
            true => {
                self.discard_rest(segment);
                if whole.is_none() {
                    self.take_stock(segment, &*tail.file)?;
                    self.go_on_from(segment, here.bytes);
                }
                self.bytes_of(segment)
            }
            false => {
                let due = found.map_or(u64::MAX, |found| next_due(&found, end));
                self.rests()?.insert(segment, Rest { due });
                end
            }
        };
        if due > here.bytes {
            tracing::info!(%segment, from = here.bytes, to = due, "what was sound of a damaged segment was put back");
            self.note_news();
        }
        Ok(())
    }

    pub(super) fn has_rest(&self, segment: SegmentId) -> Result<bool> {
        Ok(self.rests()?.contains_key(&segment))
    }

    /// A segment as far as it's here, and behind that what was kept of it; `None` where nothing was.
    pub(super) fn with_rest(&self, segment: SegmentId, file: &dyn DiskFile) -> Result<Option<Vec<u8>>> {
        if !self.rests()?.contains_key(&segment) {
            return Ok(None);
        }
        let mut all = read_what_can(file)?;
        let rest = self.read_rest(segment).unwrap_or_default();
        Ok(rest.get(all.len()..).filter(|more| !more.is_empty()).map(|more| {
            all.extend_from_slice(more);
            all
        }))
    }

    pub(super) fn discard_rest(&self, segment: SegmentId) {
        let known = self.rests().map(|mut rests| rests.remove(&segment));
        if matches!(known, Ok(Some(_)))
            && let Err(error) = self.reading.disk.remove(&self.rest_path(segment))
        {
            tracing::warn!(%segment, %error, "what was kept of a segment isn't needed any more, and can't be removed");
        }
    }

    fn read_rest(&self, segment: SegmentId) -> Option<Vec<u8>> {
        let path = self.rest_path(segment);
        read_what_can(&*self.reading.disk.open(&path).ok()?).ok()
    }

    /// The key of a segment by the header that these bytes begin with.
    pub(super) fn key_in(&self, segment: SegmentId, bytes: &[u8]) -> Option<LessSafeKey> {
        let header = from_bytes::<SegmentHeader>(bytes.get(..SegmentHeader::LEN)?).ok()?;
        let keys = self.reading.files.keys_of(&header).ok()?;
        (header.segment == segment).then(|| keys.segment_key(&header.salt))
    }

    fn rest_path(&self, segment: SegmentId) -> PathBuf {
        self.path_of(segment).with_extension("rest")
    }

    fn rests(&self) -> Result<MutexGuard<'_, BTreeMap<SegmentId, Rest>>> {
        self.rests.lock().map_err(|_| VaultError::ReadOnly)
    }
}

fn parse_name(name: &str) -> Option<SegmentId> {
    let number = name.strip_suffix(".rest").filter(|number| number.len() == 16)?;
    u64::from_str_radix(number, 16).ok().map(SegmentId)
}

/// Where the first damage begins, or the last sound record ends.
pub(super) fn sound_end(found: &Scanned) -> u64 {
    if found.index.records.is_empty() {
        return 0;
    }
    found.damaged.first().map_or(found.end, |(offset, _)| *offset)
}

/// Where the damage ends that a segment of so many bytes has come to. Behind the last damage there's only what isn't a record.
pub(super) fn next_due(found: &Scanned, bytes: u64) -> u64 {
    let ends = found.damaged.iter().map(|(offset, len)| offset + len);
    ends.filter(|end| *end > bytes).min().unwrap_or(u64::MAX)
}

/// Takes from an older file of the segment the records that aren't sound in `bytes`, and whatever lies behind its end.
fn take_sound(bytes: &mut Vec<u8>, found: &Scanned, older: &[u8], key: &LessSafeKey) {
    let is_damaged = |offset: u64, len: u64| {
        offset >= found.end
            || found.damaged.iter().any(|(from, damaged)| *from < offset + len && from + damaged > offset)
    };
    if let Some(more) = older.get(bytes.len()..) {
        bytes.extend_from_slice(more);
    }
    for record in scan(older, key, FIRST).index.records {
        if is_damaged(record.offset, record.record_len) {
            let range = record.offset as usize..(record.offset + record.record_len) as usize;
            bytes[range.clone()].copy_from_slice(&older[range]);
        }
    }
}

/// A segment's hash, if these bytes are all of it, as its trailer says.
fn hash_if_whole(bytes: &[u8]) -> Option<FileHash> {
    let body = bytes.len().checked_sub(Trailer::LEN)?;
    let trailer = from_bytes::<Trailer>(&bytes[body..]).ok()?;
    let hash = FileHash(*blake3::hash(&bytes[..body]).as_bytes());
    (trailer.file_len == bytes.len() as u64 && trailer.hash == hash).then_some(hash)
}

/// A file's bytes. What can't be read of them is nothing.
pub(super) fn read_what_can(file: &dyn DiskFile) -> Result<Vec<u8>> {
    let size = file.size().map_err(VaultError::io("read", "a segment"))?;
    let mut bytes = vec![0; size as usize];
    for (number, piece) in bytes.chunks_mut(PIECE).enumerate() {
        if file.read_at((number * PIECE) as u64, piece).is_err() {
            piece.fill(0);
        }
    }
    Ok(bytes)
}
