//! Reading everything back: every byte of every segment, and the names of the versions that damage touches.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use coffer_format::event::Event;
use coffer_format::segment::SegmentHeader;
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
        let mut report = Report::default();
        let mut events = Vec::new();
        for state in self.segments()?.into_iter().filter(|state| state.on_disk) {
            let found = self.reading.check_segment(state.segment, state.bytes)?;
            report.segments += 1;
            report.bytes += state.bytes;
            progress(report.bytes);
            report.damage.extend(found);
        }
        report.touched = self.reading.touched(&report.damage)?;
        for damage in &report.damage {
            let detail = Blob(damage.what.clone().into_bytes());
            events.push(Event::RecordDamaged { segment: damage.segment, offset: damage.offset, detail });
        }
        if !events.is_empty() {
            self.record(events)?;
        }
        Ok(report)
    }
}

impl Reading {
    /// Checks the first `durable` bytes of a segment.
    fn check_segment(&self, segment: SegmentId, durable: u64) -> Result<Vec<Damage>> {
        let damage = |offset, len, what: &str| Damage { segment, offset, len, what: what.to_owned() };
        self.files.forget(segment);
        let readable = match self.files.get(segment) {
            Ok(readable) => readable,
            Err(VaultError::NotOnDisk(_)) => return Ok(vec![damage(0, durable, "the file is missing")]),
            Err(VaultError::Damaged { what, .. }) => return Ok(vec![damage(0, SegmentHeader::LEN as u64, &what)]),
            Err(error) => return Err(error),
        };
        let size = readable.file.size().unwrap_or(0).min(durable);
        if size < durable {
            return Ok(vec![damage(size, durable - size, "the file is shorter than it was")]);
        }
        let mut bytes = vec![0; size as usize];
        if let Err(error) = readable.file.read_at(0, &mut bytes) {
            return Ok(vec![damage(0, size, &format!("the disk can't read it: {error}"))]);
        }
        let Some(contents) = read_contents(&*readable.file, &readable.key)? else {
            // Still open, or its end is damaged: the records speak for themselves.
            let scanned = scan(&bytes, &readable.key, SegmentHeader::LEN as u64);
            let mut found: Vec<_> =
                scanned.damaged.iter().map(|(offset, len)| damage(*offset, *len, "a record doesn't decrypt")).collect();
            if scanned.end < size {
                found.push(damage(scanned.end, size - scanned.end, "the end of the segment doesn't decrypt"));
            }
            return Ok(found);
        };
        let body = bytes.len() - coffer_format::segment::Trailer::LEN;
        if FileHash(*blake3::hash(&bytes[..body]).as_bytes()) == contents.trailer.hash {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for record in &contents.index.records {
            let range = record.offset as usize..(record.offset + record.record_len) as usize;
            if open_record(&readable.key, &mut bytes[range]).is_none() {
                found.push(damage(record.offset, record.record_len, "a record doesn't decrypt"));
            }
        }
        if found.is_empty() {
            found.push(damage(0, size, "bytes outside the records changed"));
        }
        Ok(found)
    }

    /// Names the versions that need something damaged.
    fn touched(self: &Arc<Self>, damage: &[Damage]) -> Result<Vec<Touched>> {
        if damage.is_empty() {
            return Ok(Vec::new());
        }
        let (chunks, lsns) = self.damaged_names(damage)?;
        let versions = self.readers.with(|db| {
            let mut query = db.prepare("SELECT config, node, since, lsn, map_lsn, map_op FROM versions")?;
            let rows = query.query_map([], |row| {
                let map = row.get::<_, Option<u64>>(4)?.map(Lsn).zip(row.get(5)?);
                Ok((ConfigId(row.get(0)?), NodeId(row.get(1)?), row.get::<_, u64>(2)?, Lsn(row.get(3)?), map))
            })?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })?;
        let mut touched = BTreeSet::new();
        for (config, node, since, lsn, map) in versions {
            let hit = lsns.contains(&lsn)
                || match map {
                    Some((lsn, op)) => self.needs_any(Locator { lsn, op }, &chunks, &lsns)?,
                    None => false,
                };
            if hit {
                let path = self.path_of(config, node, PointSeq(since))?;
                touched.insert(Touched { config: config.0, path, since });
            }
        }
        Ok(touched.into_iter().collect())
    }

    /// Chunks and metadata records that lie in damaged stretches.
    fn damaged_names(&self, damage: &[Damage]) -> Result<(HashSet<ChunkId>, HashSet<Lsn>)> {
        let mut by_segment: BTreeMap<SegmentId, Vec<&Damage>> = BTreeMap::new();
        for one in damage {
            by_segment.entry(one.segment).or_default().push(one);
        }
        let hit = |damage: &[&Damage], offset: u64, len: u64| {
            damage.iter().any(|one| offset < one.offset + one.len && one.offset < offset + len)
        };
        self.readers.with(|db| {
            let (mut chunks, mut lsns) = (HashSet::new(), HashSet::new());
            for (segment, damage) in by_segment {
                let mut query = db.prepare_cached("SELECT id, offset, record_len FROM chunks WHERE segment = ?1")?;
                let mut rows = query.query([segment.0])?;
                while let Some(row) = rows.next()? {
                    if hit(&damage, row.get(1)?, row.get(2)?) {
                        chunks.insert(ChunkId(row.get(0)?));
                    }
                }
                let mut query = db.prepare_cached("SELECT lsn, offset, record_len FROM log WHERE segment = ?1")?;
                let mut rows = query.query([segment.0])?;
                while let Some(row) = rows.next()? {
                    if hit(&damage, row.get(1)?, row.get(2)?) {
                        lsns.insert(Lsn(row.get(0)?));
                    }
                }
            }
            Ok((chunks, lsns))
        })
    }

    /// Whether a version's bytes need one of those. A chain that can't be read needs them all.
    fn needs_any(&self, at: Locator, chunks: &HashSet<ChunkId>, lsns: &HashSet<Lsn>) -> Result<bool> {
        if lsns.contains(&at.lsn) {
            return Ok(true);
        }
        match self.full_map(at) {
            Ok(map) => {
                let used: HashSet<u32> = map
                    .ranges
                    .iter()
                    .filter_map(|range| match range.source {
                        coffer_format::manifest::Source::Chunk { chunk, .. } => Some(chunk),
                        _ => None,
                    })
                    .collect();
                Ok(used.iter().any(|chunk| chunks.contains(&map.chunks[*chunk as usize])))
            }
            Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// A path that a node had at a point. Slow: for reports on damage.
    fn path_of(&self, config: ConfigId, node: NodeId, point: PointSeq) -> Result<String> {
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
            let mut query = db.prepare_cached("SELECT segment, offset FROM damage ORDER BY segment, offset")?;
            let rows = query.query_map([], |row| Ok((SegmentId(row.get(0)?), row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
