//! A version of a file chosen at random, and what a restore of it must give.

use std::collections::BTreeSet;
use std::sync::Arc;

use coffer_format::manifest::{Map, Source};
use coffer_format::node::NodeKind;
use coffer_format::{ComputerId, ConfigId, Lsn, NodeId, PointSeq, SegmentId, chunk_id};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use crate::catalog;
use crate::provable::readable;
use crate::reading::{Reading, Unpacked};
use crate::restore::Wanted;
use crate::soundness::Soundness;
use crate::vault::Vault;
use crate::{Result, VaultError, random};

/// A file at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub config: ConfigId,
    pub point: PointSeq,
    pub path: Vec<u8>,
}

impl Version {
    /// A restore of it alone.
    pub fn wanted(&self) -> Wanted {
        Wanted { config: self.config, point: self.point, paths: vec![self.path.clone()], trusted: true }
    }
}

/// What the last trial restore of a computer's files showed. Milliseconds since 1970-01-01 UTC on the vault's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trial {
    pub computer: u32,
    pub ms: u64,
    pub config: u32,
    pub point: u64,
    #[serde(serialize_with = "as_text")]
    pub path: Vec<u8>,
    /// What was wrong; nothing where all came back as it was.
    pub why: Option<String>,
    /// All trials so far, and how many were right.
    pub tried: u64,
    pub right: u64,
}

impl Trial {
    pub fn version(&self) -> Version {
        Version { config: ConfigId(self.config), point: PointSeq(self.point), path: self.path.clone() }
    }
}

fn as_text<S: serde::Serializer>(path: &[u8], to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(&String::from_utf8_lossy(path))
}

impl Reading {
    /// A file of a computer at a kept point; each point, then each file of it, as likely as any other. `None` where there's none.
    pub fn random_version(&self, computer: ComputerId) -> Result<Option<Version>> {
        let configs = self.configurations()?.into_iter().filter(|config| config.computer == computer.0);
        let mut points = Vec::new();
        for config in configs.map(|config| ConfigId(config.config)) {
            points.extend(self.points(config)?.into_iter().map(|point| (config, PointSeq(point.point))));
        }
        let Some((config, point)) = one_of(points.len() as u64)?.map(|at| points[at as usize]) else {
            return Ok(None);
        };
        let Some(node) = self.random_file(config, point)? else { return Ok(None) };
        let path = self.names_of(config, node, point)?.join(&b'/');
        Ok((!path.is_empty()).then_some(Version { config, point, path }))
    }

    fn random_file(&self, config: ConfigId, point: PointSeq) -> Result<Option<NodeId>> {
        const OF: &str = "FROM versions WHERE config = ?1 AND kind = ?2 AND since <= ?3 AND until > ?3";
        let kind = NodeKind::File.code();
        self.readers.with(|db| {
            let count = db
                .prepare_cached(&format!("SELECT COUNT(*) {OF}"))?
                .query_row(params![config.0, kind, point.0], |row| row.get(0))?;
            let Some(at) = one_of(count)? else { return Ok(None) };
            let mut query = db.prepare_cached(&format!("SELECT node {OF} LIMIT 1 OFFSET ?4"))?;
            Ok(query
                .query_row(params![config.0, kind, point.0, at], |row| row.get(0).map(NodeId))
                .optional()?)
        })
    }

    /// What a restore of a version must give.
    pub fn expected(self: &Arc<Self>, version: &Version) -> Result<Expected> {
        let node = self.lookup(version.config, version.point, &version.path)?;
        let map = self.map_at(version.config, node.node, version.point)?.unwrap_or_default();
        Ok(Expected { reading: self.clone(), map, taken: Vec::new(), last: None })
    }

    /// Whether known damage touches what a restore of a version needs. A version that isn't there any more needs nothing.
    pub fn is_harmed(self: &Arc<Self>, version: &Version) -> Result<bool> {
        if self.is_unharmed()? {
            return Ok(false);
        }
        let sound = Soundness::known(self)?;
        let node = match self.lookup(version.config, version.point, &version.path) {
            Ok(found) => found.node,
            Err(VaultError::Refused { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(map) = readable(self.map_at(version.config, node, version.point))? else { return Ok(true) };
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT lsn FROM versions WHERE config = ?1 AND node = ?2 AND since <= ?3 AND until > ?3",
            )?;
            let record = query
                .query_row(params![version.config.0, node.0, version.point.0], |row| row.get(0).map(Lsn))
                .optional()?;
            let mut is_harmed = record.is_some_and(|lsn| sound.is_damaged_lsn(lsn));
            for id in map.iter().flat_map(|map| &map.chunks) {
                is_harmed |= catalog::has_chunk(db, id)?.is_none();
            }
            Ok(is_harmed)
        })
    }

