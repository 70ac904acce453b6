//! What tape and HQ see of a vault: which segments there are, their bytes, and where verified copies are.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use coffer_format::event::{CartridgeState, Event, Place, Whereabouts};
use coffer_format::segment::Stream;
use coffer_format::{FileHash, SegmentId, from_bytes};
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::reading::Reading;
use crate::vault::{SegmentState, Vault};
use crate::{Result, VaultError};

/// A cartridge as the catalog knows it. Bytes; milliseconds since 1970-01-01 UTC on the vault's clock.
#[derive(Debug, Clone, Serialize)]
pub struct Cartridge {
    pub barcode: String,
    #[serde(skip)]
    pub state: Option<CartridgeState>,
    pub state_name: String,
    pub set: String,
    pub number: u32,
    pub containers: u32,
    pub written: u64,
    pub labelled_ms: u64,
    #[serde(skip)]
    pub whereabouts: Option<Whereabouts>,
    pub whereabouts_name: String,
    pub moved_ms: u64,
    pub loads: u32,
    pub errors: u32,
    /// Times in the drive, up to the last one, that ended with an error.
    pub failed_in_a_row: u32,
}

/// What a drive has done so far. Bytes; milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Serialize)]
pub struct DriveWear {
    pub serial: String,
    pub loads: u32,
    pub written: u64,
    pub read: u64,
    pub errors: u32,
    pub failed_in_a_row: u32,
    pub cleaned_ms: Option<u64>,
}

/// How often a cleaning cartridge was used.
#[derive(Debug, Clone, Serialize)]
pub struct Cleaner {
    pub barcode: String,
    pub uses: u32,
}

/// A verified copy of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub segment: SegmentId,
    pub place: Place,
    pub recorded_ms: u64,
}

