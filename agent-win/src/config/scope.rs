//! Which paths belong to a configuration. Paths are bytes, absolute, without a slash at the end; the root is empty.

use std::collections::BTreeSet;
use std::path::Path;

use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::found::FoundFolders;
use super::left_out::LeftOut;
use super::{AUTOMATIC_EXCLUSIONS, BackupConfig, Coverage, FoundFiles, LeavesOut};
use crate::path::{ends, folded, split, within};
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

/// A configuration's includes and exclusions, ready to be asked. What's included is compared as the system compares paths.
#[derive(Debug)]
pub struct Scope {
    includes: Vec<Vec<u8>>,
    /// Those in the case that they're compared in.
    folded: Vec<Vec<u8>>,
    left_out: LeftOut,
    automatic: LeftOut,
    listed: LeftOut,
    /// Folded, as the next but one.
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
        let includes = included(config);
        Ok(Scope {
            folded: includes.iter().map(|path| folded(path).into_owned()).collect(),
            includes,
            left_out: LeftOut::new(own_words)?,
            automatic: LeftOut::new(automatic)?,
            listed: LeftOut::default(),
            own: own.iter().map(|path| folded_bytes(path)).collect(),
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
    pub fn with_found(mut self, files: &[FoundFiles]) -> Scope {
        self.found = FoundFolders::new(files);
        self
    }

    /// Includes a folder that the agent itself fills while it captures, though it lies among its own.
    pub fn with_enclosed(mut self, folder: &Path) -> Scope {
        self.enclosed = Some(folded_bytes(folder));
        self
    }

    /// Of a folder, or of what may be one; for what's known to be a file, [`leaves_out_file`](Scope::leaves_out_file) is asked
    /// as well.
    pub fn verdict(&self, path: &[u8]) -> Verdict {
        match self.wanted(path) {
            Wanted::ByName => Verdict::Within,
            Wanted::Below if self.is_left_out(path) => self.toward_or_out(path),
            Wanted::Below => Verdict::Within,
            Wanted::Above => Verdict::Toward,
            Wanted::Not => Verdict::Outside,
        }
    }

    /// Whether it's excluded, or lies in an excluded folder to which a look goes all the same, for the sake of what's included in there.
    fn is_left_out(&self, path: &[u8]) -> bool {
        let has = |path: &[u8]| self.exclusions().any(|one| one.has(path));
        if has(path) {
            return true;
        }
        // From the nearest on: what's included below an excluded folder is captured with all that's in it.
        let over = |path: &[u8]| split(path).map(|(over, _)| over.to_vec());
        let mut above = over(path);
        while let Some(folder) = above.filter(|folder| self.wanted(folder) == Wanted::Below) {
            if self.holds(&folder) && has(&folder) {
                return true;
            }
            above = over(&folder);
        }
        false
    }

    /// Whether a folder holds something included, or an application's files.
    fn holds(&self, path: &[u8]) -> bool {
        self.includes.iter().any(|include| is_below(include, path))
            || self.found.verdict(path) != Verdict::Outside
    }

    /// Whether a file is left out whose path, if it were a folder's, may not be.
    pub fn leaves_out_file(&self, path: &[u8]) -> bool {
        self.exclusions().any(|one| one.has_file(path)) && self.wanted(path) == Wanted::Below
    }

    /// Whether the configuration itself leaves it out, or what it lies in: neither the agent nor an application does.
    pub(crate) fn is_excluded_by_name(&self, path: &[u8]) -> bool {
        self.wanted(path) == Wanted::Below && ends(path).any(|end| self.left_out.has(&path[..end]))
    }

    fn exclusions(&self) -> impl Iterator<Item = &LeftOut> {
        [&self.left_out, &self.automatic, &self.listed].into_iter()
    }

    /// How much of what an application names is captured.
    #[cfg_attr(
        not(windows),
        allow(dead_code, reason = "only Windows has such applications; tested everywhere")
    )]
    pub(crate) fn coverage(&self, files: &FoundFiles) -> Coverage {
        let folder = clean(&files.folder);
        // A pattern is looked for as if it were a name: what's left out of those that it stands for, a capture finds.
        let name = [&folder[..], b"/", files.pattern.as_bytes()].concat();
        let is_within = self.is_reachable(&name) && self.verdict(&name) == Verdict::Within;
        let is_way = || self.is_reachable(&folder) && self.verdict(&folder) == Verdict::Toward;
        match () {
            () if is_within && !self.leaves_out_file(&name) => Coverage::Whole,
            () if (files.is_recursive || self.has_one_of(files, &folder)) && is_way() => Coverage::Part,
            () => Coverage::Nothing,
        }
    }

