//! Damage as the catalog lists it: stretches of segments that aren't what was written, and gaps in the order of metadata records.

use coffer_format::event::Run;
use coffer_format::segment::Stream;
use coffer_format::{Lsn, SegmentId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::Result;

/// As long as any segment, and longer: all of a file.
pub(crate) const WHOLE_FILE: u64 = 1 << 62;

/// What is known of a stretch's damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DamageKind {
    /// The bytes changed after they were written: a copy of the segment has them as they were.
    Changed,
    /// They had changed before the segment was closed: its hash and its copies have the damage too.
    Closed,
    /// The file isn't there.
    Missing,
}

impl DamageKind {
    pub(super) fn code(self) -> i64 {
        match self {
            DamageKind::Changed => 0,
            DamageKind::Closed => 1,
            DamageKind::Missing => 2,
        }
    }
    fn from_code(code: i64) -> DamageKind {
        match code {
            1 => DamageKind::Closed,
            2 => DamageKind::Missing,
            _ => DamageKind::Changed,
        }
    }
}

/// A damaged stretch. Offset and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) kind: DamageKind,
}

impl Stretch {
    /// A segment whose file can't be read at all.
    pub(crate) fn whole(segment: SegmentId, kind: DamageKind) -> Stretch {
        Stretch { segment, offset: 0, len: WHOLE_FILE, kind }
    }

    pub(crate) fn overlaps(&self, offset: u64, len: u64) -> bool {
        self.offset < offset.saturating_add(len) && self.offset.saturating_add(self.len) > offset
    }
}

/// Lists a damaged stretch. What was closed with its damage stays so, however often it's found.
pub(crate) fn put_damage(db: &Connection, stretch: &Stretch, detail: &[u8], now_ms: u64) -> Result<usize> {
    let len = stretch.len.clamp(1, WHOLE_FILE);
    Ok(db
        .prepare_cached(
            "INSERT INTO damage (segment, offset, len, kind, detail, found_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (segment, offset) DO UPDATE SET len = MAX(len, excluded.len), detail = excluded.detail,
               kind = CASE WHEN kind = 1 THEN 1 ELSE excluded.kind END, found_ms = MAX(found_ms, excluded.found_ms)",
        )?
        .execute(params![
            stretch.segment.0,
            stretch.offset,
            len,
            stretch.kind.code(),
            detail,
            now_ms
        ])?)
}

/// A segment's file is whole again; what it was closed with is still in it.
pub(crate) fn clear_damage(db: &Connection, segment: SegmentId) -> Result<usize> {
    let mut clear = db.prepare_cached("DELETE FROM damage WHERE segment = ?1 AND kind <> ?2")?;
    Ok(clear.execute(params![segment.0, DamageKind::Closed.code()])?)
}

/// Forgets which files were missing; whoever looks at the disk lists those that still are.
pub(crate) fn clear_missing(db: &Connection) -> Result<()> {
    db.execute("DELETE FROM damage WHERE kind = ?1", [DamageKind::Missing.code()])?;
    Ok(())
}

