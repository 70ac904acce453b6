//! One attempt at a snapshot, from the first question to the applications until it can be read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::Wanted;
use super::backup::{Backup, BackupType, ComponentName, Partners};
use super::com::Com;
use super::pending::pause;
use super::snapshot::{Parts, Snapshot};
use super::system_volumes;
use super::whereabouts::Whereabouts;
use super::writer::Writer;
use crate::standstill::NamedFiles;
use crate::vss::{
    Application, Choice, Code, FileSpec, Guid, Patience, Pick, Step, Volume, Volumes, VssError, Writers,
    choose,
};
use crate::windows::path_bytes;

pub(super) fn once(
    wanted: &Wanted<'_>,
    patience: &Patience,
    stop: &AtomicBool,
) -> Result<Snapshot, VssError> {
    let com = Com::start()?;
    let backup = Backup::begin(partners(wanted))?;
    let (volumes, parts) = plan(&backup, wanted, patience, stop)?;
    parts.components.iter().try_for_each(|component| backup.add_component(component))?;
    let mut snapshot = Snapshot::new(backup, com, *patience, parts);
    let set = started(snapshot.backup(), patience, stop)?;
    snapshot.begun(set);
    let numbers = added(snapshot.backup(), &volumes)?;
    snapshot.make(stop)?;
    let mounts = mounts(snapshot.backup(), &numbers)?;
    snapshot.mounted(mounts);
    Ok(snapshot)
}

pub(super) fn described(
    backup: &Backup,
    patience: &Patience,
    stop: &AtomicBool,
) -> Result<Vec<Application>, VssError> {
    backup.gather_metadata(patience.metadata, stop)?;
    let read = |writer: Writer| writer.application().map_err(|code| Step::Metadata.failed(code));
    backup.writers()?.into_iter().map(read).collect()
}

fn partners(wanted: &Wanted<'_>) -> Partners {
    let backup_type = if wanted.truncate_logs { BackupType::Full } else { BackupType::Copy };
    match wanted.writers {
        Writers::All => Partners::WithSystemState(backup_type),
        Writers::Named { .. } => Partners::Applications(backup_type),
    }
}

/// The volumes of the set, and who takes part.
fn plan(
    backup: &Backup,
    wanted: &Wanted<'_>,
    patience: &Patience,
    stop: &AtomicBool,
) -> Result<(BTreeSet<Volume>, Parts), VssError> {
    let applications = described(backup, patience, stop)?;
    let volumes = system_volumes::all()?;
    let supported = RefCell::new(BTreeMap::new());
    let can_snapshot = |volume: &Volume| {
        *supported.borrow_mut().entry(volume.clone()).or_insert_with(|| backup.can_snapshot(volume))
    };
    let asked = asked(wanted.paths, &volumes);
    let live = live(wanted.paths, &volumes, &asked, can_snapshot);
    let Choice { picks, volumes: needed, refusals } =
        choose(&applications, wanted.writers, &volumes, &asked, can_snapshot);
    let set: BTreeSet<Volume> =
        asked.union(&needed).filter(|volume| can_snapshot(volume)).map(|volume| (*volume).clone()).collect();
    if set.is_empty() {
        return Err(VssError::NoVolume(live.join("; ")));
    }
    let components = picks.iter().map(ComponentName::new).collect();
    let named = picks.into_iter().filter(|pick| pick.is_whole).map(named_files).collect();
    let described = applications.iter().map(|application| application.instance).collect();
    Ok((set, Parts { components, named, described, refusals, live }))
}

fn named_files(pick: Pick<'_>) -> NamedFiles {
    let Pick { application, component, files, .. } = pick;
    let whose = format!("the {} \"{}\" of {}", component.kind, component.full_name(), application.name);
    NamedFiles { whose, files }
}

/// The volumes of what's captured.
fn asked<'a>(paths: &[Vec<u8>], volumes: &'a Volumes) -> BTreeSet<&'a Volume> {
    paths.iter().flat_map(|path| volumes.under(&String::from_utf8_lossy(path))).collect()
}

/// A sentence for each place that has to be read as it is.
fn live(
    paths: &[Vec<u8>],
    volumes: &Volumes,
    asked: &BTreeSet<&Volume>,
    can_snapshot: impl Fn(&Volume) -> bool,
) -> Vec<String> {
    let paths = paths.iter().map(|path| String::from_utf8_lossy(path));
    let nowhere = paths.filter(|path| volumes.of(path).is_none());
    let nowhere = nowhere.map(|path| format!("{path} isn't on a volume of this computer"));
    let unable = asked.iter().filter(|volume| !can_snapshot(volume));
    let place = |volume: &Volume| volume.mounts.first().unwrap_or(&volume.name).clone();
    nowhere.chain(unable.map(|volume| format!("{} can't have a snapshot", place(volume)))).collect()
}

/// Begins a set, after other programs' sets.
fn started(backup: &Backup, patience: &Patience, stop: &AtomicBool) -> Result<Guid, VssError> {
    let began = Instant::now();
    loop {
        match backup.start_set() {
            Err(VssError::Failed { code: Code::SET_IN_PROGRESS, .. }) if began.elapsed() < patience.busy => {
                tracing::info!("another program makes a snapshot; this one waits for it");
                pause(patience.pause, stop)?;
            }
            Err(VssError::Failed { code: Code::SET_IN_PROGRESS, .. }) => {
                return Err(VssError::Busy { waited: began.elapsed() });
            }
            started => return started,
        }
    }
}

/// Adds each volume; with the number of its snapshot to be.
fn added<'a>(backup: &Backup, set: &'a BTreeSet<Volume>) -> Result<Vec<(&'a Volume, Guid)>, VssError> {
    set.iter().map(|volume| Ok((volume, backup.add_volume(volume)?))).collect()
}

/// Where each place of each volume is to be read.
fn mounts(backup: &Backup, snapshots: &[(&Volume, Guid)]) -> Result<Vec<(Vec<u8>, PathBuf)>, VssError> {
    let mut mounts = Vec::new();
    for (volume, snapshot) in snapshots {
        let device = backup.device(*snapshot)?;
        let places = volume.mounts.iter().map(|mount| path_bytes(Path::new(mount)));
        mounts.extend(places.map(|place| (place, device.clone())));
    }
    Ok(mounts)
}
