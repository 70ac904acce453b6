//! Configurations of databases: which files belong together, and what's done so that they do.

use std::time::Duration;

/// Files that are only of use together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub application: Application,
    /// Databases of the application, by the names that its writer gives them; all where there are none.
    pub names: Vec<String>,
    /// Whether the application may throw its logs away once a point that holds them is durable on the box.
    pub truncate_logs: bool,
    /// Run before the files are made to stand still; the capture goes on where it fails, and the point says so.
    pub before: Option<String>,
    /// Run as soon as the files may move again.
    pub after: Option<String>,
    /// Files and folders that are captured more often than the rest; an application's own logs where none are named.
    pub logs: Vec<String>,
    /// How often the logs are captured between two points of everything.
    pub logs_every: Option<Duration>,
}

/// Who knows which files belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application {
    /// Microsoft SQL Server, by its writer.
    SqlServer,
    /// Microsoft Exchange, by its writers.
    Exchange,
    /// Nobody: they're what the configuration includes.
    Files,
}

impl Database {
    /// Whether the application itself tells which files are its own.
    pub fn tells_files(&self) -> bool {
        !self.application.writers().is_empty()
    }
}

impl Application {
    /// The names of the application's writers.
    pub fn writers(self) -> &'static [&'static str] {
        match self {
            Application::SqlServer => &["SqlServerWriter", "MSDEWriter"],
            Application::Exchange => {
                &["Microsoft Exchange Writer", "Microsoft Exchange Replica Writer", "Exchange Writer"]
            }
            Application::Files => &[],
        }
    }
}
