//! What a segment file holds: by its index if it was closed, record by record if it wasn't.

use coffer_format::chunk::Pack;
use coffer_format::segment::{IndexEntry, RecordHeader, RecordKind, SegmentHeader, SegmentIndex, Trailer};
use coffer_format::{Decode, Lsn, Reader, from_bytes, limits};
use ring::aead::LessSafeKey;

use crate::disk::DiskFile;
use crate::seal::{open_record, read_compressed};
use crate::{Result, VaultError};

/// A closed segment's index and trailer.
pub(crate) struct Contents {
    pub(crate) index: SegmentIndex,
    pub(crate) trailer: Trailer,
}

/// Reads the index of a closed segment, or of a stub. `None` where the file has no valid end.
pub(crate) fn read_contents(file: &dyn DiskFile, key: &LessSafeKey) -> Result<Option<Contents>> {
    let io = |source| VaultError::Io { doing: "read", path: "a segment".into(), source };
    let size = file.size().map_err(io)?;
    if size < (SegmentHeader::LEN + Trailer::LEN) as u64 {
        return Ok(None);
    }
    let mut tail = [0; Trailer::LEN];
    file.read_at(size - Trailer::LEN as u64, &mut tail).map_err(io)?;
    let Ok(trailer) = from_bytes::<Trailer>(&tail) else { return Ok(None) };
    let index_len = trailer.file_len - trailer.index_offset - Trailer::LEN as u64;
    // In a stub the index follows the header at once.
    let at = size - Trailer::LEN as u64 - index_len.min(size - Trailer::LEN as u64);
    let whole = size == trailer.file_len && at == trailer.index_offset;
    if !whole && at != SegmentHeader::LEN as u64 || index_len > limits::RECORD_SEALED_MAX as u64 + 32 {
        return Ok(None);
    }
    let mut record = vec![0; index_len as usize];
    file.read_at(at, &mut record).map_err(io)?;
    let Some((header, plain)) = open_record(key, &mut record) else { return Ok(None) };
    if header.kind != RecordKind::Index {
        return Ok(None);
    }
    Ok(Some(Contents { index: read_compressed(plain)?, trailer }))
}

/// What a walk over the records of an unclosed segment found.
pub(crate) struct Scanned {
    pub(crate) index: SegmentIndex,
    /// Where the last good record ends.
    pub(crate) end: u64,
    /// Stretches between good records that don't decrypt: offset and length.
    pub(crate) damaged: Vec<(u64, u64)>,
}

/// Walks the records in `bytes` (a whole file, header first) from offset `from`. What doesn't decrypt at the very end is
/// a torn write and not part of the segment; what doesn't decrypt before a good record is damage.
pub(crate) fn scan(bytes: &[u8], key: &LessSafeKey, from: u64) -> Scanned {
    let mut found = Scanned { index: SegmentIndex::default(), end: from, damaged: Vec::new() };
    let mut at = from as usize;
    while at + RecordHeader::LEN <= bytes.len() {
        match record_at(bytes, at, key) {
            Some(entry) => {
                if found.end < at as u64 {
                    found.damaged.push((found.end, at as u64 - found.end));
                }
                at += entry.record_len as usize;
                found.end = at as u64;
                if entry.kind != RecordKind::Index {
                    found.index.records.push(entry);
                } else {
                    // The index of a close that wasn't finished: it's written again.
                    found.end -= entry.record_len;
                    break;
                }
            }
            None => match next_magic(bytes, at + 1) {
                Some(next) => at = next,
                None => break,
            },
        }
    }
    found
}

fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(4).position(|window| window == b"CREC").map(|at| from + at)
}

fn record_at(bytes: &[u8], at: usize, key: &LessSafeKey) -> Option<IndexEntry> {
    let header = RecordHeader::decode(&mut Reader::new(&bytes[at..])).ok()?;
    let len = header.record_len();
    let mut record = bytes.get(at..at + len as usize)?.to_vec();
    let (_, plain) = open_record(key, &mut record)?;
    let chunks = match header.kind {
        RecordKind::Pack => from_bytes::<Pack>(plain).ok()?.chunks,
        _ => Vec::new(),
    };
    let lsn = if header.kind == RecordKind::Meta { header.lsn } else { Lsn(0) };
    Some(IndexEntry { offset: at as u64, kind: header.kind, lsn, record_len: len, chunks })
}
