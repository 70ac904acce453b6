//! A backup configuration as the box keeps it and sends it: TOML, checked whole before anything starts.
//! No file is opened here, so the box uses the same parser to refuse a mistake where it's made.

mod bandwidth;
mod coverage;
mod database;
mod exclusions;
mod found;
mod futile;
mod left_out;
mod manners;
mod open_files;
mod parse;
mod parse_standstill;
mod scope;
mod when;
mod window;

use std::time::Duration;

pub use bandwidth::{Bandwidth, BandwidthRule, Limit};
pub(crate) use coverage::Coverage;
pub use database::{Application, Database};
pub use exclusions::{
    AUTOMATIC_EXCLUSIONS, AutomaticExclusion, LINUX_EXCLUSIONS, LeavesOut, WINDOWS_EXCLUSIONS,
};
pub use found::FoundFiles;
pub use manners::{Manners, OnBattery, OnMetered, Priority};
pub use open_files::{OpenFiles, Quiet};
pub use scope::{Scope, Verdict};
pub(crate) use scope::{below, included, way_of};
pub use when::When;
pub use window::{Window, WindowTime};

/// What of a computer is captured, when, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupConfig {
    /// Absolute paths; each is captured with everything below it.
    pub include: Vec<String>,
    /// Patterns of paths that are left out with everything below them.
    pub exclude: Vec<String>,
    pub when: When,
    /// A scheduled or continuous capture starts only inside one of these; at any time where there's none.
    pub window: Vec<Window>,
    /// False: a capture stops (and goes on later) when its window closes.
    pub run_to_completion: bool,
    pub automatic_exclusions: bool,
    /// Continuous: how long a file must be quiet before it's captured.
    pub settle: Duration,
    /// More patterns of files that change in place and are cut in pages.
    pub page_patterns: Vec<String>,
    pub compression: CompressionChoice,
    /// How files that programs have open are captured.
    pub open_files: OpenFiles,
    /// Continuous: how often everything is captured at one instant, with the applications' help.
    pub bookmark: Option<Duration>,
    /// Files that are only of use together.
    pub database: Option<Database>,
    /// The registry and what else Windows needs to be put back, besides the files that are included.
    pub system_state: bool,
    /// How much history the box keeps of this; the box's own default where it isn't said. The agent does nothing with it.
    pub keep: Option<Keep>,
    pub manners: Manners,
}

/// How much history is kept: everything for some hours, then the newest of each of so many hours, days, weeks and months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    pub all_hours: u32,
    pub hourly: u32,
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
}

/// How much work compression may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionChoice {
    /// Fast for the first copy, better for changes.
    Auto,
    Fast,
    Best,
}

/// One mistake in a configuration. `line` counts from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}. {remedy}")]
pub struct ConfigMistake {
    pub line: usize,
    pub what: String,
    pub remedy: String,
}

impl BackupConfig {
    /// Reads a configuration; every mistake is reported, not just the first.
    pub fn parse(text: &str) -> Result<BackupConfig, Vec<ConfigMistake>> {
        match parse::parse(text)? {
            (config, put_right) if put_right.is_empty() => Ok(config),
            (_, put_right) => Err(put_right),
        }
    }

    /// Paths that are asked for by name: what's included, and a database's logs.
    pub fn asked(&self) -> impl Iterator<Item = &String> {
        let logs = self.database.iter().flat_map(|database| &database.logs);
        self.include.iter().chain(logs)
    }

    /// Reads one that the box keeps. What was accepted when it was set goes on to be captured: a mistake that an earlier version
    /// accepted is put right, and comes back beside the configuration.
    pub fn parse_stored(text: &str) -> Result<(BackupConfig, Vec<ConfigMistake>), Vec<ConfigMistake>> {
        parse::parse(text)
    }
}
