//! Snapshots of volumes for a capture, by the volume shadow copy service; and what applications tell it of their files.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::vss::{self, Wanted, Whereabouts};
use crate::config::{Coverage, Database, FoundFiles};
use crate::standstill::{NamedFiles, NoSnapshot, SnapshotWanted};
use crate::vss::{Application, Component, Refusal, Usage, VssError, Writers};

pub(crate) const CAN_SNAPSHOT: bool = true;

/// A snapshot set that's there until [`Snapshot::finish`].
pub(crate) struct Snapshot(vss::Snapshot);

impl Snapshot {
    /// What's seen in the place of which path.
    pub(crate) fn mounts(&self) -> Vec<(Vec<u8>, PathBuf)> {
        self.0.mounts().to_vec()
    }

    /// Applications that didn't make ready, each with a sentence.
    pub(crate) fn refusals(&self) -> Vec<(String, String)> {
        said(self.0.refusals())
    }

    /// What's captured without a snapshot: a sentence for each place.
    pub(crate) fn live(&self) -> Vec<String> {
        self.0.live().to_vec()
    }

    /// What the applications count on that made ready.
    pub(crate) fn named_files(&self) -> Vec<NamedFiles> {
        self.0.named_files().to_vec()
    }

    /// What a restore of an application needs besides its files.
    pub(crate) fn documents(&self) -> Vec<(String, Vec<u8>)> {
        self.0.documents().unwrap_or_else(|error| {
            tracing::warn!(%error, "the applications' documents aren't kept with the point");
            Vec::new()
        })
    }

    /// Tells the applications whether their files are safe, and lets go.
    pub(crate) fn finish(self, is_durable: bool) -> Vec<(String, String)> {
        match self.0.finish(is_durable) {
            Ok(refusals) => said(refusals),
            Err(error) => vec![("Volume Shadow Copy".to_owned(), error.to_string())],
        }
    }
}

/// Takes as long as the applications need; `stop` ends it.
pub(crate) fn take_snapshot(wanted: &SnapshotWanted<'_>, stop: &AtomicBool) -> Result<Snapshot, NoSnapshot> {
    let writers = match wanted.database {
        Some(database) if database.tells_files() => named(database),
        _ => Writers::All,
    };
    let truncate_logs = wanted.database.is_some_and(|database| database.truncate_logs);
    let coverage =
        |files: &[FoundFiles]| Coverage::of_all(files.iter().map(|files| wanted.scope.coverage(files)));
    let wanted = Wanted { paths: &wanted.paths, coverage: &coverage, writers: &writers, truncate_logs };
    let taken = vss::take(&wanted, stop);
    taken.map(Snapshot).map_err(no_snapshot)
}

/// There's a registry, and the system's own writers.
pub(crate) const HAS_SYSTEM_STATE: bool = true;

/// The files that applications tell of: a database's, and (for the system's state) those that Windows and its services need.
/// All of them are asked at once, since they take their time to answer.
pub(crate) fn found_files(
    database: Option<&Database>,
    system_state: bool,
) -> Result<Vec<FoundFiles>, NoSnapshot> {
    let applications = match vss::applications() {
        // The registry is captured all the same.
        Err(VssError::NotHere) if database.is_none() => Vec::new(),
        asked => asked.map_err(no_snapshot)?,
    };
    let whereabouts = Whereabouts::default();
    let mut found = match database {
        Some(database) => database_files(database, &applications, &whereabouts)?,
        None => Vec::new(),
    };
    if system_state {
        found.extend(system_state_files(&applications, &whereabouts));
    }
    Ok(found)
}

fn database_files(
    database: &Database,
    applications: &[Application],
    whereabouts: &Whereabouts,
) -> Result<Vec<FoundFiles>, NoSnapshot> {
    let names = database.application.writers();
    let is_meant = |one: &&Application| names.iter().any(|name| name.eq_ignore_ascii_case(&one.name));
    let components: Vec<&Component> =
        applications.iter().filter(is_meant).flat_map(|one| chosen(database, one)).collect();
    let files = |one: &&Component| {
        let data = one.files.iter().flat_map(|spec| whereabouts.find_all(spec, false));
        data.chain(one.logs.iter().flat_map(|spec| whereabouts.find_all(spec, true))).collect::<Vec<_>>()
    };
    let files: Vec<FoundFiles> = components.iter().flat_map(files).collect();
    if files.is_empty() {
        let names = names.join("\" or \"");
        return Err(NoSnapshot::Failed(format!(
            "no writer \"{names}\" tells of such a database; start its service, and see `coffer-agent selftest --writers`"
        )));
    }
    Ok(files)
}

/// What's named, and everything below it: a component's files may all be its parts'.
fn chosen<'a>(database: &Database, application: &'a Application) -> Vec<&'a Component> {
    let all = &application.components;
    let is_below = |one: &Component| all.iter().any(|above| is_named(database, above) && above.is_above(one));
    all.iter().filter(|one| is_named(database, one) || is_below(one)).collect()
}

fn system_state_files(
    applications: &[Application],
    whereabouts: &Whereabouts,
) -> impl Iterator<Item = FoundFiles> {
    let is_state =
        |one: &&Application| matches!(one.usage, Usage::BootableSystemState | Usage::SystemService);
    let components = applications.iter().filter(is_state).flat_map(|one| &one.components);
    components.flat_map(Component::all_files).flat_map(move |spec| whereabouts.find_all(spec, false))
}

fn named(database: &Database) -> Writers {
    let writers = database.application.writers().iter().map(|name| (*name).to_owned()).collect();
    Writers::Named { writers, components: database.names.clone() }
}

fn is_named(database: &Database, component: &Component) -> bool {
    database.names.is_empty() || database.names.iter().any(|name| component.is_called(name))
}

fn said(refusals: Vec<Refusal>) -> Vec<(String, String)> {
    refusals.into_iter().map(|one| (one.writer, one.sentence)).collect()
}

fn no_snapshot(error: VssError) -> NoSnapshot {
    match error {
        VssError::NotHere => NoSnapshot::NotHere,
        error => NoSnapshot::Failed(error.to_string()),
    }
}
