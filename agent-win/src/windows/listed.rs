//! Files that Windows and its applications list as not to be backed up.

use std::io;

use windows_sys::Win32::Foundation::ERROR_FILE_NOT_FOUND;

use super::failure::has_code;
use super::registry::{Key, Root};
use super::vss;
use crate::exclusions::ListedFiles;
use crate::vss::FileSpec;

const LIST: &str = r"SYSTEM\CurrentControlSet\Control\BackupRestore\FilesNotToBackup";
/// Entries at most.
const ENTRIES_MAX: u32 = 1_000;

/// What the registry lists, and what writers never want to have captured.
pub(crate) fn listed_files() -> Vec<ListedFiles> {
    let mut all = registry().unwrap_or_else(|error| {
        tracing::warn!(%error, "Windows' list of files that aren't backed up can't be read");
        Vec::new()
    });
    let applications = vss::applications().unwrap_or_else(|error| {
        tracing::debug!(%error, "no application was asked what it wants to be left out");
        Vec::new()
    });
    for application in applications {
        let listed = |spec: &FileSpec| ListedFiles { who: application.name.clone(), text: text(spec) };
        all.extend(application.excluded.iter().map(listed));
    }
    all
}

fn text(spec: &FileSpec) -> String {
    let folder = spec.path.trim_end_matches('\\');
    format!(r"{folder}\{}{}", spec.pattern, if spec.recursive { " /s" } else { "" })
}

fn registry() -> io::Result<Vec<ListedFiles>> {
    let key = match Key::open(Root::Machine, LIST) {
        Err(error) if has_code(&error, &[ERROR_FILE_NOT_FOUND]) => return Ok(Vec::new()),
        key => key?,
    };
    let of = |(who, texts): (String, Vec<String>)| {
        texts.into_iter().map(move |text| ListedFiles { who: who.clone(), text })
    };
    Ok(key.lists(ENTRIES_MAX)?.into_iter().flat_map(of).collect())
}
