//! What's left out on this computer besides what its configuration says: what Windows and applications list themselves, and
//! what's recommended for applications that are found here. The box shows it to the administrator.

mod listed;
mod recommended;

use coffer_format::wire::Exclusion;

use crate::config::{AUTOMATIC_EXCLUSIONS, BackupConfig, LeavesOut};
use crate::platform;
pub(crate) use listed::{ListedFiles, pattern};
use recommended::recommended_here;

/// Most that's told of one configuration.
const TOLD_MAX: usize = 5_000;

/// What this computer lists by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListedExclusions(Vec<Listed>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    pattern: String,
    leaves_out: LeavesOut,
    /// Who wants it.
    who: String,
}

impl ListedExclusions {
    /// Asks the system and its applications; takes as long as those take to answer.
    pub(crate) fn of_this_computer() -> ListedExclusions {
        ListedExclusions::new(platform::listed_files(), |name| std::env::var(name).ok())
    }

    fn new(listed: Vec<ListedFiles>, variable: impl Fn(&str) -> Option<String>) -> ListedExclusions {
        let of = |ListedFiles { who, text }| {
            let (pattern, leaves_out) = pattern(&text, &variable)?;
            Some(Listed { pattern, leaves_out, who })
        };
        let mut all: Vec<Listed> = listed.into_iter().filter_map(of).collect();
        all.sort();
        all.dedup();
        ListedExclusions(all)
    }

    pub(crate) fn patterns(&self) -> impl Iterator<Item = (&str, LeavesOut)> {
        self.0.iter().map(|one| (one.pattern.as_str(), one.leaves_out))
    }

    /// Everything that's left out, or might well be, for the screens.
    pub(crate) fn told(&self, config: &BackupConfig) -> Vec<Exclusion> {
        let applied = config.automatic_exclusions;
        let automatic =
            AUTOMATIC_EXCLUSIONS.iter().map(|one| (one.pattern, one.leaves_out, one.why.to_owned()));
        let listed =
            self.0.iter().map(|one| (&*one.pattern, one.leaves_out, format!("wanted by {}", one.who)));
        let left_out = automatic.chain(listed).map(|(pattern, leaves_out, why)| Exclusion {
            pattern: pattern.to_owned(),
            why: if leaves_out == LeavesOut::Files { format!("files alone: {why}") } else { why },
            is_applied: applied,
        });
        let recommended = recommended_here().into_iter().map(|one| Exclusion {
            pattern: one.pattern.to_owned(),
            why: format!("{}: {}", one.application, one.why),
            is_applied: config.exclude.iter().any(|pattern| pattern == one.pattern),
        });
        left_out.chain(recommended).take(TOLD_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Scope, Verdict};

    #[test]
    fn a_folder_with_the_name_of_files_that_are_left_out_is_captured() {
        let listed = |text: &str| ListedFiles { who: "Mail".to_owned(), text: text.to_owned() };
        let all = [r"C:\Windows\Logs\*.log /s", r"C:\Windows\Temp\* /s", r"C:\Windows\*"].map(listed);
        let listed = ListedExclusions::new(all.into(), |_| None);
        let config =
            BackupConfig::parse(if cfg!(windows) { r"include = ['C:\']" } else { "include = ['/C:']" });
        let config = config.unwrap();
        let scope = Scope::new(&config, &[]).unwrap().with_listed(listed.patterns()).unwrap();
        let is_in = |path: &str| scope.verdict(path.as_bytes()) != Verdict::Outside;
        let is_file_in = |path: &str| is_in(path) && !scope.leaves_out_file(path.as_bytes());
        for path in ["/C:/Windows/Logs/x.log", "/C:/Windows/Logs/deep/y.log", "/C:/Windows/Fonts"] {
            assert!(is_in(path) && !is_file_in(path), "{path}");
        }
        // What's in such a folder is as any other file.
        assert!(
            is_file_in("/C:/Windows/Logs/x.log/kept.txt")
                && scope.is_reachable(b"/C:/Windows/Logs/x.log/kept.txt")
        );
        assert!(is_file_in("/C:/Windows/Fonts/arial.ttf"));
        assert!(!is_in("/C:/Windows/Temp/folder") && !scope.is_reachable(b"/C:/Windows/Temp/folder/file"));
        let told = listed.told(&config);
        let why = |pattern: &str| told.iter().find(|one| one.pattern == pattern).map(|one| one.why.as_str());
        assert_eq!(why("/C:/Windows/Logs/**/*.log"), Some("files alone: wanted by Mail"));
        assert_eq!(why("/C:/Windows/Temp/*"), Some("wanted by Mail"));
    }
}
