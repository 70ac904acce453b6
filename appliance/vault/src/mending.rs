//! Putting a segment right from a copy of its beginning: what HQ has of one that never came whole there. Record by record: each that
//! can't be read here and decrypts there takes its place.
//!
//! A segment that is being written to is put right in place: its hash is of what was meant to be written. One that was closed with its
//! damage is closed again, so its hash is another then, and copies of it as it was count no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use coffer_format::event::Event;
use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, Trailer};
use coffer_format::wire::RefusalCode;
use coffer_format::{FileHash, Lsn, SegmentId, from_bytes};
use ring::aead::LessSafeKey;
use rusqlite::{Connection, params};

use crate::catalog::{self, DamageKind, SegmentRow, Stretch};
use crate::disk::{DiskFile, no_file};
use crate::import::{healed, put_pack};
use crate::placing::{clear, put_in_place};
use crate::segment::{FileForm, OpenSegment, Scanned, read_contents, scan, segment_path, segments_dir};
use crate::vault::{Vault, closed_row};
use crate::{Result, VaultError};

/// What is read at once: what the disk can't read of it counts as damaged.
const PIECE: usize = 64 << 10;
const FIRST: u64 = SegmentHeader::LEN as u64;

/// A copy of a segment's beginning.
struct Beginning<'a> {
    header: SegmentHeader,
    key: LessSafeKey,
    bytes: &'a [u8],
    records: Vec<IndexEntry>,
}

/// A segment's records as they are here, and what came of them.
struct Body {
    bytes: Vec<u8>,
    /// What was put right: offset and length.
    mended: Vec<(u64, u64)>,
}

/// A closed segment as it is here.
struct Here {
    body: Vec<u8>,
    /// Index and trailer; nothing where they can't be read.
    end: Vec<u8>,
    /// What a power cut tore before it was closed: never durable, so it's no damage.
    torn: Vec<IndexEntry>,
}

impl Vault {
    /// Puts right what is damaged or missing of a segment here and isn't in `copy`: bytes of the segment from its beginning, as far as
    /// they're at hand. Fails where nothing in them is better than what is here.
    pub fn mend_segment(&self, segment: SegmentId, copy: &[u8]) -> Result<()> {
        self.check_writable()?;
        let copy = self.beginning(segment, copy)?;
        let is_mended = match self.file_in_use(segment)? {
            Some(file) => self.mend_open(&copy, &*file)?,
            None => self.mend_closed(&copy)?,
        };
        if !is_mended {
            self.reading.note_no_better(segment);
            return Err(VaultError::refused(
                RefusalCode::Damaged,
                format!(
                    "this copy of segment {segment} has nothing that is better than what is here: use another copy"
                ),
            ));
        }
        self.reading.wait_no_longer(segment);
        self.reading.forget_entries();
        self.reading.forget_met(segment);
        Ok(())
    }

    /// The file of a segment that this run still writes to, or is about to list as closed.
    fn file_in_use(&self, segment: SegmentId) -> Result<Option<Arc<dyn DiskFile>>> {
        let data = self.data.lock().map_err(|_| VaultError::ReadOnly)?;
        if let Some(file) = data.file_of(segment) {
            return Ok(Some(file));
        }
        drop(data);
        let meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        let open = meta.open.iter().filter(|open| open.id() == segment).map(|open| &open.file);
        let unsynced = meta.unsynced.iter().filter(|(row, _)| row.segment == segment).map(|(_, file)| file);
        Ok(open.chain(unsynced).next().cloned())
    }

