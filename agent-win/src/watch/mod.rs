//! What has changed and gone quiet: events of a directory watch, gathered until they settle.

mod moves;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capture::Target;
use crate::config::Scope;
use crate::path::split;
use crate::platform::{DirectoryWatcher, WatchError};
use moves::Moves;

/// However busy a file is, it's captured at least so often.
const SETTLE_TIMES_MAX: u32 = 15;
/// Files that were locked are tried again so long after.
const RETRY_LOCKED_AFTER: Duration = Duration::from_secs(10);
/// How long a look waits at most until it's up to date.
const CATCH_UP: Duration = Duration::from_secs(1);
const SETTLE_LEAST: Duration = Duration::from_millis(50);
/// Everything is looked at this often all the same: no watch tells of writes through a mapped file, or by a name elsewhere.
const WHOLE_EVERY: Duration = Duration::from_secs(60 * 60);
/// Without a watch, everything is looked at this often.
pub(crate) const RESCAN_EVERY: Duration = Duration::from_secs(15 * 60);

/// What a watch of the system's noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// Something happened to `name` in the directory at `directory`.
    Name { directory: Vec<u8>, name: Vec<u8> },
    /// Something went from one path to another; both names are told besides.
    #[cfg_attr(windows, allow(dead_code, reason = "what's told there doesn't say what went where"))]
    Moved { from: Vec<u8>, to: Vec<u8> },
    /// A folder came to a path, or something was mounted or unmounted there: all that's seen there now is to be looked at. What was done in
    /// the folder before its place was known was told of another place, or not at all.
    Arrived(Vec<u8>),
    /// Events were lost: everything must be looked at.
    Overflow,
}

/// A watch over one configuration. Where the system has no watches left, a clock.
pub struct Watch {
    scope: Arc<Scope>,
    settle: Duration,
    watcher: Option<DirectoryWatcher>,
    /// Why there's no watcher.
    failure: Option<String>,
    gathered: Target,
    moves: Moves,
    first: Option<Instant>,
    last: Instant,
    /// When all that's watched was last looked at.
    whole: Instant,
    /// A whole look doesn't wait until everything is quiet: somewhere something always moves.
    at_once: bool,
    /// Files that were locked, and when they're tried again: nobody says when a lock is gone.
    locked: Vec<Vec<u8>>,
    retry_at: Instant,
}

impl Watch {
    /// Begins to watch. Everything must be looked at once after this: what was there before isn't noticed.
    pub(crate) fn start(scope: Arc<Scope>, settle: Duration) -> Watch {
        let now = Instant::now();
        let settle = settle.max(SETTLE_LEAST);
        let mut watch = Watch {
            scope,
            settle,
            watcher: None,
            failure: None,
            gathered: Target::Everything,
            moves: Moves::default(),
            first: Some(now),
            last: now,
            whole: now,
            at_once: true,
            locked: Vec::new(),
            retry_at: now,
        };
        watch.begin();
        watch
    }

