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

/// Takes one, without the volumes that refuse. `is_last`: what may pass by itself isn't waited for any more.
pub(super) fn once(
    wanted: &Wanted<'_>,
    patience: &Patience,
    stop: &AtomicBool,
    is_last: bool,
) -> Result<Snapshot, VssError> {
    let mut refusing = Refusing::new();
    loop {
        match attempt(wanted, patience, stop, &refusing)? {
            Attempt::Taken(snapshot) => return Ok(*snapshot),
            Attempt::Without(more) => {
                let passes = more.values().find(|error| error.is_worth_another_try() && !is_last);
                if let Some(error) = passes {
                    return Err(error.clone());
                }
                // A set that was begun can't lose a component: another is begun, without those that need these volumes.
                refusing.extend(more);
            }
        }
    }
}

/// Volumes that can't be added to a set though their kind can have a snapshot, and why.
type Refusing = BTreeMap<Volume, VssError>;

enum Attempt {
    Taken(Box<Snapshot>),
    Without(Refusing),
}

fn attempt(
    wanted: &Wanted<'_>,
    patience: &Patience,
    stop: &AtomicBool,
    refusing: &Refusing,
) -> Result<Attempt, VssError> {
    let com = Com::start()?;
    let backup = Backup::begin(partners(wanted))?;
    let (volumes, parts) = plan(&backup, wanted, refusing, patience, stop)?;
    parts.components.iter().try_for_each(|component| backup.add_component(component))?;
    let mut snapshot = Snapshot::new(backup, com, *patience, parts);
    let set = started(snapshot.backup(), patience, stop)?;
    snapshot.begun(set);
    let (numbers, refusing) = added(snapshot.backup(), &volumes);
    match refusing.values().next() {
        Some(error) if numbers.is_empty() => return Err(error.clone()),
        Some(_) => return Ok(Attempt::Without(refusing)),
        None => {}
    }
    snapshot.make(stop)?;
    let mounts = mounts(snapshot.backup(), &numbers)?;
    snapshot.mounted(mounts);
    Ok(Attempt::Taken(Box::new(snapshot)))
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
    refusing: &Refusing,
    patience: &Patience,
    stop: &AtomicBool,
) -> Result<(BTreeSet<Volume>, Parts), VssError> {
    let applications = described(backup, patience, stop)?;
    let volumes = system_volumes::all()?;
    let supported = RefCell::new(BTreeMap::new());
    let can_snapshot = |volume: &Volume| {
        let is_supported = || !refusing.contains_key(volume) && backup.can_snapshot(volume);
        *supported.borrow_mut().entry(volume.clone()).or_insert_with(is_supported)
    };
    let asked = asked(wanted.paths, &volumes);
    let live = live(wanted.paths, &volumes, &asked, refusing, can_snapshot);
    let whereabouts = Whereabouts::default();
    let find = |spec: &FileSpec| whereabouts.find(spec);
    let Choice { picks, volumes: needed, refusals } =
        choose(&applications, wanted.writers, &volumes, find, wanted.coverage, can_snapshot);
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
    refusing: &Refusing,
    can_snapshot: impl Fn(&Volume) -> bool,
) -> Vec<String> {
    let paths = paths.iter().map(|path| String::from_utf8_lossy(path));
    let nowhere = paths.filter(|path| volumes.of(path).is_none());
    let nowhere = nowhere.map(|path| format!("{path} isn't on a volume of this computer"));
    let unable = asked.iter().filter(|volume| !can_snapshot(volume));
    let place = |volume: &Volume| volume.mounts.first().unwrap_or(&volume.name).clone();
    let why = |volume: &Volume| refusing.get(volume).map_or(String::new(), |error| format!(": {error}"));
    let unable = unable.map(|volume| format!("{} can't have a snapshot{}", place(volume), why(volume)));
    nowhere.chain(unable).collect()
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

/// Adds each volume: those with the number of their snapshot to be, and those that can't be added.
fn added<'a>(backup: &Backup, set: &'a BTreeSet<Volume>) -> (Vec<(&'a Volume, Guid)>, Refusing) {
    let (mut numbers, mut refusing) = (Vec::new(), Refusing::new());
    for volume in set {
        match backup.add_volume(volume) {
            Ok(number) => numbers.push((volume, number)),
            Err(error) => {
                tracing::warn!(%error, volume = volume.name, "a volume has no snapshot");
                refusing.insert(volume.clone(), error);
            }
        }
    }
    (numbers, refusing)
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
