//! When a configuration's next capture starts. The time is passed in.

use std::time::{Duration, Instant};

use crate::config::{BackupConfig, When, WindowTime};

/// After a failure, the first wait; it doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_LONGEST: Duration = Duration::from_secs(600);

/// One configuration's clock.
#[derive(Debug)]
pub(crate) struct Schedule {
    when: When,
    next: Option<Instant>,
    retry: Duration,
    is_asked: bool,
}

impl Schedule {
    /// Scheduled captures start at once: how long the agent was away isn't known.
    pub(crate) fn new(when: When, now: Instant) -> Schedule {
        let next = (when != When::Manual).then_some(now);
        Schedule { when, next, retry: RETRY_FIRST, is_asked: false }
    }

    /// Somebody wants a capture now, window or not.
    pub(crate) fn ask(&mut self, now: Instant) {
        self.is_asked = true;
        self.next = Some(now);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    pub(crate) fn is_due(&self, config: &BackupConfig, now: Instant, week: WindowTime) -> bool {
        let is_open = config.window.is_empty() || config.window.iter().any(|window| window.contains(week));
        self.next.is_some_and(|next| next <= now) && (is_open || self.is_asked)
    }

    /// A capture that began at `began` is done.
    pub(crate) fn done(&mut self, began: Instant) {
        self.is_asked = false;
        self.retry = RETRY_FIRST;
        self.next = match self.when {
            When::Continuous => Some(began),
            When::Every(every) => Some(began + every),
            When::Manual => None,
        };
    }

    /// A capture was broken off through no fault of its own.
    pub(crate) fn interrupted(&mut self, now: Instant) {
        self.next = Some(now);
    }

    /// A capture failed for a reason that passes by itself.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.next = Some(now + self.retry);
        self.retry = (self.retry * 2).min(RETRY_LONGEST);
    }
}

/// How long to wait before connecting again: doubling, bounded, and never at the same moment as all other agents.
#[derive(Debug)]
pub(crate) struct Backoff {
    wait: Duration,
    seed: u64,
}

const CONNECT_FIRST: Duration = Duration::from_millis(500);
const CONNECT_LONGEST: Duration = Duration::from_secs(120);

impl Backoff {
    pub(crate) fn new(seed: u64) -> Backoff {
        Backoff { wait: CONNECT_FIRST, seed: seed | 1 }
    }

    pub(crate) fn reset(&mut self) {
        self.wait = CONNECT_FIRST;
    }

    /// The next wait: half of it fixed, half of it by chance.
    pub(crate) fn next(&mut self) -> Duration {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let half = self.wait / 2;
        let chance = (self.seed % 1000) as f64 / 1000.0;
        let wait = half + half.mul_f64(chance);
        self.wait = (self.wait * 2).min(CONNECT_LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_over() {
        let mut backoff = Backoff::new(42);
        let waits: Vec<Duration> = (0..20).map(|_| backoff.next()).collect();
        assert!(
            waits[0] <= CONNECT_FIRST && waits[19] <= CONNECT_LONGEST && waits[19] >= CONNECT_LONGEST / 2
        );
        backoff.reset();
        assert!(backoff.next() <= CONNECT_FIRST);
    }

    #[test]
    fn a_window_holds_back_the_clock_but_not_a_person() {
        let config = BackupConfig::parse(
            "include = [\"/a\"]\nwhen = \"every 2 hours\"\nwindow = [\"sat 00:00-24:00\"]",
        );
        let config = config.unwrap();
        let now = Instant::now();
        let mut schedule = Schedule::new(config.when, now);
        let (monday, saturday) = (WindowTime { weekday: 0, minute: 0 }, WindowTime { weekday: 5, minute: 0 });
        assert!(!schedule.is_due(&config, now, monday) && schedule.is_due(&config, now, saturday));
        schedule.ask(now);
        assert!(schedule.is_due(&config, now, monday));
        schedule.done(now);
        assert!(!schedule.is_due(&config, now, saturday));
        assert!(schedule.is_due(&config, now + Duration::from_secs(7200), saturday));
    }
}
