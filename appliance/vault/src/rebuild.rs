//! Bringing the catalog up to the segments: after a clean stop, a power cut, or the loss of the whole catalog.
//!
//! A segment that wasn't closed is walked record by record; what is torn at its end is cut off and the segment is closed. Nothing
//! is ever appended to a segment of an earlier run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, SegmentIndex, Stream};
use coffer_format::{Lsn, SegmentId, limits};
use rusqlite::Connection;

use crate::catalog::{self, SegmentRow};
use crate::disk::DiskFile;
use crate::reading::Reading;
use crate::segment::{self, FileForm, OpenSegment, read_contents, segment_path, segments_dir};
use crate::vault::closed_row;
use crate::{Result, VaultError};

/// Where a vault goes on.
pub(crate) struct Found {
    pub(crate) next_lsn: Lsn,
    pub(crate) next_segment: SegmentId,
}

/// What one segment file holds.
struct Listed {
    row: SegmentRow,
    index: SegmentIndex,
    form: FileForm,
}

/// Closes what is open, lists what isn't listed, applies what isn't applied. `all`: the catalog is new.
pub(crate) fn catch_up(reading: &Reading, db: &mut Connection, all: bool) -> Result<Found> {
    let forms = list_files(reading)?;
    let known = if all { BTreeSet::new() } else { known(db)? };
    let mut log = Vec::new();
    let mut removed = BTreeSet::new();
    let mut newest = SegmentId(0);
    let transaction = db.transaction()?;
    for (segment, form) in &forms {
        newest = newest.max(*segment);
        if known.contains(segment) {
            continue;
        }
        match list_segment(reading, *segment, *form)? {
            Some(listed) => list(&transaction, &listed, &mut log)?,
            None => {
                removed.insert(*segment);
                transaction.execute("DELETE FROM segments WHERE segment = ?1", [segment.0])?;
            }
        }
    }
    // In order of their numbers, whichever file they came from.
    log.sort_by_key(|(_, record): &(SegmentId, IndexEntry)| record.lsn);
    let mut applied = catalog::applied(&transaction)?;
    for (segment, record) in &log {
        if record.lsn > applied {
            let entry = reading.entry_at(*segment, record.offset, record.record_len)?;
            catalog::apply_entry(&transaction, record.lsn, &entry)?;
            applied = record.lsn;
        }
    }
    for (segment, form) in forms.iter().filter(|(segment, _)| !known.contains(segment)) {
        if !removed.contains(segment) {
            list_chunks(reading, &transaction, *segment, *form)?;
        }
    }
    transaction.execute("DELETE FROM chunks WHERE (segment, offset) IN (SELECT segment, offset FROM damage)", [])?;
    transaction.commit()?;
    remove_left_over(reading, db, &forms)?;
    let highest: Option<u64> = db.query_row(
        "SELECT MAX(segment) FROM (SELECT segment FROM segments UNION ALL SELECT segment FROM dropped)",
        [],
        |row| row.get(0),
    )?;
    let next = newest.0.max(highest.unwrap_or(0)) + 1;
    Ok(Found { next_lsn: Lsn(applied.0 + 1), next_segment: SegmentId(next) })
}

fn list_files(reading: &Reading) -> Result<BTreeMap<SegmentId, FileForm>> {
    let dir = segments_dir(&reading.dir);
    reading.disk.create_dir(&dir).map_err(VaultError::io("create", &dir))?;
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
                let path = dir.join(&name);
                reading.disk.remove(&path).map_err(VaultError::io("remove", &path))?;
            }
            None => tracing::warn!(name, "a file that isn't a segment lies among the segments; it's left alone"),
        }
    }
    Ok(forms)
}

