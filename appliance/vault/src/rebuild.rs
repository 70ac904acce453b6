//! Bringing the catalog up to the segments: after a clean stop, a power cut, or the loss of the whole catalog.
//!
//! A segment that wasn't closed is walked record by record; what is torn at its end is cut off and the segment is closed. Nothing
//! is ever appended to a segment of an earlier run. Metadata comes first: it says how much of the data was durable.
//!
//! Damage never keeps a vault from opening: what can't be read is logged, listed as damaged and left out, and the rest is
//! there. So is what isn't there: a file that is listed, a record between two others. `coffer verify` then says what it touches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use coffer_format::event::Run;
use coffer_format::segment::{
    IndexEntry, RecordHeader, RecordKind, SegmentHeader, SegmentIndex, Stream, Trailer,
};
use coffer_format::{Lsn, SegmentId, from_bytes};
use rusqlite::{Connection, OptionalExtension};

use crate::catalog::{self, DamageKind, Opened, SegmentRow, Stretch};
use crate::disk::no_file;
use crate::presence::{list_by_name_only, list_files, list_missing, remove_file, remove_left_over};
use crate::reading::Reading;
use crate::recover::{Recovered, Recovery, recover, uncovered};
use crate::segment::{FileForm, ReadableSegment, read_contents, segment_path};
use crate::verify::is_damaged;
use crate::{Result, VaultError};

/// Where a vault goes on.
pub(crate) struct Found {
    pub(crate) next_lsn: Lsn,
    pub(crate) next_segment: SegmentId,
    /// What a person should know, in sentences.
    pub(crate) notes: Vec<String>,
    /// Whether the catalog was made anew: what it lacks isn't known yet.
    pub(crate) is_new: bool,
}

/// What one segment file holds.
struct Listed {
    row: SegmentRow,
    index: SegmentIndex,
    form: FileForm,
    /// Stretches that can't be read (offset and length), and of what kind their damage is.
    damaged: Vec<(u64, u64)>,
    kind: DamageKind,
}

impl From<Recovered> for Listed {
    fn from(of: Recovered) -> Listed {
        let Recovered { row, index, damaged, .. } = of;
        Listed { row, index, form: FileForm::Whole, damaged, kind: DamageKind::Closed }
    }
}

/// How a segment's file was found.
enum File {
    Listed(Listed),
    /// Data that wasn't closed: what was durable of it shows once the metadata is applied.
    OpenData(ReadableSegment),
    /// There was nothing in it, and it's gone.
    Removed,
}

/// A catch-up under way.
struct CatchUp<'a> {
    reading: &'a Reading,
    db: &'a Connection,
    /// Whether the catalog is new; then, durable bytes of open segments as the one before had them.
    all: bool,
    durable_before: &'a HashMap<SegmentId, u64>,
    log: Vec<(SegmentId, IndexEntry)>,
    notes: Vec<String>,
}

/// Brings a catalog up to the segments. One that turns out to be damaged meanwhile is made anew, once.
pub(crate) fn bring_up(reading: &Reading, opened: Opened, path: &Path) -> Result<(Connection, Found)> {
    let Opened { mut db, is_new, mut why, durable } = opened;
    let mut found = match catch_up(reading, &mut db, is_new, &durable) {
        Err(VaultError::Catalog(error)) if !is_new => {
            drop(db);
            let anew = catalog::remake(path, error.to_string())?;
            (db, why) = (anew.db, anew.why);
            catch_up(reading, &mut db, true, &durable)?
        }
        other => other?,
    };
    if let Some(why) = why {
        found.notes.push(format!(
            "the catalog was damaged ({why}); it was made again from the segments: nothing needs to be done"
        ));
    }
    Ok((db, found))
}

