//! Snapshots of volumes: none are taken here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::config::{Database, FoundFiles};
use crate::standstill::{NoSnapshot, SnapshotWanted};

pub(crate) const CAN_SNAPSHOT: bool = false;

/// There is none.
#[derive(Debug)]
pub(crate) enum Snapshot {}

impl Snapshot {
    pub(crate) fn mounts(&self) -> Vec<(Vec<u8>, PathBuf)> {
        match *self {}
    }

    pub(crate) fn refusals(&self) -> Vec<(String, String)> {
        match *self {}
    }

    pub(crate) fn live(&self) -> Vec<String> {
        match *self {}
    }

    pub(crate) fn documents(&self) -> Vec<(String, Vec<u8>)> {
        match *self {}
    }

    pub(crate) fn finish(self, _is_durable: bool) -> Vec<(String, String)> {
        match self {}
    }
}

pub(crate) fn take_snapshot(
    _wanted: &SnapshotWanted<'_>,
    _stop: &AtomicBool,
) -> Result<Snapshot, NoSnapshot> {
    Err(NoSnapshot::NotHere)
}

pub(crate) fn application_files(_database: &Database) -> Result<Vec<FoundFiles>, NoSnapshot> {
    Err(NoSnapshot::NotHere)
}

pub(crate) fn system_state_files() -> Result<Vec<FoundFiles>, NoSnapshot> {
    Ok(Vec::new())
}

/// There's no registry here.
pub(crate) fn save_hives(_folder: &Path) -> io::Result<Vec<String>> {
    Ok(Vec::new())
}
