//! Waits between tries of what hasn't worked: each is twice as long as the one before, up to an hour.

use std::time::{Duration, Instant};

pub(crate) const FIRST: Duration = Duration::from_secs(60);
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);

/// A wait that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    until: Instant,
    pub(crate) length: Duration,
}

impl Wait {
    /// The one that follows on another, if there was one.
    pub(crate) fn after(before: Option<&Wait>) -> Wait {
        let length = before.map_or(FIRST, |wait| LONGEST.min(wait.length * 2));
        Wait { until: Instant::now() + length, length }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }
}