impl Reading {
    /// All segments of the vault, oldest first. `bytes` are durable.
    pub fn segments(&self) -> Result<Vec<SegmentState>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT segment, stream, closed, bytes, hash, on_disk FROM segments ORDER BY segment",
            )?;
            let rows = query.query_map([], |row| {
                Ok(SegmentState {
                    segment: SegmentId(row.get(0)?),
                    stream: Stream::from_code(row.get(1)?).unwrap_or(Stream::Bulk),
                    closed: row.get(2)?,
                    bytes: row.get(3)?,
                    hash: row.get::<_, Option<[u8; 32]>>(4)?.map(FileHash),
                    on_disk: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Verified copies of a segment.
    pub fn copies(&self, segment: SegmentId) -> Result<Vec<Place>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT place FROM copies JOIN segments USING (segment) WHERE segment = ?1 AND copies.hash = segments.hash",
            )?;
            let rows = query.query_map([segment.0], |row| row.get::<_, Vec<u8>>(0))?;
            rows.map(|row| Ok(from_bytes(&row?)?)).collect()
        })
    }

    /// Places where copies of a segment are, of what it is now or of what it was.
    pub(crate) fn copies_of_any_hash(&self, segment: SegmentId) -> Result<Vec<Place>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT place FROM copies WHERE segment = ?1")?;
            let rows = query.query_map([segment.0], |row| row.get::<_, Vec<u8>>(0))?;
            rows.map(|row| Ok(from_bytes(&row?)?)).collect()
        })
    }

    /// Closed segments on disk without a verified copy that `is_there` accepts: the work list of a tape or WAN job.
    pub fn without_copy(&self, is_there: impl Fn(&Place) -> bool) -> Result<Vec<SegmentState>> {
        let mut there = HashSet::new();
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT segment, place FROM copies JOIN segments USING (segment) WHERE copies.hash = segments.hash",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                if is_there(&from_bytes(&row.get::<_, Vec<u8>>(1)?)?) {
                    there.insert(SegmentId(row.get(0)?));
                }
            }
            Ok(())
        })?;
        let mut without = self.segments()?;
        // What is damaged can't be copied before it's healed.
        there.extend(self.unsound()?);
        there.extend(self.waiting_to_be_mended());
        without.retain(|state| state.closed && state.on_disk && !there.contains(&state.segment));
        Ok(without)
    }

    /// Bytes of a segment file from an offset: those that are durable, and no more than fit in `buffer`.
    pub fn read_segment(&self, segment: SegmentId, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let durable = self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT bytes FROM segments WHERE segment = ?1")?;
            Ok(query.query_row([segment.0], |row| row.get::<_, u64>(0)).optional()?)
        })?;
        let durable = durable.ok_or_else(|| VaultError::NotOnDisk(vec![segment]))?;
        let count = (durable.saturating_sub(offset)).min(buffer.len() as u64) as usize;
        let file = self.file_of(segment)?.file;
        let read = file.read_at(offset, &mut buffer[..count]);
        read.inspect_err(|_| self.suspect(segment, offset)).map_err(VaultError::io("read", "a segment"))?;
        Ok(count)
    }

    /// Every verified copy there is.
    pub fn all_copies(&self) -> Result<Vec<Copied>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT segment, place, recorded_ms FROM copies JOIN segments USING (segment) WHERE copies.hash = segments.hash",
            )?;
            let mut copies = Vec::new();
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let place = from_bytes(&row.get::<_, Vec<u8>>(1)?)?;
                copies.push(Copied { segment: SegmentId(row.get(0)?), place, recorded_ms: row.get(2)? });
            }
            Ok(copies)
        })
    }

    /// When the oldest kept point was closed whose closing record lies in a segment that `is_there` doesn't accept.
    pub fn oldest_point_without(&self, is_there: impl Fn(SegmentId) -> bool) -> Result<Option<u64>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT log.segment, MIN(points.closed_ms) FROM points JOIN log USING (lsn)
                 WHERE points.closed_ms IS NOT NULL AND points.expired_ms IS NULL GROUP BY log.segment",
            )?;
            let rows = query.query_map([], |row| Ok((SegmentId(row.get(0)?), row.get::<_, u64>(1)?)))?;
            let oldest: BTreeMap<SegmentId, u64> = rows.collect::<rusqlite::Result<_>>()?;
            Ok(oldest.into_iter().filter(|(segment, _)| !is_there(*segment)).map(|(_, ms)| ms).min())
        })
    }

    pub fn cartridges(&self) -> Result<Vec<Cartridge>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT barcode, state, media_set, number, containers, written, labelled_ms, whereabouts, moved_ms,
                   loads, errors, failed_in_a_row FROM cartridges ORDER BY barcode",
            )?;
            let rows = query.query_map([], |row| {
                let state = from_bytes::<CartridgeState>(&[row.get::<_, u8>(1)?]).ok();
                let whereabouts = from_bytes::<Whereabouts>(&[row.get::<_, u8>(7)?]).ok();
                Ok(Cartridge {
                    barcode: row.get(0)?,
                    state,
                    state_name: name_of(state),
                    set: row.get(2)?,
                    number: row.get(3)?,
                    containers: row.get(4)?,
                    written: row.get(5)?,
                    labelled_ms: row.get(6)?,
                    whereabouts,
                    whereabouts_name: name_of(whereabouts),
                    moved_ms: row.get(8)?,
                    loads: row.get(9)?,
                    errors: row.get(10)?,
                    failed_in_a_row: row.get(11)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    pub fn drive_wear(&self) -> Result<Vec<DriveWear>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT serial, loads, written, bytes_read, errors, failed_in_a_row, cleaned_ms FROM drives ORDER BY serial",
            )?;
            let rows = query.query_map([], |row| {
                Ok(DriveWear {
                    serial: row.get(0)?,
                    loads: row.get(1)?,
                    written: row.get(2)?,
                    read: row.get(3)?,
                    errors: row.get(4)?,
                    failed_in_a_row: row.get(5)?,
                    cleaned_ms: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    pub fn cleaners(&self) -> Result<Vec<Cleaner>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT barcode, uses FROM cleaners ORDER BY barcode")?;
            let rows = query.query_map([], |row| Ok(Cleaner { barcode: row.get(0)?, uses: row.get(1)? }))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// A state as screens show it.
fn name_of(state: Option<impl std::fmt::Debug>) -> String {
    state.map_or_else(|| "unknown".into(), |state| format!("{state:?}").to_lowercase())
}

impl Vault {
    pub fn segments(&self) -> Result<Vec<SegmentState>> {
        self.reading.segments()
    }

    /// Records copies that a medium said are durable, each with the hash of what was written.
    pub fn record_copies(&self, copies: Vec<(SegmentId, FileHash, Place)>) -> Result<()> {
        self.record(
            copies
                .into_iter()
                .map(|(segment, hash, place)| Event::CopyRecorded { segment, hash, place })
                .collect(),
        )
    }

    /// Has copies at headquarters count no more, where this box has none: what is on this disk alone is all that it can give.
    pub fn give_up_copies_at_hq(&self) -> Result<usize> {
        let mut lost = Vec::new();
        for state in self.segments()? {
            let places = self.reading.copies_of_any_hash(state.segment)?.into_iter();
            let at_hq = places.filter(|place| matches!(place, Place::Hq { .. }));
            lost.extend(at_hq.map(|place| Event::CopyLost { segment: state.segment, place }));
        }
        let count = lost.len();
        if count > 0 {
            self.transact(move |batch| {
                batch.audit(
                    "box",
                    &format!("this box has no headquarters: {count} copies there count no more"),
                )?;
                lost.into_iter().try_for_each(|event| batch.write_event(event).map(drop))
            })?;
            self.note_left_without_copy()?;
        }
        Ok(count)
    }

    /// Makes a cartridge's copies count no more, so that it may be overwritten. Refused (`false`) while a segment that isn't
    /// on disk would be left with fewer than `required` copies on other media, and at least one.
    pub fn give_up_copies(&self, barcode: &str, required: u32, next: Event, why: &str) -> Result<bool> {
        let (barcode, why) = (barcode.to_owned(), why.to_owned());
        self.transact(move |batch| {
            if !leaves_enough(batch.db(), &barcode, required.max(1) as usize)? {
                return Ok(false);
            }
            batch.audit("box", &why)?;
            batch.write_event(Event::CopiesGone { barcode })?;
            batch.write_event(next)?;
            Ok(true)
        })
    }

    /// Everything in the catalog that follows from the segments, as text, in a fixed order: two catalogs that say the same give
    /// the same.
    pub fn dump_catalog(&self) -> Result<String> {
        self.reading.readers.with(|db| {
            let mut out = String::new();
            let mut tables =
                db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('read_back', 'point_dates', 'trials', 'care') ORDER BY name")?;
            let tables: Vec<String> =
                tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            for table in tables {
                let mut query = db.prepare(&format!("SELECT * FROM {table}"))?;
                let columns = query.column_count();
                let mut lines = Vec::new();
                let mut rows = query.query([])?;
                while let Some(row) = rows.next()? {
                    let values: rusqlite::Result<Vec<String>> =
                        (0..columns).map(|at| row.get_ref(at).map(|value| format!("{value:?}"))).collect();
                    lines.push(values?.join(" | "));
                }
                lines.sort();
                out.push_str(&format!("## {table}\n{}\n", lines.join("\n")));
            }
            Ok(out)
        })
    }
}

/// Whether every segment that isn't on disk, or is damaged there, has `required` verified copies on other media than this cartridge.
fn leaves_enough(db: &Connection, barcode: &str, required: usize) -> Result<bool> {
    let mut query = db.prepare(
        "SELECT segment, place FROM copies JOIN segments USING (segment) WHERE copies.hash = segments.hash
           AND (on_disk = 0 OR EXISTS (SELECT 1 FROM damage WHERE damage.segment = segments.segment AND kind <> 1))",
    )?;
    let mut elsewhere: BTreeMap<SegmentId, BTreeSet<String>> = BTreeMap::new();
    let mut here = Vec::new();
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let segment = SegmentId(row.get(0)?);
        let medium = match from_bytes(&row.get::<_, Vec<u8>>(1)?)? {
            Place::Tape { barcode: medium, .. } if medium == barcode => {
                here.push(segment);
                continue;
            }
            Place::Tape { barcode: medium, .. } => format!("tape {medium}"),
            Place::Hq { name } => format!("HQ {name}"),
        };
        elsewhere.entry(segment).or_default().insert(medium);
    }
    Ok(here.iter().all(|segment| elsewhere.get(segment).map_or(0, BTreeSet::len) >= required))
}
