//! Reading one segment back from the medium, a piece at a time, and finding what isn't as it was written.

use coffer_format::segment::{IndexEntry, RecordHeader, RecordKind, SegmentHeader, Trailer};
use coffer_format::{Decode, FileHash, Reader, SegmentId, limits};

use crate::catalog;
use crate::reading::Reading;
use crate::seal::open_record;
use crate::segment::{Contents, FileForm, ReadableSegment, read_contents};
use crate::verify::Damage;
use crate::{Result, VaultError};

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;
/// What begins each record.
const MAGIC: &[u8] = b"CREC";

/// Hears how many bytes each piece had; says whether to go on.
pub(crate) type Pace<'a> = dyn FnMut(u64) -> bool + 'a;

impl Reading {
    /// Checks the first `durable` bytes of a segment; `None` where `pace` ended it.
    pub(crate) fn check_segment(
        &self,
        segment: SegmentId,
        durable: u64,
        pace: &mut Pace<'_>,
    ) -> Result<Option<Vec<Damage>>> {
        self.files.forget(segment);
        let readable = match self.files.open(segment, FileForm::Whole) {
            Ok(readable) => readable,
            // Without the header nothing of it can be read.
            Err(VaultError::NotOnDisk(_)) => {
                return Ok(Some(vec![damage(segment, 0, durable, "the file is missing")]));
            }
            Err(VaultError::Damaged { what, .. }) => {
                return Ok(Some(vec![damage(segment, 0, durable, &what)]));
            }
            // This vault's keys were opened before: it's the file that is another vault's.
            Err(VaultError::Key(_)) => {
                let what = "it isn't sealed with this vault's keys";
                return Ok(Some(vec![damage(segment, 0, durable, what)]));
            }
            Err(error) => return Err(error),
        };
        // What lies in memory says nothing of the medium.
        readable.file.forget_cached().map_err(VaultError::io("read", "a segment"))?;
        let whole = readable.file.size().map_err(VaultError::io("read", "a segment"))?;
        let size = whole.min(durable);
        let mut check = Check { readable, segment, size, buffer: Vec::new(), found: Vec::new() };
        if size < durable {
            check.add(size, durable - size, "the file is shorter than it was");
        }
        let is_done = match read_contents(&*check.readable.file, &check.readable.key) {
            Ok(Some(contents)) if self.is_of_another(segment, contents.trailer.hash)? => {
                check.add(0, durable, "it's another segment than was closed under its number");
                true
            }
            Ok(Some(contents)) => {
                // It may have been closed since it was asked how long it is.
                check.size = whole;
                check.closed(&contents, pace)
            }
            // Still open, or its end is damaged: the records speak for themselves.
            Ok(None) | Err(VaultError::Decode(_)) => check.open(pace),
            Err(VaultError::Io { source, .. }) => {
                check.add(0, size, &format!("the disk can't read it: {source}"));
                true
            }
            Err(error) => return Err(error),
        };
        check.readable.file.forget_cached().map_err(VaultError::io("read", "a segment"))?;
        Ok(is_done.then_some(check.found))
    }

    /// Checks what is kept of a segment that isn't on disk.
    pub(crate) fn check_stub(&self, segment: SegmentId) -> Result<Vec<Damage>> {
        let damage = |what: &str| vec![damage(segment, 0, catalog::WHOLE_FILE, what)];
        let stub = match self.files.open(segment, FileForm::Stub) {
            Ok(stub) => stub,
            Err(VaultError::NotOnDisk(_)) => return Ok(damage("neither its file nor its stub is there")),
            Err(VaultError::Damaged { what, .. }) => return Ok(damage(&format!("its stub: {what}"))),
            Err(error) => return Err(error),
        };
        match read_contents(&*stub.file, &stub.key) {
            Ok(Some(_)) => Ok(Vec::new()),
            Ok(None) | Err(VaultError::Decode(_) | VaultError::Io { .. }) => {
                Ok(damage("its stub can't be read"))
            }
            Err(error) => Err(error),
        }
    }
}

fn damage(segment: SegmentId, offset: u64, len: u64, what: &str) -> Damage {
    Damage { segment, offset, len, what: what.to_owned() }
}

/// A check under way. Offsets and lengths in bytes.
struct Check {
    readable: ReadableSegment,
    segment: SegmentId,
    size: u64,
    buffer: Vec<u8>,
    found: Vec<Damage>,
}

