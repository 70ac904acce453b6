//! Waiting until nobody writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::{Quiet, Scope};
use crate::platform::{DirectoryWatcher, WatchError};

/// How soon a wish to stop is heard.
const LOOK_UP: Duration = Duration::from_millis(200);

/// True once nothing happened in the scope for as long as wanted; false where that took too long.
pub(super) fn wait(scope: &Scope, quiet: Quiet, stop: &AtomicBool) -> Result<bool, WatchError> {
    let mut watcher = DirectoryWatcher::start(scope)?;
    let began = Instant::now();
    let mut last = began;
    while last.elapsed() < quiet.wanted {
        if began.elapsed() >= quiet.at_most || stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let left = quiet.wanted.saturating_sub(last.elapsed());
        if !watcher.wait(scope, left.min(LOOK_UP))?.is_empty() {
            last = Instant::now();
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackupConfig;

    #[test]
    fn who_never_stops_writing_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let folder = std::fs::canonicalize(folder.path()).unwrap();
        let shown = folder.display().to_string();
        let include = shown.trim_start_matches(r"\\?\");
        let config = BackupConfig::parse(&format!("include = ['{include}']")).unwrap();
        let scope = Scope::new(&config, &[]).unwrap();
        let stop = AtomicBool::new(false);
        let ms = Duration::from_millis;
        assert!(wait(&scope, Quiet { wanted: ms(50), at_most: ms(20_000) }, &stop).unwrap());
        let is_done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    std::fs::write(folder.join("log"), b"x").unwrap();
                    std::thread::park_timeout(ms(5));
                }
            });
            let waited = wait(&scope, Quiet { wanted: ms(5_000), at_most: ms(300) }, &stop);
            is_done.store(true, Ordering::Relaxed);
            assert!(!waited.unwrap());
        });
    }
}