/// How many metadata records there may be in files that can't be read at all, behind the last metadata that can. Their numbers aren't given
/// again: they may come back.
fn unread_at_end(db: &Connection, forms: &BTreeMap<SegmentId, FileForm>, reading: &Reading) -> Result<u64> {
    let last: u64 = db
        .query_row("SELECT segment FROM log ORDER BY lsn DESC LIMIT 1", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let unreadable = catalog::all_damage(db)?.into_iter().map(|(stretch, _)| stretch);
    let unreadable = unreadable.filter(|stretch| stretch.offset == 0 && stretch.segment.0 > last);
    let mut records = 0;
    for stretch in unreadable {
        let Some(form) = forms.get(&stretch.segment) else { continue };
        let path = segment_path(&reading.dir, stretch.segment, *form);
        let Ok(file) = reading.disk.open(&path) else { continue };
        let mut start = [0; 11];
        let stream = file.read_at(0, &mut start).ok().and_then(|()| Stream::from_code(start[10]));
        if stream.is_none_or(|stream| stream == Stream::Meta) {
            let len = file.size().map_err(VaultError::io("read", &path))?;
            records += len / RecordHeader::LEN as u64;
        }
    }
    Ok(records)
}

/// Fills a new catalog from segments that are all closed.
pub(crate) fn fill(reading: &Reading, db: &mut Connection) -> Result<Found> {
    catch_up(reading, db, true, &HashMap::new())
}

/// Closes what is open, lists what isn't listed, applies what isn't applied. `all`: the catalog is new; `durable_before` is what
/// the one before it said of open segments, if it could be asked.
fn catch_up(
    reading: &Reading,
    db: &mut Connection,
    all: bool,
    durable_before: &HashMap<SegmentId, u64>,
) -> Result<Found> {
    let forms = list_files(reading)?;
    let known = if all { BTreeSet::new() } else { known(db)? };
    let new: Vec<_> = forms.iter().filter(|(segment, _)| !known.contains(segment)).collect();
    let transaction = db.transaction()?;
    let mut work =
        CatchUp { reading, db: &transaction, all, durable_before, log: Vec::new(), notes: Vec::new() };
    let mut removed = BTreeSet::new();
    let mut open_data = BTreeMap::new();
    for (segment, form) in &new {
        match work.list_segment(**segment, **form)? {
            File::Listed(listed) => work.list(&listed)?,
            File::OpenData(found) => {
                open_data.insert(**segment, found);
            }
            File::Removed => {
                removed.insert(**segment);
            }
        }
    }
    let applied = work.apply_log()?;
    for (segment, form) in &new {
        if removed.contains(*segment) || catalog::is_dropped(&transaction, **segment)? {
            continue;
        }
        match open_data.remove(*segment) {
            Some(found) => work.recover_data(&found)?,
            None => list_chunks(reading, &transaction, **segment, **form)?,
        }
    }
    list_by_name_only(&transaction)?;
    catalog::find_gaps(&transaction)?;
    let unread = if all { unread_at_end(&transaction, &forms, reading)? } else { 0 };
    if unread > 0 {
        let (first, last) = (Lsn(applied.0 + 1), Lsn(applied.0 + unread));
        tracing::warn!(%first, %last, "the newest metadata may be in segments that can't be read: as many numbers of records are left out");
        catalog::put_gap(&transaction, Run { first, last })?;
    }
    let notes = work.notes;
    transaction.commit()?;
    remove_left_over(reading, db, &forms)?;
    list_missing(reading, db)?;
    let highest = catalog::newest_number(db)?;
    let newest = forms.keys().next_back().copied().unwrap_or_default();
    let next = newest.0.max(highest.0) + 1;
    Ok(Found { next_lsn: Lsn(applied.0 + unread + 1), next_segment: SegmentId(next), notes, is_new: all })
}

impl CatchUp<'_> {
    /// Finds what a segment holds; closes metadata if an earlier run couldn't.
    fn list_segment(&mut self, segment: SegmentId, form: FileForm) -> Result<File> {
        let reading = self.reading;
        let found = match reading.files.open(segment, form) {
            Ok(found) => found,
            // A power cut while the file was being made: no record can be in it, unless there was more of it once.
            Err(VaultError::Damaged { .. })
                if self.durable(segment)? <= SegmentHeader::LEN as u64
                    && is_shorter_than_one_record(reading, segment, form)? =>
            {
                self.remove(segment, form)?;
                return Ok(File::Removed);
            }
            Err(VaultError::Damaged { what, .. }) => return self.list_damaged(segment, form, &what),
            Err(error) => return Err(error),
        };
        let contents = match read_contents(&*found.file, &found.key) {
            Err(VaultError::Decode(_)) => None,
            other => other?,
        };
        if let Some(contents) = contents {
            let row = SegmentRow {
                segment,
                stream: found.header.stream,
                closed: true,
                bytes: contents.trailer.file_len,
                hash: Some(contents.trailer.hash),
                created_ms: found.header.created_ms,
            };
            let damaged = uncovered(&contents.index, contents.trailer.index_offset);
            return Ok(File::Listed(Listed {
                row,
                index: contents.index,
                form,
                damaged,
                kind: DamageKind::Closed,
            }));
        }
        match (form, found.header.stream) {
            (FileForm::Stub, _) => self.list_damaged(segment, form, "the stub has no valid end"),
            (_, Stream::Meta) => match self.recover(&found)? {
                Some(listed) => Ok(File::Listed(listed)),
                None => Ok(File::Removed),
            },
            _ => Ok(File::OpenData(found)),
        }
    }

    /// Bytes of a segment that are known to have been durable.
    fn durable(&self, segment: SegmentId) -> Result<u64> {
        let mut listed = self.db.prepare_cached("SELECT bytes FROM segments WHERE segment = ?1")?;
        let listed: Option<u64> = listed.query_row([segment.0], |row| row.get(0)).optional()?;
        // Each point that was acknowledged says how far the data was durable then.
        let mut named = self.db.prepare_cached(
            "SELECT MAX(bytes) FROM (SELECT MAX(fresh_bytes) AS bytes FROM points WHERE fresh_segment = ?1
               UNION ALL SELECT MAX(bulk_bytes) FROM points WHERE bulk_segment = ?1)",
        )?;
        let named: Option<u64> = named.query_row([segment.0], |row| row.get(0))?;
        let before = self.durable_before.get(&segment).copied().unwrap_or(0);
        Ok(listed.unwrap_or(0).max(named.unwrap_or(0)).max(before))
    }

    fn recover(&mut self, found: &ReadableSegment) -> Result<Option<Listed>> {
        let segment = found.header.segment;
        match recover(self.reading, found, self.durable(segment)?)? {
            Recovery::Closed(recovered) => {
                self.note_torn(segment, recovered.torn);
                if !recovered.damaged.is_empty() {
                    let what = "part of it doesn't decrypt, and it was closed as it is";
                    self.notes.push(is_damaged(segment, recovered.damaged.len(), what));
                }
                Ok(Some(recovered.into()))
            }
            Recovery::Empty { torn } => {
                self.note_torn(segment, torn);
                self.remove(segment, FileForm::Whole)?;
                Ok(None)
            }
            Recovery::Unreadable(what) => match self.list_damaged(segment, FileForm::Whole, &what)? {
                File::Listed(listed) => Ok(Some(listed)),
                _ => Ok(None),
            },
        }
    }

    /// Without the catalog before, nobody can tell an end that a power cut tore from one that was damaged later.
    fn note_torn(&mut self, segment: SegmentId, torn: u64) {
        if self.all && torn > 0 {
            self.notes.push(format!(
                "the end of segment {segment} ({torn} bytes) can't be read: a power cut tore it, or it was damaged while the box was off; \
                 compare the newest points with what the computers say"
            ));
        }
    }

    fn remove(&self, segment: SegmentId, form: FileForm) -> Result<()> {
        remove_file(self.reading, segment, form)?;
        self.db.execute("DELETE FROM segments WHERE segment = ?1", [segment.0])?;
        Ok(())
    }

    /// A segment whose file can't be read. It stays as it is, for a copy to be put in its place.
    fn list_damaged(&self, segment: SegmentId, form: FileForm, what: &str) -> Result<File> {
        tracing::error!(%segment, what, "a segment can't be read; a copy from tape or HQ heals it");
        let path = segment_path(&self.reading.dir, segment, form);
        let file = match self.reading.disk.open(&path) {
            Err(error) if no_file(&error).is_some() => None,
            opened => Some(opened.map_err(VaultError::io("open", &path))?),
        };
        let size = file.as_ref().map_or(Ok(0), |file| file.size()).map_err(VaultError::io("read", &path))?;
        let read = |at, buffer: &mut [u8]| file.as_ref().is_some_and(|file| file.read_at(at, buffer).is_ok());
        let mut start = [0; 11];
        let stream = read(0, &mut start).then(|| Stream::from_code(start[10])).flatten();
        let mut end = [0; Trailer::LEN];
        let at = size.saturating_sub(Trailer::LEN as u64);
        let trailer = read(at, &mut end).then(|| from_bytes::<Trailer>(&end).ok()).flatten();
        let durable = self.durable(segment)?;
        let row = SegmentRow {
            segment,
            stream: stream.unwrap_or(Stream::Bulk),
            closed: trailer.is_some(),
            bytes: trailer.map_or(size.max(durable), |trailer| trailer.file_len),
            hash: trailer.map(|trailer| trailer.hash),
            created_ms: 0,
        };
        let damaged = vec![(0, catalog::WHOLE_FILE)];
        Ok(File::Listed(Listed {
            row,
            index: SegmentIndex::default(),
            form,
            damaged,
            kind: DamageKind::Changed,
        }))
    }

    fn list(&mut self, listed: &Listed) -> Result<()> {
        let segment = listed.row.segment;
        catalog::put_segment(self.db, &listed.row)?;
        for (offset, len) in &listed.damaged {
            let stretch = Stretch { segment, offset: *offset, len: *len, kind: listed.kind };
            catalog::put_damage(self.db, &stretch, FOUND_AT_OPEN, 0)?;
        }
        if listed.form == FileForm::Stub {
            self.db.execute("UPDATE segments SET on_disk = 0 WHERE segment = ?1", [segment.0])?;
        }
        if listed.row.stream == Stream::Meta {
            for record in listed.index.records.iter().filter(|record| record.kind == RecordKind::Meta) {
                catalog::put_log(self.db, segment, record)?;
                self.log.push((segment, record.clone()));
            }
        }
        Ok(())
    }

    /// Applies what isn't applied, in order of the records' numbers, whichever file they came from. Returns the newest.
    fn apply_log(&mut self) -> Result<Lsn> {
        let mut log = std::mem::take(&mut self.log);
        log.sort_by_key(|(_, record)| record.lsn);
        let mut applied = catalog::applied(self.db)?;
        for (segment, record) in &log {
            if record.lsn <= applied {
                continue;
            }
            applied = record.lsn;
            match self.reading.entry_at(*segment, record.offset, record.record_len) {
                Ok(entry) => catalog::apply_entry(self.db, record.lsn, &entry)?,
                Err(error @ (VaultError::Damaged { .. } | VaultError::Decode(_))) => {
                    tracing::error!(%segment, lsn = %record.lsn, %error, "a metadata record is damaged; the catalog goes on without it");
                    let (offset, len) = (record.offset, record.record_len);
                    let stretch = Stretch { segment: *segment, offset, len, kind: DamageKind::Changed };
                    catalog::put_damage(self.db, &stretch, FOUND_AT_OPEN, 0)?;
                    catalog::put_unapplied(self.db, record.lsn)?;
                    catalog::set_applied(self.db, applied)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(applied)
    }

    /// Closes a data segment that an earlier run left open, and lists its chunks.
    fn recover_data(&mut self, found: &ReadableSegment) -> Result<()> {
        let segment = found.header.segment;
        let Some(listed) = self.recover(found)? else { return Ok(()) };
        self.list(&listed)?;
        for record in listed.index.records.iter().filter(|record| record.kind == RecordKind::Pack) {
            for (id, at) in catalog::pack_locations(segment, record.offset, record.record_len, &record.chunks)
            {
                catalog::put_chunk(self.db, &id, &at)?;
            }
        }
        Ok(())
    }
}

const FOUND_AT_OPEN: &[u8] = b"found when the vault was opened";

/// Segments that the catalog needs no file of: listed as closed, or dropped.
fn known(db: &Connection) -> Result<BTreeSet<SegmentId>> {
    let mut query =
        db.prepare("SELECT segment FROM segments WHERE closed = 1 UNION SELECT segment FROM dropped")?;
    let rows = query.query_map([], |row| Ok(SegmentId(row.get(0)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn is_shorter_than_one_record(reading: &Reading, segment: SegmentId, form: FileForm) -> Result<bool> {
    let path = segment_path(&reading.dir, segment, form);
    match reading.disk.open(&path).and_then(|file| file.size()) {
        Err(error) if no_file(&error).is_some() => Ok(false),
        size => Ok(size.map_err(VaultError::io("open", &path))? <= SegmentHeader::LEN as u64),
    }
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
    let contents = match read_contents(&*readable.file, &readable.key) {
        Err(VaultError::Decode(_)) => return Ok(()),
        other => other?,
    };
    let Some(contents) = contents else { return Ok(()) };
    for record in contents.index.records.iter().filter(|record| record.kind == RecordKind::Pack) {
        for (id, at) in catalog::pack_locations(segment, record.offset, record.record_len, &record.chunks) {
            catalog::put_chunk(db, &id, &at)?;
        }
    }
    Ok(())
}
