//! Whether the box's clock can be believed. What is given up by age (restore points, tapes) isn't while it can't.
//!
//! A clock leaps where it differs by more than an hour from what is expected: while the box runs, from the last time that was
//! believed plus what went by since, so that many small steps are a leap too; when it starts, from the last good time, by which it can't be earlier, nor later by more than a box is likely to
//! be off. A leap is over as soon as the clock shows what was expected, headquarters' clock agrees with it, an operator accepts it
//! (`coffer clock accept`), or it has run on evenly for a week: a disk that nothing is given up on fills.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::units::hours;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Differences up to this are no leap.
const LEAP_MS: u64 = HOUR_MS;
/// A box may have been off for so long.
const OFF_MS: u64 = 7 * DAY_MS;
/// A clock that has run on evenly for so long is believed.
const EVEN_MS: u64 = 7 * DAY_MS;
/// The good time is written down this often: it's what the next start is compared with.
const NOTE_MS: u64 = HOUR_MS;

/// What is known of the clock, as it's kept between runs. Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// The newest time that was believed.
    good_ms: u64,
    leap: Option<Leap>,
}

/// A leap that isn't over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leap {
    /// The earliest and the latest time that the clock should show now.
    expected_ms: u64,
    latest_ms: u64,
    /// How long it has run on evenly since.
    even_ms: u64,
}

/// What a look at the clock showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Leapt,
    Over(&'static str),
}

/// The rules, without the clocks.
#[derive(Debug)]
struct Watch {
    known: Known,
    /// What the clock should show now if it has run on evenly since it was last believed, or since it last leapt.
    even_ms: u64,
}

impl Watch {
    /// `kept` is from the run before; `newest_ms`: what the newest record in the vault says.
    fn start(kept: Option<Known>, newest_ms: u64, now_ms: u64) -> Watch {
        let mut known = kept.unwrap_or(Known { good_ms: newest_ms, leap: None });
        match &mut known.leap {
            // Nobody knows how long the box was off.
            Some(leap) => leap.latest_ms += OFF_MS,
            None => {
                let good_ms = known.good_ms.max(newest_ms);
                let leap = Leap { expected_ms: good_ms, latest_ms: good_ms + OFF_MS, even_ms: 0 };
                // A vault without a record has no time to compare with.
                known.leap = (good_ms > 0 && !leap.expects(now_ms)).then_some(leap);
            }
        }
        let mut watch = Watch { known, even_ms: now_ms };
        watch.settle(now_ms, None);
        watch
    }

    /// `elapsed_ms` went by since the last look, whatever the clock says; `hq_ms` is what headquarters' clock shows now.
    fn look(&mut self, now_ms: u64, elapsed_ms: u64, hq_ms: Option<u64>) -> Seen {
        let expected_ms = self.even_ms + elapsed_ms;
        let has_leapt = now_ms.abs_diff(expected_ms) > LEAP_MS;
        self.even_ms = if has_leapt || agrees(hq_ms, now_ms) { now_ms } else { expected_ms };
        match &mut self.known.leap {
            None if has_leapt => {
                self.known.leap = Some(Leap { expected_ms, latest_ms: expected_ms, even_ms: 0 });
                match self.settle(now_ms, hq_ms) {
                    Seen::Nothing => Seen::Leapt,
                    over => over,
                }
            }
            None => {
                self.known.good_ms = now_ms;
                Seen::Nothing
            }
            Some(leap) => {
                leap.expected_ms += elapsed_ms;
                leap.latest_ms += elapsed_ms;
                leap.even_ms = if has_leapt { 0 } else { leap.even_ms + elapsed_ms };
                self.settle(now_ms, hq_ms)
            }
        }
    }

    /// Ends a leap that is over.
    fn settle(&mut self, now_ms: u64, hq_ms: Option<u64>) -> Seen {
        let Some(leap) = self.known.leap else { return Seen::Nothing };
        let why = match () {
            () if leap.expects(now_ms) => "it shows what it should",
            () if agrees(hq_ms, now_ms) => "headquarters' clock agrees",
            () if leap.even_ms >= EVEN_MS => "it has run on evenly for a week",
            () => return Seen::Nothing,
        };
        self.accept(now_ms);
        Seen::Over(why)
    }

    fn accept(&mut self, now_ms: u64) {
        self.known = Known { good_ms: now_ms, leap: None };
        self.even_ms = now_ms;
    }

    fn sentence(&self, now_ms: u64) -> Option<String> {
        let leap = self.known.leap?;
        let left = hours(EVEN_MS.saturating_sub(leap.even_ms));
        let (by, way) = match now_ms < leap.expected_ms {
            true => (leap.expected_ms - now_ms, "behind"),
            false => (now_ms.saturating_sub(leap.latest_ms), "ahead of"),
        };
        Some(format!(
            "The box's clock is {} {way} what it should show: a clock leapt. No restore point and no tape is given up by its age before that is \
             settled. If the clock is right, run `coffer clock accept`; if it's wrong, set it right. The box believes it by itself when \
             headquarters' clock agrees, or after {left}.",
            hours(by)
        ))
    }
}

