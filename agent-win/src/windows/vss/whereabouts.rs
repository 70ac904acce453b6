//! Where the files are that a writer names: over junctions and links, and by their long names.

use std::cell::RefCell;
use std::collections::HashMap;

use super::system_volumes;
use crate::config::FoundFiles;
use crate::path::split;
use crate::vss::FileSpec;
use crate::windows::path::with_links;

/// Looks each folder up once: a system names thousands of files in each.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    folders: RefCell<HashMap<Vec<u8>, Vec<Vec<u8>>>>,
}

impl Whereabouts {
    /// The files themselves.
    pub(crate) fn find(&self, spec: &FileSpec) -> FoundFiles {
        self.ways(spec).0
    }

    /// The files, and the links that lead there, which are no logs.
    pub(crate) fn find_all(&self, spec: &FileSpec, is_log: bool) -> Vec<FoundFiles> {
        let (files, links) = self.ways(spec);
        let files = FoundFiles { is_log, ..files };
        let link = |path: Vec<u8>| {
            let (folder, name) = split(&path)?;
            let pattern = String::from_utf8(name.to_vec()).ok()?;
            Some(FoundFiles { folder: folder.to_vec(), pattern, is_recursive: false, is_log: false })
        };
        links.into_iter().filter_map(link).chain([files]).collect()
    }

    fn ways(&self, spec: &FileSpec) -> (FoundFiles, Vec<Vec<u8>>) {
        let found = spec.found();
        let mut links = self.folder(&found.folder);
        let folder = links.pop().unwrap_or_default();
        let mut files = FoundFiles { folder, ..found };
        // Only what looks like a short name is looked up itself.
        if files.pattern.contains('~') && !files.has_wildcards() {
            let mut ways = with_links(&[&files.folder[..], b"/", files.pattern.as_bytes()].concat());
            let path = ways.pop().unwrap_or_default();
            if let Some((folder, name)) = split(&path)
                && let Ok(name) = str::from_utf8(name)
            {
                files = FoundFiles { folder: folder.to_vec(), pattern: name.to_owned(), ..files };
                links.extend(ways);
            }
        }
        (files, links)
    }

    fn folder(&self, folder: &[u8]) -> Vec<Vec<u8>> {
        let mut folders = self.folders.borrow_mut();
        folders.entry(folder.to_vec()).or_insert_with(|| with_links(&mounted(folder))).clone()
    }
}

/// By the place that its volume is mounted at, where it's named by its volume.
fn mounted(folder: &[u8]) -> Vec<u8> {
    let place = str::from_utf8(folder).ok().and_then(|folder| {
        let folder = folder.strip_prefix('/').filter(|folder| folder.starts_with("Volume{"))?;
        let (volume, below) = folder.split_at(folder.find('/').unwrap_or(folder.len()));
        let place = system_volumes::place_of(&format!(r"\\?\{volume}\"))?;
        Some(format!("/{}{below}", place.trim_end_matches('\\').replace('\\', "/")).into_bytes())
    });
    place.unwrap_or_else(|| folder.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_however_its_name_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let folder = std::fs::canonicalize(dir.path()).unwrap().join("Sql Data of Today");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("Sales of Today.mdf"), "rows").unwrap();
        let own = crate::windows::path_bytes(&folder);
        let plain = folder.display().to_string().trim_start_matches(r"\\?\").to_owned();
        let drive = crate::windows::vss::system_volumes::all().unwrap();
        let volume = drive.of(&plain).unwrap().name.clone();
        let below_drive = plain.split_once(r":\").unwrap().1.to_owned();
        for path in [plain.to_uppercase(), format!("{plain}. "), format!("{volume}{below_drive}")] {
            let spec =
                FileSpec { path: path.clone(), pattern: "SALES OF TODAY.MDF".into(), recursive: false };
            let found = Whereabouts::default().find_all(&spec, false);
            let expected = FoundFiles {
                folder: own.clone(),
                pattern: "SALES OF TODAY.MDF".into(),
                is_recursive: false,
                is_log: false,
            };
            assert_eq!(found, [expected], "{path}");
        }
        let short = crate::windows::short_name::of_path(&folder.join("Sales of Today.mdf"));
        let short = String::from_utf8(short).unwrap();
        assert!(short.contains('~'), "{short}");
        let found = Whereabouts::default().find(&FileSpec { path: plain, pattern: short, recursive: false });
        assert_eq!((found.folder, found.pattern.as_str()), (own, "Sales of Today.mdf"));
    }
}