/// The first damaged stretch of a segment from there on: where it begins and ends.
pub(crate) fn damage_behind(db: &Connection, segment: SegmentId, behind: u64) -> Result<Option<(u64, u64)>> {
    let mut query = db.prepare_cached(
        "SELECT offset, offset + len FROM damage WHERE segment = ?1 AND offset >= ?2 AND kind <> ?3 ORDER BY offset LIMIT 1",
    )?;
    let values = params![segment.0, behind, DamageKind::Closed.code()];
    Ok(query.query_row(values, |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Damage that the catalog alone knows of: no record tells of it. What was damaged before its segment was closed isn't among it.
pub(crate) fn unrecorded_damage(db: &Connection) -> Result<Vec<(Stretch, Vec<u8>)>> {
    let mut damage = damage_where(db, "found_ms = 0")?;
    damage.retain(|(stretch, _)| stretch.kind != DamageKind::Closed);
    Ok(damage)
}

/// Whether anything of a segment is damaged that wasn't when it was closed.
pub(crate) fn is_damaged(db: &Connection, segment: SegmentId) -> Result<bool> {
    let mut query = db.prepare_cached("SELECT 1 FROM damage WHERE segment = ?1 AND kind <> ?2")?;
    Ok(query.exists(params![segment.0, DamageKind::Closed.code()])?)
}

/// All damage that is known and not mended, in order.
pub(crate) fn all_damage(db: &Connection) -> Result<Vec<(Stretch, Vec<u8>)>> {
    damage_where(db, "1")
}

fn damage_where(db: &Connection, is_meant: &str) -> Result<Vec<(Stretch, Vec<u8>)>> {
    let mut query = db.prepare_cached(&format!(
        "SELECT segment, offset, len, kind, detail FROM damage WHERE {is_meant} ORDER BY segment, offset"
    ))?;
    let rows = query.query_map([], |row| {
        let kind = DamageKind::from_code(row.get(3)?);
        let (segment, offset, len) = (SegmentId(row.get(0)?), row.get(1)?, row.get(2)?);
        Ok((Stretch { segment, offset, len, kind }, row.get(4)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Metadata that is listed and isn't in its segment any more: at HQ, which has nothing but what came of a segment that isn't whole there.
pub(crate) fn cut_off(db: &Connection) -> Result<Vec<Stretch>> {
    let mut open =
        db.prepare_cached("SELECT segment, bytes FROM segments WHERE stream = ?1 AND closed = 0")?;
    let mut end = db
        .prepare_cached("SELECT offset + record_len FROM log WHERE segment = ?1 ORDER BY lsn DESC LIMIT 1")?;
    let mut stretches = Vec::new();
    let mut rows = open.query([Stream::Meta.code()])?;
    while let Some(row) = rows.next()? {
        let (segment, bytes): (SegmentId, u64) = (SegmentId(row.get(0)?), row.get(1)?);
        let end: Option<u64> = end.query_row([segment.0], |row| row.get(0)).optional()?;
        if let Some(end) = end.filter(|end| *end > bytes) {
            let kind = DamageKind::Missing;
            stretches.push(Stretch { segment, offset: bytes, len: end - bytes, kind });
        }
    }
    Ok(stretches)
}

/// Finds which metadata records are missing from the log (first and last Lsn of each run), and lists them.
pub(crate) fn find_gaps(db: &Connection) -> Result<()> {
    db.execute("DELETE FROM gaps", [])?;
    let (count, last): (u64, Option<u64>) =
        db.query_row("SELECT COUNT(*), MAX(lsn) FROM log", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if last.unwrap_or(0) == count {
        return Ok(());
    }
    let mut before = 0;
    let mut query = db.prepare("SELECT lsn FROM log ORDER BY lsn")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let lsn: u64 = row.get(0)?;
        if lsn > before + 1 {
            put_gap(db, Run { first: Lsn(before + 1), last: Lsn(lsn - 1) })?;
        }
        before = lsn;
    }
    Ok(())
}

/// Notes that the records of a run aren't there.
pub(crate) fn put_gap(db: &Connection, run: Run) -> Result<()> {
    db.execute("INSERT OR REPLACE INTO gaps VALUES (?1, ?2)", [run.first.0, run.last.0])?;
    Ok(())
}

/// Notes that the catalog goes on without what a record says.
pub(crate) fn put_unapplied(db: &Connection, lsn: Lsn) -> Result<()> {
    db.execute("INSERT OR REPLACE INTO unapplied VALUES (?1)", [lsn.0])?;
    Ok(())
}

/// Whether the catalog goes on without what a record of that segment says.
pub(crate) fn has_unapplied(db: &Connection, segment: SegmentId) -> Result<bool> {
    let mut query = db.prepare_cached("SELECT 1 FROM unapplied JOIN log USING (lsn) WHERE segment = ?1")?;
    Ok(query.exists([segment.0])?)
}

/// Whether what a record says isn't in the catalog, and should be.
pub(crate) fn is_lacking(db: &Connection, lsn: Lsn) -> Result<bool> {
    let mut is_lacking = db.prepare_cached(
        "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM log WHERE lsn = ?1) OR EXISTS (SELECT 1 FROM unapplied WHERE lsn = ?1)",
    )?;
    Ok(is_lacking.exists([lsn.0])?)
}

/// Runs of metadata records that the catalog lacks, because they aren't there or couldn't be read. In order, none next to another.
pub(crate) fn lacking(db: &Connection) -> Result<Vec<Run>> {
    let mut query = db
        .prepare_cached("SELECT first, last FROM gaps UNION ALL SELECT lsn, lsn FROM unapplied ORDER BY 1")?;
    let rows = query.query_map([], |row| Ok(Run { first: Lsn(row.get(0)?), last: Lsn(row.get(1)?) }))?;
    let mut runs: Vec<Run> = Vec::new();
    for run in rows {
        let run = run?;
        match runs.last_mut().filter(|last| last.last.0 + 1 >= run.first.0) {
            Some(last) => last.last = last.last.max(run.last),
            None => runs.push(run),
        }
    }
    Ok(runs)
}

/// Runs of metadata records that should be there and aren't: first and last of each.
pub(crate) fn gaps(db: &Connection) -> Result<Vec<(Lsn, Lsn)>> {
    let mut query = db.prepare_cached("SELECT first, last FROM gaps ORDER BY first")?;
    let rows = query.query_map([], |row| Ok((Lsn(row.get(0)?), Lsn(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
