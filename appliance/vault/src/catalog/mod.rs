//! The catalog: an index over the segments, in SQLite. Changed only by applying entries and by what segment files say.

mod apply;
mod chunks;
mod damage;
mod listing;
mod readers;
mod recalls;
mod schema;
mod seal;
mod shadow;
mod tree;

use coffer_format::event::Run;
use coffer_format::segment::{IndexEntry, Stream};
use coffer_format::{FileHash, Lsn, SegmentId};
use rusqlite::{Connection, OptionalExtension, params};

pub(crate) use apply::{apply_entry, has_parts};
pub(crate) use chunks::{
    ChunkLocation, chunks_in, count_chunks, find_chunk, has_chunk, pack_locations, put_chunk, remove_chunk,
};
pub(crate) use damage::{
    DamageKind, Stretch, WHOLE_FILE, all_damage, clear_damage, clear_missing, cut_off, damage_behind,
    find_gaps, gaps, has_unapplied, is_damaged, is_lacking, lacking, put_damage, put_gap, put_unapplied,
    unrecorded_damage,
};
pub(crate) use listing::{
    Listed, is_dropped, is_listed_closed, is_of_another, is_on_disk, list_as, listed, listed_of, tidy, unlist,
};
pub(crate) use readers::{Doubt, Readers};
pub(crate) use recalls::{
    NOW, goes_by_others, lists_what_was_gone_on_without, may_lack, times_gone_on_without,
    unknown_since_newest_part,
};
pub(crate) use schema::{
    ALIVE, CAME_BACK, Opened, create_beside, fold_by_hand, forget_pages, is_asked_for, is_broken,
    open_writer, put_in_place, remake, take_along, wrong_names, wrong_pages,
};
pub(crate) use seal::REPLACED;
pub(crate) use shadow::Shadow;
pub(crate) use shadow::WrongRows;
pub(crate) use tree::{ChainEnd, Head, find_head};

use crate::Result;

/// A segment as the catalog lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentRow {
    pub(crate) segment: SegmentId,
    pub(crate) stream: Stream,
    pub(crate) closed: bool,
    pub(crate) bytes: u64,
    pub(crate) hash: Option<FileHash>,
    pub(crate) created_ms: u64,
}

pub(crate) fn put_segment(db: &Connection, row: &SegmentRow) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO segments (segment, stream, closed, bytes, hash, created_ms, on_disk) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1)
         ON CONFLICT (segment) DO UPDATE SET closed = ?3, bytes = ?4, hash = ?5",
    )?
    .execute(params![
        row.segment.0,
        row.stream.code(),
        row.closed,
        row.bytes,
        row.hash.map(|hash| hash.0.to_vec()),
        row.created_ms
    ])?;
    Ok(())
}

/// The highest segment number that was ever given out, as far as the catalog knows; 0 before the first. A point's data may lie in a
/// segment that this disk never had.
pub(crate) fn newest_number(db: &Connection) -> Result<SegmentId> {
    let highest: Option<u64> = db.query_row(
        "SELECT MAX(segment) FROM (SELECT segment FROM segments UNION ALL SELECT segment FROM dropped
           UNION ALL SELECT fresh_segment FROM points WHERE fresh_bytes > 0
           UNION ALL SELECT bulk_segment FROM points WHERE bulk_bytes > 0)",
        [],
        |row| row.get(0),
    )?;
    Ok(SegmentId(highest.unwrap_or(0)))
}

/// Lists where a metadata record lies.
pub(crate) fn put_log(db: &Connection, segment: SegmentId, record: &IndexEntry) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO log (lsn, segment, offset, record_len) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![record.lsn.0, segment.0, record.offset, record.record_len])?;
    Ok(())
}

