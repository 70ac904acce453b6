//! Putting a segment back on disk from a copy on tape or at HQ: one that was evicted, is damaged, or is missing. And, where no whole
//! copy has what it had, storing what is left of it anew.

use coffer_format::chunk::Pack;
use coffer_format::event::Event;
use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, Stream, Trailer};
use coffer_format::wire::RefusalCode;
use coffer_format::{FileHash, SegmentId, from_bytes};
use rusqlite::{Connection, OptionalExtension};

use crate::catalog::{self, DamageKind, SegmentRow, Stretch};
use crate::placing::{clear, write_whole};
use crate::seal::open_record;
use crate::segment::{FileForm, read_contents, scan, segment_path};
use crate::vault::Vault;
use crate::{Result, VaultError};

impl Vault {
    /// Puts an evicted, damaged or missing segment back on disk. Its bytes must hash to what the catalog says; where it says nothing,
    /// they must be sealed with this vault's keys. Where the disk takes no writes it's laid over what is there.
    pub fn import_segment(&self, segment: SegmentId, bytes: &[u8]) -> Result<()> {
        if self.is_layered {
            return self.lay_over(segment, bytes);
        }
        self.check_writable()?;
        self.check_copy(segment, bytes)?;
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        self.reading.files.forget(segment);
        self.poison_unless_full(write_whole(&self.reading, &path, bytes).map(drop))?;
        self.reading.files.forget(segment);
        self.list_returned(segment)?;
        self.reading.forget_met(segment);
        let stub = segment_path(&self.reading.dir, segment, FileForm::Stub);
        clear(&*self.reading.disk, &stub)
    }

    fn lay_over(&self, segment: SegmentId, bytes: &[u8]) -> Result<()> {
        self.check_copy(segment, bytes)?;
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        write_whole(&self.reading, &path, bytes)?;
        self.reading.files.forget(segment);
        if !self.segments()?.iter().any(|state| state.segment == segment && state.on_disk) {
            // Whoever holds it may be waiting for this segment.
            let meta = self.meta.try_lock().map_err(|_| VaultError::ReadOnly)?;
            meta.db.execute("UPDATE segments SET on_disk = 1 WHERE segment = ?1", [segment.0])?;
        }
        self.reading.note_laid_over(segment)
    }

