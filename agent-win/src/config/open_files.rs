//! How files that programs have open are captured.

use std::time::Duration;

/// How the files of a point are made to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFiles {
    /// A snapshot of their volumes, with the applications' help; where the system has none, as with `Quiet` on Windows and
    /// as with `AsTheyAre` on Linux.
    Snapshot,
    /// Nobody may have written for a while.
    Quiet(Quiet),
    /// They're read as they are, and again where they changed meanwhile.
    AsTheyAre,
}

/// How long nobody may have written, and how long that's waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    pub wanted: Duration,
    pub at_most: Duration,
}

impl Default for Quiet {
    fn default() -> Quiet {
        Quiet { wanted: Duration::from_secs(5), at_most: Duration::from_secs(120) }
    }
}
