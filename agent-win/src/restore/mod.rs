//! Bringing files back on the computer itself, with everything that the box has of them. The box sends nodes in their
//! order (directories before what's in them), then bytes, batch by batch.
//!
//! Nothing that's there is replaced. A file gets its name once it's whole; names from the box never lead outside.

mod place;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_format::wire::Message;
use coffer_format::{ConfigId, PointSeq};

use crate::wire::{Wire, WireError};
use write::Restoring;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

/// What a restore came to.
#[derive(Debug, Default)]
pub struct Restored {
    pub files: u64,
    pub bytes: u64,
    /// Paths as the point has them, and what's wrong with each: not there, or not all of it.
    pub lacking: Vec<(Vec<u8>, String)>,
}

/// Why a restore ended early. What's whole by then stays.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("{} can't be restored to; choose another folder or check the disk", .0.display())]
    Target(PathBuf, #[source] io::Error),
}

/// Restores `paths` (all where there are none) of a point to below `to`, which is made where it isn't there.
pub(crate) fn restore(
    wire: &Wire,
    (config, point): (ConfigId, PointSeq),
    paths: Vec<Vec<u8>>,
    to: &Path,
) -> Result<Restored, RestoreError> {
    let failed = |error| RestoreError::Target(to.to_owned(), error);
    std::fs::create_dir_all(to).map_err(failed)?;
    let mut restoring = Restoring::new(&std::fs::canonicalize(to).map_err(failed)?);
    let paths = paths.iter().map(|path| path[..].into()).collect();
    wire.send(Message::RestoreWanted { config, point, paths })?;
    loop {
        match wire.receive(ANSWER_TIMEOUT)?.ok_or(WireError::Lost)? {
            Message::RestoreNodes { nodes } => nodes.into_iter().for_each(|node| restoring.begin(node)),
            Message::RestorePack { compression, raw_len, placements, payload } => {
                restoring.pack(compression, raw_len, &placements, &payload.0);
            }
            Message::RestoreBatchEnd => restoring.finish_batch(),
            Message::RestoreEnd { failed, .. } => {
                for line in failed {
                    restoring.lack(&line.path.0, line.what);
                }
                return Ok(restoring.finish());
            }
            Message::CaptureNow { .. } | Message::ConfigsChanged => {}
            _ => return Err(WireError::Unexpected("a message that has no place in a restore").into()),
        }
    }
}
