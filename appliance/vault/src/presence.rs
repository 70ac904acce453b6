//! The segments' files against what is listed: what was to go goes, and what should be there and isn't is damage.

use std::collections::BTreeMap;
use std::path::Path;

use coffer_format::SegmentId;
use coffer_format::segment::{SegmentHeader, Stream};
use rusqlite::{Connection, params};

use crate::catalog::{self, DamageKind, Stretch};
use crate::disk::{Disk, Named};
use crate::placing::{clear, make_folder, set_aside};
use crate::reading::Reading;
use crate::segment::{self, FileForm, segment_path, segments_dir};
use crate::vault::Vault;
use crate::{Result, VaultError};

/// Segments' files by name.
fn list_names(reading: &Reading) -> Result<BTreeMap<SegmentId, FileForm>> {
    let dir = segments_dir(&reading.dir);
    let mut forms = BTreeMap::new();
    for name in reading.disk.list(&dir).map_err(VaultError::io("list", &dir))? {
        if let Some((segment, FileForm::Whole)) = segment::parse_name(&name) {
            forms.insert(segment, FileForm::Whole);
        }
    }
    Ok(forms)
}

pub(crate) fn list_files(reading: &Reading) -> Result<BTreeMap<SegmentId, FileForm>> {
    let dir = segments_dir(&reading.dir);
    make_folder(&*reading.disk, &dir)?;
    let mut forms = BTreeMap::new();
    for name in reading.disk.list(&dir).map_err(VaultError::io("list", &dir))? {
        match segment::parse_name(&name) {
            Some((id, FileForm::Whole)) => {
                forms.insert(id, FileForm::Whole);
            }
            Some((id, FileForm::Stub)) => {
                forms.entry(id).or_insert(FileForm::Stub);
            }
            None if name.ends_with(".new") => {
                clear(&*reading.disk, &dir.join(&name))?;
            }
            None => {
                tracing::warn!(name, "a file that isn't a segment lies among the segments; it's left alone")
            }
        }
    }
    Ok(forms)
}

/// The segments' files as they are just now; nothing is changed.
pub(crate) fn files_there(reading: &Reading) -> Result<BTreeMap<SegmentId, FileForm>> {
    let dir = segments_dir(&reading.dir);
    let mut forms = BTreeMap::new();
    for name in reading.disk.list(&dir).map_err(VaultError::io("list", &dir))? {
        match segment::parse_name(&name) {
            Some((id, FileForm::Whole)) => {
                forms.insert(id, FileForm::Whole);
            }
            Some((id, FileForm::Stub)) => {
                forms.entry(id).or_insert(FileForm::Stub);
            }
            None => {}
        }
    }
    Ok(forms)
}

/// Lists the segments that only others speak of: those with copies elsewhere, and those that points have data in.
pub(crate) fn list_by_name_only(db: &Connection) -> Result<()> {
    let unknown = "NOT EXISTS (SELECT 1 FROM segments s WHERE s.segment = named.segment)
         AND NOT EXISTS (SELECT 1 FROM dropped d WHERE d.segment = named.segment)";
    let bulk = Stream::Bulk.code();
    db.execute(
        &format!(
            "INSERT INTO segments (segment, stream, closed, bytes, hash, created_ms, on_disk)
             SELECT segment, ?1, 1, 0, MAX(hash), 0, 0 FROM copies named WHERE {unknown} GROUP BY segment"
        ),
        [bulk],
    )?;
    for (stream, segment, bytes) in
        [(Stream::Fresh.code(), "fresh_segment", "fresh_bytes"), (bulk, "bulk_segment", "bulk_bytes")]
    {
        db.execute(
            &format!(
                "INSERT INTO segments (segment, stream, closed, bytes, hash, created_ms, on_disk)
                 SELECT segment, ?1, 0, MAX(bytes), NULL, 0, 0 FROM
                   (SELECT {segment} AS segment, {bytes} AS bytes FROM points WHERE {bytes} > ?2 AND closed_ms IS NOT NULL) named
                 WHERE {unknown} GROUP BY segment"
            ),
            params![stream, SegmentHeader::LEN as u64],
        )?;
    }
    // Those that were told to be missing.
    db.execute(
        &format!(
            "INSERT INTO segments (segment, stream, closed, bytes, hash, created_ms, on_disk)
             SELECT segment, ?1, 0, 0, NULL, 0, 0 FROM damage named WHERE named.offset = 0 AND named.kind <> 1 AND {unknown}"
        ),
        [bulk],
    )?;
    // What can't be read here, but was closed once: its copies know its hash.
    db.execute(
        "UPDATE segments SET closed = 1, hash = (SELECT MAX(hash) FROM copies WHERE copies.segment = segments.segment)
         WHERE hash IS NULL AND EXISTS (SELECT 1 FROM copies WHERE copies.segment = segments.segment)
           AND EXISTS (SELECT 1 FROM damage WHERE damage.segment = segments.segment AND damage.offset = 0)",
        [],
    )?;
    Ok(())
}

