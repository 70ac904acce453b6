//! Taking records into the catalog as they become whole. Only what came since the last time is read.

use coffer_format::entry::Body;
use coffer_format::event::Event;
use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, Stream};
use coffer_format::{Lsn, SegmentId};
use rusqlite::Connection;

use super::left::DAMAGED;
use super::{Here, Mirror};
use crate::catalog::{self, DamageKind, SegmentRow, Stretch};
use crate::recover::uncovered;
use crate::segment::{Scanned, read_contents, scan};
use crate::{Result, VaultError};

impl Mirror {
    /// Takes every record that has become whole into the catalog. What can't be read keeps nothing else from it: it's due again.
    pub fn refresh(&self) -> Result<()> {
        let unreadable = self.take_into(&mut *self.db()?)?;
        unreadable.into_iter().try_for_each(|segment| self.look_closely(segment))
    }

    /// Takes into a catalog every whole record that it doesn't have. Returns the segments that can't be read.
    pub(super) fn take_into(&self, db: &mut Connection) -> Result<Vec<SegmentId>> {
        let listed = listed(db)?;
        let grown: Vec<(SegmentId, Here, u64)> = self
            .here()
            .iter()
            .map(|(segment, here)| (*segment, *here, listed.get(segment).copied().unwrap_or(0)))
            .filter(|(_, here, listed)| here.bytes > SegmentHeader::LEN as u64 && here.bytes > *listed)
            .collect();
        let mut unreadable = Vec::new();
        if grown.is_empty() {
            return Ok(unreadable);
        }
        let mut transaction = db.transaction()?;
        for (segment, here, listed) in grown {
            let one = transaction.savepoint()?;
            match self.take_segment(&one, segment, here, listed) {
                Ok(()) => one.commit()?,
                Err(error) if is_of_one_segment(&error) => {
                    tracing::error!(%segment, %error, "a segment of a branch can't be read");
                    unreadable.push(segment);
                }
                Err(error) => return Err(error),
            }
        }
        transaction.commit()?;
        Ok(unreadable)
    }

    /// Metadata that doesn't carry on where the catalog is doesn't wait for what is between: the catalog lists that as missing, and is made
    /// anew once it comes.
    fn take_segment(&self, db: &Connection, segment: SegmentId, here: Here, listed: u64) -> Result<()> {
        let readable = self.reading.files.get(segment)?;
        let stream = readable.header.stream;
        let from = listed.max(SegmentHeader::LEN as u64);
        let mut bytes = vec![0; (here.bytes - from) as usize];
        readable.file.read_at(from, &mut bytes).map_err(VaultError::io("read", "a segment"))?;
        let found = scan(&bytes, &readable.key, 0);
        let follows = stream != Stream::Meta || follows(db, &found)?;
        for record in &found.index.records {
            let record = IndexEntry { offset: record.offset + from, ..record.clone() };
            self.take_record(db, segment, stream, &record)?;
        }
        if !follows {
            tracing::warn!(%segment, "metadata records before this segment's aren't here; the branch's points from then on may lack files");
        }
        if !follows || stream == Stream::Meta && !found.damaged.is_empty() {
            catalog::find_gaps(db)?;
        }
        if here.hash.is_some() {
            catalog::clear_damage(db, segment)?;
        } else if here.left.is_some() {
            for (offset, len) in &found.damaged {
                let stretch =
                    Stretch { segment, offset: from + offset, len: *len, kind: DamageKind::Changed };
                catalog::put_damage(db, &stretch, DAMAGED, 0)?;
            }
        }
        let bytes = if here.hash.is_some() { here.bytes } else { from + found.end };
        let created_ms = readable.header.created_ms;
        let row =
            SegmentRow { segment, stream, closed: here.hash.is_some(), bytes, hash: here.hash, created_ms };
        match read_contents(&*readable.file, &readable.key) {
            // What was damaged at the box before it was closed is damaged here too.
            Ok(Some(contents)) if row.closed => {
                let closed_so = uncovered(&contents.index, contents.trailer.index_offset);
                catalog::list_as(db, &catalog::Listed { row, on_disk: true, closed_so })
            }
            _ => catalog::put_segment(db, &row),
        }
    }

    fn take_record(
        &self,
        db: &Connection,
        segment: SegmentId,
        stream: Stream,
        record: &IndexEntry,
    ) -> Result<()> {
        match record.kind {
            RecordKind::Pack => {
                for (id, at) in
                    catalog::pack_locations(segment, record.offset, record.record_len, &record.chunks)
                {
                    catalog::put_chunk(db, &id, &at)?;
                }
            }
            // What the catalog went on without is taken when it's made again.
            RecordKind::Meta if stream == Stream::Meta && record.lsn <= catalog::applied(db)? => {
                return note_late(db, record.lsn);
            }
            RecordKind::Meta if stream == Stream::Meta => {
                catalog::put_log(db, segment, record)?;
                let entry = self.reading.entry_at(segment, record.offset, record.record_len)?;
                if branch_only(&entry.body) {
                    catalog::set_applied(db, record.lsn)?;
                } else {
                    catalog::apply_entry(db, record.lsn, &entry)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A record came that the catalog is beyond.
fn note_late(db: &Connection, lsn: Lsn) -> Result<()> {
    if catalog::is_lacking(db, lsn)? { catalog::ask_for_rebuild(db) } else { Ok(()) }
}

/// Whether an error says only that one segment can't be read.
fn is_of_one_segment(error: &VaultError) -> bool {
    use VaultError::{Damaged, Io, Key, NotOnDisk};
    matches!(error, Io { .. } | Damaged { .. } | NotOnDisk(_) | Key(_))
}

/// Whether metadata records carry on where the catalog is.
fn follows(db: &Connection, found: &Scanned) -> Result<bool> {
    let first = found.index.records.iter().find(|record| record.kind == RecordKind::Meta);
    let due = catalog::applied(db)?.0 + 1;
    Ok(first.is_none_or(|first| first.lsn.0 <= due))
}

/// What only concerns the branch's own disk, cartridges and retention.
pub(super) fn branch_only(body: &Body) -> bool {
    use Event::*;
    let Body::Event { event } = body else { return false };
    matches!(
        event,
        PointsExpired { .. }
            | SegmentDropped { .. }
            | SegmentReturned { .. }
            | RecordDamaged { .. }
            | StretchDamaged { .. }
            | Verified { .. }
    )
}

/// How much of each segment the catalog covers.
pub(super) fn listed(db: &Connection) -> Result<std::collections::HashMap<SegmentId, u64>> {
    let mut query = db.prepare_cached("SELECT segment, bytes FROM segments")?;
    let rows = query.query_map([], |row| Ok((SegmentId(row.get(0)?), row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
