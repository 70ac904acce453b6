//! Reading everything back: every byte of every segment, and the names of the versions that damage touches.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use coffer_format::event::Event;
use coffer_format::segment::{SegmentHeader, Trailer};
use coffer_format::{Blob, ChunkId, ConfigId, FileHash, Locator, Lsn, NodeId, PointSeq, SegmentId};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use crate::reading::Reading;
use crate::seal::open_record;
use crate::segment::{read_contents, scan};
use crate::vault::Vault;
use crate::{Result, VaultError};

/// What a verification found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub segments: u64,
    pub bytes: u64,
    pub damage: Vec<Damage>,
    /// Versions that can't be restored from this disk as it is.
    pub touched: Vec<Touched>,
}

/// A stretch of a segment that isn't what was written. Offsets and lengths in bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Damage {
    #[serde(serialize_with = "crate::vault::as_number")]
    pub segment: SegmentId,
    pub offset: u64,
    pub len: u64,
    pub what: String,
}

/// A version that needs a damaged record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Touched {
    pub config: u32,
    pub path: String,
    pub since: u64,
}

impl Vault {
    /// Reads every segment on disk. Damaged records are taken off the chunk list, so that their chunks are
    /// stored anew when they come again.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Report> {
        let report = self.reading.inspect(progress)?;
        let known: BTreeSet<_> = self.reading.known_damage()?.into_iter().collect();
        let (records, _) = self.reading.damaged_names(&report.damage)?;
        let events: Vec<_> = records
            .into_iter()
            .filter(|(place, _)| !known.contains(place))
            .map(|((segment, offset), detail)| Event::RecordDamaged { segment, offset, detail })
            .collect();
        if !events.is_empty() {
            self.record(events)?;
        }
        Ok(report)
    }
}

/// Damaged records by their place, each with what is wrong with it.
type DamagedRecords = BTreeMap<(SegmentId, u64), Blob>;

/// What lies in damaged records.
#[derive(Default)]
struct DamagedNames {
    chunks: HashSet<ChunkId>,
    lsns: HashSet<Lsn>,
}

impl Reading {
    /// Reads every segment on disk and names what is damaged; changes nothing.
    pub fn inspect(self: &Arc<Self>, progress: &mut dyn FnMut(u64)) -> Result<Report> {
        let mut report = Report::default();
        self.forget_entries();
        for state in self.segments()?.into_iter().filter(|state| state.on_disk) {
            let found = self.check_segment(state.segment, state.bytes)?;
            if !found.is_empty() && !self.is_on_disk(state.segment)? {
                // Reclaim took it off the disk meanwhile.
                continue;
            }
            report.segments += 1;
            report.bytes += state.bytes;
            progress(report.bytes);
            report.damage.extend(found);
        }
        if !report.damage.is_empty() || !self.known_damage()?.is_empty() {
            let (_, names) = self.damaged_names(&report.damage)?;
            report.touched = self.touched(&names)?;
        }
        Ok(report)
    }

    fn is_on_disk(&self, segment: SegmentId) -> Result<bool> {
        Ok(self.segments()?.iter().any(|state| state.segment == segment && state.on_disk))
    }

    /// Checks the first `durable` bytes of a segment.
    fn check_segment(&self, segment: SegmentId, durable: u64) -> Result<Vec<Damage>> {
        let damage = |offset, len, what: &str| Damage { segment, offset, len, what: what.to_owned() };
        self.files.forget(segment);
        let readable = match self.files.get(segment) {
            Ok(readable) => readable,
            // Without the header nothing of it can be read.
            Err(VaultError::NotOnDisk(_)) => return Ok(vec![damage(0, durable, "the file is missing")]),
            Err(VaultError::Damaged { what, .. }) => return Ok(vec![damage(0, durable, &what)]),
            Err(error) => return Err(error),
        };
        let size = readable.file.size().map_err(VaultError::io("read", "a segment"))?.min(durable);
        let mut bytes = vec![0; size as usize];
        if let Err(error) = readable.file.read_at(0, &mut bytes) {
            return Ok(vec![damage(0, size, &format!("the disk can't read it: {error}"))]);
        }
        let mut found = Vec::new();
        if size < durable {
            found.push(damage(size, durable - size, "the file is shorter than it was"));
        }
        let Some(contents) = read_contents(&*readable.file, &readable.key)? else {
            // Still open, or its end is damaged: the records speak for themselves.
            let scanned = scan(&bytes, &readable.key, SegmentHeader::LEN as u64);
            found.extend(
                scanned.damaged.iter().map(|(at, len)| damage(*at, *len, "a record doesn't decrypt")),
            );
            if scanned.end < size {
                found.push(damage(scanned.end, size - scanned.end, "the end of the segment doesn't decrypt"));
            }
            return Ok(found);
        };
        let body = bytes.len().saturating_sub(Trailer::LEN);
        if FileHash(*blake3::hash(&bytes[..body]).as_bytes()) == contents.trailer.hash {
            return Ok(found);
        }
        for record in &contents.index.records {
            let range = record.offset as usize..(record.offset + record.record_len) as usize;
            if bytes.get_mut(range).is_none_or(|sealed| open_record(&readable.key, sealed).is_none()) {
                found.push(damage(record.offset, record.record_len, "a record doesn't decrypt"));
            }
        }
        if found.is_empty() {
            found.push(damage(0, SegmentHeader::LEN as u64, "bytes outside the records changed"));
        }
        Ok(found)
    }

