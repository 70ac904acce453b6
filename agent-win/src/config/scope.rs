//! Which paths belong to a configuration. Paths are bytes, absolute, without a slash at the end; the root is empty.

use std::collections::BTreeSet;
use std::path::Path;

use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::found::FoundFolders;
use super::left_out::LeftOut;
use super::{AUTOMATIC_EXCLUSIONS, BackupConfig, FoundFiles, LeavesOut};
use crate::platform;

/// What to do with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Captured.
    Within,
    /// A directory on the way to an included path: itself captured, of its entries only those on the way.
    Toward,
    /// Left out with everything below it.
    Outside,
}

/// How a path is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Itself, or by an application: no pattern leaves it out.
    ByName,
    Below,
    /// It's on the way.
    Above,
    Not,
}

/// A configuration's includes and exclusions, ready to be asked.
#[derive(Debug)]
pub struct Scope {
    includes: Vec<Vec<u8>>,
    left_out: LeftOut,
    listed: LeftOut,
    own: Vec<Vec<u8>>,
    pages: GlobSet,
    found: FoundFolders,
    enclosed: Option<Vec<u8>>,
}

pub(super) fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    let pattern = platform::pattern(pattern);
    let pattern = if pattern.len() > 1 { pattern.trim_end_matches('/') } else { &pattern };
    let is_case_sensitive = platform::IS_CASE_SENSITIVE;
    GlobBuilder::new(pattern).literal_separator(true).case_insensitive(!is_case_sensitive).build()
}

impl Scope {
    /// Patterns are known to be good: `config` was parsed. `own` are the agent's own directories, always left out.
    pub fn new(config: &BackupConfig, own: &[&Path]) -> Result<Scope, globset::Error> {
        let own_words = config.exclude.iter().map(|pattern| (pattern.as_str(), LeavesOut::Anything));
        let automatic = AUTOMATIC_EXCLUSIONS.iter().filter(|_| config.automatic_exclusions);
        let automatic = automatic.map(|exclusion| (exclusion.pattern, exclusion.leaves_out));
        Ok(Scope {
            includes: included(config),
            left_out: LeftOut::new(own_words.chain(automatic))?,
            listed: LeftOut::default(),
            own: own.iter().map(|path| clean(&platform::path_bytes(path))).collect(),
            pages: set(config.page_patterns.iter().map(String::as_str))?,
            found: FoundFolders::default(),
            enclosed: None,
        })
    }

    /// Leaves out what the computer itself lists as well.
    pub fn with_listed<'a>(
        mut self,
        patterns: impl Iterator<Item = (&'a str, LeavesOut)>,
    ) -> Result<Scope, globset::Error> {
        self.listed = LeftOut::new(patterns)?;
        Ok(self)
    }

    /// Includes what an application says are its files as well.
    pub fn with_found(mut self, files: &[FoundFiles]) -> Result<Scope, globset::Error> {
        self.found = FoundFolders::new(files)?;
        Ok(self)
    }

    /// Includes a folder that the agent itself fills while it captures, though it lies among its own.
    pub fn with_enclosed(mut self, folder: &Path) -> Scope {
        self.enclosed = Some(clean(&platform::path_bytes(folder)));
        self
    }

    /// Of a folder, or of what may be one; for what's known to be a file, [`leaves_out_file`](Scope::leaves_out_file) is asked
    /// as well.
    pub fn verdict(&self, path: &[u8]) -> Verdict {
        match self.wanted(path) {
            Wanted::ByName => Verdict::Within,
            Wanted::Below if self.left_out.has(path) || self.listed.has(path) => self.toward_or_out(path),
            Wanted::Below => Verdict::Within,
            Wanted::Above => Verdict::Toward,
            Wanted::Not => Verdict::Outside,
        }
    }

    /// Whether a file is left out whose path, if it were a folder's, may not be.
    pub fn leaves_out_file(&self, path: &[u8]) -> bool {
        let is_named = self.left_out.has_file(path) || self.listed.has_file(path);
        is_named && self.wanted(path) == Wanted::Below
    }

