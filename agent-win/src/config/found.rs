//! Files that an application says are its own: a folder, a pattern of names, and whether folders below count.

use globset::{Candidate, GlobMatcher};

use super::Verdict;
use super::scope::{below, clean, glob};
use crate::path::split;

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

/// Ready to be asked.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) folder: Vec<u8>,
    names: GlobMatcher,
    is_recursive: bool,
    pub(super) is_log: bool,
}

impl Found {
    pub(super) fn new(files: &FoundFiles) -> Result<Found, globset::Error> {
        // To Windows, `*.*` means names without a dot as well.
        let pattern = if files.pattern == "*.*" { "*" } else { &files.pattern };
        let names = glob(pattern)?.compile_matcher();
        let FoundFiles { folder, is_recursive, is_log, .. } = files;
        Ok(Found { folder: clean(folder), names, is_recursive: *is_recursive, is_log: *is_log })
    }

    pub(super) fn verdict(&self, path: &[u8]) -> Verdict {
        if path == self.folder || below(&self.folder, path) {
            return Verdict::Toward;
        }
        let Some((parent, name)) = split(path).filter(|_| below(path, &self.folder)) else {
            return Verdict::Outside;
        };
        let is_named = parent == self.folder && self.names.is_match_candidate(&Candidate::from_bytes(name));
        if is_named || self.is_recursive { Verdict::Within } else { Verdict::Outside }
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
        let verdict = |files: &FoundFiles, path: &str| Found::new(files).unwrap().verdict(path.as_bytes());
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
}