    /// What the last trial of each computer showed.
    pub fn trials(&self) -> Result<Vec<Trial>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT computer, ms, config, point, path, why, tried, right_count FROM trials ORDER BY computer",
            )?;
            let rows = query.query_map([], |row| {
                Ok(Trial {
                    computer: row.get(0)?,
                    ms: row.get(1)?,
                    config: row.get(2)?,
                    point: row.get(3)?,
                    path: row.get(4)?,
                    why: row.get(5)?,
                    tried: row.get(6)?,
                    right: row.get(7)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// A number below `count`; `None` below 0.
fn one_of(count: u64) -> Result<Option<u64>> {
    let random: [u8; 8] = random()?;
    Ok((count > 0).then(|| u64::from_le_bytes(random) % count))
}

impl Vault {
    /// Notes what a trial restore showed, for good in the audit log.
    pub fn note_trial(&self, computer: ComputerId, version: &Version, why: Option<&str>) -> Result<()> {
        let shown = String::from_utf8_lossy(&version.path).into_owned();
        let outcome = why.map_or_else(|| "it came back as it was".to_owned(), |why| format!("wrong: {why}"));
        let what = format!(
            "trial restore of /{shown} at point {} of configuration {}: {outcome}",
            version.point, version.config
        );
        let (version, why) = (version.clone(), why.map(str::to_owned));
        self.transact(move |batch| {
            batch.audit("box", &what)?;
            batch
                .db()
                .prepare_cached(
                    "INSERT INTO trials VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7) ON CONFLICT (computer) DO UPDATE SET
                       ms = ?2, config = ?3, point = ?4, path = ?5, why = ?6, tried = tried + 1, right_count = right_count + ?7",
                )?
                .execute(params![
                    computer.0,
                    batch.now_ms(),
                    version.config.0,
                    version.point.0,
                    version.path,
                    why,
                    why.is_none()
                ])?;
            Ok(())
        })
    }
}

/// A version's bytes as its map names them, to compare what comes with.
pub struct Expected {
    reading: Arc<Reading>,
    map: Map,
    /// Ranges that came as they should.
    taken: Vec<bool>,
    /// The pack that was last unpacked: the next chunk is often of the same one.
    last: Option<Unpacked>,
}

impl Expected {
    /// Where its bytes lie.
    pub fn segments(&self) -> Result<BTreeSet<SegmentId>> {
        self.reading.readers.with(|db| {
            let mut segments = BTreeSet::new();
            for id in &self.map.chunks {
                segments.extend(catalog::find_chunk(db, id)?.map(|at| at.segment));
            }
            Ok(segments)
        })
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.map.size
    }

    /// Compares bytes that a restore puts at an offset. `false`: they aren't what was stored.
    pub fn take(&mut self, at: u64, bytes: &[u8]) -> Result<bool> {
        let Ok(index) = self.map.ranges.binary_search_by_key(&at, |range| range.at) else { return Ok(false) };
        let range = self.map.ranges[index];
        let Source::Chunk { chunk, offset } = range.source else { return Ok(false) };
        if range.len != bytes.len() as u64 || !self.is_of_chunk(chunk as usize, offset as usize, bytes)? {
            return Ok(false);
        }
        self.taken.resize(self.map.ranges.len(), false);
        self.taken[index] = true;
        Ok(true)
    }

    /// The first offset for which nothing came that should have; holes need nothing.
    pub fn lacks(&self) -> Option<u64> {
        let ranges = self.map.ranges.iter().enumerate();
        let mut lacking = ranges.filter(|(index, range)| {
            matches!(range.source, Source::Chunk { .. }) && !self.taken.get(*index).copied().unwrap_or(false)
        });
        lacking.next().map(|(_, range)| range.at)
    }

    /// Whether bytes are those of a chunk from an offset on. A chunk is what hashes to its name; where only part of it is
    /// used, all of it is read.
    fn is_of_chunk(&mut self, chunk: usize, offset: usize, bytes: &[u8]) -> Result<bool> {
        let Some(id) = self.map.chunks.get(chunk).copied() else { return Ok(false) };
        let key = self.reading.files.keys().chunk;
        if offset == 0 && chunk_id(&key, bytes) == id {
            return Ok(true);
        }
        if self.last.as_ref().is_none_or(|last| last.chunk(&id).is_none()) {
            self.last = Some(self.reading.unpacked(&id)?);
        }
        let whole = self.last.as_ref().and_then(|last| last.chunk(&id));
        let is_whole = whole.is_some_and(|whole| chunk_id(&key, whole) == id);
        let part = whole.and_then(|whole| whole.get(offset..offset + bytes.len()));
        Ok(is_whole && part == Some(bytes))
    }
}
