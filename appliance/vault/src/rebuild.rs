//! Bringing the catalog up to the segments: after a clean stop, a power cut, or the loss of the whole catalog.
//!
//! A segment that wasn't closed is walked record by record; what is torn at its end is cut off and the segment is closed. Nothing
//! is ever appended to a segment of an earlier run.
//!
//! Damage never keeps a vault from opening: what can't be read is logged, listed as damaged and left out, and the rest is
//! there. `coffer verify` then says what it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coffer_format::entry::Entry;
use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, SegmentIndex, Stream, Trailer};
use coffer_format::{Lsn, SegmentId, from_bytes, limits};
use ring::aead::LessSafeKey;
use rusqlite::{Connection, OptionalExtension};

use crate::catalog::{self, SegmentRow};
use crate::disk::DiskFile;
use crate::reading::Reading;
use crate::seal::{open_record, read_compressed};
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
    /// Stretches that can't be read: offset and length.
    damaged: Vec<(u64, u64)>,
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
        let durable = listed_bytes(&transaction, *segment)?;
        match list_segment(reading, *segment, *form, durable)? {
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
            applied = record.lsn;
            match reading.entry_at(*segment, record.offset, record.record_len) {
                Ok(entry) => catalog::apply_entry(&transaction, record.lsn, &entry)?,
                Err(error @ (VaultError::Damaged { .. } | VaultError::Decode(_))) => {
                    tracing::error!(%segment, lsn = %record.lsn, %error, "a metadata record is damaged; the catalog goes on without it");
                    put_damage(&transaction, *segment, record.offset)?;
                    catalog::set_applied(&transaction, applied)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    for (segment, form) in forms.iter().filter(|(segment, _)| !known.contains(segment)) {
        if !removed.contains(segment) {
            list_chunks(reading, &transaction, *segment, *form)?;
        }
    }
    transaction
        .execute("DELETE FROM chunks WHERE (segment, offset) IN (SELECT segment, offset FROM damage)", [])?;
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
            None => {
                tracing::warn!(name, "a file that isn't a segment lies among the segments; it's left alone")
            }
        }
    }
    Ok(forms)
}

