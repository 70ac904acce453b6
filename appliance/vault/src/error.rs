//! What can go wrong in a vault, and whose job it is to mend it.

use std::path::PathBuf;

use coffer_format::wire::{Refusal, RefusalCode};
use coffer_format::{DecodeError, SegmentId};
use thiserror::Error;

/// An error of the vault. Each names the object; what a person sees ends with what to do.
#[derive(Debug, Error)]
pub enum VaultError {
    #[error("cannot {doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the catalog could not be used: it is compared with the segments and mended by itself, so try again in a minute"
    )]
    Catalog(#[from] rusqlite::Error),
    #[error(
        "the disk is full ({free} bytes free, {reserve} are kept in reserve): free space or let tape and HQ copies release some"
    )]
    Full { free: u64, reserve: u64 },
    #[error(
        "the disk reported an error while writing; the vault is read-only until the disk takes writes again: have it checked"
    )]
    ReadOnly,
    #[error(
        "segment {segment} is damaged at byte {offset} ({what}): what a copy has comes back by itself, and `coffer verify` says what it touches"
    )]
    Damaged { segment: SegmentId, offset: u64, what: String },
    #[error("{} segment(s) are not on disk, first {}: they must be read back from tape or HQ", .0.len(), .0.first().copied().unwrap_or_default())]
    NotOnDisk(Vec<SegmentId>),
    #[error("a record is not as its format says")]
    Decode(#[from] DecodeError),
    #[error("{0}")]
    Key(&'static str),
    #[error("{path} is in use by another program: stop the other cofferd first")]
    Locked { path: PathBuf },
    #[error("{sentence}")]
    Refused { code: RefusalCode, sentence: String },
}

impl VaultError {
    /// An error of the operating system on `path`.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> VaultError {
        let path = path.into();
        move |source| VaultError::Io { doing, path, source }
    }

    pub(crate) fn refused(code: RefusalCode, sentence: impl Into<String>) -> VaultError {
        VaultError::Refused { code, sentence: sentence.into() }
    }

    /// Whether there was no room for what was to be written.
    pub fn is_disk_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            VaultError::Full { .. } => true,
            VaultError::Io { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            VaultError::Catalog(error) => {
                /// There was no room for the memory that the catalog's users share.
                const SHARED_SIZE: i32 = 4874;
                error.sqlite_error().is_some_and(|of| {
                    of.code == rusqlite::ErrorCode::DiskFull || of.extended_code == SHARED_SIZE
                })
            }
            _ => false,
        }
    }

    /// Whether the disk takes no writes, for want of room or because it's broken.
    pub fn is_of_no_writes(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
        match self {
            VaultError::Io { source, .. } if crate::write_trial::is_broken(source) => true,
            VaultError::Catalog(error) => {
                let is_so =
                    error.sqlite_error_code().is_some_and(|code| matches!(code, CannotOpen | ReadOnly));
                is_so || self.is_disk_full()
            }
            error => error.is_disk_full(),
        }
    }

    /// Whether the catalog isn't what was written: it's made again from the segments.
    pub(crate) fn is_of_broken_catalog(&self) -> bool {
        matches!(self, VaultError::Catalog(error) if crate::catalog::is_broken(error))
    }

    /// What a peer on the wire is told.
    pub fn refusal(&self) -> Refusal {
        let code = match self {
            VaultError::Refused { code, .. } => *code,
            error if error.is_disk_full() => RefusalCode::DiskFull,
            VaultError::ReadOnly => RefusalCode::ReadOnly,
            VaultError::Damaged { .. } => RefusalCode::Damaged,
            VaultError::NotOnDisk(_) => RefusalCode::CopyNeeded,
            VaultError::Decode(_) => RefusalCode::BadRequest,
            _ => RefusalCode::Internal,
        };
        let mut sentence = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            sentence.push_str(": ");
            sentence.push_str(&cause.to_string());
            source = cause.source();
        }
        Refusal { code, sentence }
    }
}
