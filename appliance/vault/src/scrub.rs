//! Everything on the disk is read back by itself, again and again: what was never read first (the newest first), then what was
//! read longest ago. What is found goes the way a verification's findings go.
//!
//! When each segment was last read is in the catalog alone. A catalog that is made anew knows of none, and all is read again.

use std::collections::HashMap;

use coffer_format::SegmentId;
use rusqlite::{Connection, OptionalExtension, params};

use crate::catalog;
use crate::reading::Reading;
use crate::vault::Vault;
use crate::{Result, VaultError};

const DAY_MS: u64 = 24 * 3_600_000;
/// A segment that is still being written to is read again this often, as far as it has grown.
const GROWN_MS: u64 = DAY_MS;

/// When a segment was last read back. Times in milliseconds since 1970-01-01 UTC on the vault's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadBack {
    /// How much of it was read.
    pub(crate) bytes: u64,
    pub(crate) ms: u64,
    /// Whether all of that was as written.
    pub(crate) is_sound: bool,
}

/// A segment as the scrub sees it.
#[derive(Debug, Clone, Copy)]
struct Standing {
    segment: SegmentId,
    bytes: u64,
    created_ms: u64,
    last: Option<ReadBack>,
}

/// How far the reading back is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Progress {
    /// Segments on disk, and those of them that weren't read back within the bound.
    pub segments: u64,
    pub late: u64,
    /// Since when the one that has waited longest has waited.
    pub oldest_ms: Option<u64>,
}

impl Reading {
    /// Segments to read back now, in order, at most `most`: so that each comes again within `bound_ms`.
    pub fn to_read_back(&self, now_ms: u64, bound_ms: u64, most: usize) -> Result<Vec<SegmentId>> {
        // A third of the bound is left to do it in.
        let due_ms = bound_ms / 3 * 2;
        let (mut never, mut again) = (Vec::new(), Vec::new());
        for one in self.readers.with(standings)? {
            match one.last {
                None => never.push(one.segment),
                Some(last) if last.bytes < one.bytes && is_older(last.ms, now_ms, GROWN_MS) => {
                    never.push(one.segment);
                }
                Some(last) if is_older(last.ms, now_ms, due_ms) => again.push((last.ms, one.segment)),
                Some(_) => {}
            }
        }
        never.reverse();
        again.sort_unstable();
        never.extend(again.into_iter().map(|(_, segment)| segment));
        never.truncate(most);
        Ok(never)
    }

    /// How far the reading back is.
    pub fn read_back_progress(&self, now_ms: u64, bound_ms: u64) -> Result<Progress> {
        let mut progress = Progress::default();
        let began_ms = self.readers.with(began_ms)?.unwrap_or(now_ms);
        for one in self.readers.with(standings)? {
            let since_ms = one.last.map_or(one.created_ms.max(began_ms), |last| last.ms);
            progress.segments += 1;
            progress.late += u64::from(is_older(since_ms, now_ms, bound_ms));
            progress.oldest_ms = Some(progress.oldest_ms.map_or(since_ms, |oldest| oldest.min(since_ms)));
        }
        Ok(progress)
    }
}

/// Since when segments are read back by themselves.
fn began_ms(db: &Connection) -> Result<Option<u64>> {
    let mut query = db.prepare_cached("SELECT value FROM state WHERE key = ?1")?;
    Ok(query.query_row([catalog::SCRUB_BEGAN], |row| row.get(0)).optional()?)
}

/// Whether that was longer ago. A time that lies in the future is none to go by.
fn is_older(ms: u64, now_ms: u64, age_ms: u64) -> bool {
    now_ms.saturating_sub(ms) > age_ms || ms > now_ms + DAY_MS
}

/// Segments on disk, oldest first.
fn standings(db: &Connection) -> Result<Vec<Standing>> {
    let mut query = db.prepare_cached(
        "SELECT segments.segment, segments.bytes, created_ms, read_back.bytes, ms, is_sound
         FROM segments LEFT JOIN read_back USING (segment) WHERE on_disk = 1 ORDER BY segments.segment",
    )?;
    let rows = query.query_map([], |row| {
        let last = match row.get::<_, Option<u64>>(3)? {
            Some(bytes) => Some(ReadBack { bytes, ms: row.get(4)?, is_sound: row.get(5)? }),
            None => None,
        };
        Ok(Standing { segment: SegmentId(row.get(0)?), bytes: row.get(1)?, created_ms: row.get(2)?, last })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// When each segment was last read back.
pub(crate) fn all_read_back(db: &Connection) -> Result<HashMap<SegmentId, ReadBack>> {
    let standings = standings(db)?;
    Ok(standings.into_iter().filter_map(|one| Some((one.segment, one.last?))).collect())
}

impl Vault {
    /// From now on segments are read back by themselves, if they weren't before.
    pub fn begin_scrubbing(&self) -> Result<()> {
        let meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        meta.db.execute(
            "INSERT OR IGNORE INTO state VALUES (?1, ?2)",
            params![catalog::SCRUB_BEGAN, self.now_ms()],
        )?;
        Ok(())
    }

    /// Reads one segment back. `pace` hears of each piece (bytes) and says whether to go on. Damage is recorded, and so is that
    /// damage is gone. Returns the number of damaged places; `None` where it was ended, or the segment left the disk.
    pub fn scrub(&self, segment: SegmentId, pace: &mut dyn FnMut(u64) -> bool) -> Result<Option<usize>> {
        let state = |vault: &Vault| -> Result<_> {
            Ok(vault.segments()?.into_iter().find(|state| state.segment == segment && state.on_disk))
        };
        let Some(before) = state(self)? else { return Ok(None) };
        let Some(found) = self.reading.check_segment(segment, before.bytes, pace)? else { return Ok(None) };
        if state(self)?.is_none() {
            // Reclaim took it off the disk meanwhile.
            return Ok(None);
        }
        let recorded = self.record_found(&found, &[segment].into());
        self.reading.keep_unless_recorded(recorded, &found)?;
        self.note_read_back(&[(segment, before.bytes, found.is_empty())])?;
        Ok(Some(found.len()))
    }

    /// Notes which segments were read back, how much of each, and whether it was sound.
    pub(crate) fn note_read_back(&self, read: &[(SegmentId, u64, bool)]) -> Result<()> {
        let now_ms = self.now_ms();
        let mut meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        let transaction = meta.db.transaction()?;
        {
            let mut note =
                transaction.prepare_cached("INSERT OR REPLACE INTO read_back VALUES (?1, ?2, ?3, ?4)")?;
            for (segment, bytes, is_sound) in read {
                note.execute(params![segment.0, bytes, now_ms, is_sound])?;
            }
        }
        transaction.commit()?;
        self.fold_journal(&meta.db);
        Ok(())
    }
}