/// Removes files that a power cut left behind after it was recorded that they go.
pub(crate) fn remove_left_over(
    reading: &Reading,
    db: &Connection,
    forms: &BTreeMap<SegmentId, FileForm>,
) -> Result<()> {
    let mut dropped = db.prepare("SELECT 1 FROM dropped WHERE segment = ?1")?;
    let mut evicted = db.prepare("SELECT 1 FROM segments WHERE segment = ?1 AND on_disk = 0")?;
    for (segment, form) in forms {
        if dropped.exists([segment.0])? {
            remove_file(reading, *segment, *form)?;
        } else if *form == FileForm::Stub {
            // Whatever the log says: where only the stub is, the data isn't.
            db.execute("UPDATE segments SET on_disk = 0 WHERE segment = ?1 AND on_disk = 1", [segment.0])?;
        } else if evicted.exists([segment.0])? {
            // A stub is written before an eviction is recorded: without one, the file came back from a cartridge.
            match reading.disk.open(&segment_path(&reading.dir, *segment, FileForm::Stub)) {
                Ok(_) => remove_file(reading, *segment, FileForm::Whole)?,
                Err(_) => {
                    db.execute("UPDATE segments SET on_disk = 1 WHERE segment = ?1", [segment.0])?;
                }
            }
        }
    }
    Ok(())
}

impl Vault {
    /// Looks whether every segment's file is there; nothing is read. What isn't there is damage from now on, and so is what isn't a
    /// file; a file that is still written to is written again from what is open. Returns how many were missing.
    pub fn look_for_missing(&self) -> Result<usize> {
        let mut missing = self.keep_files_in_place()?;
        let forms = list_names(&self.reading)?;
        let known = self.reading.all_damage()?;
        let is_known =
            |segment| known.iter().any(|(stretch, _)| stretch.segment == segment && stretch.offset == 0);
        // The list of files is older than what is asked here: what has come since has its file.
        for state in self.segments()?.into_iter().filter(|state| state.on_disk) {
            let segment = state.segment;
            if forms.get(&segment) == Some(&FileForm::Whole) {
                continue;
            }
            let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
            let disk = &*self.reading.disk;
            let lay_there = set_aside(disk, &path)?;
            if is_file(disk, &path)? {
                continue;
            }
            if !is_known(segment) && self.is_on_disk(segment)? {
                tracing::error!(%segment, "a segment's file is missing; a copy from tape or HQ heals it");
                let what = lay_there.map_or_else(
                    || "its file is missing".into(),
                    |what| format!("its file is missing: {what} lay in its place, which was moved aside"),
                );
                self.reading.files.forget(segment);
                self.record_damage(segment, (0, catalog::WHOLE_FILE), &what)?;
            }
            missing += 1;
        }
        self.note_left_without_copy()?;
        Ok(missing)
    }

    /// Segments that left this disk and of which no copy counts any more are damage: HQ reads it there, and the computers are asked for
    /// what was in them.
    pub fn note_left_without_copy(&self) -> Result<()> {
        let left = self.reading.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT segment FROM segments WHERE on_disk = 0 AND segment NOT IN (SELECT segment FROM copies)
                   AND segment NOT IN (SELECT segment FROM damage WHERE offset = 0)",
            )?;
            let rows = query.query_map([], |row| Ok(SegmentId(row.get(0)?)))?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })?;
        if left.is_empty() {
            return Ok(());
        }
        tracing::error!(
            segments = left.len(),
            "no copy has these segments any more, which aren't on this disk"
        );
        let what = "it isn't on this disk, and no copy of it counts any more";
        left.into_iter().try_for_each(|segment| self.record_damage(segment, (0, catalog::WHOLE_FILE), what))
    }

    fn is_on_disk(&self, segment: SegmentId) -> Result<bool> {
        Ok(self.segments()?.iter().any(|state| state.segment == segment && state.on_disk))
    }
}

fn is_file(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let named = disk.look_up(path).map_err(VaultError::io("look at", path))?;
    Ok(matches!(named, Named::File(_)))
}

/// A file that is listed and isn't there is damage.
pub(crate) fn list_missing(reading: &Reading, db: &mut Connection) -> Result<()> {
    let forms = list_files(reading)?;
    let transaction = db.transaction()?;
    catalog::clear_missing(&transaction)?;
    let listed: Vec<(SegmentId, bool)> = {
        let mut query = transaction.prepare("SELECT segment, on_disk FROM segments ORDER BY segment")?;
        let rows = query.query_map([], |row| Ok((SegmentId(row.get(0)?), row.get(1)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    for (segment, on_disk) in listed {
        let is_there = match forms.get(&segment) {
            Some(FileForm::Whole) => true,
            Some(FileForm::Stub) => !on_disk,
            None => false,
        };
        if !is_there {
            tracing::error!(%segment, on_disk, "a segment's file is missing; a copy from tape or HQ heals it");
            let stretch = Stretch::whole(segment, DamageKind::Missing);
            catalog::put_damage(&transaction, &stretch, b"its file is missing", 0)?;
            transaction.execute("UPDATE segments SET on_disk = 0 WHERE segment = ?1", [segment.0])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

pub(crate) fn remove_file(reading: &Reading, segment: SegmentId, form: FileForm) -> Result<()> {
    reading.files.forget(segment);
    // It may have been missing, or an earlier run got that far.
    clear(&*reading.disk, &segment_path(&reading.dir, segment, form))?;
    let dir = segments_dir(&reading.dir);
    reading.disk.sync_dir(&dir).map_err(VaultError::io("sync", &dir))
}
