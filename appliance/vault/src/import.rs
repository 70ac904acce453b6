//! Putting a segment back on disk from a copy on tape or at HQ: one that was evicted, or one that is damaged.

use coffer_format::event::Event;
use coffer_format::segment::{RecordKind, Trailer};
use coffer_format::wire::RefusalCode;
use coffer_format::{FileHash, SegmentId, from_bytes};
use rusqlite::OptionalExtension;

use crate::catalog;
use crate::reclaim::write_whole;
use crate::segment::{FileForm, read_contents, segment_path};
use crate::vault::Vault;
use crate::{Result, VaultError};

impl Vault {
    /// Puts an evicted (or damaged) segment back on disk. Its bytes must hash to what the catalog says.
    pub fn import_segment(&self, segment: SegmentId, bytes: &[u8]) -> Result<()> {
        self.check_writable()?;
        self.check_copy(segment, bytes)?;
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        self.reading.files.forget(segment);
        self.poison_unless_full(write_whole(&self.reading, &path, bytes))?;
        self.reading.files.forget(segment);
        self.list_returned(segment)?;
        let stub = segment_path(&self.reading.dir, segment, FileForm::Stub);
        match self.reading.disk.remove(&stub) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(VaultError::io("remove", &stub)(error))
            }
            _ => Ok(()),
        }
    }

    fn check_copy(&self, segment: SegmentId, bytes: &[u8]) -> Result<()> {
        let known = self.reading.readers.with(|db| {
            let mut query =
                db.prepare_cached("SELECT hash FROM segments WHERE segment = ?1 AND closed = 1")?;
            Ok(query.query_row([segment.0], |row| row.get::<_, Option<[u8; 32]>>(0)).optional()?.flatten())
        })?;
        let known = known.map(FileHash).ok_or_else(|| {
            VaultError::refused(
                RefusalCode::BadRequest,
                format!("segment {segment} isn't one that this vault keeps: check the number"),
            )
        })?;
        let (body, end) = bytes.split_at(bytes.len().saturating_sub(Trailer::LEN));
        let trailer =
            from_bytes::<Trailer>(end).ok().filter(|trailer| trailer.file_len == bytes.len() as u64);
        let hash = FileHash(*blake3::hash(body).as_bytes());
        if hash == known && trailer.is_some_and(|trailer| trailer.hash == hash) {
            return Ok(());
        }
        Err(VaultError::refused(
            RefusalCode::Damaged,
            format!("the copy of segment {segment} isn't what was written: use another copy"),
        ))
    }

    /// Records that a segment is back and, with it, lists its chunks again: damage may have taken some off the list.
    fn list_returned(&self, segment: SegmentId) -> Result<()> {
        let readable = self.reading.files.get(segment)?;
        let Some(contents) = read_contents(&*readable.file, &readable.key)? else {
            return Err(VaultError::Damaged { segment, offset: 0, what: "its index can't be read".into() });
        };
        self.transact(move |batch| {
            batch.write_event(Event::SegmentReturned { segment })?;
            for record in contents.index.records.iter().filter(|record| record.kind == RecordKind::Pack) {
                for (id, at) in
                    catalog::pack_locations(segment, record.offset, record.record_len, &record.chunks)
                {
                    catalog::put_chunk(batch.db(), &id, &at)?;
                }
            }
            Ok(())
        })
    }
}
