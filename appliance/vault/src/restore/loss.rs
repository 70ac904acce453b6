//! Why something of a restore can't be had, and what's said of it.

use coffer_format::SegmentId;
use coffer_format::wire::{LeftOut, LeftOutWhy};

use crate::{Result, VaultError};

/// What keeps a file from being restored.
#[derive(Debug, Clone)]
pub(super) struct Loss {
    pub(super) why: LeftOutWhy,
    cause: String,
}

impl Loss {
    /// Of one file, where an error of reading costs no more than that; else the error.
    pub(super) fn of(error: VaultError) -> Result<Loss> {
        match error {
            VaultError::NotOnDisk(segments) => Ok(Loss::not_on_disk(&segments)),
            VaultError::Damaged { segment: SegmentId(0), what, .. } => Ok(Loss::damaged(what)),
            VaultError::Damaged { segment, offset, what } => {
                Ok(Loss::damaged(format!("segment {segment} at byte {offset}: {what}")))
            }
            error @ (VaultError::Decode(_) | VaultError::Io { .. }) => {
                Ok(Loss::damaged(error.refusal().sentence))
            }
            error => Err(error),
        }
    }

    pub(super) fn damaged(cause: String) -> Loss {
        Loss { why: LeftOutWhy::Damaged, cause }
    }

    pub(super) fn away(cause: String) -> Loss {
        Loss { why: LeftOutWhy::Away, cause }
    }

    pub(super) fn not_on_disk(segments: &[SegmentId]) -> Loss {
        Loss::away(not_on_disk(segments.first().copied().unwrap_or_default()))
    }

    /// A file that isn't given.
    pub(super) fn of_file(&self, index: Option<u32>, path: Vec<u8>) -> LeftOut {
        let what = match self.why {
            LeftOutWhy::Damaged => format!(
                "is damaged in the vault and wasn't restored ({}): what a copy has comes back by itself where the disk takes writes, so restore it again in a while, or from another point",
                self.cause
            ),
            _ => format!("wasn't restored: {}", self.cause),
        };
        LeftOut { index, path: path.into(), why: self.why, what }
    }

    /// A folder that's given without what belongs to it, for the sake of what's in it.
    pub(super) fn of_folder(&self, path: Vec<u8>) -> LeftOut {
        let what = format!(
            "was restored without its owner, permissions and times, and is closed to all but its owner ({}): set them, or restore \
             it from another point",
            self.cause
        );
        LeftOut { index: None, path: path.into(), why: self.why, what }
    }
}

/// What's said of a file that needs a segment which isn't here.
pub(super) fn not_on_disk(segment: SegmentId) -> String {
    format!(
        "it needs segment {segment}, which isn't on this disk and couldn't be read back: restore it again later"
    )
}
