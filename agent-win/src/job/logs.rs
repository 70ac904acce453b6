//! A database's logs, which are captured more often than the rest: between two points of everything, what was last
//! written is in the logs.

use std::time::{Duration, Instant};

use coffer_format::node::NodeKind;

use crate::capture::Target;
use crate::config::{Database, Scope};
use crate::path::{as_path, split};
use crate::platform::{include_bytes, stat_path};

pub(super) struct Logs {
    every: Duration,
    next: Instant,
    /// Path bytes, as the configuration names them.
    named: Vec<Vec<u8>>,
}

impl Logs {
    pub(super) fn new(database: &Database, now: Instant) -> Option<Logs> {
        let every = database.logs_every?;
        let named = database.logs.iter().map(|path| include_bytes(path)).collect();
        Some(Logs { every, next: now + every, named })
    }

    /// Where the logs are, if it's time to look at them.
    pub(super) fn due(&mut self, now: Instant, scope: &Scope) -> Option<Target> {
        if now < self.next {
            return None;
        }
        self.next = now + self.every;
        let mut target = Target::nothing();
        let found = scope.found_logs().map(<[u8]>::to_vec);
        let paths: Vec<Vec<u8>> = if self.named.is_empty() { found.collect() } else { self.named.clone() };
        for path in paths {
            let is_folder = stat_path(&as_path(&path)).is_ok_and(|stat| stat.kind == NodeKind::Directory);
            match split(&path) {
                _ if is_folder => target.notice_all(path),
                Some((parent, name)) => target.notice(parent.to_vec(), name.to_vec()),
                None => {}
            }
        }
        Some(target)
    }
}
