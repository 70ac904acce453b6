//! What a configuration wants of a standstill, and what a system's snapshots are asked for.

use std::path::PathBuf;
use std::sync::Arc;

use super::Enclosures;
use crate::config::{BackupConfig, Database, Scope};

/// A configuration about to be captured.
pub(crate) struct StandstillWanted<'a> {
    pub(crate) config: &'a BackupConfig,
    pub(crate) scope: Arc<Scope>,
    /// Where the agent puts what belongs into the point besides.
    pub(crate) enclosed: PathBuf,
    /// False where whoever writes is watched anyway.
    pub(crate) may_wait: bool,
}

/// What a snapshot is taken for.
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows takes snapshots"))]
pub(crate) struct SnapshotWanted<'a> {
    /// Path bytes of what's captured.
    pub(crate) paths: Vec<Vec<u8>>,
    pub(crate) scope: &'a Scope,
    pub(crate) database: Option<&'a Database>,
}

/// Why there's no snapshot.
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows takes snapshots"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoSnapshot {
    /// The system has none.
    NotHere,
    /// A sentence that says what to do.
    Failed(String),
}

impl StandstillWanted<'_> {
    pub(super) fn snapshot(&self) -> SnapshotWanted<'_> {
        SnapshotWanted {
            paths: self.scope.includes().map(<[u8]>::to_vec).collect(),
            scope: &self.scope,
            database: self.config.database.as_ref(),
        }
    }

    /// `None` where nothing ever is enclosed, or the folder for it can't be made.
    pub(super) fn enclosures(&self) -> Option<Enclosures> {
        let made = Enclosures::prepare(&self.enclosed, self.config.system_state);
        made.inspect_err(|error| tracing::warn!(%error, "what belongs to a point besides can't be kept")).ok()
    }
}
