//! What is lost with a cartridge: the segments of which it has the only copy, and the versions that need them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use coffer_format::event::Place;
use coffer_format::{ConfigId, Locator, Lsn, NodeId, PointSeq, SegmentId};
use rusqlite::params;
use serde::Serialize;

use crate::Result;
use crate::catalog::{self, ALIVE};
use crate::reading::Reading;

/// A version that can't be restored without those segments. It is in the points closed from `from_ms` until before
/// `until_ms` (milliseconds since 1970-01-01 UTC on the vault's clock; `None`: it is still so).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dependent {
    pub computer: String,
    pub config: String,
    pub path: String,
    pub size: u64,
    pub from_ms: u64,
    pub until_ms: Option<u64>,
}

/// What depends on some segments alone.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Impact {
    /// Segments that are nowhere else, and their bytes.
    pub segments: u64,
    pub bytes: u64,
    /// Versions in kept points that need one of them; the first of them by name.
    pub versions: u64,
    pub first: Vec<Dependent>,
    /// By configuration, how many of them are of its newest state.
    #[serde(skip)]
    pub of_newest: BTreeMap<ConfigId, u64>,
}

/// A version as the catalog lists it.
struct Row {
    config: ConfigId,
    node: NodeId,
    since: u64,
    until: i64,
    size: u64,
    lsn: Lsn,
    map: Option<Locator>,
}

impl Reading {
    /// Segments of which this cartridge has the only verified copy: not on disk, on no other cartridge, not at HQ.
    pub fn only_on_cartridge(&self, barcode: &str) -> Result<BTreeSet<SegmentId>> {
        let is_here = |place: &Place| matches!(place, Place::Tape { barcode: on, .. } if on == barcode);
        self.off_disk(|copies| !copies.is_empty() && copies.iter().all(is_here))
    }

    /// Segments that are neither on disk nor on this cartridge's fellows: with it gone, only HQ may have them.
    pub fn on_no_other_tape(&self, barcode: &str) -> Result<BTreeSet<SegmentId>> {
        let elsewhere = |place: &Place| matches!(place, Place::Tape { barcode: on, .. } if on != barcode);
        self.off_disk(|copies| !copies.iter().any(elsewhere))
    }

    fn off_disk(&self, accepts: impl Fn(&[Place]) -> bool) -> Result<BTreeSet<SegmentId>> {
        let mut found = BTreeSet::new();
        for state in self.segments()?.into_iter().filter(|state| state.closed && !state.on_disk) {
            if accepts(&self.copies(state.segment)?) {
                found.insert(state.segment);
            }
        }
        Ok(found)
    }

    /// The versions in kept points that need one of these segments; counts them all and names the first `named`.
    pub fn impact(self: &Arc<Self>, lost: &BTreeSet<SegmentId>, named: usize) -> Result<Impact> {
        let mut impact = Impact { segments: lost.len() as u64, ..Impact::default() };
        if lost.is_empty() {
            return Ok(impact);
        }
        let states = self.segments()?;
        impact.bytes =
            states.iter().filter(|state| lost.contains(&state.segment)).map(|state| state.bytes).sum();
        let names: HashMap<u32, (String, String)> = self
            .configurations()?
            .into_iter()
            .map(|config| (config.config, (config.computer_name, config.name)))
            .collect();
        let mut last = None;
        self.each_version(&mut |row| {
            // Versions that differ in metadata alone share a map, and follow one another.
            let hit = match last {
                Some((map, hit)) if map == row.map && row.map.is_some() => hit,
                _ => self.needs_segment(&row, lost)?,
            };
            last = Some((row.map, hit));
            if !hit {
                return Ok(());
            }
            impact.versions += 1;
            if row.until == ALIVE {
                *impact.of_newest.entry(row.config).or_default() += 1;
            }
            if impact.first.len() < named {
                let (computer, config) = names.get(&row.config.0).cloned().unwrap_or_default();
                impact.first.push(Dependent {
                    computer,
                    config,
                    path: self.path_of(row.config, row.node, PointSeq(row.since))?,
                    size: row.size,
                    from_ms: self.first_closed(row.config, row.since, row.until)?.unwrap_or(0),
                    until_ms: match row.until {
                        ALIVE => None,
                        until => self.first_closed(row.config, until as u64, ALIVE)?,
                    },
                });
            }
            Ok(())
        })?;
        Ok(impact)
    }

    /// Every version that a kept point shows, in order of configuration and node.
    fn each_version(&self, visit: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        self.readers.with(|db| {
            let mut query = db.prepare(
                "SELECT config, node, since, until, size, lsn, map_lsn, map_op FROM versions v WHERE EXISTS (SELECT 1 FROM points
                   WHERE points.config = v.config AND point >= v.since AND point < v.until AND closed_ms IS NOT NULL
                   AND expired_ms IS NULL) ORDER BY config, node, since",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let map = row.get::<_, Option<u64>>(6)?.map(Lsn).zip(row.get(7)?);
                visit(Row {
                    config: ConfigId(row.get(0)?),
                    node: NodeId(row.get(1)?),
                    since: row.get(2)?,
                    until: row.get(3)?,
                    size: row.get(4)?,
                    lsn: Lsn(row.get(5)?),
                    map: map.map(|(lsn, op)| Locator { lsn, op }),
                })?;
            }
            Ok(())
        })
    }

    fn needs_segment(&self, row: &Row, lost: &BTreeSet<SegmentId>) -> Result<bool> {
        let log_at = |lsn| self.readers.with(|db| catalog::find_log(db, lsn));
        if log_at(row.lsn)?.is_none_or(|(segment, ..)| lost.contains(&segment)) {
            return Ok(true);
        }
        match row.map {
            Some(map) => self.needs_chunk(map, |_, at| lost.contains(&at.segment)),
            None => Ok(false),
        }
    }

    /// When the first kept point from `since` on and before `until` was closed.
    fn first_closed(&self, config: ConfigId, since: u64, until: i64) -> Result<Option<u64>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT MIN(closed_ms) FROM points WHERE config = ?1 AND point >= ?2 AND point < ?3
                   AND closed_ms IS NOT NULL AND expired_ms IS NULL",
            )?;
            Ok(query.query_row(params![config.0, since, until], |row| row.get(0))?)
        })
    }
}
