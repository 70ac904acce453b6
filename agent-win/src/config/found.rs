//! Files that an application says are its own: a folder, a pattern of names, and whether folders below count. Only Windows has
//! such applications, and they write names as somebody once typed them: they're compared as Windows compares names.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Verdict;
use super::scope::clean;
use crate::path::split;
use crate::windows_name::{is_match, upcased};

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

impl FoundFiles {
    /// Whether several names may be meant, or none.
    pub(crate) fn has_wildcards(&self) -> bool {
        self.pattern.contains(['*', '?'])
    }

    pub(crate) fn is_called(&self, name: &[u8]) -> bool {
        is_match(&upcased(self.pattern.as_bytes()), &upcased(name))
    }
}

/// All of them, ready to be asked: a system names thousands.
#[derive(Debug, Default)]
pub(super) struct FoundFolders {
    /// By their paths as they're compared.
    folders: HashMap<Vec<u8>, InFolder>,
    /// Folders above those.
    above: HashSet<Vec<u8>>,
}

/// What counts in one folder.
#[derive(Debug, Default)]
struct InFolder {
    /// As it was said.
    path: Vec<u8>,
    names: HashSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
    /// Everything below it as well.
    is_whole: bool,
    has_logs: bool,
}

impl FoundFolders {
    pub(super) fn new(all: &[FoundFiles]) -> FoundFolders {
        let mut folders = HashMap::<_, InFolder>::new();
        for files in all {
            let path = clean(&files.folder);
            let one = folders.entry(upcased(&path).into_owned()).or_default();
            one.path = path;
            one.is_whole |= files.is_recursive;
            one.has_logs |= files.is_log;
            let name = upcased(files.pattern.as_bytes()).into_owned();
            if files.has_wildcards() {
                one.patterns.insert(name)
            } else {
                one.names.insert(name)
            };
        }
        let above = folders.keys().flat_map(|folder| those_above(folder)).map(<[u8]>::to_vec).collect();
        FoundFolders { folders, above }
    }

    pub(super) fn verdict(&self, path: &[u8]) -> Verdict {
        if self.folders.is_empty() {
            return Verdict::Outside;
        }
        let path = &*upcased(path);
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
        self.folders.values().map(|one| &one.path[..])
    }

    /// Those in which an application keeps logs.
    pub(super) fn of_logs(&self) -> impl Iterator<Item = &[u8]> {
        self.folders.values().filter(|one| one.has_logs).map(|one| &one.path[..])
    }
}

impl InFolder {
    /// A name as it's compared.
    fn has(&self, name: &[u8]) -> bool {
        self.names.contains(name) || self.patterns.iter().any(|pattern| is_match(pattern, name))
    }
}

/// The folders that a path lies in, the nearest first.
fn those_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(split(path).map(|(parent, _)| parent), |above| {
        split(above).map(|(parent, _)| parent)
    })
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
            FoundFolders::new(std::slice::from_ref(files)).verdict(path.as_bytes())
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
        let found = FoundFolders::new(&all);
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
        assert_eq!(verdict("/C:/W/7/F7.DLL"), Verdict::Within);
        assert_eq!(found.folders().count(), 301);
    }
    #[test]
    fn names_are_compared_as_windows_compares_them() {
        let files = |folder: &str, pattern: &str| FoundFiles {
            folder: folder.as_bytes().to_vec(),
            pattern: pattern.to_owned(),
            is_recursive: false,
            is_log: false,
        };
        let found = FoundFolders::new(&[
            files("/S:/SqlData", "Sales.MDF"),
            files("/s:/SQLDATA", "büro[1].mdf"),
            files("/S:/Bücher", "{A}*"),
        ]);
        for (path, verdict) in [
            ("/S:/sqldata", Verdict::Toward),
            ("/S:/sqldata/sales.mdf", Verdict::Within),
            ("/S:/sqldata/BÜRO[1].mdf", Verdict::Within),
            ("/S:/sqldata/büro1.mdf", Verdict::Outside),
            ("/S:/BÜCHER/{a}.dat", Verdict::Within),
            ("/S:/BÜCHER/a.dat", Verdict::Outside),
        ] {
            assert_eq!(found.verdict(path.as_bytes()), verdict, "{path}");
        }
        assert_eq!(found.folders().count(), 2);
    }
}
