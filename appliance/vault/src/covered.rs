//! Segments that a layer covers, where the disk takes no writes: opening a vault closes in the layer what was open. The layer is gone once the
//! vault is closed, and what the disk below has then is all there is: so that counts, and the layer puts right what it can before.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use coffer_format::SegmentId;
use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader};

use crate::catalog::WHOLE_FILE;
use crate::disk::{Disk, DiskFile, Named, no_file};
use crate::placing::{clear, put_in_place};
use crate::reading::Reading;
use crate::segment::{FileForm, read_contents, segment_path, segments_dir};
use crate::soundness::{Soundness, Standing};
use crate::vault::Vault;
use crate::verify::Damage;
use crate::{Result, VaultError};

/// What is said of what only the layer has.
const ELSE_BELOW: &str =
    "the disk doesn't have it as it was written; the box reads it elsewhere until it's stopped";

/// A covered segment, and the disk that it's covered on.
struct Covered {
    file: Arc<dyn DiskFile>,
    /// What was read below when the segment was closed (the header, then each record), or all of a copy. Offset and length in bytes.
    stretches: Vec<(u64, u64)>,
    below: Arc<dyn Disk>,
}

/// What the disk below lacks of a covered segment.
enum Lacks {
    File,
    Stretches(Arc<dyn DiskFile>, Vec<(u64, u64)>),
}

impl Damage {
    /// Whether it's sound where the vault reads it, until the vault is closed.
    pub(crate) fn is_below(&self) -> bool {
        self.what == ELSE_BELOW
    }
}

impl Reading {
    /// Places of a segment that the layer has and the disk below hasn't.
    pub(crate) fn check_below(&self, segment: SegmentId) -> Result<Vec<Damage>> {
        let Some(covered) = self.covered(segment)? else { return Ok(Vec::new()) };
        let stretches = match self.lacks(segment, &covered)? {
            Lacks::File if is_evicted(&covered, &segment_path(&self.dir, segment, FileForm::Stub)) => {
                Vec::new()
            }
            Lacks::File => vec![(0, WHOLE_FILE)],
            Lacks::Stretches(_, stretches) => stretches,
        };
        let damage = |(offset, len)| Damage { segment, offset, len, what: ELSE_BELOW.into() };
        Ok(stretches.into_iter().map(damage).collect())
    }

    /// Nothing where no layer covers it, or where the layer's file can't be read: that is damage of its own.
    fn covered(&self, segment: SegmentId) -> Result<Option<Covered>> {
        let Some(below) = self.disk.covers(&segment_path(&self.dir, segment, FileForm::Whole)) else {
            return Ok(None);
        };
        let Ok(readable) = self.files.open(segment, FileForm::Whole) else { return Ok(None) };
        let Ok(Some(contents)) = read_contents(&*readable.file, &readable.key) else { return Ok(None) };
        let is_torn = |record: &IndexEntry| record.kind == RecordKind::Pack && record.chunks.is_empty();
        let is_copy = self.is_laid_over(segment);
        let records = contents.index.records.iter().filter(|record| is_copy || !is_torn(record));
        let records = records.map(|record| (record.offset, record.record_len));
        let end = contents.trailer.index_offset;
        let end = is_copy.then(|| (end, contents.trailer.file_len - end));
        let stretches = [(0, SegmentHeader::LEN as u64)].into_iter().chain(records).chain(end).collect();
        Ok(Some(Covered { file: readable.file, stretches, below }))
    }

