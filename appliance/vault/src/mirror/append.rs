//! Taking bytes in: appended, hashed on the way, synced; whole once they hash to what their trailer says.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coffer_format::segment::Trailer;
use coffer_format::wire::RefusalCode;
use coffer_format::{FileHash, SegmentId, from_bytes, limits};
use rusqlite::params;

use super::{Here, Mirror, unless_full};
use crate::catalog;
use crate::disk::DiskFile;
use crate::segment::{FileForm, segment_path, segments_dir};
use crate::{Result, VaultError};

/// Most segments whose hash under way is kept; a box sends few at a time.
const TAILS_MAX: usize = 16;
/// What is read at once to take up a hash.
const READ_LEN: usize = 1 << 20;

/// A segment that is growing.
pub(super) struct Tail {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) len: u64,
    hasher: blake3::Hasher,
    /// Bytes that the hasher has seen.
    hashed: u64,
}

impl Mirror {
    /// Adds bytes at the end of a segment and makes them durable. Returns how much is here now, and the hash once
    /// the segment is whole and hashes to what its trailer says. No bytes at the end of a whole segment ask for its
    /// hash again.
    pub fn append(
        &self,
        segment: SegmentId,
        offset: u64,
        closed_len: u64,
        bytes: &[u8],
    ) -> Result<(u64, Option<FileHash>)> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(VaultError::ReadOnly);
        }
        let here = self.here().get(&segment).copied().unwrap_or_default();
        let end = offset + bytes.len() as u64;
        let fits = end <= limits::SEGMENT_MAX && (closed_len == 0 || end <= closed_len);
        if here.due() != offset || !fits || (here.hash.is_some() && !bytes.is_empty()) {
            return Err(out_of_step(segment, offset, here.due()));
        }
        if here.hash.is_some() {
            self.check_place(segment, here.bytes)?;
            return Ok((offset, here.hash));
        }
        let mut tails = self.tails.lock().map_err(|_| VaultError::ReadOnly)?;
        if let Some(left) = here.left.filter(|_| !here.forgotten) {
            tails.remove(&segment);
            if bytes.is_empty() {
                return Ok((offset, None));
            }
            let found = self.write_over(segment, left, closed_len, bytes)?;
            return Ok(if end == closed_len { (found.due(), found.hash) } else { (end, None) });
        }
        let mut tail = match tails.remove(&segment).filter(|tail| tail.len == offset) {
            Some(tail) => tail,
            None => self.open_tail(segment)?,
        };
        self.check_tail(segment, &tail, offset)?;
        self.write(segment, &mut tail, bytes)?;
        // No receipt for bytes that nobody will find again.
        self.check_tail(segment, &tail, end)?;
        self.here().insert(segment, Here { bytes: end, ..Here::default() });
        if here.forgotten {
            self.db()?.execute("DELETE FROM dropped WHERE segment = ?1", [segment.0])?;
        }
        tail.hash_up_to(if closed_len > 0 { closed_len.saturating_sub(Trailer::LEN as u64) } else { end })?;
        if closed_len > 0 && end == closed_len {
            return self.finish(segment, &tail);
        }
        if tails.len() < TAILS_MAX {
            tails.insert(segment, tail);
        }
        Ok((end, None))
    }

    pub(super) fn write(&self, segment: SegmentId, tail: &mut Tail, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        if let Err(source) = tail.file.write_at(tail.len, bytes) {
            // A disk that is full leaves the file as it was.
            tail.file.truncate(tail.len).map_err(|_| VaultError::ReadOnly)?;
            return Err(VaultError::Io { doing: "write", path, source });
        }
        self.sync(segment, &*tail.file)?;
        tail.len += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self, segment: SegmentId, file: &dyn DiskFile) -> Result<()> {
        file.sync().map_err(|error| {
            tracing::error!(%error, path = %self.path_of(segment).display(), "the disk could not make a segment durable");
            self.fail();
            VaultError::ReadOnly
        })
    }

    pub(super) fn open_tail(&self, segment: SegmentId) -> Result<Tail> {
        if self.is_left() {
            return Err(VaultError::ReadOnly);
        }
        let path = self.path_of(segment);
        let disk = &self.reading.disk;
        let file = match self.open_file(segment)? {
            Some(file) => file,
            None => {
                let file = disk.create(&path).map_err(VaultError::io("create", &path))?;
                let dir = segments_dir(&self.reading.dir);
                disk.sync_dir(&dir).map_err(VaultError::io("sync", &dir))?;
                file
            }
        };
        let len = file.size().map_err(VaultError::io("read", &path))?;
        Ok(Tail { file, len, hasher: blake3::Hasher::new(), hashed: 0 })
    }

    /// All bytes have come.
    fn finish(&self, segment: SegmentId, tail: &Tail) -> Result<(u64, Option<FileHash>)> {
        if let Some(hash) = tail.verified()? {
            self.here().insert(segment, Here { bytes: tail.len, hash: Some(hash), ..Here::default() });
            self.note_whole(segment)?;
            return Ok((tail.len, Some(hash)));
        }
        let kept = self.take_stock(segment, &*tail.file)?.due();
        tracing::warn!(%segment, kept, "a segment didn't hash to what its end says; the box is asked for what doesn't decrypt");
        Ok((kept, None))
    }

    /// Takes out of the catalog what lies behind the first bytes of a segment.
    pub(super) fn list_less(&self, segment: SegmentId, kept: u64) -> Result<()> {
        let db = self.db()?;
        let cut = db.execute(
            "UPDATE segments SET closed = 0, hash = NULL, bytes = MIN(bytes, ?2) WHERE segment = ?1",
            params![segment.0, kept],
        );
        let cut = cut.and_then(|_| {
            db.execute("DELETE FROM chunks WHERE segment = ?1 AND offset >= ?2", params![segment.0, kept])
        });
        let cut = cut.map_err(VaultError::from);
        unless_full(cut.and_then(|_| catalog::clear_damage(&db, segment).map(drop)))
    }

    /// All that is here of a segment is taken into the catalog once more.
    pub(super) fn list_anew(&self, segment: SegmentId) -> Result<()> {
        let listed = self.db()?.execute("UPDATE segments SET bytes = 0 WHERE segment = ?1", [segment.0]);
        unless_full(listed.map(drop).map_err(VaultError::from))
    }

    /// Reads a segment back that had come whole. Where it isn't what came, the branch is asked for what doesn't decrypt.
    /// Returns whether it was as it came; `true` for what isn't whole here anyway.
    pub fn check(&self, segment: SegmentId) -> Result<bool> {
        let here = self.here().get(&segment).copied().unwrap_or_default();
        if here.left.is_some() {
            self.take_back(segment)?;
        }
        let Some(hash) = here.hash else { return Ok(true) };
        let path = self.path_of(segment);
        if let Some(file) = self.open_file(segment)? {
            // What lies in memory says nothing of the medium.
            file.forget_cached().map_err(VaultError::io("read", &path))?;
            let len = file.size().map_err(VaultError::io("read", &path))?;
            let mut tail = Tail { file, len, hasher: blake3::Hasher::new(), hashed: 0 };
            // A disk that can't read it has lost it just as well.
            let is_whole =
                tail.hash_up_to(len.saturating_sub(Trailer::LEN as u64)).and_then(|()| tail.verified());
            if matches!(is_whole, Ok(Some(found)) if found == hash) {
                self.note_whole(segment)?;
                return Ok(true);
            }
        }
        self.lose(segment)?;
        Ok(false)
    }

    /// A segment that had come whole isn't what it was, or isn't there: what is left of it counts, and the rest is due again.
    pub(super) fn lose(&self, segment: SegmentId) -> Result<()> {
        let mut tails = self.tails.lock().map_err(|_| VaultError::ReadOnly)?;
        if self.here().get(&segment).is_none_or(|here| here.hash.is_none()) {
            // Somebody else has found it.
            return Ok(());
        }
        tails.remove(&segment);
        self.note_damaged(segment)?;
        let tail = self.open_tail(segment)?;
        let kept = self.take_stock(segment, &*tail.file)?.due();
        // Only now: whoever hears it asks at once what is here.
        self.note_news();
        tracing::error!(%segment, kept, "a segment of this branch is damaged or missing here; the box is asked for it again");
        Ok(())
    }

    /// What is to be kept of a segment that the catalog doesn't know as whole, after a stop of any kind.
    pub(super) fn settle(&self, segment: SegmentId) -> Result<Here> {
        let mut tail = self.open_tail(segment)?;
        let path = self.path_of(segment);
        // What an earlier run wrote counts as durable from now on, so it must be.
        tail.file.sync().map_err(VaultError::io("sync", &path))?;
        let is_readable = self.reading.files.open(segment, FileForm::Whole).is_ok();
        let was_damaged = self.damaged().contains(&segment);
        if is_readable && tail.ends_with_trailer()? {
            tail.hash_up_to(tail.len - Trailer::LEN as u64)?;
            if let Some(hash) = tail.verified()? {
                return Ok(Here { bytes: tail.len, hash: Some(hash), ..Here::default() });
            }
            // It had come whole, whether or not the catalog knows.
            self.note_damaged(segment)?;
        } else if is_readable && !was_damaged && !catalog::is_damaged(&*self.db()?, segment)? {
            return Ok(Here { bytes: tail.len, ..Here::default() });
        }
        self.take_stock(segment, &*tail.file)
    }
}

