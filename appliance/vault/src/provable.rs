//! Whether every kept version could be restored: each chunk that its map names is looked up, and each map read.
//!
//! The cost follows the number of versions and the length of their maps; memory, the number of bases of deltas and what is
//! found to be wrong.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use coffer_format::manifest::{Map, Source};
use coffer_format::{ConfigId, Locator, Lsn, NodeId, PointSeq, SegmentId};
use rusqlite::Connection;

use crate::catalog::{self, ALIVE};
use crate::reading::Reading;
use crate::soundness::{Soundness, Standing};
use crate::{Result, VaultError};

/// A kept version that can't be restored from this disk as it is.
pub(crate) struct Hit {
    pub(crate) config: ConfigId,
    pub(crate) node: NodeId,
    pub(crate) since: PointSeq,
    /// The first point that shows the node otherwise; [`ALIVE`] where it's so now.
    pub(crate) until: u64,
    pub(crate) remedy: Remedy,
}

impl Hit {
    /// Whether it's what the node is now.
    pub(crate) fn is_newest(&self) -> bool {
        self.until == ALIVE as u64
    }
}

/// From where everything that a version lacks can be had; nowhere if there's something that no copy has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remedy {
    pub(crate) places: BTreeSet<String>,
    pub(crate) is_lost: bool,
    /// Segments of which no copy has what is needed; [`UNKNOWN`] where it isn't known which one would have it.
    pub(crate) lost: BTreeSet<SegmentId>,
}

/// No segment has this number.
pub(crate) const UNKNOWN: SegmentId = SegmentId(0);

/// What was looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checked {
    /// Different contents of files.
    pub(crate) contents: u64,
    /// Of those, ones of which something is only on tape or at HQ.
    pub(crate) elsewhere: u64,
}

impl Reading {
    /// Looks at every kept version, and visits those that can't be restored from here as it is.
    pub(crate) fn check_versions(
        self: &Arc<Self>,
        sound: &Soundness,
        visit: &mut dyn FnMut(Hit) -> Result<()>,
    ) -> Result<Checked> {
        let mut check = Check { reading: self, sound, bases: HashMap::new(), checked: Checked::default() };
        let mut suspects: HashMap<Locator, Option<Remedy>> = HashMap::new();
        each_map(self, &mut |at| {
            if check.chain(at)? > Standing::Elsewhere {
                suspects.insert(at, None);
            }
            Ok(())
        })?;
        if !suspects.is_empty() || sound.has_damaged_lsns() {
            check.visit_versions(&mut suspects, visit)?;
        }
        Ok(check.checked)
    }
}

/// Every map that a version names, once, in the order of their records: so each record is read once.
pub(crate) fn each_map(reading: &Reading, visit: &mut dyn FnMut(Locator) -> Result<()>) -> Result<()> {
    reading.readers.with(|db| {
        let mut query = db.prepare_cached(
            "SELECT DISTINCT map_lsn, map_op FROM versions WHERE map_lsn IS NOT NULL ORDER BY map_lsn, map_op",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            visit(Locator { lsn: Lsn(row.get(0)?), op: row.get(1)? })?;
        }
        Ok(())
    })
}

struct Check<'a> {
    reading: &'a Arc<Reading>,
    sound: &'a Soundness,
    /// How each map stands that others are deltas on.
    bases: HashMap<Locator, Standing>,
    checked: Checked,
}