impl Check {
    fn add(&mut self, offset: u64, len: u64, what: &str) {
        self.found.push(damage(self.segment, offset, len, what));
    }

    /// Fills the buffer; whether the disk could read it.
    fn read(&mut self, offset: u64, len: usize) -> bool {
        self.buffer.resize(len, 0);
        self.readable.file.read_at(offset, &mut self.buffer).is_ok()
    }

    fn closed(&mut self, contents: &Contents, pace: &mut Pace<'_>) -> bool {
        let Some(hash) = self.hash(pace) else { return false };
        if hash == Some(contents.trailer.hash) {
            return true;
        }
        let is_torn = |record: &IndexEntry| record.kind == RecordKind::Pack && record.chunks.is_empty();
        let before = self.found.len();
        for record in contents.index.records.iter().filter(|record| !is_torn(record)) {
            if !self.is_whole(record.offset, record.record_len) {
                self.add(record.offset, record.record_len, "a record doesn't decrypt");
            }
            if !pace(record.record_len) {
                return false;
            }
        }
        if self.found.len() == before {
            self.add(0, SegmentHeader::LEN as u64, "bytes outside the records changed");
        }
        true
    }

    /// The hash over all but the trailer; nothing in it where the disk couldn't read it all.
    fn hash(&mut self, pace: &mut Pace<'_>) -> Option<Option<FileHash>> {
        let mut hasher = blake3::Hasher::new();
        let (mut at, mut is_read) = (0, true);
        let body = self.size.saturating_sub(Trailer::LEN as u64);
        while at < body {
            let len = (body - at).min(PIECE as u64);
            is_read &= self.read(at, len as usize);
            hasher.update(&self.buffer);
            at += len;
            if !pace(len) {
                return None;
            }
        }
        Some(is_read.then(|| FileHash(*hasher.finalize().as_bytes())))
    }

    fn is_whole(&mut self, offset: u64, len: u64) -> bool {
        let fits = len <= limits::RECORD_SEALED_MAX as u64 + RecordHeader::LEN as u64
            && offset.checked_add(len).is_some_and(|end| end <= self.size);
        fits && self.read(offset, len as usize) && open_record(&self.readable.key, &mut self.buffer).is_some()
    }

    /// Walks over the records of a segment without an index.
    fn open(&mut self, pace: &mut Pace<'_>) -> bool {
        let mut at = SegmentHeader::LEN as u64;
        let mut end = at;
        while at + RecordHeader::LEN as u64 <= self.size {
            match self.record_at(at) {
                Some((kind, len)) => {
                    if end < at {
                        self.add(end, at - end, "a record doesn't decrypt");
                    }
                    if kind == RecordKind::Index {
                        // Of a close that wasn't finished; in a closed segment it's the trailer that can't be read.
                        break;
                    }
                    at += len;
                    end = at;
                    if !pace(len) {
                        return false;
                    }
                }
                None => match self.next_magic(at + 1, pace) {
                    Some(Some(next)) => at = next,
                    Some(None) => break,
                    None => return false,
                },
            }
        }
        if end < self.size {
            self.add(end, self.size - end, "the end of the segment doesn't decrypt");
        }
        true
    }

    fn record_at(&mut self, at: u64) -> Option<(RecordKind, u64)> {
        if !self.read(at, RecordHeader::LEN) {
            return None;
        }
        let header = RecordHeader::decode(&mut Reader::new(&self.buffer)).ok()?;
        self.is_whole(at, header.record_len()).then_some((header.kind, header.record_len()))
    }

    /// Where a record may begin, from `from` on; `None` where `pace` ended it.
    fn next_magic(&mut self, mut from: u64, pace: &mut Pace<'_>) -> Option<Option<u64>> {
        while from < self.size {
            let len = (self.size - from).min(PIECE as u64);
            let is_read = self.read(from, len as usize);
            let found = self.buffer.windows(MAGIC.len()).position(|window| window == MAGIC);
            if let (true, Some(found)) = (is_read, found) {
                return Some(Some(from + found as u64));
            }
            if !pace(len) {
                return None;
            }
            // One may begin at the end of this piece.
            from += len.saturating_sub(MAGIC.len() as u64 - 1).max(1);
        }
        Some(None)
    }
}