impl Tail {
    fn hash_up_to(&mut self, end: u64) -> Result<()> {
        let io = |source| VaultError::Io { doing: "read", path: "a segment".into(), source };
        let end = end.min(self.len);
        let mut buffer = vec![0; READ_LEN.min(end.saturating_sub(self.hashed) as usize)];
        while self.hashed < end {
            let count = buffer.len().min((end - self.hashed) as usize);
            self.file.read_at(self.hashed, &mut buffer[..count]).map_err(io)?;
            self.hasher.update(&buffer[..count]);
            self.hashed += count as u64;
        }
        Ok(())
    }

    fn trailer(&self) -> Result<Option<Trailer>> {
        let io = |source| VaultError::Io { doing: "read", path: "a segment".into(), source };
        let mut bytes = [0; Trailer::LEN];
        let Some(at) = self.len.checked_sub(Trailer::LEN as u64) else { return Ok(None) };
        self.file.read_at(at, &mut bytes).map_err(io)?;
        Ok(from_bytes::<Trailer>(&bytes).ok().filter(|trailer| trailer.file_len == self.len))
    }

    fn ends_with_trailer(&self) -> Result<bool> {
        Ok(self.trailer()?.is_some())
    }

    fn verified(&self) -> Result<Option<FileHash>> {
        let hash = FileHash(*self.hasher.finalize().as_bytes());
        let all_hashed = self.hashed + Trailer::LEN as u64 == self.len;
        Ok(self.trailer()?.filter(|trailer| all_hashed && trailer.hash == hash).map(|trailer| trailer.hash))
    }
}

pub(super) fn out_of_step(segment: SegmentId, offset: u64, due: u64) -> VaultError {
    VaultError::refused(
        RefusalCode::OutOfStep,
        format!(
            "segment {segment} was sent from byte {offset}, byte {due} is due: the box goes on from there"
        ),
    )
}