    /// Whether something is included that a pattern stands for.
    fn has_one_of(&self, files: &FoundFiles, folder: &[u8]) -> bool {
        let is_one = |include: &[u8]| {
            split(include).is_some_and(|(parent, name)| parent == &*folded(folder) && files.is_called(name))
        };
        files.has_wildcards() && self.folded.iter().any(|include| is_one(include))
    }

    fn wanted(&self, path: &[u8]) -> Wanted {
        let mut wanted = match self.of_enclosed(path) {
            Verdict::Within => return Wanted::ByName,
            Verdict::Toward => Wanted::Above,
            Verdict::Outside => Wanted::Not,
        };
        let compared = &*folded(path);
        if self.own.iter().any(|own| own == compared) {
            return wanted;
        }
        match self.found.verdict(path) {
            Verdict::Within => return Wanted::ByName,
            Verdict::Toward => wanted = Wanted::Above,
            Verdict::Outside => {}
        }
        for include in &self.folded {
            if include == compared {
                return Wanted::ByName;
            }
            if below(compared, include) {
                wanted = Wanted::Below;
            } else if wanted == Wanted::Not && below(include, compared) {
                wanted = Wanted::Above;
            }
        }
        wanted
    }

    fn of_enclosed(&self, path: &[u8]) -> Verdict {
        let Some(folder) = &self.enclosed else { return Verdict::Outside };
        let path = &*folded(path);
        match () {
            () if folder == path || below(path, folder) => Verdict::Within,
            () if below(folder, path) => Verdict::Toward,
            () => Verdict::Outside,
        }
    }

    /// Whether it's the folder that the agent itself fills.
    pub(crate) fn is_enclosed(&self, path: &[u8]) -> bool {
        self.enclosed.as_ref().is_some_and(|folder| *folder == *folded(path))
    }

    /// Whether something that happens to a path is news: in what the agent writes itself, nothing is.
    pub fn is_noticed(&self, path: &[u8]) -> bool {
        self.of_enclosed(path) != Verdict::Within && self.is_reachable(path)
    }

    /// An excluded directory may still hold an included one, or an application's files.
    fn toward_or_out(&self, path: &[u8]) -> Verdict {
        if self.holds(path) { Verdict::Toward } else { Verdict::Outside }
    }

    /// True for a path below one that's left out as well.
    pub fn is_reachable(&self, path: &[u8]) -> bool {
        ends(path).all(|end| self.verdict(&path[..end]) != Verdict::Outside)
    }

    /// Whether a pattern of the configuration says that this file changes in place.
    pub fn is_cut_in_pages(&self, path: &[u8]) -> bool {
        let is_match = |bytes: &[u8]| self.pages.is_match_candidate(&Candidate::from_bytes(bytes));
        !self.pages.is_empty() && (is_match(path) || split(path).is_some_and(|(_, name)| is_match(name)))
    }

    /// Folders in which an application keeps logs.
    pub(crate) fn found_logs(&self) -> impl Iterator<Item = &[u8]> {
        self.found.of_logs()
    }

    /// Whether a path is included by name or on the way to one that is.
    pub(crate) fn leads_over(&self, path: &[u8]) -> bool {
        self.includes().any(|include| within(include, path).is_some())
    }

    /// Whether a path is asked for by a name that lies in a folder, or is that: it's below what's included there, or on the way to it.
    pub(crate) fn asks_in(&self, folder: &[u8], path: &[u8]) -> bool {
        let is_asked = |include: &[u8]| within(path, include).or(within(include, path)).is_some();
        self.includes().any(|include| within(include, folder).is_some() && is_asked(include))
    }

    /// Whether a path is, or lies below, a folder of the agent's own.
    pub(crate) fn is_own(&self, path: &[u8]) -> bool {
        self.own.iter().any(|own| within(&folded(path), own).is_some())
    }

    /// Whether a path is asked for by its own name.
    pub(crate) fn is_included(&self, path: &[u8]) -> bool {
        self.includes().any(|include| folded(include) == folded(path))
    }

    /// Whether a path lies below an included one other than the root.
    pub(crate) fn is_below_include(&self, path: &[u8]) -> bool {
        self.includes.iter().any(|include| !include.is_empty() && is_below(path, include))
    }

    /// Folders on the way to what's included, and those themselves: the nearest to the root first.
    pub(crate) fn ways(&self) -> BTreeSet<&[u8]> {
        self.includes().flat_map(|path| ends(path).map(|end| &path[..end])).collect()
    }

    /// Paths that are asked for by name, those of an application's files among them.
    pub fn includes(&self) -> impl Iterator<Item = &[u8]> {
        self.includes.iter().map(Vec::as_slice).chain(self.found.folders())
    }
}

/// The included paths, and the links on the way to them: what's asked for by the name of a link is where that leads.
pub(crate) fn included(config: &BackupConfig) -> Vec<Vec<u8>> {
    config.asked().flat_map(|path| way_of(path)).collect()
}