    fn begin(&mut self) {
        match DirectoryWatcher::start(&self.scope) {
            Ok(watcher) => (self.watcher, self.failure) = (Some(watcher), None),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &WatchError) {
        let why = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let minutes = RESCAN_EVERY.as_secs() / 60;
        tracing::warn!(why, "changes are looked for every {minutes} minutes instead of at once");
        (self.watcher, self.failure) = (None, Some(why));
    }

    /// Why changes aren't watched; `None` where they are.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// These files were locked. They're looked at again after a while, whatever else happens.
    pub(crate) fn locked(&mut self, paths: impl Iterator<Item = Vec<u8>>) {
        self.locked = paths.collect();
        self.retry_at = Instant::now() + RETRY_LOCKED_AFTER;
    }

    /// Whatever is captured next tries them as well, so that every point names what it lacks.
    fn take_up_locked(&mut self) {
        for path in std::mem::take(&mut self.locked) {
            self.notice_path(&path);
        }
    }

    fn notice_path(&mut self, path: &[u8]) {
        if let Some((directory, name)) = split(path) {
            self.gathered.notice(directory.to_vec(), name.to_vec());
        }
    }

    /// Waits up to `timeout` for events and gathers them.
    pub(crate) fn gather(&mut self, timeout: Duration) {
        let Some(watcher) = &mut self.watcher else {
            std::thread::park_timeout(timeout);
            return;
        };
        match watcher.wait(&self.scope, timeout) {
            Ok(noticed) => noticed.into_iter().for_each(|noticed| self.notice(noticed)),
            Err(error) => {
                self.failed(&error);
                self.everything();
            }
        }
    }

    fn notice(&mut self, noticed: Noticed) {
        let now = Instant::now();
        self.last = now;
        self.first.get_or_insert(now);
        match noticed {
            Noticed::Name { directory, name } => self.gathered.notice(directory, name),
            Noticed::Moved { from, to } => self.moves.add(from, to),
            Noticed::Arrived(path) => {
                self.notice_path(&path);
                self.gathered.notice_all(path);
            }
            Noticed::Overflow => {
                self.gathered = Target::Everything;
                self.moves.lost();
            }
        }
    }

    /// Takes up what has happened until now, for the next look.
    pub(crate) fn catch_up(&mut self) {
        let began = Instant::now();
        let mut before = None;
        // While something goes on to move there's always more; what matters has happened before.
        while self.watcher.is_some() && before != Some(self.last) && began.elapsed() < CATCH_UP {
            before = Some(self.last);
            self.gather(Duration::ZERO);
        }
    }

    /// Whether what isn't at a path any more was moved since the look began to a place that it doesn't go to: then the next one does,
    /// and looks at that path again. `None` where nobody can tell.
    pub(crate) fn has_moved_on(&mut self, path: &[u8]) -> Option<bool> {
        let has_moved = self.moves.has_moved_on(path);
        if has_moved != Some(false) {
            self.notice_path(path);
            self.first.get_or_insert_with(Instant::now);
        }
        has_moved
    }

    /// Whether nothing was noticed since the last look. Without a watch nobody knows.
    pub(crate) fn is_quiet(&self) -> bool {
        self.watcher.is_some() && self.first.is_none() && self.gathered.is_empty()
    }

    /// Everything is to be looked at, as soon as possible.
    pub(crate) fn everything(&mut self) {
        self.gathered = Target::Everything;
        self.at_once();
    }

    /// What was noticed so far is to be looked at as soon as possible, if it's nothing.
    pub(crate) fn at_once(&mut self) {
        self.first.get_or_insert_with(Instant::now);
        self.at_once = true;
    }

    /// What to capture now, if it has gone quiet or has been busy for too long.
    pub(crate) fn due(&mut self) -> Option<Target> {
        if !self.locked.is_empty() && Instant::now() >= self.retry_at {
            self.first.get_or_insert_with(Instant::now);
        }
        let is_watched = self.watcher.is_some();
        if self.whole.elapsed() >= if is_watched { WHOLE_EVERY } else { RESCAN_EVERY } {
            if !is_watched {
                // What kept it from watching may be over: a folder that was gone, or a system without room.
                self.begin();
            }
            self.everything();
        }
        let first = self.first?;
        let is_quiet = self.last.elapsed() >= self.settle;
        if !self.at_once && !is_quiet && first.elapsed() < self.settle * SETTLE_TIMES_MAX {
            return None;
        }
        self.take_up_locked();
        self.first = None;
        self.at_once = false;
        self.last = Instant::now();
        self.moves.begin_look();
        if matches!(self.gathered, Target::Everything) {
            self.whole = self.last;
        }
        Some(std::mem::replace(&mut self.gathered, Target::nothing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackupConfig;

    #[test]
    fn what_no_watch_tells_of_is_found_within_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let config = BackupConfig::parse(&format!("include = ['{}']", folder.path().display())).unwrap();
        let mut watch = Watch::start(Arc::new(Scope::new(&config, &[]).unwrap()), SETTLE_LEAST);
        assert!(matches!(watch.due(), Some(Target::Everything)));
        assert!(watch.due().is_none() && watch.is_quiet());
        watch.at_once();
        assert!(
            watch.due().is_some_and(|target| target.is_empty()),
            "a look that's asked for looks at no more"
        );
        assert!(watch.due().is_none() && watch.is_quiet());
        watch.whole = Instant::now().checked_sub(WHOLE_EVERY).unwrap();
        assert!(matches!(watch.due(), Some(Target::Everything)));
        assert!(watch.due().is_none() && watch.is_quiet());
    }

    #[test]
    fn what_cannot_be_watched_is_looked_at_and_watched_again_once_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let config = BackupConfig::parse(&format!("include = ['{}']", folder.path().display())).unwrap();
        let mut watch = Watch::start(Arc::new(Scope::new(&config, &[]).unwrap()), SETTLE_LEAST);
        assert_eq!(watch.failure(), None);
        watch.failed(&WatchError::Io(std::io::Error::other("no room")));
        assert_eq!(watch.failure(), Some("watching for changes failed: no room"));
        assert!(matches!(watch.due(), Some(Target::Everything)));
        // A file that stays locked is looked at meanwhile, and holds nothing up.
        watch.locked([b"/x/locked".to_vec()].into_iter());
        (watch.retry_at, watch.last) = (Instant::now(), Instant::now().checked_sub(SETTLE_LEAST).unwrap());
        assert!(matches!(watch.due(), Some(Target::These(_))) && watch.failure().is_some());
        watch.whole = Instant::now().checked_sub(RESCAN_EVERY).unwrap();
        assert!(matches!(watch.due(), Some(Target::Everything)) && watch.failure().is_none());
        assert!(watch.due().is_none() && watch.is_quiet());
    }
}
