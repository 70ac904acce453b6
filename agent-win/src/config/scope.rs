//! Which paths belong to a configuration. Paths are bytes, absolute, without a slash at the end; the root is empty.

use std::path::Path;

use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::{AUTOMATIC_EXCLUSIONS, BackupConfig};
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

/// A configuration's includes and exclusions, ready to be asked.
#[derive(Debug)]
pub struct Scope {
    includes: Vec<Vec<u8>>,
    left_out: GlobSet,
    own: Vec<Vec<u8>>,
    pages: GlobSet,
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
        let mut left_out: Vec<&str> = config.exclude.iter().map(String::as_str).collect();
        if config.automatic_exclusions {
            left_out.extend(AUTOMATIC_EXCLUSIONS.iter().map(|exclusion| exclusion.pattern));
        }
        Ok(Scope {
            includes: config.include.iter().map(|path| clean(&platform::include_bytes(path))).collect(),
            left_out: set(left_out.into_iter())?,
            own: own.iter().map(|path| clean(&platform::path_bytes(path))).collect(),
            pages: set(config.page_patterns.iter().map(String::as_str))?,
        })
    }

    pub fn verdict(&self, path: &[u8]) -> Verdict {
        if self.own.iter().any(|own| own == path) {
            return Verdict::Outside;
        }
        let mut verdict = Verdict::Outside;
        for include in &self.includes {
            if include == path {
                return Verdict::Within;
            }
            if below(path, include) {
                verdict = Verdict::Within;
            } else if verdict == Verdict::Outside && below(include, path) {
                verdict = Verdict::Toward;
            }
        }
        match verdict {
            Verdict::Within if self.left_out.is_match_candidate(&Candidate::from_bytes(path)) => {
                self.toward_or_out(path)
            }
            verdict => verdict,
        }
    }

    /// An excluded directory may still hold an included one.
    fn toward_or_out(&self, path: &[u8]) -> Verdict {
        let holds = self.includes.iter().any(|include| below(include, path));
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

    pub fn includes(&self) -> impl Iterator<Item = &[u8]> {
        self.includes.iter().map(Vec::as_slice)
    }
}

fn set<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(glob(pattern)?);
    }
    builder.build()
}

/// One slash between components, none at the end.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")) {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    out
}

/// Whether `path` lies below `dir`.
fn below(path: &[u8], dir: &[u8]) -> bool {
    path.len() > dir.len() && path.starts_with(dir) && path[dir.len()] == b'/'
}
