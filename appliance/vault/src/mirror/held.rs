//! What a box that takes the branch over gets: of each segment where it stands, and as much as a catalog is made from.

use coffer_format::SegmentId;
use coffer_format::segment::{SegmentHeader, Trailer};
use coffer_format::wire::{SegmentHeld, SegmentMark};

use super::Mirror;
use crate::segment::{FileForm, segment_path};
use crate::{Result, VaultError};

impl Mirror {
    /// What is here of each segment. What doesn't decrypt at the end of a segment that never came whole is cut off first: the box closes
    /// it behind its last record, and its end must fit what is here.
    pub fn held(&self) -> Result<Vec<SegmentHeld>> {
        self.cut_open_ends()?;
        let here: Vec<_> = self.here().iter().map(|(segment, here)| (*segment, *here)).collect();
        let mut held = Vec::new();
        for (segment, here) in here {
            let is_given_up = here.forgotten && here.hash.is_none();
            if is_given_up || here.bytes <= SegmentHeader::LEN as u64 {
                continue;
            }
            match self.reading.files.open(segment, FileForm::Whole) {
                Ok(found) => held.push(SegmentHeld {
                    segment,
                    stream: found.header.stream,
                    bytes: here.bytes,
                    hash: here.hash,
                    salt: found.header.salt,
                }),
                Err(error @ (VaultError::Damaged { .. } | VaultError::NotOnDisk(_))) => {
                    tracing::error!(%segment, %error, "a segment can't be read, so the new box doesn't hear of it");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(held)
    }

    /// A segment's outline if it came whole, else all that is here of it; `None` where nothing is. `with_rest`: with what was kept of it
    /// behind that, for a box that takes each sound record that it lacks.
    pub fn outline(&self, segment: SegmentId, with_rest: bool) -> Result<Option<Vec<u8>>> {
        let here = self.here().get(&segment).copied().unwrap_or_default();
        if here.hash.is_some() {
            return Ok(Some(self.reading.outline(segment)?.1));
        }
        if here.bytes <= SegmentHeader::LEN as u64 {
            return Ok(None);
        }
        let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
        let file = self.reading.disk.open(&path).map_err(VaultError::io("open", &path))?;
        if with_rest && let Some(all) = self.with_rest(segment, &*file)? {
            return Ok(Some(all));
        }
        let mut bytes = vec![0; here.bytes as usize];
        file.read_at(0, &mut bytes).map_err(VaultError::io("read", &path))?;
        Ok(Some(bytes))
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

    fn cut_open_ends(&self) -> Result<()> {
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
            self.cut_damage(segment, &*tail.file)?;
        }
        Ok(())
    }
}
