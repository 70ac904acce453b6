//! Since when what a point's restore needs is known to be readable: the day on which the last of it was read back.
//!
//! Data counts chunk by chunk, as the maps name it; a chunk that a later delta covers counts too. Metadata counts up to the point's
//! closing record. What left the disk was last read when its copy was made, and checked there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use coffer_format::segment::Stream;
use coffer_format::{ConfigId, Locator, Lsn, PointSeq, SegmentId};
use rusqlite::{Connection, params};

use crate::catalog::{self, Stretch};
use crate::provable::readable;
use crate::reading::Reading;
use crate::scrub::all_read_back;
use crate::vault::Vault;
use crate::{Result, VaultError};

/// 0: something was never read back.
const NEVER: u64 = 0;

/// What was read back of each segment, and when.
struct Dates {
    read: HashMap<SegmentId, Read>,
    /// What is known to be damaged, also of segments that are as they were when they were closed with it.
    damage: HashMap<SegmentId, Vec<Stretch>>,
}

struct Read {
    bytes: u64,
    ms: u64,
}

impl Dates {
    /// A date that lies in the future is of a clock that was wrong: none to go by.
    fn of(reading: &Reading, now_ms: u64) -> Result<Dates> {
        let mut copied: HashMap<SegmentId, u64> = HashMap::new();
        for copy in reading.all_copies()? {
            let newest = copied.entry(copy.segment).or_insert(NEVER);
            *newest = copy.recorded_ms.max(*newest);
        }
        let mut read: HashMap<SegmentId, Read> = HashMap::new();
        for state in reading.segments()?.into_iter().filter(|state| !state.on_disk) {
            if let Some(ms) = copied.get(&state.segment) {
                read.insert(state.segment, Read { bytes: u64::MAX, ms: *ms });
            }
        }
        // A copy elsewhere says nothing of what is here.
        for (segment, last) in
            reading.readers.with(all_read_back)?.into_iter().filter(|(_, last)| last.is_sound)
        {
            read.insert(segment, Read { bytes: last.bytes, ms: last.ms });
        }
        read.retain(|_, read| read.ms <= now_ms);
        let mut damage: HashMap<SegmentId, Vec<Stretch>> = HashMap::new();
        let states = reading.segments()?.into_iter();
        let metadata: HashSet<SegmentId> =
            states.filter(|state| state.stream == Stream::Meta).map(|state| state.segment).collect();
        for (stretch, _) in reading.all_damage()? {
            // Metadata that nobody goes by any more keeps no later point from its date.
            if !metadata.contains(&stretch.segment) || !reading.is_given_up(&stretch)? {
                damage.entry(stretch.segment).or_default().push(stretch);
            }
        }
        Ok(Dates { read, damage })
    }

    /// When a stretch of a segment was last read back.
    fn at(&self, segment: SegmentId, offset: u64, len: u64) -> u64 {
        let mut damage = self.damage.get(&segment).into_iter().flatten();
        if damage.any(|stretch| stretch.overlaps(offset, len)) {
            return NEVER;
        }
        self.read.get(&segment).filter(|read| read.bytes >= offset + len).map_or(NEVER, |read| read.ms)
    }
}

/// A closed point that is kept, and the date of its metadata.
struct Closed {
    config: ConfigId,
    point: PointSeq,
    ms: u64,
}

impl Vault {
    /// Works out for every kept point when all that its restore needs had been read back. Reads all metadata; `go_on` is asked
    /// now and then.
    pub fn date_points(&self, go_on: &mut dyn FnMut() -> bool) -> Result<()> {
        let Some(dated) = self.reading.date_points(self.now_ms(), go_on)? else { return Ok(()) };
        let mut meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        let transaction = meta.db.transaction()?;
        transaction.execute("DELETE FROM point_dates", [])?;
        {
            let mut note = transaction.prepare_cached("INSERT INTO point_dates VALUES (?1, ?2, ?3)")?;
            for one in dated.into_iter().filter(|one| one.ms != NEVER) {
                note.execute(params![one.config.0, one.point.0, one.ms])?;
            }
        }
        transaction.commit()?;
        self.fold_journal(&meta.db);
        Ok(())
    }
}

