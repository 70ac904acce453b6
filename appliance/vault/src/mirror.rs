//! A vault as HQ has it: the same segments, byte for byte, in whatever order and however far they've come, and a
//! catalog over what is whole. A mirror never writes a record of its own.
//!
//! HQ keeps longer than the branch: what the branch's retention and reclaim gave up stays here.

use std::path::Path;
use std::sync::{Arc, Mutex};

use coffer_format::entry::{Body, Watermark};
use coffer_format::event::Event;
use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, Stream, Trailer};
use coffer_format::wire::{RefusalCode, SegmentHas};
use coffer_format::{ConfigId, FileHash, SegmentId, VaultId, from_bytes, limits};
use nix::fcntl::Flock;
use rusqlite::Connection;
use serde::Serialize;

use crate::catalog::{self, SegmentRow};
use crate::disk::Disk;
use crate::keys::{Opener, RecoveryKey, VaultKeys};
use crate::reading::Reading;
use crate::segment::{self, FileForm, SegmentFiles, scan, segment_path, segments_dir};
use crate::vault::{catalog_path, lock, read_identity, write_identity};
use crate::{Result, VaultError};

/// A branch's vault at HQ.
pub struct Mirror {
    pub(crate) reading: Arc<Reading>,
    identity: SegmentHeader,
    db: Mutex<Connection>,
    _lock: Option<Flock<std::fs::File>>,
}

/// How far a configuration's history is whole at HQ.
#[derive(Debug, Clone, Serialize)]
pub struct Whole {
    pub config: u32,
    /// Newest point all of whose data is here, and when the branch closed it; `None` before the first.
    pub point: Option<u64>,
    pub closed_ms: Option<u64>,
    /// Newest point whose metadata is here.
    pub newest: u64,
}