/// The links on the way to an included path, and where it ends.
pub(crate) fn way_of(include: &str) -> Vec<Vec<u8>> {
    platform::with_links(&clean(&platform::include_bytes(include)))
}

pub(super) fn set<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(glob(pattern)?);
    }
    builder.build()
}

fn folded_bytes(path: &Path) -> Vec<u8> {
    folded(&clean(&platform::path_bytes(path))).into_owned()
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    within(path, dir).is_some_and(|rest| !rest.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(toml: &str) -> Scope {
        Scope::new(&BackupConfig::parse(toml).unwrap(), &[]).unwrap()
    }

    fn files(folder: &str, pattern: &str, is_recursive: bool) -> FoundFiles {
        let (folder, pattern) = (folder.as_bytes().to_vec(), pattern.to_owned());
        FoundFiles { folder, pattern, is_recursive, is_log: false }
    }

    #[test]
    fn of_what_an_application_names_all_is_captured_or_a_part_or_nothing() {
        let scope = scope(
            "include = [\"/srv/mail\", \"/srv/sql/sales.mdf\", \"/srv/odd/[1].log\"]\nexclude = [\"**/*.old\", \"/srv/mail/tmp\"]",
        );
        for (named, coverage) in [
            (files("/srv/mail", "*", true), Coverage::Whole),
            (files("/srv/mail/deep", "store.edb", false), Coverage::Whole),
            (files("/srv/sql", "sales.mdf", false), Coverage::Whole),
            (files("/srv/sql", "sales.ldf", false), Coverage::Nothing),
            (files("/srv/sql", "*.mdf", false), Coverage::Part),
            (files("/srv/sql", "*.ldf", false), Coverage::Nothing),
            (files("/srv/odd", "[1].log", false), Coverage::Whole),
            (files("/srv", "*", true), Coverage::Part),
            (files("/srv", "*.mdf", false), Coverage::Nothing),
            (files("/srv/mail", "last.old", false), Coverage::Nothing),
            (files("/srv/mail/tmp", "*", true), Coverage::Nothing),
            (files("/elsewhere", "*", true), Coverage::Nothing),
        ] {
            assert_eq!(scope.coverage(&named), coverage, "{named:?}");
        }
        let named = [files("/srv/sql", "sales.ldf", false)];
        let scope = scope.with_found(&named);
        assert_eq!(scope.coverage(&named[0]), Coverage::Whole);
        assert_eq!(Coverage::of_all([Coverage::Whole, Coverage::Nothing].into_iter()), Coverage::Part);
        assert_eq!(Coverage::of_all([Coverage::Nothing, Coverage::Nothing].into_iter()), Coverage::Nothing);
        assert_eq!(Coverage::of_all(std::iter::empty()), Coverage::Whole);
    }

    #[test]
    fn what_is_included_in_an_excluded_folder_brings_nothing_else_of_it_back() {
        let scope = scope(
            "include = [\"/x/in/deep\", \"/x\", \"/x/in/over/again\"]\nexclude = [\"/x/in\", \"/x/in/deep/not\"]",
        );
        for (path, verdict) in [
            ("/x/file", Verdict::Within),
            ("/x/in", Verdict::Toward),
            ("/x/in/secret", Verdict::Outside),
            ("/x/in/secrets/too", Verdict::Outside),
            ("/x/in/deep", Verdict::Within),
            ("/x/in/deep/file", Verdict::Within),
            ("/x/in/deep/not", Verdict::Outside),
            ("/x/in/over", Verdict::Toward),
            ("/x/in/over/secret", Verdict::Outside),
            ("/x/in/over/again/file", Verdict::Within),
            ("/x/inside", Verdict::Within),
        ] {
            assert_eq!(scope.verdict(path.as_bytes()), verdict, "{path}");
        }
    }

    #[test]
    fn what_is_included_is_compared_as_the_system_compares_names() {
        let include = if cfg!(windows) { r"C:\Bücher\Neu" } else { "/C:/Bücher/Neu" };
        let scope = scope(&format!("include = ['{include}']"));
        for (path, verdict) in [
            ("/C:/BÜCHER", Verdict::Toward),
            ("/C:/bücher/NEU", Verdict::Within),
            ("/C:/bücher/neu/x", Verdict::Within),
            ("/C:/bücher/neuer", Verdict::Outside),
        ] {
            let expected = if platform::IS_CASE_SENSITIVE { Verdict::Outside } else { verdict };
            assert_eq!(scope.verdict(path.as_bytes()), expected, "{path}");
        }
        let is_one = !platform::IS_CASE_SENSITIVE;
        assert_eq!(scope.is_included("/C:/BÜCHER/neu".as_bytes()), is_one);
        assert_eq!(scope.leads_over("/C:/BÜCHER".as_bytes()), is_one);
        assert_eq!(scope.is_below_include("/C:/BÜCHER/neu/x".as_bytes()), is_one);
    }
}
