//! Where each chunk lies: one place for each, and the best there is.
//!
//! A chunk's row stays whatever happens to its place: what kept points need is asked of the rows, damaged or not. Whether
//! the vault *has* a chunk, so that it needn't be stored again, is another question, and only [`has_chunk`] answers it.

use std::collections::HashMap;

use coffer_format::chunk::ChunkEntry;
use coffer_format::{ChunkId, SegmentId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::Result;

/// Where a chunk lies: a run of raw bytes in a pack's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ChunkLocation {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) record_len: u64,
    pub(crate) raw_offset: u32,
    pub(crate) raw_len: u32,
}

/// Whether a chunk can't be had from its place: its record is damaged, or its segment is neither on disk nor anywhere else.
macro_rules! is_bad {
    ($chunk:literal) => {
        concat!(
            "(EXISTS (SELECT 1 FROM damage d WHERE d.segment = ", $chunk, ".segment AND d.offset < ", $chunk, ".offset + ", $chunk,
            ".record_len AND d.offset + d.len > ", $chunk, ".offset) OR EXISTS (SELECT 1 FROM segments s WHERE s.segment = ", $chunk,
            ".segment AND s.on_disk = 0 AND NOT EXISTS (SELECT 1 FROM copies WHERE copies.segment = s.segment AND copies.hash = s.hash)))"
        )
    };
}

fn as_location(row: &Row<'_>) -> rusqlite::Result<ChunkLocation> {
    Ok(ChunkLocation {
        segment: SegmentId(row.get(0)?),
        offset: row.get(1)?,
        record_len: row.get(2)?,
        raw_offset: row.get(3)?,
        raw_len: row.get(4)?,
    })
}

/// Where a chunk is, or would be if its place weren't damaged.
pub(crate) fn find_chunk(db: &Connection, id: &ChunkId) -> Result<Option<ChunkLocation>> {
    let mut query = db.prepare_cached(
        "SELECT segment, offset, record_len, raw_offset, raw_len FROM chunks WHERE id = ?1",
    )?;
    Ok(query.query_row([&id.0[..]], as_location).optional()?)
}

/// A chunk's place, unless it's known to be damaged or gone: then the chunk is stored anew.
pub(crate) fn has_chunk(db: &Connection, id: &ChunkId) -> Result<Option<ChunkLocation>> {
    let mut query = db.prepare_cached(concat!(
        "SELECT segment, offset, record_len, raw_offset, raw_len FROM chunks WHERE id = ?1 AND NOT ",
        is_bad!("chunks")
    ))?;
    Ok(query.query_row([&id.0[..]], as_location).optional()?)
}

/// Lists a chunk at a place. A place that isn't damaged or gone goes before one that is; of alike ones the newest segment counts.
pub(crate) fn put_chunk(db: &Connection, id: &ChunkId, at: &ChunkLocation) -> Result<()> {
    let mut insert = db.prepare_cached(concat!(
        "INSERT INTO chunks (id, segment, offset, record_len, raw_offset, raw_len) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET segment = ?2, offset = ?3, record_len = ?4, raw_offset = ?5, raw_len = ?6
         WHERE CASE ",
        is_bad!("excluded"),
        " - ",
        is_bad!("chunks"),
        " WHEN 0 THEN excluded.segment >= chunks.segment WHEN 1 THEN 0 ELSE 1 END"
    ))?;
    insert.execute(params![&id.0[..], at.segment.0, at.offset, at.record_len, at.raw_offset, at.raw_len])?;
    Ok(())
}

/// The places of a pack's chunks.
pub(crate) fn pack_locations(
    segment: SegmentId,
    offset: u64,
    record_len: u64,
    chunks: &[ChunkEntry],
) -> impl Iterator<Item = (ChunkId, ChunkLocation)> {
    chunks.iter().scan(0, move |raw_offset, chunk| {
        let at =
            ChunkLocation { segment, offset, record_len, raw_offset: *raw_offset, raw_len: chunk.raw_len };
        *raw_offset += chunk.raw_len;
        Some((chunk.id, at))
    })
}

/// How many chunks are listed in each segment. Reads every row.
pub(crate) fn count_chunks(db: &Connection) -> Result<HashMap<SegmentId, u64>> {
    let mut counts = HashMap::new();
    let mut query = db.prepare("SELECT segment FROM chunks")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        *counts.entry(SegmentId(row.get(0)?)).or_insert(0) += 1;
    }
    Ok(counts)
}

/// The chunks that are listed in a segment, whatever their names look like. Reads every row.
pub(crate) fn chunks_in(db: &Connection, segment: SegmentId) -> Result<Vec<(Vec<u8>, ChunkLocation)>> {
    let mut query = db.prepare(
        "SELECT segment, offset, record_len, raw_offset, raw_len, id FROM chunks WHERE segment = ?1",
    )?;
    let rows = query.query_map([segment.0], |row| Ok((row.get(5)?, as_location(row)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Takes a chunk's row out, if it still says that.
pub(crate) fn remove_chunk(db: &Connection, id: &[u8], at: &ChunkLocation) -> Result<usize> {
    let mut remove = db.prepare_cached(
        "DELETE FROM chunks WHERE id = ?1 AND segment = ?2 AND offset = ?3 AND record_len = ?4 AND raw_offset = ?5 AND raw_len = ?6",
    )?;
    Ok(remove.execute(params![id, at.segment.0, at.offset, at.record_len, at.raw_offset, at.raw_len])?)
}
