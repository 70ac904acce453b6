//! What has changed and gone quiet: events of a directory watch, gathered until they settle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capture::Target;
use crate::config::Scope;
use crate::linux::{DirectoryWatcher, Noticed, WatchError};

/// However busy a file is, it's captured at least so often.
const SETTLE_TIMES_MAX: u32 = 15;
const SETTLE_LEAST: Duration = Duration::from_millis(50);
/// Without a watch, everything is looked at this often.
pub(crate) const RESCAN_EVERY: Duration = Duration::from_secs(15 * 60);

/// A watch over one configuration. Where the system has no watches left, a clock.
pub(crate) struct Watch {
    scope: Arc<Scope>,
    settle: Duration,
    watcher: Option<DirectoryWatcher>,
    gathered: Target,
    first: Option<Instant>,
    last: Instant,
    /// A whole look doesn't wait until everything is quiet: somewhere something always moves.
    at_once: bool,
}

impl Watch {
    /// Begins to watch. Everything must be looked at once after this: what was there before isn't noticed.
    pub(crate) fn start(scope: Arc<Scope>, settle: Duration) -> Watch {
        let watcher = DirectoryWatcher::start(&scope).map_err(say).ok();
        let now = Instant::now();
        let settle = settle.max(SETTLE_LEAST);
        Watch {
            scope,
            settle,
            watcher,
            gathered: Target::Everything,
            first: Some(now),
            last: now,
            at_once: true,
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
                say(error);
                self.watcher = None;
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
            Noticed::Overflow => self.gathered = Target::Everything,
        }
    }

    /// Everything is to be looked at, as soon as possible.
    pub(crate) fn everything(&mut self) {
        self.gathered = Target::Everything;
        self.first = Some(Instant::now());
        self.at_once = true;
    }

    /// What to capture now, if it has gone quiet or has been busy for too long.
    pub(crate) fn due(&mut self) -> Option<Target> {
        let first = match (self.first, &self.watcher) {
            (Some(first), _) => first,
            (None, None) if self.last.elapsed() >= RESCAN_EVERY => {
                self.everything();
                self.first?
            }
            (None, _) => return None,
        };
        let is_quiet = self.last.elapsed() >= self.settle;
        if !self.at_once && !is_quiet && first.elapsed() < self.settle * SETTLE_TIMES_MAX {
            return None;
        }
        self.first = None;
        self.at_once = false;
        self.last = Instant::now();
        Some(std::mem::replace(&mut self.gathered, Target::nothing()))
    }
}

fn say(error: WatchError) {
    let minutes = RESCAN_EVERY.as_secs() / 60;
    tracing::warn!(%error, "changes are looked for every {minutes} minutes instead of at once");
}
