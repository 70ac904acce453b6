//! Files that an application says are its own: a folder, a pattern of names, and whether folders below count.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use globset::{Candidate, GlobSet};

use super::Verdict;
use super::scope::{clean, set};
use crate::path::split;
use crate::platform;

/// As the application says it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundFiles {
    /// Path bytes.
    pub folder: Vec<u8>,
    /// Of names in the folder, such as `E00*.log`.
    pub pattern: String,
    /// Everything below the folder as well, whatever its name.
    pub is_recursive: bool,
    /// Logs, from which what was last written can be brought back.
    pub is_log: bool,
}

/// All of them, ready to be asked: a system names thousands.
#[derive(Debug, Default)]
pub(super) struct FoundFolders {
    folders: BTreeMap<Vec<u8>, InFolder>,
    /// Folders above those.
    above: BTreeSet<Vec<u8>>,
}

/// What counts in one folder.
#[derive(Debug, Default)]
struct InFolder {
    names: HashSet<Vec<u8>>,
    patterns: GlobSet,
    /// Everything below it as well.
    is_whole: bool,
    has_logs: bool,
}

impl FoundFolders {
    pub(super) fn new(all: &[FoundFiles]) -> Result<FoundFolders, globset::Error> {
        let (mut folders, mut patterns) = (BTreeMap::<_, InFolder>::new(), BTreeMap::<_, BTreeSet<_>>::new());
        for files in all {
            let folder = clean(&files.folder);
            let one = folders.entry(folder.clone()).or_default();
            one.is_whole |= files.is_recursive;
            one.has_logs |= files.is_log;
            if files.pattern.contains(['*', '?', '[', '{', '\\']) {
                // To Windows, `*.*` means names without a dot as well.
                let pattern = if files.pattern == "*.*" { "*" } else { &files.pattern };
                patterns.entry(folder).or_default().insert(pattern);
            } else {
                one.names.insert(folded(files.pattern.as_bytes()));
            }
        }
        for (folder, patterns) in patterns {
            let built = set(patterns.into_iter())?;
            folders.entry(folder).or_default().patterns = built;
        }
        let above = folders.keys().flat_map(|folder| those_above(folder)).map(<[u8]>::to_vec).collect();
        Ok(FoundFolders { folders, above })
    }

    pub(super) fn verdict(&self, path: &[u8]) -> Verdict {
        if self.folders.is_empty() {
            return Verdict::Outside;
        }
        let is_named = split(path)
            .is_some_and(|(parent, name)| self.folders.get(parent).is_some_and(|folder| folder.has(name)));
        let is_below_whole =
            || those_above(path).any(|above| self.folders.get(above).is_some_and(|folder| folder.is_whole));
        match () {
            () if is_named || is_below_whole() => Verdict::Within,
            () if self.folders.contains_key(path) || self.above.contains(path) => Verdict::Toward,
            () => Verdict::Outside,
        }
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = &[u8]> {
        self.folders.keys().map(Vec::as_slice)
    }

    /// Those in which an application keeps logs.
    pub(super) fn of_logs(&self) -> impl Iterator<Item = &[u8]> {
        self.folders.iter().filter(|(_, one)| one.has_logs).map(|(folder, _)| &folder[..])
    }
}

impl InFolder {
    fn has(&self, name: &[u8]) -> bool {
        self.names.contains(&folded(name)) || self.patterns.is_match_candidate(&Candidate::from_bytes(name))
    }
}

/// The folders that a path lies in, the nearest first.
fn those_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(split(path).map(|(parent, _)| parent), |above| {
        split(above).map(|(parent, _)| parent)
    })
}

/// As names are compared here.
fn folded(name: &[u8]) -> Vec<u8> {
    match platform::IS_CASE_SENSITIVE {
        true => name.to_vec(),
        false => String::from_utf8_lossy(name).to_lowercase().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_application_names_is_within() {
        let files = |pattern: &str, is_recursive| FoundFiles {
            folder: b"/C:/Data/".to_vec(),
            pattern: pattern.to_owned(),
            is_recursive,
            is_log: false,
        };
        let verdict = |files: &FoundFiles, path: &str| {
            FoundFolders::new(std::slice::from_ref(files)).unwrap().verdict(path.as_bytes())
        };
        let logs = files("E00*.log", false);
        assert_eq!(verdict(&logs, "/C:"), Verdict::Toward);
        assert_eq!(verdict(&logs, "/C:/Data"), Verdict::Toward);
        assert_eq!(verdict(&logs, "/C:/Data/E0000012.log"), Verdict::Within);
        assert_eq!(verdict(&logs, "/C:/Data/other.log"), Verdict::Outside);
        assert_eq!(verdict(&logs, "/C:/Data/below/E00.log"), Verdict::Outside);
        assert_eq!(verdict(&logs, "/C:/Database"), Verdict::Outside);
        assert_eq!(verdict(&files("*.*", false), "/C:/Data/README"), Verdict::Within);
        assert_eq!(verdict(&files("*", true), "/C:/Data/below/deep"), Verdict::Within);
    }

    #[test]
    fn each_folder_of_many_has_its_own_names() {
        let files = |folder: &str, pattern: &str, is_recursive| FoundFiles {
            folder: folder.as_bytes().to_vec(),
            pattern: pattern.to_owned(),
            is_recursive,
            is_log: false,
        };
        let all: Vec<FoundFiles> = (0..20_000)
            .map(|number| files(&format!("/C:/W/{}", number % 300), &format!("f{number}.dll"), false))
            .chain([files("/C:/W/7/whole", "*", true), files("/C:/W/8", "*.cat", false)])
            .collect();
        let found = FoundFolders::new(&all).unwrap();
        let verdict = |path: &str| found.verdict(path.as_bytes());
        assert_eq!(verdict("/C:/W/7/f7.dll"), Verdict::Within);
        assert_eq!(verdict("/C:/W/7/f8.dll"), Verdict::Outside);
        assert_eq!(verdict("/C:/W/8/a.cat"), Verdict::Within);
        assert_eq!(verdict("/C:/W/9/a.cat"), Verdict::Outside);
        assert_eq!(verdict("/C:/W/7/whole/below/deep"), Verdict::Within);
        assert_eq!(
            (verdict("/C:/W/7/whole"), verdict("/C:/W"), verdict("/C:")),
            (Verdict::Toward, Verdict::Toward, Verdict::Toward)
        );
        let other_case = if platform::IS_CASE_SENSITIVE { Verdict::Outside } else { Verdict::Within };
        assert_eq!(verdict("/C:/W/7/F7.DLL"), other_case);
        assert_eq!(found.folders().count(), 301);
    }
}
