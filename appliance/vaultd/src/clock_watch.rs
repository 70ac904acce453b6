//! Whether the box's clock can be believed. What is given up by age (restore points, tapes) isn't while it can't.
//!
//! A clock leaps where it differs by more than an hour from what is expected: while the box runs, from the last time that was
//! believed plus what went by since, so that many small steps are a leap too; when it starts, from the last good time, than which it
//! can't be earlier, nor later by more than a box is likely to be off (what the vault recorded counts as that only where no good time was
//! written down); at any time, from headquarters' clock. A leap is over as soon
//! as the clock shows what was expected, headquarters' clock agrees with it, an operator accepts it (`coffer clock accept`), or it has
//! run on evenly for a week: a disk that nothing is given up on fills. How far headquarters' clock was from it then is remembered: only
//! another difference is a doubt again.

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
    /// What headquarters' clock showed beyond this one when this one was believed all the same.
    #[serde(default)]
    hq_ahead_ms: i64,
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
    /// What the clock showed when that was written down; `None` from a version that didn't.
    #[serde(default)]
    shown_ms: Option<u64>,
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
        let mut known = kept.unwrap_or(Known { good_ms: newest_ms, hq_ahead_ms: 0, leap: None });
        if known.good_ms == 0 {
            // From a version that didn't write down the time of a new vault.
            known.good_ms = newest_ms;
        }
        match &mut known.leap {
            Some(leap) => leap.go_on(now_ms),
            None if known.good_ms > 0 => {
                // The clock can't be earlier than a record. But a record makes no time good that is too late otherwise: it was written
                // after a leap that nobody had looked at.
                let latest_ms = known.good_ms + OFF_MS;
                let recorded_ms = if newest_ms <= latest_ms { newest_ms } else { 0 };
                let leap = Leap { latest_ms, ..Leap::at(known.good_ms.max(recorded_ms), now_ms) };
                known.leap = (!leap.expects(now_ms)).then_some(leap);
            }
            // A vault without a record has no time to compare with.
            None => {}
        }
        if known.leap.is_none() {
            known.good_ms = now_ms;
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
        if agrees(hq_ms, now_ms) {
            self.known.hq_ahead_ms = 0;
        }
        match &mut self.known.leap {
            None => match self.doubt(now_ms, has_leapt.then_some(expected_ms), hq_ms) {
                Some(leap) => {
                    self.known.leap = Some(leap);
                    match self.settle(now_ms, hq_ms) {
                        Seen::Nothing => Seen::Leapt,
                        over => over,
                    }
                }
                None => {
                    self.known.good_ms = now_ms;
                    Seen::Nothing
                }
            },
            Some(leap) => {
                leap.expected_ms += elapsed_ms;
                leap.latest_ms += elapsed_ms;
                leap.even_ms = if has_leapt { 0 } else { leap.even_ms + elapsed_ms };
                leap.shown_ms = Some(now_ms);
                self.settle(now_ms, hq_ms)
            }
        }
    }

    /// Why a clock that was believed isn't any more: it leapt, or headquarters' clock isn't where it was beside it.
    fn doubt(&self, now_ms: u64, leapt_from_ms: Option<u64>, hq_ms: Option<u64>) -> Option<Leap> {
        let expected_ms = leapt_from_ms.or_else(|| {
            let ahead_ms = ahead(hq_ms?, now_ms);
            (ahead_ms.abs_diff(self.known.hq_ahead_ms) > LEAP_MS).then_some(hq_ms?)
        })?;
        Some(Leap::at(expected_ms, now_ms))
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
        self.accept(now_ms, hq_ms);
        Seen::Over(why)
    }

    /// The clock is believed, whatever headquarters' shows beside it.
    fn accept(&mut self, now_ms: u64, hq_ms: Option<u64>) {
        let hq_ahead_ms = hq_ms.map_or(self.known.hq_ahead_ms, |hq_ms| ahead(hq_ms, now_ms));
        self.known = Known { good_ms: now_ms, hq_ahead_ms, leap: None };
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

/// How far headquarters' clock is ahead of this one; negative where it's behind.
fn ahead(hq_ms: u64, now_ms: u64) -> i64 {
    hq_ms as i64 - now_ms as i64
}

impl Leap {
    fn at(expected_ms: u64, now_ms: u64) -> Leap {
        Leap { expected_ms, latest_ms: expected_ms, even_ms: 0, shown_ms: Some(now_ms) }
    }

    /// The box was off. Where its clock simply ran on meanwhile, by no more than a box is likely to be off, that is what went by. Where it
    /// was set meanwhile, nobody knows how much did: what a box may have been off for would make many a false clock right.
    fn go_on(&mut self, now_ms: u64) {
        let shown_ms = self.shown_ms.unwrap_or(now_ms);
        match now_ms + LEAP_MS >= shown_ms && now_ms <= shown_ms + OFF_MS {
            true => {
                let off_ms = now_ms.saturating_sub(shown_ms);
                self.expected_ms += off_ms;
                self.latest_ms += off_ms;
            }
            false => self.even_ms = 0,
        }
        self.shown_ms = Some(now_ms);
    }

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
        let kept = coffer_link::read_small_text(&path).ok().and_then(|text| toml::from_str(&text).ok());
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

    /// An operator says that the clock is right, whatever headquarters' shows.
    pub(crate) fn accept(&self, now_ms: u64, hq_ms: Option<u64>) -> Result<()> {
        let mut state = self.state();
        state.watch.accept(now_ms, hq_ms);
        save(&self.path, &state.watch.known)
    }

    /// What a person should know.
    pub(crate) fn sentence(&self, now_ms: u64) -> Option<String> {
        let mut state = self.state();
        state.look(&self.path, now_ms, None);
        state.watch.sentence(now_ms)
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
        watch.accept(START_MS - 30 * DAY_MS, None);
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
        let kept = Known { good_ms: START_MS, hq_ahead_ms: 0, leap: None };
        let doubts = |newest_ms, now_ms| is_in_doubt(&Watch::start(Some(kept), newest_ms, now_ms));
        assert!(!doubts(START_MS, START_MS + 3 * DAY_MS), "it was off over a weekend");
        assert!(doubts(START_MS, START_MS + 30 * DAY_MS));
        assert!(doubts(START_MS, START_MS - 2 * HOUR_MS));
        assert!(doubts(START_MS + 2 * DAY_MS, START_MS), "a record is newer");
        assert!(!is_in_doubt(&Watch::start(None, 0, START_MS)), "a new vault");
    }

    #[test]
    fn a_record_written_after_a_leap_makes_no_clock_right() {
        let leapt_ms = START_MS + 730 * DAY_MS;
        let kept = Known { good_ms: START_MS, hq_ahead_ms: 0, leap: None };
        let again = Watch::start(Some(kept), leapt_ms, leapt_ms + MINUTE_MS);
        assert!(is_in_doubt(&again));
        let told = again.sentence(leapt_ms + MINUTE_MS).unwrap();
        assert!(told.contains("723 days ahead of"), "{told}");
        assert!(is_in_doubt(&Watch::start(Some(again.known), leapt_ms, leapt_ms + 2 * MINUTE_MS)));
        for mut right in [again, Watch::start(Some(kept), leapt_ms, leapt_ms)] {
            assert!(
                matches!(right.look(START_MS + 2 * MINUTE_MS, MINUTE_MS, None), Seen::Over(_)),
                "it's set right"
            );
        }
        assert!(
            !is_in_doubt(&Watch::start(Some(kept), leapt_ms, START_MS + DAY_MS)),
            "it was while it was off"
        );

        let new = Watch::start(None, 0, START_MS);
        assert!(is_in_doubt(&Watch::start(Some(new.known), leapt_ms, leapt_ms)), "a vault's first hour");
        let older = Known { good_ms: 0, ..kept };
        assert!(!is_in_doubt(&Watch::start(Some(older), START_MS, START_MS + DAY_MS)));
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
        let right = Watch::start(Some(watch.known), watch.even_ms, START_MS + 6 * DAY_MS + 5 * MINUTE_MS);
        assert!(!is_in_doubt(&right));
    }

    #[test]
    fn restarts_do_not_make_a_false_clock_right() {
        for leapt_ms in [START_MS + 30 * DAY_MS, START_MS - 30 * DAY_MS] {
            let mut watch = watch();
            watch.look(leapt_ms, MINUTE_MS, None);
            let mut now_ms = leapt_ms;
            for off_ms in [MINUTE_MS, DAY_MS, 6 * DAY_MS, MINUTE_MS, MINUTE_MS, MINUTE_MS, 3 * DAY_MS] {
                now_ms += off_ms;
                watch = Watch::start(Some(watch.known), now_ms, now_ms);
                assert!(is_in_doubt(&watch), "it has been off for {off_ms} ms");
            }
        }
    }

    #[test]
    fn a_clock_set_right_while_the_box_was_off_for_a_moment_is_believed() {
        for leapt_ms in [START_MS + 30 * DAY_MS, START_MS - 30 * DAY_MS] {
            let mut watch = watch();
            watch.look(leapt_ms, 0, None);
            run(&mut watch, 2);
            let start = |watch: &Watch, now_ms| Watch::start(Some(watch.known), leapt_ms, now_ms);
            assert!(!is_in_doubt(&start(&watch, START_MS + 2 * HOUR_MS + MINUTE_MS)));
            let mut later = start(&watch, START_MS + 5 * DAY_MS);
            assert!(is_in_doubt(&later), "it may have been set to anything");
            let seen = later.look(START_MS + 5 * DAY_MS, 0, Some(START_MS + 5 * DAY_MS));
            assert!(matches!(seen, Seen::Over(_)));
        }
    }

    /// Still days ahead, but nearer by two hours, and started anew.
    #[test]
    fn a_false_clock_that_is_set_nearer_is_not_right() {
        let mut watch = watch();
        watch.look(START_MS + 5 * DAY_MS, 0, None);
        let now_ms = START_MS + 5 * DAY_MS - 2 * HOUR_MS;
        assert!(is_in_doubt(&Watch::start(Some(watch.known), START_MS, now_ms)));
    }

    #[test]
    fn headquarters_clock_alone_is_reason_to_doubt_until_somebody_settles_it() {
        let mut watch = watch();
        let mut now_ms = START_MS;
        let mut look = |watch: &mut Watch, hq_ahead_ms: u64| {
            now_ms += MINUTE_MS;
            watch.look(now_ms, MINUTE_MS, Some(now_ms + hq_ahead_ms))
        };
        assert_eq!(look(&mut watch, 30 * MINUTE_MS), Seen::Nothing);
        assert_eq!(look(&mut watch, 9 * DAY_MS), Seen::Leapt);
        assert!(watch.sentence(START_MS).unwrap().contains("9 days"));
        watch.accept(START_MS + 2 * MINUTE_MS, Some(START_MS + 2 * MINUTE_MS + 9 * DAY_MS));
        assert_eq!(look(&mut watch, 9 * DAY_MS), Seen::Nothing, "that is known and accepted");
        assert_eq!(look(&mut watch, 20 * DAY_MS), Seen::Leapt, "it's another difference");
        assert!(matches!(look(&mut watch, 0), Seen::Over(_)));
        assert_eq!(look(&mut watch, 9 * DAY_MS), Seen::Leapt, "they had agreed since");
    }

    #[test]
    fn what_an_older_version_wrote_down_is_read() {
        let known: Known =
            toml::from_str("good_ms = 5\n[leap]\nexpected_ms = 6\nlatest_ms = 7\neven_ms = 8\n").unwrap();
        let leap = Leap { expected_ms: 6, latest_ms: 7, even_ms: 8, shown_ms: None };
        assert_eq!(known, Known { good_ms: 5, hq_ahead_ms: 0, leap: Some(leap) });
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
    fn whoever_asks_for_the_sentence_notices_a_leap() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ClockWatch::start(dir.path().join("clock"), START_MS, START_MS);
        assert_eq!(clock.sentence(START_MS + MINUTE_MS), None);
        assert!(clock.sentence(START_MS + 30 * DAY_MS).unwrap().contains("30 days"));
        assert!(
            clock.look(START_MS + 30 * DAY_MS, None).unwrap().contains("leapt"),
            "it's audited all the same"
        );
    }

    #[test]
    fn what_is_known_outlasts_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clock");
        let clock = ClockWatch::start(path.clone(), START_MS, START_MS - DAY_MS);
        assert!(clock.is_in_doubt(START_MS - DAY_MS));
        let clock = ClockWatch::start(path.clone(), START_MS - DAY_MS, START_MS - DAY_MS);
        assert!(clock.is_in_doubt(START_MS - DAY_MS), "the newest record is of the wrong time by now");
        clock.accept(START_MS - DAY_MS, None).unwrap();
        assert!(
            !ClockWatch::start(path, START_MS - DAY_MS, START_MS - DAY_MS).is_in_doubt(START_MS - DAY_MS)
        );
    }
}