    fn beginning<'a>(&self, segment: SegmentId, bytes: &'a [u8]) -> Result<Beginning<'a>> {
        let refused = || {
            VaultError::refused(
                RefusalCode::Damaged,
                format!("these bytes aren't of segment {segment} of this vault: use another copy"),
            )
        };
        let header = bytes.get(..SegmentHeader::LEN).ok_or_else(refused)?;
        let header = from_bytes::<SegmentHeader>(header).map_err(|_| refused())?;
        if header.segment != segment || header.vault != self.identity.vault {
            return Err(refused());
        }
        let key = self.reading.files.keys_of(&header)?.segment_key(&header.salt);
        let mut records = scan(bytes, &key, FIRST).index.records;
        // Where the catalog was lost too, the number of a record that couldn't be read may have been given out again: the newer one
        // counts, and what the older one said stays lost.
        let mut taken = BTreeSet::new();
        self.reading.readers.with(|db| {
            for record in records.iter().filter(|record| record.kind == RecordKind::Meta) {
                if catalog::find_log(db, record.lsn)?.is_some_and(|(of, ..)| of != segment) {
                    taken.insert(record.lsn);
                }
            }
            Ok(())
        })?;
        records.retain(|record| record.kind != RecordKind::Meta || !taken.contains(&record.lsn));
        Ok(Beginning { header, key, bytes, records })
    }

    /// Puts a segment right that is being written to. Only what is damaged is written over.
    fn mend_open(&self, copy: &Beginning<'_>, file: &dyn DiskFile) -> Result<bool> {
        let segment = copy.header.segment;
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        let Some(row) = self.segments()?.into_iter().find(|state| state.segment == segment) else {
            return Ok(false);
        };
        file.forget_cached().map_err(VaultError::io("read", &path))?;
        let mut body = Body { bytes: read_all(file, row.bytes), mended: Vec::new() };
        body.take(copy, row.bytes);
        if body.mended.is_empty() {
            return Ok(false);
        }
        for (offset, len) in &body.mended {
            let (from, to) = (*offset as usize, (*offset + *len) as usize);
            file.write_at(*offset, &body.bytes[from..to]).map_err(VaultError::io("write", &path))?;
        }
        self.sync_file(file)?;
        self.reading.files.forget(segment);
        let left = left_over(&scan(&body.bytes, &copy.key, FIRST), row.bytes);
        let told = told(segment, left.len());
        let mut events = vec![Event::SegmentReturned { segment }];
        events.extend(left.into_iter().map(|(offset, len)| {
            let detail = "a record doesn't decrypt, and HQ doesn't have it".into();
            Event::StretchDamaged { segment, offset, len, detail }
        }));
        self.leave_damaged(&events)?;
        self.transact(move |batch| {
            batch.audit("box", &told)?;
            events.into_iter().try_for_each(|event| batch.write_event(event).map(drop))
        })?;
        Ok(true)
    }

    /// Puts a segment right that nobody writes to any more. If that makes it what it was when it was closed, it's put back; else it's
    /// closed again.
    fn mend_closed(&self, copy: &Beginning<'_>) -> Result<bool> {
        let segment = copy.header.segment;
        let known = self.segments()?.into_iter().find(|state| state.segment == segment);
        let Some(known) = known else { return Ok(false) };
        let here = self.here(copy)?;
        let must_reach = self.reading.readers.with(|db| listed_end(db, segment))?;
        let end = copy.records.last().map_or(FIRST, |last| last.offset + last.record_len);
        let must_reach = must_reach.max(end);
        let mut body = Body { bytes: here.body, mended: Vec::new() };
        if here.end.is_empty() {
            // Behind the last record there's nothing but what was its index.
            let records_end = scan(&body.bytes, &copy.key, FIRST).end.max(must_reach);
            body.bytes.truncate(records_end as usize);
        }
        body.take(copy, must_reach);
        let mut found = scan(&body.bytes, &copy.key, FIRST);
        let damaged: Vec<_> = left_over(&found, body.bytes.len() as u64);
        let (torn, damaged): (Vec<_>, Vec<_>) = damaged.into_iter().partition(|(offset, len)| {
            here.torn.iter().any(|one| one.offset <= *offset && offset + len <= one.offset + one.record_len)
        });
        found
            .index
            .records
            .extend(torn.into_iter().map(|(offset, record_len)| no_record(offset, record_len)));
        found.index.records.sort_by_key(|record| record.offset);
        if body.mended.is_empty() && !(damaged.is_empty() && self.is_listed_as_damaged(segment)?) {
            return Ok(false);
        }
        let as_it_was = || known.hash.is_some_and(|hash| hash == hash_of(&body.bytes, &here.end));
        if !here.end.is_empty() && as_it_was() {
            self.import_segment(segment, &[&body.bytes[..], &here.end[..]].concat())?;
            return Ok(true);
        }
        self.close_again(copy, &body.bytes, found, damaged)?;
        Ok(true)
    }

    /// The file as it is; empty where it's missing, or is another segment's by its header.
    fn here(&self, copy: &Beginning<'_>) -> Result<Here> {
        let segment = copy.header.segment;
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        let nothing = || Here { body: Vec::new(), end: Vec::new(), torn: Vec::new() };
        self.reading.files.forget(segment);
        let file = match self.reading.disk.open(&path) {
            Err(error) if is_no_file(&error) => return Ok(nothing()),
            other => other.map_err(VaultError::io("open", &path))?,
        };
        file.forget_cached().map_err(VaultError::io("read", &path))?;
        let size = file.size().map_err(VaultError::io("read", &path))?;
        let bytes = read_all(&*file, size);
        self.check_is_same_line(copy, &bytes)?;
        if is_of_another(copy.header.segment, &bytes) {
            return Ok(nothing());
        }
        let Some(trailer) = trailer_of(&bytes) else { return Ok(Here { body: bytes, ..nothing() }) };
        let (body, end) = bytes.split_at(trailer.index_offset as usize);
        let contents = read_contents(&*file, &copy.key).ok().flatten();
        let is_torn = |record: &IndexEntry| record.kind == RecordKind::Pack && record.chunks.is_empty();
        let records = contents.map(|contents| contents.index.records).unwrap_or_default();
        Ok(Here {
            body: body.to_vec(),
            end: end.to_vec(),
            torn: records.into_iter().filter(is_torn).collect(),
        })
    }

    /// Fails where the file here has sound records of another segment of that number.
    fn check_is_same_line(&self, copy: &Beginning<'_>, bytes: &[u8]) -> Result<()> {
        let Ok(header) = from_bytes::<SegmentHeader>(bytes.get(..SegmentHeader::LEN).unwrap_or_default())
        else {
            return Ok(());
        };
        let Ok(keys) = self.reading.files.keys_of(&header) else { return Ok(()) };
        // What says that it's another number has come here by mistake.
        let is_other = header.salt != copy.header.salt && header.segment == copy.header.segment;
        if is_other && !scan(bytes, &keys.segment_key(&header.salt), FIRST).index.records.is_empty() {
            return Err(VaultError::refused(
                RefusalCode::Conflict,
                format!(
                    "segment {} has gone another way here than at HQ: nothing was changed",
                    header.segment
                ),
            ));
        }
        Ok(())
    }

    fn is_listed_as_damaged(&self, segment: SegmentId) -> Result<bool> {
        Ok(self.reading.damaged_segments()?.contains(&segment))
    }

    /// Writes the file anew, with an index and a hash of what it holds now, and lists it.
    fn close_again(
        &self,
        copy: &Beginning<'_>,
        body: &[u8],
        found: Scanned,
        damaged: Vec<(u64, u64)>,
    ) -> Result<()> {
        let header = copy.header;
        let segment = header.segment;
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        let new = path.with_extension("new");
        let disk = &self.reading.disk;
        clear(&**disk, &new)?;
        let index = found.index;
        let records = index.records.clone();
        let written = || -> Result<SegmentRow> {
            let file = disk.create(&new).map_err(VaultError::io("create", &new))?;
            file.write_at(0, body).map_err(VaultError::io("write", &new))?;
            let keys = self.reading.files.keys_of(&header)?;
            let mut open = OpenSegment::resume(&self.reading.dir, &keys, header, file.clone(), index, body);
            let closed = open.close()?;
            file.sync().map_err(VaultError::io("sync", &new))?;
            put_in_place(&**disk, &new, &path)?;
            let dir = segments_dir(&self.reading.dir);
            disk.sync_dir(&dir).map_err(VaultError::io("sync", &dir))?;
            Ok(closed_row(&closed, header.created_ms))
        };
        self.reading.files.forget(segment);
        let row = self.poison_unless_full(written())?;
        self.reading.files.forget(segment);
        let places = self.reading.copies_of_any_hash(segment)?;
        self.transact(move |batch| {
            batch.audit("box", &told(segment, damaged.len()))?;
            // Those are of what it was before.
            for place in places {
                batch.write_event(Event::CopyLost { segment, place })?;
            }
            batch.write_event(Event::SegmentReturned { segment })?;
            list_closed_again(batch.db(), &row, &records, &damaged)
        })
    }
}