    fn lacks(&self, segment: SegmentId, covered: &Covered) -> Result<Lacks> {
        let path = segment_path(&self.dir, segment, FileForm::Whole);
        let below = match covered.below.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound || no_file(&error).is_some() => {
                return Ok(Lacks::File);
            }
            opened => opened.map_err(VaultError::io("open", &path))?,
        };
        // What lies in memory says nothing of the medium.
        below.forget_cached().map_err(VaultError::io("read", &path))?;
        let mut lacking = Vec::new();
        for (offset, len) in covered.stretches.iter().copied() {
            if bytes_at(&*below, offset, len) != Some(read(&*covered.file, &path, offset, len)?) {
                lacking.push((offset, len));
            }
        }
        Ok(Lacks::Stretches(below, lacking))
    }

    /// How many places are known that are sound until the vault is closed, and in no copy.
    pub fn places_until_closed(&self) -> Result<usize> {
        let (all, sound) = (self.all_damage()?, Soundness::known(self)?);
        let held = all.iter().filter(|(_, what)| what == ELSE_BELOW.as_bytes()).map(|(stretch, _)| stretch);
        Ok(held.filter(|one| sound.of(one.segment, one.offset, one.len) == Standing::Lost).count())
    }
}

impl Vault {
    /// Looks at what the disk below has of covered segments, and keeps in mind what it lacks. Returns of how many segments that is.
    pub fn look_below(&self) -> Result<usize> {
        let mut count = 0;
        for state in self.segments()? {
            let found = self.reading.check_below(state.segment)?;
            if !found.is_empty() {
                self.reading.keep_unrecorded(&found, &BTreeSet::from([state.segment]));
                count += 1;
            }
        }
        Ok(count)
    }

    /// Puts right on the disk below what the layer has and the disk hasn't. Where there's no layer, nothing is done.
    /// Returns how many segments were put right.
    pub fn put_back_below(&self) -> Result<usize> {
        let mut count = 0;
        for state in self.segments()? {
            let Some(covered) = self.reading.covered(state.segment)? else { continue };
            count += usize::from(self.put_back(state.segment, &covered)?);
        }
        Ok(count)
    }

    fn put_back(&self, segment: SegmentId, covered: &Covered) -> Result<bool> {
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        match self.reading.lacks(segment, covered)? {
            Lacks::File if is_evicted(covered, &segment_path(&self.reading.dir, segment, FileForm::Stub)) => {
                return Ok(false);
            }
            Lacks::File => write_file(covered, &path)?,
            Lacks::Stretches(_, stretches) if stretches.is_empty() => return Ok(false),
            Lacks::Stretches(below, stretches) => {
                for (offset, len) in stretches {
                    let bytes = read(&*covered.file, &path, offset, len)?;
                    below.write_at(offset, &bytes).map_err(VaultError::io("write", &path))?;
                }
                below.sync().map_err(VaultError::io("sync", &path))?;
            }
        }
        let dir = segments_dir(&self.reading.dir);
        covered.below.sync_dir(&dir).map_err(VaultError::io("sync", &dir))?;
        self.reading.forget_met(segment);
        tracing::warn!(%segment, "the disk lacked part of a segment that the box had elsewhere; it was put back");
        Ok(true)
    }
}

/// Whether the disk isn't meant to have it.
fn is_evicted(covered: &Covered, stub: &Path) -> bool {
    matches!(covered.below.look_up(stub), Ok(Named::File(_)))
}

/// The whole segment as the layer has it, closed.
fn write_file(covered: &Covered, path: &Path) -> Result<()> {
    let new = path.with_extension("new");
    let size = covered.file.size().map_err(VaultError::io("read", path))?;
    let bytes = read(&*covered.file, path, 0, size)?;
    clear(&*covered.below, &new)?;
    let file = covered.below.create(&new).map_err(VaultError::io("create", &new))?;
    file.write_at(0, &bytes).map_err(VaultError::io("write", &new))?;
    file.sync().map_err(VaultError::io("sync", &new))?;
    put_in_place(&*covered.below, &new, path)
}

fn read(file: &dyn DiskFile, path: &Path, offset: u64, len: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    file.read_at(offset, &mut bytes).map_err(VaultError::io("read", path))?;
    Ok(bytes)
}

/// Nothing where the disk can't read them, or there are fewer.
fn bytes_at(file: &dyn DiskFile, offset: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    file.read_at(offset, &mut bytes).ok()?;
    Some(bytes)
}