    fn wanted(&self, path: &[u8]) -> Wanted {
        let mut wanted = match self.of_enclosed(path) {
            Verdict::Within => return Wanted::ByName,
            Verdict::Toward => Wanted::Above,
            Verdict::Outside => Wanted::Not,
        };
        if self.own.iter().any(|own| own == path) {
            return wanted;
        }
        match self.found.verdict(path) {
            Verdict::Within => return Wanted::ByName,
            Verdict::Toward => wanted = Wanted::Above,
            Verdict::Outside => {}
        }
        for include in &self.includes {
            if include == path {
                return Wanted::ByName;
            }
            if below(path, include) {
                wanted = Wanted::Below;
            } else if wanted == Wanted::Not && below(include, path) {
                wanted = Wanted::Above;
            }
        }
        wanted
    }

    fn of_enclosed(&self, path: &[u8]) -> Verdict {
        match &self.enclosed {
            Some(folder) if folder == path || below(path, folder) => Verdict::Within,
            Some(folder) if below(folder, path) => Verdict::Toward,
            _ => Verdict::Outside,
        }
    }

    /// Whether it's the folder that the agent itself fills.
    pub(crate) fn is_enclosed(&self, path: &[u8]) -> bool {
        self.enclosed.as_ref().is_some_and(|folder| folder == path)
    }

    /// Whether something that happens to a path is news: in what the agent writes itself, nothing is.
    pub fn is_noticed(&self, path: &[u8]) -> bool {
        self.of_enclosed(path) != Verdict::Within && self.is_reachable(path)
    }

    /// An excluded directory may still hold an included one, or an application's files.
    fn toward_or_out(&self, path: &[u8]) -> Verdict {
        let holds = self.includes.iter().any(|include| below(include, path))
            || self.found.verdict(path) != Verdict::Outside;
        if holds { Verdict::Toward } else { Verdict::Outside }
    }

    /// True for a path below one that's left out as well.
    pub fn is_reachable(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.chain([path.len()]).all(|end| self.verdict(&path[..end]) != Verdict::Outside)
    }

    /// Whether a pattern of the configuration says that this file changes in place.
    pub fn is_cut_in_pages(&self, path: &[u8]) -> bool {
        let is_match = |bytes: &[u8]| self.pages.is_match_candidate(&Candidate::from_bytes(bytes));
        !self.pages.is_empty()
            && (is_match(path) || crate::path::split(path).is_some_and(|(_, name)| is_match(name)))
    }

    /// Folders in which an application keeps logs.
    pub(crate) fn found_logs(&self) -> impl Iterator<Item = &[u8]> {
        self.found.of_logs()
    }

    /// Whether a path is included by name or on the way to one that is.
    pub(crate) fn leads_over(&self, path: &[u8]) -> bool {
        self.includes().any(|include| include == path || below(include, path))
    }

    /// Whether a path lies below an included one other than the root.
    pub(crate) fn is_below_include(&self, path: &[u8]) -> bool {
        self.includes.iter().any(|include| !include.is_empty() && below(path, include))
    }

    /// Folders on the way to what's included, and those themselves: the nearest to the root first.
    pub(crate) fn ways(&self) -> BTreeSet<&[u8]> {
        let ends = |path: &[u8]| {
            let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
            slashes.map(|(at, _)| at).chain([path.len()]).collect::<Vec<_>>()
        };
        self.includes().flat_map(|path| ends(path).into_iter().map(|end| &path[..end])).collect()
    }

    /// Paths that are asked for by name, those of an application's files among them.
    pub fn includes(&self) -> impl Iterator<Item = &[u8]> {
        self.includes.iter().map(Vec::as_slice).chain(self.found.folders())
    }
}

/// The included paths, and the links on the way to them: what's asked for by the name of a link is where that leads.
pub(crate) fn included(config: &BackupConfig) -> Vec<Vec<u8>> {
    let named = config.include.iter().map(|path| platform::include_bytes(path));
    named.flat_map(|path| platform::with_links(&clean(&path))).collect()
}

pub(super) fn set<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(glob(pattern)?);
    }
    builder.build()
}

/// One slash between components, none at the end.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")) {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    out
}

/// Whether `path` lies below `dir`.
pub(crate) fn below(path: &[u8], dir: &[u8]) -> bool {
    path.len() > dir.len() && path.starts_with(dir) && path[dir.len()] == b'/'
}