/// Segments that the catalog needs no file of: listed as closed, or dropped.
fn known(db: &Connection) -> Result<BTreeSet<SegmentId>> {
    let mut query =
        db.prepare("SELECT segment FROM segments WHERE closed = 1 UNION SELECT segment FROM dropped")?;
    let rows = query.query_map([], |row| Ok(SegmentId(row.get(0)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Bytes of a segment that the catalog knows to be durable.
fn listed_bytes(db: &Connection, segment: SegmentId) -> Result<u64> {
    let mut query = db.prepare_cached("SELECT bytes FROM segments WHERE segment = ?1")?;
    Ok(query.query_row([segment.0], |row| row.get(0)).optional()?.unwrap_or(0))
}

fn put_damage(db: &Connection, segment: SegmentId, offset: u64) -> Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO damage VALUES (?1, ?2, ?3, 0)")?.execute(rusqlite::params![
        segment.0,
        offset,
        &b"found when the vault was opened"[..]
    ])?;
    Ok(())
}

/// Finds what a segment holds; closes it if an earlier run couldn't. `None`: there was nothing in it, and it's gone.
fn list_segment(
    reading: &Reading,
    segment: SegmentId,
    form: FileForm,
    durable: u64,
) -> Result<Option<Listed>> {
    let readable = match reading.files.open(segment, form) {
        Ok(readable) => readable,
        // A power cut while the file was being made: no record can be in it.
        Err(VaultError::Damaged { .. }) if is_shorter_than_one_record(reading, segment, form)? => {
            remove_file(reading, segment, form)?;
            return Ok(None);
        }
        Err(VaultError::Damaged { what, .. }) => {
            return list_damaged(reading, segment, form, &what).map(Some);
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
        return Ok(Some(Listed { row, index: contents.index, form, damaged: Vec::new() }));
    }
    if form == FileForm::Stub {
        return list_damaged(reading, segment, form, "the stub has no valid end").map(Some);
    }
    recover(reading, &readable.header, readable.file, durable)
}

/// A segment whose header or stub can't be read. Its file stays as it is, for a copy of it to be put in its place.
fn list_damaged(reading: &Reading, segment: SegmentId, form: FileForm, what: &str) -> Result<Listed> {
    tracing::error!(%segment, what, "a segment can't be read; restore it from tape or HQ, then run `coffer rebuild`");
    let path = segment_path(&reading.dir, segment, form);
    let file = reading.disk.open(&path).map_err(VaultError::io("open", &path))?;
    let size = file.size().map_err(VaultError::io("read", &path))?;
    let mut start = [0; 11];
    let stream = file.read_at(0, &mut start).ok().and_then(|()| Stream::from_code(start[10]));
    let mut end = [0; Trailer::LEN];
    let at = size.saturating_sub(Trailer::LEN as u64);
    let trailer = file.read_at(at, &mut end).ok().and_then(|()| from_bytes::<Trailer>(&end).ok());
    let row = SegmentRow {
        segment,
        stream: stream.unwrap_or(Stream::Bulk),
        closed: trailer.is_some(),
        bytes: trailer.map_or(size, |trailer| trailer.file_len),
        hash: trailer.map(|trailer| trailer.hash),
        created_ms: 0,
    };
    Ok(Listed { row, index: SegmentIndex::default(), form, damaged: vec![(0, row.bytes)] })
}

fn is_shorter_than_one_record(reading: &Reading, segment: SegmentId, form: FileForm) -> Result<bool> {
    let path = segment_path(&reading.dir, segment, form);
    let size =
        reading.disk.open(&path).and_then(|file| file.size()).map_err(VaultError::io("open", &path))?;
    Ok(size <= SegmentHeader::LEN as u64)
}

/// Cuts off what is torn, and closes. The first `durable` bytes are never cut.
fn recover(
    reading: &Reading,
    header: &SegmentHeader,
    file: Arc<dyn DiskFile>,
    durable: u64,
) -> Result<Option<Listed>> {
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
    let mut scanned = segment::scan(&bytes, &key, SegmentHeader::LEN as u64);
    if header.stream == Stream::Meta {
        cut_torn_batch(&mut scanned, &bytes, &key, durable);
    }
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
    let (index, damaged) = (scanned.index.clone(), scanned.damaged);
    let kept = &bytes[..scanned.end as usize];
    let mut open = OpenSegment::resume(&reading.dir, &keys, *header, file, scanned.index, kept);
    let closed = open.close()?;
    open.file.sync().map_err(VaultError::io("sync", &path))?;
    Ok(Some(Listed { row: closed_row(&closed, header.created_ms), index, form: FileForm::Whole, damaged }))
}

/// Metadata counts up to the first record that is missing from the last batch: what follows it there was never
/// acknowledged, and may need it. Batches before the last were synced: what is missing from them is damage.
fn cut_torn_batch(scanned: &mut segment::Scanned, bytes: &[u8], key: &LessSafeKey, durable: u64) {
    let Some(last) = scanned.index.records.last().and_then(|record| batch_of(record, bytes, key)) else {
        return;
    };
    let torn = scanned.damaged.iter().map(|(offset, _)| *offset).find(|offset| {
        let next = scanned.index.records.iter().find(|record| record.offset > *offset);
        *offset >= durable && next.is_some_and(|next| next.lsn > last)
    });
    if let Some(cut) = torn {
        scanned.index.records.retain(|record| record.offset < cut);
        scanned.damaged.retain(|(offset, _)| *offset < cut);
        scanned.end = cut;
    }
}

/// First record of the batch that a metadata record was written with.
fn batch_of(record: &IndexEntry, bytes: &[u8], key: &LessSafeKey) -> Option<Lsn> {
    let mut sealed = bytes[record.offset as usize..(record.offset + record.record_len) as usize].to_vec();
    let (_, plain) = open_record(key, &mut sealed)?;
    Some(read_compressed::<Entry>(plain).ok()?.batch)
}

fn list(db: &Connection, listed: &Listed, log: &mut Vec<(SegmentId, IndexEntry)>) -> Result<()> {
    let segment = listed.row.segment;
    catalog::put_segment(db, &listed.row)?;
    for (offset, len) in &listed.damaged {
        put_damage(db, segment, *offset)?;
        db.execute(
            "DELETE FROM chunks WHERE segment = ?1 AND offset >= ?2 AND offset < ?2 + ?3",
            rusqlite::params![segment.0, offset, len],
        )?;
    }
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
    let readable = match reading.files.open(segment, form) {
        Err(VaultError::Damaged { .. }) => return Ok(()),
        other => other?,
    };
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

pub(crate) fn remove_file(reading: &Reading, segment: SegmentId, form: FileForm) -> Result<()> {
    reading.files.forget(segment);
    let path = segment_path(&reading.dir, segment, form);
    reading.disk.remove(&path).map_err(VaultError::io("remove", &path))?;
    let dir = segments_dir(&reading.dir);
    reading.disk.sync_dir(&dir).map_err(VaultError::io("sync", &dir))
}
