//! Why an update isn't installed. Each sentence is shown at the box.

use std::io;

use coffer_format::update::{Target, Version};
use coffer_link::ReleaseError;

#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error(transparent)]
    Untrusted(#[from] ReleaseError),
    #[error(
        "version {version} is for {found}, this computer runs {own}: bring the update that was built for it"
    )]
    OtherTarget { version: Version, found: Target, own: Target },
    #[error("version {version} is older than {running}, which runs: bring a newer one")]
    Older { version: Version, running: Version },
    /// It was tried; the sentence says what came of it.
    #[error("{0}")]
    FailedBefore(String),
    #[error(
        "the box has only {has} of the {len} bytes of version {version}: bring the update to the box again"
    )]
    Truncated { version: Version, has: u64, len: u64 },
    #[error("the bytes of version {0} aren't those that were signed: bring the update to the box again")]
    OtherBytes(Version),
    #[error(
        "the computer's disk is full: free space there; the update is tried again when the agent connects next"
    )]
    DiskFull,
    #[error(
        "the update can't be kept on the computer's disk ({0}): it's tried again when the agent connects next"
    )]
    Disk(#[source] io::Error),
    #[error("the program can't be replaced ({0}): install the new version by hand")]
    Replacing(String),
    #[error("{0}")]
    Keys(String),
}

impl From<io::Error> for UpdateError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => UpdateError::DiskFull,
            _ => UpdateError::Disk(error),
        }
    }
}
