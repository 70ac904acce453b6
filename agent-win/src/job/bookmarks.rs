//! When a continuous configuration's next bookmark is due: a point of everything at one instant. It's kept in a file, so
//! that a computer which is switched off every night still comes to its bookmarks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::now_ms;
use crate::durable_file;

pub(super) struct Bookmarks {
    every: Duration,
    file: PathBuf,
    last_ms: u64,
}

impl Bookmarks {
    /// Where none has been made yet, one is due at once.
    pub(super) fn new(every: Duration, folder: &Path) -> Bookmarks {
        let file = folder.join("bookmark");
        let last = coffer_link::read_small_text(&file).ok().and_then(|text| text.trim().parse().ok());
        // A clock that was put back must not hold bookmarks up.
        let last_ms = last.filter(|last| *last <= now_ms()).unwrap_or(0);
        Bookmarks { every, file, last_ms }
    }

    pub(super) fn is_due(&self) -> bool {
        let since = now_ms().checked_sub(self.last_ms);
        // A clock that was ahead and was put back must not hold bookmarks up.
        since.is_none_or(|since| since >= self.every.as_millis() as u64)
    }

    pub(super) fn made(&mut self) {
        self.last_ms = now_ms();
        if let Err(error) = durable_file::save(&self.file, self.last_ms.to_string().as_bytes()) {
            tracing::warn!(%error, "the time of a bookmark can't be kept; the next is made at the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_is_remembered_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3600);
        let mut bookmarks = Bookmarks::new(hour, folder.path());
        assert!(bookmarks.is_due());
        bookmarks.made();
        assert!(!Bookmarks::new(hour, folder.path()).is_due());
        assert!(Bookmarks::new(Duration::ZERO, folder.path()).is_due());
        std::fs::write(folder.path().join("bookmark"), (now_ms() + 10_000_000).to_string()).unwrap();
        assert!(Bookmarks::new(hour, folder.path()).is_due());
    }
}