/// Number and place of each record after that one, in order: segment, offset and length. Bytes.
pub(crate) fn log_after(db: &Connection, after: Lsn) -> Result<Vec<(Lsn, SegmentId, u64, u64)>> {
    let mut query =
        db.prepare_cached("SELECT lsn, segment, offset, record_len FROM log WHERE lsn > ?1 ORDER BY lsn")?;
    let rows = query.query_map([after.0], |row| {
        Ok((Lsn(row.get(0)?), SegmentId(row.get(1)?), row.get(2)?, row.get(3)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn find_log(db: &Connection, lsn: Lsn) -> Result<Option<(SegmentId, u64, u64)>> {
    let mut query = db.prepare_cached("SELECT segment, offset, record_len FROM log WHERE lsn = ?1")?;
    Ok(query.query_row([lsn.0], |row| Ok((SegmentId(row.get(0)?), row.get(1)?, row.get(2)?))).optional()?)
}

/// Whether the catalog has what any record of that run says.
pub(crate) fn has_applied_of(db: &Connection, run: Run) -> Result<bool> {
    let mut query = db.prepare_cached(
        "SELECT 1 FROM log WHERE lsn BETWEEN ?1 AND ?2 AND lsn NOT IN (SELECT lsn FROM unapplied) LIMIT 1",
    )?;
    Ok(query.exists([run.first.0, run.last.0])?)
}

/// The newest metadata record that is listed.
pub(crate) fn newest_log(db: &Connection) -> Result<Lsn> {
    Ok(Lsn(db.query_row("SELECT COALESCE(MAX(lsn), 0) FROM log", [], |row| row.get(0))?))
}

/// The newest metadata record whose effect is in the catalog.
pub(crate) fn applied(db: &Connection) -> Result<Lsn> {
    Ok(Lsn(db.query_row("SELECT value FROM state WHERE key = 'applied'", [], |row| row.get(0))?))
}

pub(crate) fn set_applied(db: &Connection, lsn: Lsn) -> Result<()> {
    db.prepare_cached("UPDATE state SET value = ?1 WHERE key = 'applied'")?.execute([lsn.0])?;
    Ok(())
}

/// The catalog is made anew when the vault is opened next.
pub(crate) fn ask_for_rebuild(db: &Connection) -> Result<()> {
    db.execute("INSERT OR REPLACE INTO state VALUES ('rebuild', 1)", [])?;
    Ok(())
}

/// Key of the Lsn of the newest escrow.
pub(crate) const ESCROW: &str = "escrow";

/// Key of the time from which on segments are read back by themselves.
pub(crate) const SCRUB_BEGAN: &str = "scrub_began_ms";

/// Keys of when the catalog was last compared with the segments, when it was last mended, and how many rows then.
pub(crate) const LOOKED: &str = "looked_ms";
pub(crate) const MENDED: &str = "mended_ms";
pub(crate) const MENDED_ROWS: &str = "mended_rows";

/// What the key of a configuration begins with whose agent must forget what it knows; its number follows.
pub(crate) const RECALL: &str = "recall:";

/// Key of the number of versions that couldn't be restored from here when that was last looked at.
pub(crate) const TOUCHED: &str = "verified_touched";

/// When everything was last read back, and how many versions couldn't be restored from here then; `None` where it never was.
pub(crate) fn last_look(db: &Connection) -> Result<(Option<u64>, u64)> {
    let mut query = db.prepare_cached("SELECT value FROM state WHERE key = ?1")?;
    let mut value = |key: &str| query.query_row([key], |row| row.get::<_, u64>(0)).optional();
    Ok((value("verified_ms")?, value(TOUCHED)?.unwrap_or(0)))
}

/// Notes how many versions can't be restored from here, found without reading everything.
pub(crate) fn note_touched(db: &Connection, touched: u64) -> Result<()> {
    db.execute("INSERT OR REPLACE INTO state VALUES (?1, ?2)", params![TOUCHED, touched])?;
    Ok(())
}

/// What was noted of comparing and mending.
pub(crate) fn care(db: &Connection, key: &str) -> Result<Option<u64>> {
    let mut query = db.prepare_cached("SELECT value FROM care WHERE key = ?1")?;
    Ok(query.query_row([key], |row| row.get(0)).optional()?)
}

/// Notes something of comparing and mending.
pub(crate) fn note_care(db: &Connection, key: &str, value: u64) -> Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO care VALUES (?1, ?2)")?.execute(params![key, value])?;
    Ok(())
}