/// Whether a file says that it's a segment of another number.
pub(crate) fn is_of_another(segment: SegmentId, bytes: &[u8]) -> bool {
    let header = bytes.get(..SegmentHeader::LEN).and_then(|bytes| from_bytes::<SegmentHeader>(bytes).ok());
    header.is_some_and(|header| header.segment != segment)
}

fn is_no_file(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || no_file(error).is_some()
}

/// What is audited; `left`: places that are damaged still.
fn told(segment: SegmentId, left: usize) -> String {
    match left {
        0 => healed(segment),
        left => {
            format!("segment {segment} was put right from HQ's copy of its beginning, but for {left} places")
        }
    }
}

fn list_closed_again(
    db: &Connection,
    row: &SegmentRow,
    records: &[IndexEntry],
    damaged: &[(u64, u64)],
) -> Result<()> {
    let segment = row.segment;
    catalog::put_segment(db, row)?;
    db.execute(
        "UPDATE segments SET stream = ?2, created_ms = ?3 WHERE segment = ?1",
        params![segment.0, row.stream.code(), row.created_ms],
    )?;
    db.execute("DELETE FROM damage WHERE segment = ?1", [segment.0])?;
    for (offset, len) in damaged {
        let stretch = Stretch { segment, offset: *offset, len: *len, kind: DamageKind::Closed };
        catalog::put_damage(db, &stretch, b"found when the segment was put right", 0)?;
    }
    for record in records {
        match record.kind {
            RecordKind::Pack => put_pack(db, segment, record)?,
            RecordKind::Meta if catalog::is_lacking(db, record.lsn)? => {
                // What it says comes before what was applied: only a new catalog has it in its place.
                catalog::ask_for_rebuild(db)?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Body {
    /// Takes what is damaged or missing in the first `until` bytes from a copy, record by record.
    fn take(&mut self, copy: &Beginning<'_>, until: u64) {
        let until = (self.bytes.len() as u64).max(until).max(FIRST);
        self.bytes.resize(until as usize, 0);
        let damaged = left_over(&scan(&self.bytes, &copy.key, FIRST), until);
        let is_damaged = |offset: u64, len: u64| {
            damaged.iter().any(|(from, damaged_len)| *from < offset + len && from + damaged_len > offset)
        };
        let header = (0, FIRST);
        let records = copy.records.iter().map(|record| (record.offset, record.record_len));
        let records = records.filter(|(offset, len)| is_damaged(*offset, *len));
        for (offset, len) in [header].into_iter().chain(records) {
            let range = offset as usize..(offset + len) as usize;
            let (Some(here), Some(there)) = (self.bytes.get_mut(range.clone()), copy.bytes.get(range)) else {
                continue;
            };
            if here != there {
                here.copy_from_slice(there);
                self.mended.push((offset, len));
            }
        }
    }
}

/// Stretches up to `until` that no record covers: offset and length.
fn left_over(found: &Scanned, until: u64) -> Vec<(u64, u64)> {
    let mut stretches = found.damaged.clone();
    if found.end < until {
        stretches.push((found.end, until - found.end));
    }
    stretches
}

/// How far records are listed in a segment, or points say that there were some.
fn listed_end(db: &Connection, segment: SegmentId) -> Result<u64> {
    let mut query = db.prepare_cached(
        "SELECT MAX(reach) FROM (
           SELECT MAX(offset + record_len) AS reach FROM chunks WHERE segment = ?1
           UNION ALL SELECT MAX(offset + record_len) FROM log WHERE segment = ?1
           UNION ALL SELECT MAX(fresh_bytes) FROM points WHERE fresh_segment = ?1
           UNION ALL SELECT MAX(bulk_bytes) FROM points WHERE bulk_segment = ?1)",
    )?;
    Ok(query.query_row([segment.0], |row| row.get::<_, Option<u64>>(0))?.unwrap_or(0))
}

fn no_record(offset: u64, record_len: u64) -> IndexEntry {
    IndexEntry { offset, kind: RecordKind::Pack, lsn: Lsn(0), record_len, chunks: Vec::new() }
}

pub(crate) fn trailer_of(bytes: &[u8]) -> Option<Trailer> {
    let end = bytes.get(bytes.len().checked_sub(Trailer::LEN)?..)?;
    let trailer = from_bytes::<Trailer>(end).ok()?;
    let fits = trailer.file_len == bytes.len() as u64 && trailer.index_offset < trailer.file_len;
    (fits && trailer.index_offset >= FIRST).then_some(trailer)
}

/// The hash of a closed segment of these parts.
fn hash_of(body: &[u8], end: &[u8]) -> FileHash {
    let sealed = &end[..end.len().saturating_sub(Trailer::LEN)];
    FileHash(*blake3::Hasher::new().update(body).update(sealed).finalize().as_bytes())
}

/// The first `len` bytes of a file. What can't be read of them is nothing.
pub(crate) fn read_all(file: &dyn DiskFile, len: u64) -> Vec<u8> {
    let size = file.size().unwrap_or(0).min(len) as usize;
    let mut bytes = vec![0; len as usize];
    for (number, piece) in bytes[..size].chunks_mut(PIECE).enumerate() {
        if file.read_at((number * PIECE) as u64, piece).is_err() {
            piece.fill(0);
        }
    }
    bytes
}
