//! Snapshots of volumes: none are taken here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::config::{Database, FoundFiles};
use crate::hives::LackingHive;
use crate::standstill::{NamedFiles, NoSnapshot, SnapshotWanted};

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

    pub(crate) fn named_files(&self) -> Vec<NamedFiles> {
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

/// Nobody tells of files here.
pub(crate) fn found_files(
    database: Option<&Database>,
    _system_state: bool,
) -> Result<Vec<FoundFiles>, NoSnapshot> {
    if database.is_some() { Err(NoSnapshot::NotHere) } else { Ok(Vec::new()) }
}

/// There's no registry here, and no writer of the system's.
pub(crate) const HAS_SYSTEM_STATE: bool = false;

/// There's no registry here.
pub(crate) fn save_hives(_folder: &Path) -> io::Result<Vec<LackingHive>> {
    Ok(Vec::new())
}
