//! Whether a segment is the one that HQ has under its number. A vault that was set back to an older state goes on with numbers that HQ
//! has seen already, for other things. Damage here is something else: verifying finds it.

use coffer_format::segment::{SegmentHeader, Trailer};
use coffer_format::wire::SegmentMark;
use coffer_format::{FileHash, SegmentId, from_bytes};
use rusqlite::OptionalExtension;

use crate::reading::Reading;
use crate::segment::{FileForm, ReadableSegment, read_contents, scan};
use crate::vault::Vault;
use crate::{Result, VaultError};

/// A segment as the catalog has it: its bytes, and its hash once it's closed.
type Listed = (u64, Option<FileHash>);

impl Vault {
    /// Which of these numbers, under which a copy has something, this vault never gave to a segment: another line of its history did.
    pub fn never_made(&self, segments: &[SegmentId]) -> Result<Vec<SegmentId>> {
        let newest = self.newest_number()?;
        self.reading.readers.with(|db| {
            let mut made = db.prepare_cached(
                "SELECT 1 FROM segments WHERE segment = ?1 UNION ALL SELECT 1 FROM dropped WHERE segment = ?1",
            )?;
            let mut never = Vec::new();
            for segment in segments {
                if *segment > newest || !made.exists([segment.0])? {
                    never.push(*segment);
                }
            }
            Ok(never)
        })
    }

    /// Whether this vault is on the line of history of which HQ has the segments with these marks, and has come as far.
    pub fn is_on_line(&self, marks: &[SegmentMark]) -> Result<bool> {
        let marked: Vec<SegmentId> = marks.iter().map(|mark| mark.segment).collect();
        if !self.never_made(&marked)?.is_empty() {
            return Ok(false);
        }
        marks.iter().try_fold(true, |on_line, mark| Ok(on_line && self.reading.is_same(mark)?))
    }

    /// Whether a closed segment, of which `bytes` are the outline, is one of this vault's own, or may have been: of one that was given up
    /// only the number is known.
    pub fn is_own(&self, segment: SegmentId, bytes: &[u8]) -> Result<bool> {
        let trailer: Trailer = from_bytes(&bytes[bytes.len().saturating_sub(Trailer::LEN)..])?;
        Ok(match self.reading.listed(segment)? {
            Some((_, hash)) => hash.is_none_or(|known| known == trailer.hash),
            None => self.never_made(&[segment])?.is_empty(),
        })
    }
}

impl Reading {
    /// Whether the segment here goes on where HQ's is, or is the same.
    pub(crate) fn is_same(&self, at_hq: &SegmentMark) -> Result<bool> {
        let Some((bytes, hash)) = self.listed(at_hq.segment)? else { return Ok(true) };
        let (form, found) = match self.find(at_hq.segment)? {
            Some(found) => found,
            None => return Ok(true),
        };
        if found.header.salt != at_hq.salt {
            return Ok(false);
        }
        if at_hq.is_whole {
            return Ok(hash == Some(at_hq.hash));
        }
        if bytes < at_hq.bytes {
            return Ok(false);
        }
        if form == FileForm::Stub || self.hash_of_first(at_hq.segment, at_hq.bytes)? == Some(at_hq.hash) {
            return Ok(true);
        }
        // Either it's another line's, or damaged here.
        Ok(!is_sound(&found, at_hq.bytes)?)
    }

    fn listed(&self, segment: SegmentId) -> Result<Option<Listed>> {
        self.readers.with(|db| {
            let mut query =
                db.prepare_cached("SELECT bytes, closed, hash FROM segments WHERE segment = ?1")?;
            let row = query.query_row([segment.0], |row| {
                let hash: Option<[u8; 32]> = if row.get(1)? { row.get(2)? } else { None };
                Ok((row.get(0)?, hash.map(FileHash)))
            });
            Ok(row.optional()?)
        })
    }

    /// `None` where it isn't here, or can't be read.
    fn find(&self, segment: SegmentId) -> Result<Option<(FileForm, ReadableSegment)>> {
        for form in [FileForm::Whole, FileForm::Stub] {
            match self.files.open(segment, form) {
                Err(VaultError::NotOnDisk(_)) => {}
                Err(VaultError::Damaged { .. }) => return Ok(None),
                other => return Ok(Some((form, other?))),
            }
        }
        Ok(None)
    }

    /// BLAKE3 of the first bytes of a segment's file; `None` where they can't be read.
    pub(crate) fn hash_of_first(&self, segment: SegmentId, bytes: u64) -> Result<Option<FileHash>> {
        let found = self.files.open(segment, FileForm::Whole)?;
        let mut first = vec![0; bytes as usize];
        let read = found.file.read_at(0, &mut first);
        Ok(read.ok().map(|()| FileHash(*blake3::hash(&first).as_bytes())))
    }
}

/// Whether all records decrypt that begin in the first `bytes` bytes, of a file that may end before that if it was closed there.
fn is_sound(found: &ReadableSegment, bytes: u64) -> Result<bool> {
    let size = found.file.size().map_err(VaultError::io("read", "a segment"))?;
    let mut all = vec![0; size as usize];
    if found.file.read_at(0, &mut all).is_err() {
        return Ok(false);
    }
    let scanned = scan(&all, &found.key, SegmentHeader::LEN as u64);
    // Behind its last record nothing looks like damage.
    let reaches = scanned.end >= bytes || matches!(read_contents(&*found.file, &found.key), Ok(Some(_)));
    Ok(reaches && scanned.damaged.iter().all(|(offset, _)| *offset >= bytes))
}