impl Reading {
    fn date_points(
        self: &Arc<Self>,
        now_ms: u64,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Closed>>> {
        let dates = Dates::of(self, now_ms)?;
        let mut points = self.readers.with(|db| closed_points(db, &dates))?;
        let mut spans: HashMap<(ConfigId, u64, u64), u64> = HashMap::new();
        let mut chains = Chains { reading: self, dates: &dates, bases: HashMap::new(), last: None };
        let is_done = self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT config, since, until, map_lsn, map_op FROM versions WHERE map_lsn IS NOT NULL ORDER BY map_lsn, map_op",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let ms = chains.date(Locator { lsn: Lsn(row.get(3)?), op: row.get(4)? })?;
                let until: i64 = row.get(2)?;
                let span = (ConfigId(row.get(0)?), row.get(1)?, until as u64);
                let known = spans.entry(span).or_insert(ms);
                *known = ms.min(*known);
                if !go_on() {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if !is_done {
            return Ok(None);
        }
        for ((config, since, until), ms) in spans {
            let shown = points.iter_mut().filter(|one| one.config == config);
            for one in shown.filter(|one| (since..until).contains(&one.point.0)) {
                one.ms = one.ms.min(ms);
            }
        }
        Ok(Some(points))
    }
}

/// Kept points, dated by their metadata alone.
fn closed_points(db: &Connection, dates: &Dates) -> Result<Vec<Closed>> {
    // When all metadata segments up to one were read back.
    let mut up_to: BTreeMap<SegmentId, u64> = BTreeMap::new();
    let mut worst = u64::MAX;
    let mut query =
        db.prepare_cached("SELECT segment, bytes FROM segments WHERE stream = ?1 ORDER BY segment")?;
    let mut rows = query.query([Stream::Meta.code()])?;
    while let Some(row) = rows.next()? {
        let segment = SegmentId(row.get(0)?);
        up_to.insert(segment, worst);
        worst = worst.min(dates.at(segment, 0, row.get(1)?));
    }
    let mut query = db.prepare_cached(
        "SELECT config, point, log.segment, log.offset + log.record_len FROM points JOIN log USING (lsn)
         WHERE closed_ms IS NOT NULL AND expired_ms IS NULL",
    )?;
    let rows = query.query_map([], |row| {
        let segment = SegmentId(row.get(2)?);
        let before = up_to.get(&segment).copied().unwrap_or(NEVER);
        let ms = before.min(dates.at(segment, 0, row.get(3)?));
        Ok(Closed { config: ConfigId(row.get(0)?), point: PointSeq(row.get(1)?), ms })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The dates of maps.
struct Chains<'a> {
    reading: &'a Arc<Reading>,
    dates: &'a Dates,
    bases: HashMap<Locator, u64>,
    /// Versions come in the order of their maps: often it's the same again.
    last: Option<(Locator, u64)>,
}

impl Chains<'_> {
    fn date(&mut self, at: Locator) -> Result<u64> {
        if let Some((last, ms)) = self.last
            && last == at
        {
            return Ok(ms);
        }
        let ms = self.walk(at)?;
        self.last = Some((at, ms));
        Ok(ms)
    }

    fn walk(&mut self, at: Locator) -> Result<u64> {
        let mut walked = Vec::new();
        let mut here = at;
        let mut ms = loop {
            if let Some(known) = self.bases.get(&here) {
                break *known;
            }
            let Some(link) = readable(self.reading.map_link(here))? else { break NEVER };
            walked.push((here, self.chunks(&link.map.chunks)?));
            match link.base {
                Some(base) if walked.len() <= coffer_format::limits::PATH_MAX => here = base,
                Some(_) => break NEVER,
                None => break u64::MAX,
            }
        };
        for (link, own) in walked.into_iter().rev() {
            ms = ms.min(own);
            if link != at {
                self.bases.insert(link, ms);
            }
        }
        Ok(ms)
    }

    fn chunks(&self, chunks: &[coffer_format::ChunkId]) -> Result<u64> {
        self.reading.readers.with(|db| {
            let mut oldest = u64::MAX;
            for id in chunks {
                let found = catalog::find_chunk(db, id)?;
                oldest =
                    oldest.min(found.map_or(NEVER, |at| self.dates.at(at.segment, at.offset, at.record_len)));
            }
            Ok(oldest)
        })
    }
}
