//! Segments as they're listed, to compare with what their files say.

use coffer_format::segment::Stream;
use coffer_format::{FileHash, SegmentId};
use rusqlite::{Connection, OptionalExtension, params};

use super::damage::{DamageKind, Stretch, put_damage};
use super::{SegmentRow, gaps};
use crate::Result;

/// What is listed of a segment that the segment's own file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) row: SegmentRow,
    pub(crate) on_disk: bool,
    /// Stretches that were damaged when it was closed: offset and length.
    pub(crate) closed_so: Vec<(u64, u64)>,
}

impl Listed {
    /// Whether what is listed says what the file does. A stretch may be known to be longer.
    pub(crate) fn is_as(&self, file: &Listed) -> bool {
        let covers = |(listed, found): (&(u64, u64), &(u64, u64))| listed.0 == found.0 && listed.1 >= found.1;
        self.row == file.row
            && self.on_disk == file.on_disk
            && self.closed_so.len() == file.closed_so.len()
            && self.closed_so.iter().zip(&file.closed_so).all(covers)
    }
}

/// What is listed of a segment. A row that no row could be is as good as none.
pub(crate) fn listed(db: &Connection, segment: SegmentId) -> Result<Option<Listed>> {
    let mut query = db.prepare_cached(
        "SELECT stream, closed, bytes, hash, created_ms, on_disk FROM segments WHERE segment = ?1",
    )?;
    let found = query.query_row([segment.0], |row| {
        let Some(stream) = Stream::from_code(row.get(0)?) else { return Ok(None) };
        let hash: Option<[u8; 32]> = row.get(3)?;
        let of = SegmentRow {
            segment,
            stream,
            closed: row.get(1)?,
            bytes: row.get(2)?,
            hash: hash.map(FileHash),
            created_ms: row.get(4)?,
        };
        Ok(Some((of, row.get(5)?)))
    });
    let found = match found.optional() {
        Err(rusqlite::Error::SqliteFailure(error, what)) => {
            return Err(rusqlite::Error::SqliteFailure(error, what).into());
        }
        Err(_) => None,
        Ok(found) => found.flatten(),
    };
    let Some((row, on_disk)) = found else { return Ok(None) };
    let mut query =
        db.prepare_cached("SELECT offset, len FROM damage WHERE segment = ?1 AND kind = ?2 ORDER BY offset")?;
    let rows = query
        .query_map(params![segment.0, DamageKind::Closed.code()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Some(Listed { row, on_disk, closed_so: rows.collect::<rusqlite::Result<_>>()? }))
}

/// Whether a segment's file with that hash isn't the segment that's listed: verified copies are of what is listed, and none is of what the
/// file says.
pub(crate) fn is_of_another(db: &Connection, segment: SegmentId, hash: FileHash) -> Result<bool> {
    let mut query = db.prepare_cached(
        "SELECT 1 FROM segments s WHERE segment = ?1 AND closed = 1 AND hash <> ?2
           AND EXISTS (SELECT 1 FROM copies c WHERE c.segment = s.segment AND c.hash = s.hash)
           AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.segment = s.segment AND c.hash = ?2)",
    )?;
    Ok(query.exists(params![segment.0, hash.0.to_vec()])?)
}

/// Lists a segment as its file says.
pub(crate) fn list_as(db: &Connection, file: &Listed) -> Result<()> {
    let Listed { row, on_disk, closed_so } = file;
    db.execute(
        "INSERT OR REPLACE INTO segments (segment, stream, closed, bytes, hash, created_ms, on_disk)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            row.segment.0,
            row.stream.code(),
            row.closed,
            row.bytes,
            row.hash.map(|hash| hash.0.to_vec()),
            row.created_ms,
            on_disk
        ],
    )?;
    db.execute(
        "DELETE FROM damage WHERE segment = ?1 AND kind = ?2",
        params![row.segment.0, DamageKind::Closed.code()],
    )?;
    for (offset, len) in closed_so {
        let stretch = Stretch { segment: row.segment, offset: *offset, len: *len, kind: DamageKind::Closed };
        put_damage(db, &stretch, b"found when the catalog was compared", 0)?;
    }
    Ok(())
}

/// A row that may be of a segment without a file: with its hash, and whether nothing but the row speaks of it.
type ListedAlone = (SegmentId, Option<Vec<u8>>, bool);

pub(crate) fn listed_of(db: &Connection) -> Result<Vec<ListedAlone>> {
    let mut query = db.prepare(
        "SELECT segment, hash, closed = 0 AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.segment = s.segment)
           AND NOT EXISTS (SELECT 1 FROM points WHERE fresh_segment = s.segment OR bulk_segment = s.segment)
           AND NOT EXISTS (SELECT 1 FROM damage d WHERE d.segment = s.segment)
         FROM segments s ORDER BY segment",
    )?;
    let rows = query.query_map([], |row| Ok((SegmentId(row.get(0)?), row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Takes a segment off the list.
pub(crate) fn unlist(db: &Connection, segment: SegmentId) -> Result<()> {
    db.execute("DELETE FROM segments WHERE segment = ?1", [segment.0])?;
    Ok(())
}

/// Takes out what is said of segments that aren't listed, and finds anew which records are missing; a mirror may still get those. Returns
/// how many rows were wrong.
pub(crate) fn tidy(db: &Connection, of_mirror: bool) -> Result<u64> {
    let mut wrong = 0;
    for table in ["damage", "read_back"] {
        let sql = format!(
            "DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM segments s WHERE s.segment = {table}.segment)"
        );
        wrong += db.execute(&sql, [])? as u64;
    }
    if of_mirror {
        return Ok(wrong);
    }
    let before = gaps(db)?;
    super::find_gaps(db)?;
    Ok(wrong + u64::from(before != gaps(db)?))
}

pub(crate) fn is_dropped(db: &Connection, segment: SegmentId) -> Result<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM dropped WHERE segment = ?1")?.exists([segment.0])?)
}

pub(crate) fn is_listed_closed(db: &Connection, segment: SegmentId) -> Result<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM segments WHERE segment = ?1 AND closed = 1")?.exists([segment.0])?)
}

pub(crate) fn is_on_disk(db: &Connection, segment: SegmentId) -> Result<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM segments WHERE segment = ?1 AND on_disk = 1")?.exists([segment.0])?)
}