/// Segments that the catalog needs no file of: listed as closed, or dropped.
fn known(db: &Connection) -> Result<BTreeSet<SegmentId>> {
    let mut query = db.prepare("SELECT segment FROM segments WHERE closed = 1 UNION SELECT segment FROM dropped")?;
    let rows = query.query_map([], |row| Ok(SegmentId(row.get(0)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Finds what a segment holds; closes it if an earlier run couldn't. `None`: there was nothing in it, and it's gone.
fn list_segment(reading: &Reading, segment: SegmentId, form: FileForm) -> Result<Option<Listed>> {
    let readable = match reading.files.open(segment, form) {
        Ok(readable) => readable,
        // A power cut while the file was being made: no record can be in it.
        Err(VaultError::Damaged { .. }) if is_shorter_than_one_record(reading, segment, form)? => {
            remove_file(reading, segment, form)?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if let Some(contents) = read_contents(&*readable.file, &readable.key)? {
        let row = SegmentRow {
            segment,
            stream: readable.header.stream,
            closed: true,
            bytes: contents.trailer.file_len,
            hash: Some(contents.trailer.hash),
            created_ms: readable.header.created_ms,
        };
        return Ok(Some(Listed { row, index: contents.index, form }));
    }
    if form == FileForm::Stub {
        return Err(VaultError::Damaged { segment, offset: 0, what: "the stub has no valid end".into() });
    }
    recover(reading, &readable.header, readable.file)
}

fn is_shorter_than_one_record(reading: &Reading, segment: SegmentId, form: FileForm) -> Result<bool> {
    let path = segment_path(&reading.dir, segment, form);
    let size = reading.disk.open(&path).and_then(|file| file.size()).map_err(VaultError::io("open", &path))?;
    Ok(size <= SegmentHeader::LEN as u64)
}

/// Cuts off what is torn, and closes.
fn recover(reading: &Reading, header: &SegmentHeader, file: Arc<dyn DiskFile>) -> Result<Option<Listed>> {
    let segment = header.segment;
    let path = segment_path(&reading.dir, segment, FileForm::Whole);
    let size = file.size().map_err(VaultError::io("read", &path))?;
    if size > limits::SEGMENT_MAX {
        return Err(VaultError::Damaged { segment, offset: size, what: "longer than any segment".into() });
    }
    let mut bytes = vec![0; size as usize];
    file.read_at(0, &mut bytes).map_err(VaultError::io("read", &path))?;
    let keys = reading.files.keys();
    let key = keys.segment_key(&header.salt);
    let scanned = segment::scan(&bytes, &key, SegmentHeader::LEN as u64);
    for (offset, len) in &scanned.damaged {
        tracing::error!(%segment, offset, len, "part of a segment doesn't decrypt; run `coffer verify`");
    }
    if scanned.index.records.is_empty() {
        reading.files.forget(segment);
        remove_file(reading, segment, FileForm::Whole)?;
        return Ok(None);
    }
    tracing::info!(%segment, torn = size - scanned.end, "closing a segment that an earlier run left open");
    file.truncate(scanned.end).map_err(VaultError::io("truncate", &path))?;
    let index = scanned.index.clone();
    let kept = &bytes[..scanned.end as usize];
    let mut open = OpenSegment::resume(&reading.dir, &keys, *header, file, scanned.index, kept);
    let closed = open.close()?;
    open.file.sync().map_err(VaultError::io("sync", &path))?;
    Ok(Some(Listed { row: closed_row(&closed, header.created_ms), index, form: FileForm::Whole }))
}

fn list(db: &Connection, listed: &Listed, log: &mut Vec<(SegmentId, IndexEntry)>) -> Result<()> {
    let segment = listed.row.segment;
    catalog::put_segment(db, &listed.row)?;
    if listed.form == FileForm::Stub {
        db.execute("UPDATE segments SET on_disk = 0 WHERE segment = ?1", [segment.0])?;
    }
    if listed.row.stream == Stream::Meta {
        for record in listed.index.records.iter().filter(|record| record.kind == RecordKind::Meta) {
            catalog::put_log(db, segment, record)?;
            log.push((segment, record.clone()));
        }
    }
    Ok(())
}

/// Lists the chunks of a data segment, unless the log says that it's gone.
fn list_chunks(reading: &Reading, db: &Connection, segment: SegmentId, form: FileForm) -> Result<()> {
    let mut there = db.prepare_cached("SELECT 1 FROM segments WHERE segment = ?1 AND stream <> ?2")?;
    if !there.exists(rusqlite::params![segment.0, Stream::Meta.code()])? {
        return Ok(());
    }
    let readable = reading.files.open(segment, form)?;
    let Some(contents) = read_contents(&*readable.file, &readable.key)? else { return Ok(()) };
    for record in contents.index.records.iter().filter(|record| record.kind == RecordKind::Pack) {
        for (id, at) in catalog::pack_locations(segment, record.offset, record.record_len, &record.chunks) {
            catalog::put_chunk(db, &id, &at)?;
        }
    }
    Ok(())
}

/// Removes files that a power cut left behind after it was recorded that they go.
fn remove_left_over(reading: &Reading, db: &Connection, forms: &BTreeMap<SegmentId, FileForm>) -> Result<()> {
    let mut gone = db.prepare(
        "SELECT 1 FROM dropped WHERE segment = ?1 UNION ALL SELECT 1 FROM segments WHERE segment = ?1 AND on_disk = 0",
    )?;
    for (segment, form) in forms {
        if *form == FileForm::Whole && gone.exists([segment.0])? {
            remove_file(reading, *segment, FileForm::Whole)?;
        }
    }
    Ok(())
}

pub(crate) fn remove_file(reading: &Reading, segment: SegmentId, form: FileForm) -> Result<()> {
    reading.files.forget(segment);
    let path = segment_path(&reading.dir, segment, form);
    reading.disk.remove(&path).map_err(VaultError::io("remove", &path))?;
    let dir = segments_dir(&reading.dir);
    reading.disk.sync_dir(&dir).map_err(VaultError::io("sync", &dir))
}
