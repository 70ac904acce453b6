//! What a box that takes the branch over gets: of each segment where it stands, and as much as a catalog is made from.
//!
//! Of a segment that is damaged here it gets the damage too: what is sound behind that is as good as what is before it.

use std::collections::BTreeMap;

use coffer_format::segment::{SegmentHeader, Stream, Trailer};
use coffer_format::wire::{SegmentHeld, SegmentMark};
use coffer_format::{FileHash, SegmentId};

use super::stock::read_what_can;
use super::{Here, Mirror};
use crate::segment::{FileForm, ReadableSegment, read_contents};
use crate::{Result, VaultError};

impl Mirror {
    /// What is here of each segment. What doesn't decrypt at the end of a segment that never came whole is cut off first: the box closes
    /// it behind its last record, and its end must fit what is here.
    pub fn held(&self) -> Result<Vec<SegmentHeld>> {
        self.settle_open_ends()?;
        let here: BTreeMap<_, _> = self.here().clone();
        let mut held = Vec::new();
        for (segment, here) in here {
            let is_given_up = here.forgotten && here.hash.is_none();
            if is_given_up || here.bytes <= SegmentHeader::LEN as u64 {
                continue;
            }
            match self.reading.files.open(segment, FileForm::Whole) {
                Ok(found) => {
                    let stream = found.header.stream;
                    let (bytes, hash) = closed_end(&here, &found)?
                        .map_or((here.bytes, None), |(bytes, hash)| (bytes, Some(hash)));
                    held.push(SegmentHeld { segment, stream, bytes, hash, salt: found.header.salt });
                }
                Err(error @ (VaultError::Damaged { .. } | VaultError::NotOnDisk(_))) => {
                    tracing::error!(%segment, %error, "a segment can't be read, so the new box doesn't hear of it");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(held)
    }

    /// What a box that takes the branch over gets of a segment: its outline if it was closed, else all that is here of it; `None` where
    /// nothing is.
    pub fn outline(&self, segment: SegmentId) -> Result<Option<Vec<u8>>> {
        let here = self.here().get(&segment).copied().unwrap_or_default();
        if here.hash.is_some() {
            return Ok(Some(self.reading.outline(segment)?.1));
        }
        if here.bytes <= SegmentHeader::LEN as u64 {
            return Ok(None);
        }
        let found = self.reading.files.open(segment, FileForm::Whole)?;
        let is_closed = closed_end(&here, &found)?.is_some();
        if is_closed && found.header.stream != Stream::Meta {
            return Ok(Some(self.reading.stub_of(segment)?));
        }
        let mut bytes = read_what_can(&*found.file)?;
        if !is_closed {
            bytes.truncate(here.bytes as usize);
        }
        Ok(Some(bytes))
    }

    /// A segment's outline if it's whole here, else all that is here of it, for a box that takes each sound record that it lacks; `None`
    /// where nothing is.
    pub fn outline_or_all(&self, segment: SegmentId) -> Result<Option<Vec<u8>>> {
        let here = self.here().get(&segment).copied().unwrap_or_default();
        if here.hash.is_some() {
            return self.outline(segment);
        }
        let Some(file) = self.open_file(segment)? else { return Ok(None) };
        Ok(Some(read_what_can(&*file)?).filter(|all| all.len() > SegmentHeader::LEN))
    }

    /// What tells this segment from another of that number; `None` where nothing of it is here.
    pub fn mark(&self, segment: SegmentId) -> Result<Option<SegmentMark>> {
        let here = self.here().get(&segment).copied().unwrap_or_default();
        if here.bytes <= SegmentHeader::LEN as u64 {
            return Ok(None);
        }
        let found = match self.reading.files.open(segment, FileForm::Whole) {
            Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_)) => return Ok(None),
            other => other?,
        };
        let (bytes, hash) = match here.hash {
            Some(hash) => (here.bytes - Trailer::LEN as u64, Some(hash)),
            // What has rotted here, or hasn't come whole, says nothing.
            None => match self.sound_len(segment, &*found.file)? {
                sound if sound > SegmentHeader::LEN as u64 => {
                    (sound, self.reading.hash_of_first(segment, sound)?)
                }
                _ => return Ok(None),
            },
        };
        // What can't be read is for scrubbing to find.
        let Some(hash) = hash else { return Ok(None) };
        Ok(Some(SegmentMark { segment, salt: found.header.salt, bytes, is_whole: here.hash.is_some(), hash }))
    }

    fn settle_open_ends(&self) -> Result<()> {
        let mut tails = self.tails.lock().map_err(|_| VaultError::ReadOnly)?;
        let open: Vec<SegmentId> = {
            let here = self.here();
            here.iter().filter(|(_, one)| one.hash.is_none() && one.bytes > 0).map(|(id, _)| *id).collect()
        };
        for segment in open {
            let tail = match tails.remove(&segment) {
                Some(tail) => tail,
                None => self.open_tail(segment)?,
            };
            self.take_stock(segment, &*tail.file)?;
        }
        Ok(())
    }
}

/// The length and hash that a segment was closed with, as far as its end says so; `None` where it wasn't, or its end is damaged.
fn closed_end(here: &Here, found: &ReadableSegment) -> Result<Option<(u64, FileHash)>> {
    if let Some(hash) = here.hash {
        return Ok(Some((here.bytes, hash)));
    }
    if here.left.is_none() {
        return Ok(None);
    }
    match read_contents(&*found.file, &found.key) {
        Ok(contents) => Ok(contents.map(|contents| (contents.trailer.file_len, contents.trailer.hash))),
        Err(VaultError::Io { .. } | VaultError::Decode(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
