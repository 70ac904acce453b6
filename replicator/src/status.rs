//! What the WAN job shows of itself.

use std::time::Instant;

use coffer_link::Throttle;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The job at a glance. Times are milliseconds since 1970-01-01 UTC on the vault's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WanStatus {
    pub connected: bool,
    /// Since when it has been connected; or else since when HQ has taken nothing.
    pub since_ms: u64,
    /// All bytes on the line since the job started, headers and TLS counted.
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Durable here and not yet durable at HQ; `None` until HQ was reached and said what it has.
    pub behind_bytes: Option<u64>,
    /// What of the vault was counted for that: [`WanStatus::counting`] adds what has come since.
    #[serde(skip)]
    pub counted_bytes: u64,
    /// Durable at HQ because of this job, since it started.
    pub receipted_bytes: u64,
    /// What the line may carry now, in bytes per second; `None` without a limit.
    pub rate_limit: Option<u64>,
    /// Why the last attempt ended, for a person; kept until things go well again.
    pub last_error: Option<String>,
    /// HQ's disk is full, as it last said, and it hasn't taken as much since as it had no room for.
    pub hq_is_full: bool,
    /// Bytes that were on their way when HQ said so, less what it has taken since.
    #[serde(skip)]
    pub no_room_for: u64,
    /// HQ refuses this box, and why: nothing gets better by waiting.
    pub refused: Option<String>,
    /// HQ was reached, and has refused whatever was offered to it ever since.
    pub not_taken: Option<NotTaken>,
    /// Segments that are left alone, with the reason.
    pub held_back: Vec<String>,
    /// The vault was set back to an older state than HQ knows: nothing is sent.
    pub set_back: bool,
    /// Per configuration, as HQ last said.
    pub whole: Vec<WholeAtHq>,
    /// When HQ last said so; 0 before the first time.
    pub whole_asked_ms: u64,
    /// What HQ's clock showed when the line was last made; [`WanStatus::clock_ms`] says what it shows now.
    #[serde(skip)]
    pub clock: Option<ClockTold>,
}

/// What HQ's clock showed, and when that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockTold {
    pub ms: u64,
    pub heard: Instant,
}

/// Since when HQ has taken nothing though it was reached, and what it said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotTaken {
    pub since_ms: u64,
    pub why: String,
}

impl WanStatus {
    /// What HQ's clock shows now, going by what it said when the line was last made. Nothing here that's set changes that.
    pub fn clock_ms(&self) -> Option<u64> {
        self.clock.map(|told| told.ms + told.heard.elapsed().as_millis() as u64)
    }

    /// The same, with what the vault has by now counted too: the job counts a little later than what is captured becomes durable here.
    /// `due_bytes`: as [`crate::due_bytes`] says.
    pub fn counting(mut self, due_bytes: u64) -> WanStatus {
        let newer = due_bytes.saturating_sub(self.counted_bytes);
        self.behind_bytes = self.behind_bytes.map(|behind| behind + newer);
        self
    }

    /// HQ had no room for what was on its way.
    pub(crate) fn hq_has_no_room(&mut self, bytes: u64) {
        (self.hq_is_full, self.no_room_for) = (true, bytes);
    }

    /// A connection ended that brought HQ `gained` bytes. `refusal`: what HQ said, if it ended it.
    pub(crate) fn ended(&mut self, gained: u64, refusal: Option<&str>, now_ms: u64) {
        let since_ms =
            self.not_taken.as_ref().filter(|_| gained == 0).map_or(now_ms, |before| before.since_ms);
        self.not_taken = refusal.map(|why| NotTaken { since_ms, why: why.to_owned() });
    }

    /// HQ has taken so many bytes more.
    pub(crate) fn hq_took(&mut self, bytes: u64) {
        self.receipted_bytes += bytes;
        self.no_room_for = self.no_room_for.saturating_sub(bytes);
        self.hq_is_full &= self.no_room_for > 0;
    }
}

/// How far a configuration's history is whole at HQ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeAtHq {
    pub config: u32,
    /// Newest point all of whose data is there, and when it was closed.
    pub point: Option<u64>,
    pub closed_ms: Option<u64>,
    /// Newest point whose metadata is there.
    pub newest: u64,
    /// Newest point of which HQ waits for nothing more.
    #[serde(default)]
    pub reached: Option<u64>,
}

impl WholeAtHq {
    /// Whether HQ has all that there is of the newest point, and can't restore it whole.
    pub fn lacks_newest(&self) -> bool {
        self.newest > 0 && self.reached == Some(self.newest) && self.point != Some(self.newest)
    }
}

/// Where the status is written.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    status: watch::Sender<WanStatus>,
    pub throttle: Throttle,
}

impl Board {
    pub(crate) fn new(throttle: Throttle) -> Board {
        Board { status: watch::Sender::new(WanStatus::default()), throttle }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<WanStatus> {
        self.status.subscribe()
    }

    /// Changes the status; whoever watches hears of it only if something is different.
    pub(crate) fn change(&self, change: impl FnOnce(&mut WanStatus)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            status.sent_bytes = self.throttle.sent_bytes();
            status.received_bytes = self.throttle.received_bytes();
            status.rate_limit = self.throttle.rate();
            *status != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_durable_since_it_was_counted_is_not_at_hq() {
        let status = WanStatus { behind_bytes: Some(100), counted_bytes: 5000, ..WanStatus::default() };
        assert_eq!(status.clone().counting(5000).behind_bytes, Some(100));
        assert_eq!(status.clone().counting(5600).behind_bytes, Some(700));
        assert_eq!(status.clone().counting(4000).behind_bytes, Some(100), "something left the disk");
        assert_eq!(WanStatus { behind_bytes: None, ..status }.counting(9000).behind_bytes, None);
    }

    #[test]
    fn a_refusal_lasts_until_something_is_taken_or_hq_is_not_reached() {
        let mut status = WanStatus::default();
        let since = |status: &WanStatus| status.not_taken.as_ref().map(|not_taken| not_taken.since_ms);
        status.ended(0, Some("a folder lies there"), 10);
        status.ended(0, Some("another"), 20);
        assert_eq!((since(&status), status.not_taken.as_ref().unwrap().why.as_str()), (Some(10), "another"));
        status.ended(7, Some("another"), 30);
        assert_eq!(since(&status), Some(30));
        status.ended(0, None, 40);
        assert_eq!(since(&status), None);
    }

    #[test]
    fn a_full_disk_is_one_until_as_much_is_taken_as_there_was_no_room_for() {
        let mut status = WanStatus::default();
        status.hq_has_no_room(70_000);
        status.hq_took(300);
        assert!(status.hq_is_full, "what just fits makes no room");
        status.hq_took(69_700);
        assert!(!status.hq_is_full);
        assert_eq!(status.receipted_bytes, 70_000);
    }
}
