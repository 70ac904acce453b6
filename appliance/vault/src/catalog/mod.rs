//! The catalog: an index over the segments, in SQLite. Changed only by applying entries and by what segment files say.

mod apply;
mod schema;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coffer_format::chunk::ChunkEntry;
use coffer_format::segment::{IndexEntry, Stream};
use coffer_format::{ChunkId, FileHash, Lsn, SegmentId};
use rusqlite::{Connection, OptionalExtension, params};

pub(crate) use apply::apply_entry;
pub(crate) use schema::{ALIVE, open_writer};
pub(crate) use tree::{ChainEnd, Head, find_head};

use crate::Result;

/// Where a chunk lies: a run of raw bytes in a pack's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkLocation {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) record_len: u64,
    pub(crate) raw_offset: u32,
    pub(crate) raw_len: u32,
}

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

/// Connections for reading; each sees the newest committed state.
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Readers {
        Readers { path: path.into(), idle: Mutex::default() }
    }

    /// Runs `work` with a connection of its own.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().expect("nothing panics while it holds connections").pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.path)?,
        };
        let outcome = work(&connection);
        let mut idle = self.idle.lock().expect("nothing panics while it holds connections");
        if idle.len() < 4 {
            idle.push(connection);
        }
        outcome
    }
}

pub(crate) fn find_chunk(db: &Connection, id: &ChunkId) -> Result<Option<ChunkLocation>> {
    let mut query = db.prepare_cached(
        "SELECT segment, offset, record_len, raw_offset, raw_len FROM chunks WHERE id = ?1",
    )?;
    let found = query.query_row([&id.0[..]], |row| {
        Ok(ChunkLocation {
            segment: SegmentId(row.get(0)?),
            offset: row.get(1)?,
            record_len: row.get(2)?,
            raw_offset: row.get(3)?,
            raw_len: row.get(4)?,
        })
    });
    Ok(found.optional()?)
}

/// Lists a chunk at its place; of several places the newest segment counts.
pub(crate) fn put_chunk(db: &Connection, id: &ChunkId, at: &ChunkLocation) -> Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO chunks (id, segment, offset, record_len, raw_offset, raw_len) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET segment = ?2, offset = ?3, record_len = ?4, raw_offset = ?5, raw_len = ?6
         WHERE excluded.segment >= segment",
    )?;
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

/// Lists where a metadata record lies.
pub(crate) fn put_log(db: &Connection, segment: SegmentId, record: &IndexEntry) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO log (lsn, segment, offset, record_len) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![record.lsn.0, segment.0, record.offset, record.record_len])?;
    Ok(())
}

pub(crate) fn find_log(db: &Connection, lsn: Lsn) -> Result<Option<(SegmentId, u64, u64)>> {
    let mut query = db.prepare_cached("SELECT segment, offset, record_len FROM log WHERE lsn = ?1")?;
    Ok(query.query_row([lsn.0], |row| Ok((SegmentId(row.get(0)?), row.get(1)?, row.get(2)?))).optional()?)
}

/// The newest metadata record whose effect is in the catalog.
pub(crate) fn applied(db: &Connection) -> Result<Lsn> {
    Ok(Lsn(db.query_row("SELECT value FROM state WHERE key = 'applied'", [], |row| row.get(0))?))
}

pub(crate) fn set_applied(db: &Connection, lsn: Lsn) -> Result<()> {
    db.prepare_cached("UPDATE state SET value = ?1 WHERE key = 'applied'")?.execute([lsn.0])?;
    Ok(())
}