impl Mirror {
    /// Opens the mirror in `dir`, making it from the first segment header that the branch sent.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, key: RecoveryKey, first: Option<&SegmentHeader>) -> Result<Mirror> {
        let held = lock(dir)?;
        disk.create_dir(&segments_dir(dir)).map_err(VaultError::io("create", dir))?;
        if let (Err(_), Some(header)) = (read_identity(&*disk, dir), first) {
            write_identity(&*disk, dir, &SegmentHeader { segment: SegmentId(0), stream: Stream::Meta, ..*header })?;
        }
        let identity = read_identity(&*disk, dir)?;
        let opener = Opener::Organisation(key);
        let keys = VaultKeys::open(&opener, &identity.keys)?;
        let files = SegmentFiles::new(disk.clone(), dir.into(), opener, keys);
        let catalog = catalog_path(dir);
        let (db, _) = catalog::open_writer(&catalog)?;
        let reading = Arc::new(Reading::new(disk, dir, files, &catalog));
        let mirror = Mirror { reading, identity, db: Mutex::new(db), _lock: held };
        mirror.refresh()?;
        Ok(mirror)
    }

    pub fn vault(&self) -> VaultId {
        self.identity.vault
    }
    pub fn reading(&self) -> &Arc<Reading> {
        &self.reading
    }

    /// How much of each segment is here.
    pub fn has(&self) -> Result<Vec<SegmentHas>> {
        let dir = segments_dir(&self.reading.dir);
        let mut all = Vec::new();
        for name in self.reading.disk.list(&dir).map_err(VaultError::io("list", &dir))? {
            let Some((segment, FileForm::Whole)) = segment::parse_name(&name) else { continue };
            let path = dir.join(&name);
            let bytes = self.reading.disk.open(&path).and_then(|file| file.size()).map_err(VaultError::io("open", &path))?;
            let closed = self.is_closed(segment)?;
            all.push(SegmentHas { segment, bytes, closed });
        }
        all.sort_by_key(|has| has.segment);
        Ok(all)
    }

    fn is_closed(&self, segment: SegmentId) -> Result<bool> {
        self.reading.readers.with(|db| {
            Ok(db.prepare_cached("SELECT 1 FROM segments WHERE segment = ?1 AND closed = 1")?.exists([segment.0])?)
        })
    }

    /// Adds bytes at the end of a segment and makes them durable. Returns how much is here now, and the hash once
    /// the segment is whole and hashes to what its trailer says.
    pub fn append(&self, segment: SegmentId, offset: u64, closed_len: u64, bytes: &[u8]) -> Result<(u64, Option<FileHash>)> {
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        let disk = &self.reading.disk;
        let file = match disk.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let file = disk.create(&path).map_err(VaultError::io("create", &path))?;
                let dir = segments_dir(&self.reading.dir);
                disk.sync_dir(&dir).map_err(VaultError::io("sync", &dir))?;
                file
            }
            other => other.map_err(VaultError::io("open", &path))?,
        };
        let have = file.size().map_err(VaultError::io("read", &path))?;
        if have != offset || offset + bytes.len() as u64 > limits::SEGMENT_MAX {
            return Err(VaultError::refused(
                RefusalCode::OutOfStep,
                format!("segment {segment} was sent from byte {offset}, byte {have} is due: the box asks again"),
            ));
        }
        file.write_at(offset, bytes).map_err(VaultError::io("write", &path))?;
        file.sync().map_err(VaultError::io("sync", &path))?;
        let now = offset + bytes.len() as u64;
        if closed_len == 0 || now < closed_len {
            return Ok((now, None));
        }
        let mut whole = vec![0; now as usize];
        file.read_at(0, &mut whole).map_err(VaultError::io("read", &path))?;
        let body = whole.len().saturating_sub(Trailer::LEN);
        let hash = FileHash(*blake3::hash(&whole[..body]).as_bytes());
        match from_bytes::<Trailer>(&whole[body..]) {
            Ok(trailer) if trailer.hash == hash && trailer.file_len == now => Ok((now, Some(hash))),
            _ => {
                file.truncate(0).map_err(VaultError::io("truncate", &path))?;
                Err(VaultError::refused(
                    RefusalCode::OutOfStep,
                    format!("segment {segment} didn't hash to what its end says: it's fetched again from its start"),
                ))
            }
        }
    }

    /// Takes every record that has become whole into the catalog.
    pub fn refresh(&self) -> Result<()> {
        let has = self.has()?;
        let mut db = self.db.lock().map_err(|_| VaultError::ReadOnly)?;
        let transaction = db.transaction()?;
        let mut meta_in_order = true;
        for one in has.iter().filter(|one| !one.closed && one.bytes > SegmentHeader::LEN as u64) {
            let readable = self.reading.files.open(one.segment, FileForm::Whole)?;
            let stream = readable.header.stream;
            if stream == Stream::Meta && !meta_in_order {
                continue;
            }
            let from = listed_bytes(&transaction, one.segment)?.max(SegmentHeader::LEN as u64);
            let mut bytes = vec![0; one.bytes as usize];
            readable.file.read_at(0, &mut bytes).map_err(VaultError::io("read", "a segment"))?;
            let found = scan(&bytes, &readable.key, from);
            for record in &found.index.records {
                self.take_record(&transaction, one.segment, stream, record)?;
            }
            let trailer = from_bytes::<Trailer>(&bytes[bytes.len().saturating_sub(Trailer::LEN)..]).ok();
            let closed = trailer.filter(|trailer| trailer.file_len == one.bytes);
            catalog::put_segment(
                &transaction,
                &SegmentRow {
                    segment: one.segment,
                    stream,
                    closed: closed.is_some(),
                    bytes: if closed.is_some() { one.bytes } else { found.end },
                    hash: closed.map(|trailer| trailer.hash),
                    created_ms: readable.header.created_ms,
                },
            )?;
            // Metadata is applied in order: nothing after a segment that isn't whole yet.
            meta_in_order &= stream != Stream::Meta || closed.is_some();
        }
        transaction.commit()?;
        Ok(())
    }

    fn take_record(&self, db: &Connection, segment: SegmentId, stream: Stream, record: &IndexEntry) -> Result<()> {
        match record.kind {
            RecordKind::Pack => {
                for (id, at) in catalog::pack_locations(segment, record.offset, record.record_len, &record.chunks) {
                    catalog::put_chunk(db, &id, &at)?;
                }
            }
            RecordKind::Meta if stream == Stream::Meta && record.lsn > catalog::applied(db)? => {
                catalog::put_log(db, segment, record)?;
                let entry = self.reading.entry_at(segment, record.offset, record.record_len)?;
                if branch_only(&entry.body) {
                    catalog::set_applied(db, record.lsn)?;
                } else {
                    catalog::apply_entry(db, record.lsn, &entry)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// How far each configuration is whole here.
    pub fn whole(&self) -> Result<Vec<Whole>> {
        let segments = self.reading.segments()?;
        let reached = |stream: Stream, mark: Watermark| {
            segments.iter().filter(|state| state.stream == stream).all(|state| {
                state.segment > mark.segment
                    || state.segment == mark.segment && state.bytes >= mark.bytes
                    || state.segment < mark.segment && state.closed
            }) && (mark.bytes == 0 || segments.iter().any(|state| state.segment == mark.segment))
        };
        let mut all = Vec::new();
        for config in self.reading.configurations()? {
            let marks = self.marks(ConfigId(config.config))?;
            let whole = marks.iter().find(|(_, _, fresh, bulk)| reached(Stream::Fresh, *fresh) && reached(Stream::Bulk, *bulk));
            all.push(Whole {
                config: config.config,
                point: whole.map(|found| found.0),
                closed_ms: whole.map(|found| found.1),
                newest: marks.first().map_or(0, |found| found.0),
            });
        }
        Ok(all)
    }

    fn marks(&self, config: ConfigId) -> Result<Vec<(u64, u64, Watermark, Watermark)>> {
        self.reading.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT point, closed_ms, fresh_segment, fresh_bytes, bulk_segment, bulk_bytes FROM points
                 WHERE config = ?1 AND closed_ms IS NOT NULL ORDER BY point DESC",
            )?;
            let rows = query.query_map([config.0], |row| {
                let fresh = Watermark { segment: SegmentId(row.get(2)?), bytes: row.get(3)? };
                let bulk = Watermark { segment: SegmentId(row.get(4)?), bytes: row.get(5)? };
                Ok((row.get(0)?, row.get(1)?, fresh, bulk))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// What only concerns the branch's own disk, cartridges and retention.
fn branch_only(body: &Body) -> bool {
    use Event::*;
    let Body::Event { event } = body else { return false };
    matches!(event, PointsExpired { .. } | SegmentDropped { .. } | SegmentReturned { .. } | RecordDamaged { .. })
}

fn listed_bytes(db: &Connection, segment: SegmentId) -> Result<u64> {
    let found = db
        .prepare_cached("SELECT bytes FROM segments WHERE segment = ?1")?
        .query_row([segment.0], |row| row.get(0));
    Ok(rusqlite::OptionalExtension::optional(found)?.unwrap_or(0))
}
