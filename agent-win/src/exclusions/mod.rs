//! What's left out on this computer besides what its configuration says: what Windows and applications list themselves, and
//! what's recommended for applications that are found here. The box shows it to the administrator.

mod listed;
mod recommended;

use coffer_format::wire::Exclusion;

use crate::config::{AUTOMATIC_EXCLUSIONS, BackupConfig};
use crate::platform;
pub(crate) use listed::{ListedFiles, patterns};
use recommended::recommended_here;

/// Most that's told of one configuration.
const TOLD_MAX: usize = 5_000;

/// What this computer lists by itself: patterns of paths, each with who wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListedExclusions(Vec<(String, String)>);

impl ListedExclusions {
    /// Asks the system and its applications; takes as long as those take to answer.
    pub(crate) fn of_this_computer() -> ListedExclusions {
        let mut all = Vec::new();
        let variable = |name: &str| std::env::var(name).ok();
        for ListedFiles { who, text } in platform::listed_files() {
            all.extend(patterns(&text, variable).into_iter().map(|pattern| (pattern, who.clone())));
        }
        all.sort();
        all.dedup();
        ListedExclusions(all)
    }

    pub(crate) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(pattern, _)| pattern.as_str())
    }

    /// Everything that's left out, or might well be, for the screens.
    pub(crate) fn told(&self, config: &BackupConfig) -> Vec<Exclusion> {
        let applied = config.automatic_exclusions;
        let automatic = AUTOMATIC_EXCLUSIONS.iter().map(|one| (one.pattern.to_owned(), one.why.to_owned()));
        let listed = self.0.iter().map(|(pattern, who)| (pattern.clone(), format!("wanted by {who}")));
        let left_out =
            automatic.chain(listed).map(|(pattern, why)| Exclusion { pattern, why, is_applied: applied });
        let recommended = recommended_here().into_iter().map(|one| Exclusion {
            pattern: one.pattern.to_owned(),
            why: format!("{}: {}", one.application, one.why),
            is_applied: config.exclude.iter().any(|pattern| pattern == one.pattern),
        });
        left_out.chain(recommended).take(TOLD_MAX).collect()
    }
}
