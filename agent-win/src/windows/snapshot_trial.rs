//! Trying out a snapshot: taken with every application that has something on the folder's volume, looked into, and gone
//! again. It's a copy to the applications, which changes nothing for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::selftest::{TrialError, Tried, must};
use super::vss::{Snapshot, Wanted, Writers, applications_within, take_within};
use super::{below, path_bytes};
use crate::config::{Coverage, FoundFiles};
use crate::path::within;
use crate::standstill::View;
use crate::vss::{Application, Patience, Refusal, VssError};

/// What comes of a snapshot of the folder's volume, and of the applications.
pub(super) fn run(folder: &Path, patience: &Patience) -> [Tried; 2] {
    match snapshot(folder, patience) {
        Ok((detail, refusals)) => [Ok(detail), writers(patience, &refusals)],
        Err((error, refusals)) => [Err(error), writers(patience, &refusals)],
    }
}

/// A line for each application, component, set of files and exclusion.
pub(super) fn applications(patience: &Patience) -> Result<Vec<String>, VssError> {
    Ok(applications_within(patience)?.iter().flat_map(lines).collect())
}

type Failed = (TrialError, Vec<Refusal>);

fn snapshot(folder: &Path, patience: &Patience) -> Result<(String, Vec<Refusal>), Failed> {
    let early = |error: TrialError| (error, Vec::new());
    let path = std::path::absolute(folder.join("in a snapshot")).map_err(|error| early(error.into()))?;
    fs::write(&path, b"as it was").map_err(|error| early(error.into()))?;
    let paths = [path_bytes(&path)];
    let drive = [b"/".to_vec(), paths[0].iter().skip(1).take_while(|byte| **byte != b'/').copied().collect()]
        .concat();
    // Whatever has something on the folder's drive takes part, as if all of it were captured.
    let coverage = |files: &[FoundFiles]| match files.iter().any(|one| within(&one.folder, &drive).is_some())
    {
        true => Coverage::Whole,
        false => Coverage::Nothing,
    };
    let wanted = Wanted { paths: &paths, coverage: &coverage, writers: &Writers::All, truncate_logs: false };
    let snapshot =
        take_within(&wanted, patience, &AtomicBool::new(false)).map_err(|error| early(error.into()))?;
    let mut refusals = snapshot.refusals();
    let seen = look_into(&snapshot, &path);
    let devices: Vec<PathBuf> = snapshot.mounts().iter().map(|(_, device)| device.clone()).collect();
    // Nothing was kept, but a copy means nothing to an application; so the whole way is tried.
    let finished = snapshot.finish(seen.is_ok()).map_err(TrialError::from);
    let gone = finished.map(|more| refusals.extend(more)).and_then(|()| {
        must(!devices.iter().any(|device| is_there(device)), "it can still be read after it was deleted")
    });
    match seen.and_then(|detail| gone.map(|()| detail)) {
        Ok(detail) => Ok((detail, refusals)),
        Err(error) => Err((error, refusals)),
    }
}

/// Whether the snapshot holds what was there, whatever becomes of the file meanwhile.
fn look_into(snapshot: &Snapshot, path: &Path) -> Tried {
    fs::write(path, b"changed")?;
    let bytes = path_bytes(path);
    let view = View::with(snapshot.mounts().to_vec());
    must(view.stands_still(&bytes), snapshot.live().join("; "))?;
    let kept = fs::read(view.at(&bytes))?;
    must(kept == b"as it was", "a change made afterwards is seen in it")?;
    let documents = snapshot.documents()?;
    let len: usize = documents.iter().map(|(_, document)| document.len()).sum();
    let mut detail = format!("taken, read and deleted; {} descriptions of {len} bytes", documents.len());
    if !snapshot.live().is_empty() {
        detail = format!("{detail}; {}", snapshot.live().join("; "));
    }
    Ok(detail)
}

fn is_there(device: &Path) -> bool {
    fs::metadata(below(device, b"")).is_ok()
}

fn writers(patience: &Patience, refusals: &[Refusal]) -> Tried {
    let count = applications_within(patience)?.len();
    let refusing: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    must(refusing.is_empty(), format!("{count}; refusing: {}", refusing.join("; ")))?;
    Ok(format!("{count}; none refuses"))
}

fn lines(application: &Application) -> Vec<String> {
    let mut lines = vec![format!("{} {} ({})", application.name, application.id, application.usage)];
    for component in &application.components {
        let caption = component.caption.iter().map(|caption| format!(" \"{caption}\"")).collect::<String>();
        let selection = component.selection;
        let chosen = if selection.for_backup { "" } else { ", with its application alone" };
        let restored = if selection.for_restore { ", restored by itself" } else { "" };
        lines.push(format!("  {} {}{caption}{chosen}{restored}", component.kind, component.full_name()));
        lines.extend(component.files.iter().map(|file| format!("    {file}")));
        lines.extend(component.logs.iter().map(|file| format!("    log {file}")));
    }
    lines.extend(application.excluded.iter().map(|file| format!("  never: {file}")));
    lines
}