    /// Names the versions that need something damaged.
    fn touched(self: &Arc<Self>, damaged: &DamagedNames) -> Result<Vec<Touched>> {
        let versions = self.readers.with(|db| {
            // What no kept point shows (and no draft will) can't be asked for.
            let mut query = db.prepare(
                "SELECT config, node, since, lsn, map_lsn, map_op FROM versions v WHERE EXISTS (SELECT 1 FROM points
                   WHERE points.config = v.config AND point >= v.since AND point < v.until AND expired_ms IS NULL)",
            )?;
            let rows = query.query_map([], |row| {
                let map = row.get::<_, Option<u64>>(4)?.map(Lsn).zip(row.get(5)?);
                Ok((ConfigId(row.get(0)?), NodeId(row.get(1)?), row.get::<_, u64>(2)?, Lsn(row.get(3)?), map))
            })?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })?;
        let mut touched = BTreeSet::new();
        for (config, node, since, lsn, map) in versions {
            let hit = damaged.lsns.contains(&lsn)
                || match map {
                    Some((lsn, op)) => self.needs_any(Locator { lsn, op }, damaged)?,
                    None => false,
                };
            if hit {
                let path = self.path_of(config, node, PointSeq(since))?;
                touched.insert(Touched { config: config.0, path, since });
            }
        }
        Ok(touched.into_iter().collect())
    }

    /// The records that the catalog has in damaged stretches, and what lies in them. Damage that was found before counts too.
    fn damaged_names(&self, damage: &[Damage]) -> Result<(DamagedRecords, DamagedNames)> {
        let mut stretches: Vec<_> = damage
            .iter()
            .map(|one| (one.segment, one.offset, one.len, Blob::from(one.what.as_str())))
            .collect();
        stretches.extend(
            self.known_damage()?.into_iter().map(|(segment, offset)| (segment, offset, 1, Blob::default())),
        );
        self.readers.with(|db| {
            let (mut records, mut names) = (DamagedRecords::new(), DamagedNames::default());
            let mut chunks = db.prepare_cached(
                "SELECT id, offset FROM chunks WHERE segment = ?1 AND offset < ?2 + ?3 AND offset + record_len > ?2",
            )?;
            let mut log = db.prepare_cached(
                "SELECT lsn, offset FROM log WHERE segment = ?1 AND offset < ?2 + ?3 AND offset + record_len > ?2",
            )?;
            for (segment, offset, len, what) in stretches {
                let before = records.len();
                let mut rows = chunks.query(params![segment.0, offset, len])?;
                while let Some(row) = rows.next()? {
                    names.chunks.insert(ChunkId(row.get(0)?));
                    records.insert((segment, row.get(1)?), what.clone());
                }
                let mut rows = log.query(params![segment.0, offset, len])?;
                while let Some(row) = rows.next()? {
                    names.lsns.insert(Lsn(row.get(0)?));
                    records.insert((segment, row.get(1)?), what.clone());
                }
                if records.len() == before {
                    // Nothing of it is used, but a person should know.
                    records.insert((segment, offset), what);
                }
            }
            Ok((records, names))
        })
    }

    /// Whether a version's bytes need something damaged, or a chunk that isn't listed.
    fn needs_any(&self, at: Locator, damaged: &DamagedNames) -> Result<bool> {
        Ok(damaged.lsns.contains(&at.lsn) || self.needs_chunk(at, |id, _| damaged.chunks.contains(id))?)
    }

    /// A path that a node had at a point. Slow: for reports on damage.
    pub(crate) fn path_of(&self, config: ConfigId, node: NodeId, point: PointSeq) -> Result<String> {
        self.readers.with(|db| {
            let mut names: Vec<Vec<u8>> = Vec::new();
            let mut at = node;
            while at != NodeId::ROOT && names.len() < coffer_format::limits::PATH_MAX {
                let mut query = db.prepare_cached(
                    "SELECT parent, name FROM files WHERE config = ?1 AND node = ?2 AND since <= ?3 AND until > ?3 LIMIT 1",
                )?;
                let found = query
                    .query_row(params![config.0, at.0, point.0], |row| Ok((NodeId(row.get(0)?), row.get(1)?)))
                    .optional()?;
                let Some((parent, name)) = found else { break };
                names.push(name);
                at = parent;
            }
            names.reverse();
            Ok(format!("/{}", String::from_utf8_lossy(&names.join(&b'/'))))
        })
    }

    /// Damage that is known and not mended.
    pub fn known_damage(&self) -> Result<Vec<(SegmentId, u64)>> {
        self.readers.with(|db| {
            let mut query =
                db.prepare_cached("SELECT segment, offset FROM damage ORDER BY segment, offset")?;
            let rows = query.query_map([], |row| Ok((SegmentId(row.get(0)?), row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