impl Check<'_> {
    /// The worst that any chunk of a chain has come to. A chunk that later deltas cover counts here; whether
    /// it's needed shows when the map is put together.
    fn chain(&mut self, at: Locator) -> Result<Standing> {
        let mut walked = Vec::new();
        let mut here = at;
        let mut standing = loop {
            if let Some(known) = self.bases.get(&here) {
                break *known;
            }
            let Some(link) = readable(self.reading.map_link(here))? else { break Standing::Lost };
            walked.push((here, self.chunks(&link.map)?));
            match link.base {
                Some(base) if walked.len() <= coffer_format::limits::PATH_MAX => here = base,
                Some(_) => break Standing::Lost,
                None => break Standing::Here,
            }
        };
        for (link, own) in walked.into_iter().rev() {
            standing = standing.max(own);
            if link != at {
                self.bases.insert(link, standing);
            }
        }
        self.checked.contents += 1;
        self.checked.elsewhere += u64::from(standing == Standing::Elsewhere);
        Ok(standing)
    }

    fn chunks(&self, map: &Map) -> Result<Standing> {
        self.reading.readers.with(|db| {
            let mut worst = Standing::Here;
            for id in &map.chunks {
                worst = worst.max(self.chunk(db, id)?.1);
            }
            Ok(worst)
        })
    }

    fn chunk(&self, db: &Connection, id: &coffer_format::ChunkId) -> Result<(Option<SegmentId>, Standing)> {
        Ok(match catalog::find_chunk(db, id)? {
            Some(at) => (Some(at.segment), self.sound.of(at.segment, at.offset, at.record_len)),
            None => (None, Standing::Lost),
        })
    }

    fn visit_versions(
        &self,
        suspects: &mut HashMap<Locator, Option<Remedy>>,
        visit: &mut dyn FnMut(Hit) -> Result<()>,
    ) -> Result<()> {
        self.reading.readers.with(|db| {
            // What no kept point shows (and no draft will) can't be asked for.
            let mut query = db.prepare(
                "SELECT config, node, since, until, lsn, map_lsn, map_op FROM versions v WHERE EXISTS (SELECT 1 FROM points
                   WHERE points.config = v.config AND point >= v.since AND point < v.until AND expired_ms IS NULL)
                 ORDER BY config, node, since",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let map = row.get::<_, Option<u64>>(5)?.map(Lsn).zip(row.get(6)?);
                let mut remedy = Remedy::default();
                self.meta(db, Lsn(row.get(4)?), &mut remedy)?;
                if let Some(found) = map.and_then(|(lsn, op)| suspects.get_mut(&Locator { lsn, op })) {
                    let at = map.map(|(lsn, op)| Locator { lsn, op }).expect("it was found by this");
                    let known = match found {
                        Some(known) => known,
                        None => found.insert(self.content(at)?),
                    };
                    remedy.is_lost |= known.is_lost;
                    remedy.lost.extend(&known.lost);
                    remedy.places.extend(known.places.iter().cloned());
                }
                if remedy.is_lost || !remedy.places.is_empty() {
                    visit(Hit {
                        config: ConfigId(row.get(0)?),
                        node: NodeId(row.get(1)?),
                        since: PointSeq(row.get(2)?),
                        until: row.get(3)?,
                        remedy,
                    })?;
                }
            }
            Ok(())
        })
    }

    /// What a version's own record lacks.
    fn meta(&self, db: &Connection, lsn: Lsn, remedy: &mut Remedy) -> Result<()> {
        if self.sound.is_damaged_lsn(lsn) {
            match catalog::find_log(db, lsn)? {
                Some((segment, offset, len)) => {
                    self.add(remedy, segment, self.sound.of(segment, offset, len))
                }
                None => self.add(remedy, UNKNOWN, Standing::Lost),
            }
        }
        Ok(())
    }

    /// What the bytes of a version lack.
    fn content(&self, at: Locator) -> Result<Remedy> {
        let mut remedy = Remedy::default();
        let map = match self.reading.full_map(at) {
            Ok(map) => map,
            Err(VaultError::Damaged { segment, offset, .. }) => {
                // The record's length isn't known here; its first byte lies in what is damaged of it, or all of it is.
                let standing = self.sound.of(segment, offset, 1);
                self.add(&mut remedy, segment, standing.max(Standing::Copy));
                return Ok(remedy);
            }
            Err(VaultError::NotOnDisk(segments)) => {
                for segment in segments {
                    self.add(&mut remedy, segment, self.sound.of(segment, 0, 1).max(Standing::Copy));
                }
                return Ok(remedy);
            }
            Err(VaultError::Decode(_)) => return Ok(Remedy { is_lost: true, ..remedy }),
            Err(error) => return Err(error),
        };
        self.reading.readers.with(|db| {
            for range in &map.ranges {
                let Source::Chunk { chunk, .. } = range.source else { continue };
                let (segment, standing) = self.chunk(db, &map.chunks[chunk as usize])?;
                self.add(&mut remedy, segment.unwrap_or(UNKNOWN), standing);
            }
            Ok(())
        })?;
        Ok(remedy)
    }

    fn add(&self, remedy: &mut Remedy, segment: SegmentId, standing: Standing) {
        let places = match standing {
            Standing::Here | Standing::Elsewhere => return,
            Standing::Copy => self.sound.places(segment),
            Standing::Lost => Vec::new(),
        };
        if places.is_empty() {
            remedy.is_lost = true;
            remedy.lost.insert(segment);
        }
        remedy.places.extend(places);
    }
}

/// `None` where a record is damaged or isn't there.
pub(crate) fn readable<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Decode(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
