//! Snapshots of volumes with the applications' help (Volume Shadow Copy Service): what's captured stands still while it
//! is read, and databases are as their applications want them to be.
//!
//! The order of calls is Microsoft's ("Overview of Processing a Backup Under VSS"): the applications are asked what they
//! have, components are chosen, volumes added, the applications prepare, the snapshot is taken, the applications are
//! asked how they are after each step; then files are read, the applications are told, and the snapshot is deleted.

mod attempt;
mod backup;
mod com;
mod library;
mod object;
mod pending;
mod snapshot;
mod system_volumes;
mod table;
mod text;
#[cfg(test)]
mod trials;
mod whereabouts;
mod writer;

use std::sync::atomic::AtomicBool;

pub(crate) use snapshot::Snapshot;
pub(crate) use whereabouts::Whereabouts;

use self::backup::{Backup, BackupType, Partners};
use self::com::Com;
use crate::config::{Coverage, FoundFiles};
pub(crate) use crate::vss::{Application, Patience, VssError, Writers};

/// What's to be in a snapshot set.
pub(crate) struct Wanted<'a> {
    /// Path bytes of what's captured (`/C:/Users`): each one's volume is in the set, and so is every volume mounted
    /// below it, and every volume that a chosen component's files lie on.
    pub(crate) paths: &'a [Vec<u8>],
    /// How many of a component's files are captured.
    pub(crate) coverage: &'a dyn Fn(&[FoundFiles]) -> Coverage,
    pub(crate) writers: &'a Writers,
    /// Lets applications such as Exchange begin their logs anew once `finish(true)` is called; only for somebody who
    /// wants that and has no other backup of them.
    pub(crate) truncate_logs: bool,
}

/// Asks the applications what they have, without a snapshot.
pub(crate) fn applications() -> Result<Vec<Application>, VssError> {
    applications_within(&Patience::default())
}

pub(crate) fn applications_within(patience: &Patience) -> Result<Vec<Application>, VssError> {
    let _com = Com::start()?;
    let backup = Backup::begin(Partners::WithSystemState(BackupType::Copy))?;
    let applications = attempt::described(&backup, patience, &AtomicBool::new(false))?;
    backup.free_metadata()?;
    Ok(applications)
}

/// Takes a snapshot, trying once more where something failed that may pass. `stop` ends the waiting, and leaves none.
pub(crate) fn take(wanted: &Wanted<'_>, stop: &AtomicBool) -> Result<Snapshot, VssError> {
    take_within(wanted, &Patience::default(), stop)
}

pub(crate) fn take_within(
    wanted: &Wanted<'_>,
    patience: &Patience,
    stop: &AtomicBool,
) -> Result<Snapshot, VssError> {
    match attempt::once(wanted, patience, stop, false) {
        Ok(snapshot) if snapshot.is_worth_another_try() => drop(snapshot),
        Err(error) if error.is_worth_another_try() => {
            tracing::info!(%error, "the snapshot is tried once more")
        }
        taken => return taken,
    }
    pending::pause(patience.pause, stop)?;
    attempt::once(wanted, patience, stop, true)
}
