//! Closing a segment that an earlier run left open. What is torn at its end is cut off; what was durable never is: if it doesn't
//! decrypt it's damage, and stays.
//!
//! Records lie one behind another. Where a closed segment's index leaves a stretch out, something was damaged when it was closed:
//! so this is known for as long as the segment is, whatever becomes of the catalog.

use coffer_format::entry::Entry;
use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, SegmentIndex, Stream};
use coffer_format::{Lsn, limits};
use ring::aead::LessSafeKey;

use crate::catalog::SegmentRow;
use crate::reading::Reading;
use crate::seal::{open_record, read_compressed};
use crate::segment::{self, FileForm, OpenSegment, ReadableSegment, segment_path};
use crate::vault::closed_row;
use crate::{Result, VaultError};

/// What a recovered segment holds.
pub(crate) struct Recovered {
    pub(crate) row: SegmentRow,
    pub(crate) index: SegmentIndex,
    /// Stretches that can't be read: offset and length.
    pub(crate) damaged: Vec<(u64, u64)>,
    /// Bytes cut off at the end that weren't empty.
    pub(crate) torn: u64,
}

/// How a recovery ended.
pub(crate) enum Recovery {
    Closed(Recovered),
    /// There was no record in it; so many bytes that weren't empty can't be read.
    Empty {
        torn: u64,
    },
    Unreadable(String),
}

/// Cuts off what is torn, and closes. The first `durable` bytes are never cut.
pub(crate) fn recover(reading: &Reading, found: &ReadableSegment, durable: u64) -> Result<Recovery> {
    let (header, segment) = (found.header, found.header.segment);
    let path = segment_path(&reading.dir, segment, FileForm::Whole);
    let size = found.file.size().map_err(VaultError::io("read", &path))?;
    if size > limits::SEGMENT_MAX {
        return Ok(Recovery::Unreadable("it's longer than any segment".into()));
    }
    let mut bytes = vec![0; size as usize];
    if let Err(error) = found.file.read_at(0, &mut bytes) {
        return Ok(Recovery::Unreadable(format!("the disk can't read it: {error}")));
    }
    let mut scanned = segment::scan(&bytes, &found.key, SegmentHeader::LEN as u64);
    match header.stream {
        Stream::Meta => cut_torn_batch(&mut scanned, &bytes, &found.key, durable),
        _ => fill_torn_holes(&mut scanned, durable),
    }
    let end = scanned.end.max(durable);
    if scanned.end < end {
        scanned.damaged.push((scanned.end, end - scanned.end));
    }
    for (offset, len) in &scanned.damaged {
        tracing::error!(%segment, offset, len, "part of a segment doesn't decrypt; run `coffer verify`");
    }
    let torn =
        bytes.get(end as usize..).map_or(0, |cut| cut.iter().filter(|byte| **byte != 0).count() as u64);
    if scanned.index.records.is_empty() && end <= SegmentHeader::LEN as u64 {
        return Ok(Recovery::Empty { torn });
    }
    tracing::info!(%segment, torn = size.saturating_sub(end), "closing a segment that an earlier run left open");
    bytes.resize(end as usize, 0);
    if size < end {
        // The file is shorter than it was: the rest is written as nothing, and known as damage.
        found.file.write_at(size, &bytes[size as usize..]).map_err(VaultError::io("write", &path))?;
    }
    found.file.truncate(end).map_err(VaultError::io("truncate", &path))?;
    let keys = reading.files.keys_of(&header)?;
    let (index, damaged, file) = (scanned.index.clone(), scanned.damaged, found.file.clone());
    let mut open = OpenSegment::resume(&reading.dir, &keys, header, file, scanned.index, &bytes);
    let closed = open.close()?;
    open.file.sync().map_err(VaultError::io("sync", &path))?;
    let row = closed_row(&closed, header.created_ms);
    Ok(Recovery::Closed(Recovered { row, index, damaged, torn }))
}

/// Stretches between the header and a closed segment's index that no record of it covers: offset and length.
pub(crate) fn uncovered(index: &SegmentIndex, index_offset: u64) -> Vec<(u64, u64)> {
    let mut stretches = Vec::new();
    let mut at = SegmentHeader::LEN as u64;
    for record in &index.records {
        if record.offset > at {
            stretches.push((at, record.offset - at));
        }
        at = at.max(record.offset.saturating_add(record.record_len));
    }
    if index_offset > at {
        stretches.push((at, index_offset - at));
    }
    stretches
}

/// Beyond what was durable, a power cut may have kept what was written later and not what was written before. Such a hole isn't
/// damage: the index lists it as a pack without chunks.
fn fill_torn_holes(scanned: &mut segment::Scanned, durable: u64) {
    let (damaged, torn) = scanned.damaged.iter().partition(|(offset, _)| *offset < durable);
    scanned.damaged = damaged;
    let torn: Vec<(u64, u64)> = torn;
    scanned.index.records.extend(torn.into_iter().map(|(offset, record_len)| IndexEntry {
        offset,
        kind: RecordKind::Pack,
        lsn: Lsn(0),
        record_len,
        chunks: Vec::new(),
    }));
    scanned.index.records.sort_by_key(|record| record.offset);
}

/// Metadata counts up to the first record that is missing from the last batch: what follows it there was never
/// acknowledged, and may need it. Batches before the last were synced: what is missing from them is damage.
fn cut_torn_batch(scanned: &mut segment::Scanned, bytes: &[u8], key: &LessSafeKey, durable: u64) {
    let Some(last) = scanned.index.records.last().and_then(|record| batch_of(record, bytes, key)) else {
        return;
    };
    let torn = scanned.damaged.iter().map(|(offset, _)| *offset).find(|offset| {
        let next = scanned.index.records.iter().find(|record| record.offset > *offset);
        *offset >= durable && next.is_some_and(|next| next.lsn > last)
    });
    if let Some(cut) = torn {
        scanned.index.records.retain(|record| record.offset < cut);
        scanned.damaged.retain(|(offset, _)| *offset < cut);
        scanned.end = cut;
    }
}

/// First record of the batch that a metadata record was written with.
fn batch_of(record: &IndexEntry, bytes: &[u8], key: &LessSafeKey) -> Option<Lsn> {
    let mut sealed = bytes[record.offset as usize..(record.offset + record.record_len) as usize].to_vec();
    let (_, plain) = open_record(key, &mut sealed)?;
    Some(read_compressed::<Entry>(plain).ok()?.batch)
}