/// Whether headquarters' clock shows about the same.
fn agrees(hq_ms: Option<u64>, now_ms: u64) -> bool {
    hq_ms.is_some_and(|hq_ms| hq_ms.abs_diff(now_ms) <= LEAP_MS)
}

impl Leap {
    fn expects(&self, now_ms: u64) -> bool {
        (self.expected_ms.saturating_sub(LEAP_MS)..=self.latest_ms + LEAP_MS).contains(&now_ms)
    }
}

/// A box's clock under watch.
pub(crate) struct ClockWatch {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    watch: Watch,
    looked: Instant,
    noted_ms: u64,
    /// What is to be audited.
    told: Option<String>,
}

impl ClockWatch {
    /// `newest_ms`: what the newest record in the vault says.
    pub(crate) fn start(path: PathBuf, newest_ms: u64, now_ms: u64) -> ClockWatch {
        // What can't be read says nothing: then the vault's newest record is what the clock is compared with.
        let kept = std::fs::read_to_string(&path).ok().and_then(|text| toml::from_str(&text).ok());
        let watch = Watch::start(kept, newest_ms, now_ms);
        if watch.known.leap.is_some() {
            tracing::warn!(now_ms, newest_ms, "the clock isn't believed: nothing is given up by age");
        }
        note(&path, &watch.known);
        let state = Mutex::new(State { watch, looked: Instant::now(), noted_ms: now_ms, told: None });
        ClockWatch { path, state }
    }

    /// Looks at the clock, and at headquarters' where it's known; what there is to be audited comes back.
    pub(crate) fn look(&self, now_ms: u64, hq_ms: Option<u64>) -> Option<String> {
        let mut state = self.state();
        state.look(&self.path, now_ms, hq_ms);
        state.told.take()
    }

    /// Whether nothing may be given up by this time.
    pub(crate) fn is_in_doubt(&self, now_ms: u64) -> bool {
        let mut state = self.state();
        state.look(&self.path, now_ms, None);
        state.watch.known.leap.is_some()
    }

    /// An operator says that the clock is right.
    pub(crate) fn accept(&self, now_ms: u64) -> Result<()> {
        let mut state = self.state();
        state.watch.accept(now_ms);
        save(&self.path, &state.watch.known)
    }