    fn check_copy(&self, segment: SegmentId, bytes: &[u8]) -> Result<()> {
        let known = self.reading.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT hash FROM segments WHERE segment = ?1")?;
            Ok(query.query_row([segment.0], |row| row.get::<_, Option<[u8; 32]>>(0)).optional()?)
        })?;
        let known = known.ok_or_else(|| {
            VaultError::refused(
                RefusalCode::BadRequest,
                format!("segment {segment} isn't one that this vault keeps: check the number"),
            )
        })?;
        let (body, end) = bytes.split_at(bytes.len().saturating_sub(Trailer::LEN));
        let trailer =
            from_bytes::<Trailer>(end).ok().filter(|trailer| trailer.file_len == bytes.len() as u64);
        let hash = FileHash(*blake3::hash(body).as_bytes());
        let is_its_own = trailer.is_some_and(|trailer| trailer.hash == hash);
        let is_right = match known {
            Some(known) => hash == FileHash(known),
            // Only its number is known: what was sealed with this vault's keys under that number is it.
            None => self.is_unreadable(segment)? && self.is_ours(segment, bytes, trailer),
        };
        if is_its_own && is_right {
            return Ok(());
        }
        Err(VaultError::refused(
            RefusalCode::Damaged,
            format!("the copy of segment {segment} isn't what was written: use another copy"),
        ))
    }

    /// Whether nothing of a segment can be read here.
    fn is_unreadable(&self, segment: SegmentId) -> Result<bool> {
        let damage = self.reading.all_damage()?;
        let whole = |stretch: &Stretch| stretch.offset == 0 && stretch.kind != DamageKind::Closed;
        Ok(damage.iter().any(|(stretch, _)| stretch.segment == segment && whole(stretch)))
    }

    fn is_ours(&self, segment: SegmentId, bytes: &[u8], trailer: Option<Trailer>) -> bool {
        let Some(header) =
            bytes.get(..SegmentHeader::LEN).and_then(|head| from_bytes::<SegmentHeader>(head).ok())
        else {
            return false;
        };
        let Some(trailer) = trailer else { return false };
        let index = trailer.index_offset as usize..bytes.len().saturating_sub(Trailer::LEN);
        let (Ok(keys), Some(index)) = (self.reading.files.keys_of(&header), bytes.get(index)) else {
            return false;
        };
        let opened = open_record(&keys.segment_key(&header.salt), &mut index.to_vec())
            .is_some_and(|(record, _)| record.kind == RecordKind::Index);
        header.segment == segment && header.vault == self.identity.vault && opened
    }

    /// Records that a segment is back and, with it, lists what it holds: its row may have been made from its name alone.
    fn list_returned(&self, segment: SegmentId) -> Result<()> {
        let readable = self.reading.files.get(segment)?;
        let Some(contents) = read_contents(&*readable.file, &readable.key)? else {
            return Err(VaultError::Damaged { segment, offset: 0, what: "its index can't be read".into() });
        };
        let header = readable.header;
        let was_damaged = self.reading.damaged_segments()?.contains(&segment);
        self.transact(move |batch| {
            if was_damaged {
                batch.audit("box", &healed(segment))?;
            }
            batch.write_event(Event::SegmentReturned { segment })?;
            let row = SegmentRow {
                segment,
                stream: header.stream,
                closed: true,
                bytes: contents.trailer.file_len,
                hash: Some(contents.trailer.hash),
                created_ms: header.created_ms,
            };
            catalog::put_segment(batch.db(), &row)?;
            batch.db().execute(
                "UPDATE segments SET stream = ?2, created_ms = ?3 WHERE segment = ?1",
                rusqlite::params![segment.0, header.stream.code(), header.created_ms],
            )?;
            for record in &contents.index.records {
                match record.kind {
                    RecordKind::Pack => put_pack(batch.db(), segment, record)?,
                    RecordKind::Meta if catalog::is_lacking(batch.db(), record.lsn)? => {
                        // What it says comes before what was applied: only a new catalog has it in its place.
                        catalog::ask_for_rebuild(batch.db())?;
                    }
                    _ => {}
                }
            }
            Ok(())
        })
    }

    /// Stores anew the chunks that these bytes of a segment have and this disk hasn't: for a segment that was closed with damage,
    /// or was never closed elsewhere. `bytes` are the segment's from its beginning, as far as they're at hand. Returns
    /// how many chunks were stored.
    pub fn store_anew(&self, segment: SegmentId, bytes: &[u8]) -> Result<u64> {
        self.check_writable()?;
        let refused = || {
            VaultError::refused(
                RefusalCode::Damaged,
                format!("these bytes aren't of segment {segment} of this vault: use another copy"),
            )
        };
        let header = bytes.get(..SegmentHeader::LEN).ok_or_else(refused)?;
        let header = from_bytes::<SegmentHeader>(header).map_err(|_| refused())?;
        if header.segment != segment || header.vault != self.identity.vault {
            return Err(refused());
        }
        let key = self.reading.files.keys_of(&header)?.segment_key(&header.salt);
        let found = scan(bytes, &key, SegmentHeader::LEN as u64);
        let mut stored = 0;
        for record in found.index.records.iter().filter(|record| record.kind == RecordKind::Pack) {
            let lacks = self.reading.readers.with(|db| {
                let mut lacks = 0;
                for chunk in &record.chunks {
                    let is_needed = catalog::find_chunk(db, &chunk.id)?.is_some();
                    lacks += u64::from(is_needed && catalog::has_chunk(db, &chunk.id)?.is_none());
                }
                Ok(lacks)
            })?;
            if lacks == 0 {
                continue;
            }
            let range = record.offset as usize..(record.offset + record.record_len) as usize;
            let mut sealed = bytes.get(range).ok_or_else(refused)?.to_vec();
            let (_, plain) = open_record(&key, &mut sealed).ok_or_else(refused)?;
            self.append_pack(Stream::Bulk, &from_bytes::<Pack>(plain)?)?;
            stored += lacks;
        }
        self.transact(move |batch| match stored {
            0 => Ok(()),
            _ => batch
                .audit("box", &format!("{stored} chunks of segment {segment} were stored anew from a copy")),
        })?;
        Ok(stored)
    }
}

/// What is audited where a segment is as it was again.
pub(crate) fn healed(segment: SegmentId) -> String {
    format!("segment {segment} was healed from a copy")
}

pub(crate) fn put_pack(db: &Connection, segment: SegmentId, record: &IndexEntry) -> Result<()> {
    for (id, at) in catalog::pack_locations(segment, record.offset, record.record_len, &record.chunks) {
        catalog::put_chunk(db, &id, &at)?;
    }
    Ok(())
}
