//! What a segment's file holds that isn't whole.

use coffer_format::segment::SegmentHeader;
use coffer_format::{SegmentId, from_bytes};
use ring::aead::LessSafeKey;

use super::{Here, Mirror};
use crate::disk::DiskFile;
use crate::mending::is_of_another;
use crate::segment::{Scanned, scan};
use crate::{Result, VaultError};

pub(super) const FIRST: u64 = SegmentHeader::LEN as u64;
/// What is read at once: what the disk can't read of it counts as damaged.
const PIECE: usize = 64 << 10;

/// What is damaged between what may be sound. Offsets and lengths in bytes.
pub(super) struct Damaged {
    pub(super) stretches: Vec<(u64, u64)>,
    /// Where the last sound record ends; 0 where none can be read.
    pub(super) end: u64,
}

impl Mirror {
    /// Finds out what a segment's file has: from then on that counts. It's left as it is where anything may be sound behind damage; else
    /// it ends with its last sound record. With the tails locked.
    pub(super) fn take_stock(&self, segment: SegmentId, file: &dyn DiskFile) -> Result<Here> {
        let bytes = read_what_can(file)?;
        let found = self.scan_all(segment, &bytes);
        match &found {
            Some(found) if !found.damaged.is_empty() => {
                let damaged = Damaged { stretches: found.damaged.clone(), end: found.end };
                self.leave_as_it_is(segment, file, &damaged)
            }
            // Its header comes again with the first bytes, and opens the rest.
            None if bytes.len() as u64 > FIRST && !is_of_another(segment, &bytes) => {
                let damaged = Damaged { stretches: vec![(0, FIRST)], end: 0 };
                self.leave_as_it_is(segment, file, &damaged)
            }
            _ => self.cut_end(segment, file, found.as_ref().map_or(0, sound_end)),
        }
    }

    /// How far a file's records decrypt without a gap; 0 where there's no use in it at all.
    pub(super) fn sound_len(&self, segment: SegmentId, file: &dyn DiskFile) -> Result<u64> {
        Ok(self.scan_all(segment, &read_what_can(file)?).as_ref().map_or(0, sound_end))
    }

    fn scan_all(&self, segment: SegmentId, bytes: &[u8]) -> Option<Scanned> {
        self.key_in(segment, bytes).map(|key| scan(bytes, &key, FIRST))
    }

    /// The key of a segment by the header that these bytes begin with.
    fn key_in(&self, segment: SegmentId, bytes: &[u8]) -> Option<LessSafeKey> {
        let header = from_bytes::<SegmentHeader>(bytes.get(..SegmentHeader::LEN)?).ok()?;
        let keys = self.reading.files.keys_of(&header).ok()?;
        (header.segment == segment).then(|| keys.segment_key(&header.salt))
    }

    /// What doesn't decrypt at the end of a segment is no part of it. What the branch gave up stays as it is. With the tails locked.
    fn cut_end(&self, segment: SegmentId, file: &dyn DiskFile, sound: u64) -> Result<Here> {
        let path = self.path_of(segment);
        let is_given_up = self.is_given_up(segment)?;
        let kept = match is_given_up {
            true => file.size().map_err(VaultError::io("read", &path))?,
            false => sound,
        };
        file.truncate(kept).and_then(|()| file.sync()).map_err(VaultError::io("truncate", &path))?;
        self.reading.files.forget(segment);
        let here = Here { bytes: kept, forgotten: is_given_up, ..Here::default() };
        self.here().insert(segment, here);
        self.list_less(segment, kept)?;
        Ok(here)
    }
}

/// Where the first damage begins, or the last sound record ends.
fn sound_end(found: &Scanned) -> u64 {
    if found.index.records.is_empty() {
        return 0;
    }
    found.damaged.first().map_or(found.end, |(offset, _)| *offset)
}

/// A file's bytes. What can't be read of them is nothing.
pub(super) fn read_what_can(file: &dyn DiskFile) -> Result<Vec<u8>> {
    let size = file.size().map_err(VaultError::io("read", "a segment"))?;
    let mut bytes = vec![0; size as usize];
    for (number, piece) in bytes.chunks_mut(PIECE).enumerate() {
        if file.read_at((number * PIECE) as u64, piece).is_err() {
            piece.fill(0);
        }
    }
    Ok(bytes)
}