    /// What a person should know.
    pub(crate) fn sentence(&self, now_ms: u64) -> Option<String> {
        self.state().watch.sentence(now_ms)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look(&mut self, path: &Path, now_ms: u64, hq_ms: Option<u64>) {
        let elapsed = self.looked.elapsed();
        self.looked += elapsed;
        let seen = self.watch.look(now_ms, millis(elapsed), hq_ms);
        if seen != Seen::Nothing || now_ms.abs_diff(self.noted_ms) >= NOTE_MS {
            self.noted_ms = now_ms;
            note(path, &self.watch.known);
        }
        match seen {
            Seen::Nothing => {}
            Seen::Leapt => {
                let told = "the box's clock leapt: nothing is given up by age before that is settled";
                self.told = Some(told.into());
            }
            Seen::Over(why) => self.told = Some(format!("the box's clock is believed again: {why}")),
        }
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// A box whose disk takes nothing any more runs all the same.
fn note(path: &Path, known: &Known) {
    if let Err(error) = save(path, known) {
        tracing::warn!(%error, "what is known of the clock couldn't be written down");
    }
}

fn save(path: &Path, known: &Known) -> Result<()> {
    let text = toml::to_string(known)?;
    coffer_link::write_durable_file(path, text.as_bytes(), &OpenOptions::new())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 20_000 * DAY_MS;
    const MINUTE_MS: u64 = 60_000;

    fn watch() -> Watch {
        Watch::start(None, START_MS, START_MS)
    }

    fn is_in_doubt(watch: &Watch) -> bool {
        watch.known.leap.is_some()
    }

    /// Lets the clock run evenly for some hours, from what it shows.
    fn run(watch: &mut Watch, hours: u64) -> Seen {
        let mut seen = Seen::Nothing;
        for _ in 0..hours {
            seen = watch.look(watch.even_ms + HOUR_MS, HOUR_MS, None);
        }
        seen
    }

    #[test]
    fn a_clock_that_runs_and_is_set_by_minutes_is_believed() {
        let mut watch = watch();
        assert_eq!(watch.look(START_MS + 50 * MINUTE_MS, MINUTE_MS, None), Seen::Nothing);
        assert_eq!(watch.look(START_MS + 2 * MINUTE_MS, MINUTE_MS, None), Seen::Nothing);
        assert_eq!(watch.sentence(START_MS), None);
    }

    #[test]
    fn a_leap_either_way_is_doubted_until_the_clock_is_set_right() {
        for leapt_ms in [START_MS + 30 * DAY_MS, START_MS - 30 * DAY_MS] {
            let mut watch = watch();
            assert_eq!(watch.look(leapt_ms, 0, None), Seen::Leapt);
            assert!(is_in_doubt(&watch));
            let told = watch.sentence(leapt_ms).unwrap();
            assert!(told.contains("30 days") && told.contains("coffer clock accept"), "{told}");
            run(&mut watch, 5);
            assert!(is_in_doubt(&watch));
            let right_ms = START_MS + 5 * HOUR_MS + MINUTE_MS;
            assert!(matches!(watch.look(right_ms, MINUTE_MS, None), Seen::Over(_)));
        }
    }

    #[test]
    fn many_small_steps_are_a_leap_unless_headquarters_clock_goes_along() {
        let step = |watch: &mut Watch, count: u64, hq: bool| {
            let now_ms = START_MS + count * 50 * MINUTE_MS;
            watch.look(now_ms, MINUTE_MS, hq.then_some(now_ms))
        };
        let mut stepped = watch();
        assert_eq!(step(&mut stepped, 1, false), Seen::Nothing);
        assert_eq!(step(&mut stepped, 2, false), Seen::Leapt);
        let mut along = watch();
        assert!((1..20).all(|count| step(&mut along, count, true) == Seen::Nothing));
    }

    #[test]
    fn headquarters_clock_settles_it_only_where_it_agrees() {
        let leapt_ms = START_MS + 30 * DAY_MS;
        let mut watch = watch();
        assert_eq!(watch.look(leapt_ms, MINUTE_MS, Some(START_MS)), Seen::Leapt);
        let seen = watch.look(leapt_ms + MINUTE_MS, MINUTE_MS, Some(leapt_ms + 2 * MINUTE_MS));
        assert!(matches!(seen, Seen::Over(_)));
    }

    #[test]
    fn what_an_operator_accepts_is_believed() {
        let mut watch = watch();
        watch.look(START_MS - 30 * DAY_MS, MINUTE_MS, None);
        watch.accept(START_MS - 30 * DAY_MS);
        assert_eq!(run(&mut watch, 3), Seen::Nothing);
        assert!(!is_in_doubt(&watch));
    }

    #[test]
    fn a_week_of_even_running_is_believed_and_another_leap_begins_it_anew() {
        let mut watch = watch();
        watch.look(START_MS + 400 * DAY_MS, MINUTE_MS, None);
        run(&mut watch, 6 * 24);
        watch.look(START_MS + 900 * DAY_MS, MINUTE_MS, None);
        run(&mut watch, 6 * 24);
        assert!(is_in_doubt(&watch));
        assert!(matches!(run(&mut watch, 24), Seen::Over(_)));
    }

    #[test]
    fn a_start_is_compared_with_the_last_good_time() {
        let kept = Known { good_ms: START_MS, leap: None };
        let doubts = |newest_ms, now_ms| is_in_doubt(&Watch::start(Some(kept), newest_ms, now_ms));
        assert!(!doubts(START_MS, START_MS + 3 * DAY_MS), "it was off over a weekend");
        assert!(doubts(START_MS, START_MS + 30 * DAY_MS));
        assert!(doubts(START_MS, START_MS - 2 * HOUR_MS));
        assert!(doubts(START_MS + 2 * DAY_MS, START_MS), "a record is newer");
        assert!(!is_in_doubt(&Watch::start(None, 0, START_MS)), "a new vault");
    }

    #[test]
    fn a_restart_does_not_settle_it() {
        let leapt_ms = START_MS + 400 * DAY_MS;
        let mut watch = watch();
        watch.look(leapt_ms, MINUTE_MS, None);
        run(&mut watch, 6 * 24);
        // What was recorded meanwhile has the wrong time.
        let mut again = Watch::start(Some(watch.known), watch.even_ms, watch.even_ms + MINUTE_MS);
        assert!(is_in_doubt(&again));
        assert!(matches!(run(&mut again, 24), Seen::Over(_)), "the time before the restart counts");
        let right = Watch::start(Some(watch.known), watch.even_ms, START_MS + 8 * DAY_MS);
        assert!(!is_in_doubt(&right));
    }

    #[test]
    fn whoever_decides_by_the_clock_looks_at_it_first() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ClockWatch::start(dir.path().join("clock"), START_MS, START_MS);
        assert!(!clock.is_in_doubt(START_MS + MINUTE_MS));
        assert!(clock.is_in_doubt(START_MS + 30 * DAY_MS));
        assert!(clock.look(START_MS + 30 * DAY_MS, None).unwrap().contains("leapt"));
        assert_eq!(clock.look(START_MS + 30 * DAY_MS, None), None, "that is audited once");
    }

    #[test]
    fn what_is_known_outlasts_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clock");
        let clock = ClockWatch::start(path.clone(), START_MS, START_MS - DAY_MS);
        assert!(clock.is_in_doubt(START_MS - DAY_MS));
        let clock = ClockWatch::start(path.clone(), START_MS - DAY_MS, START_MS - DAY_MS);
        assert!(clock.is_in_doubt(START_MS - DAY_MS), "the newest record is of the wrong time by now");
        clock.accept(START_MS - DAY_MS).unwrap();
        assert!(
            !ClockWatch::start(path, START_MS - DAY_MS, START_MS - DAY_MS).is_in_doubt(START_MS - DAY_MS)
        );
    }
}
