//! Trial restores: a file of each computer each day, chosen at random, is restored and compared with what was stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coffer_format::{ComputerId, SegmentId};
use coffer_vault::trial::{Trial, Version};
use coffer_vault::{Reading, VaultError, restore};
use tokio::sync::watch;

use crate::pace::Pace;
use crate::restorer::{Comparison, Sink};
use crate::serve::Appliance;

const DAY_MS: u64 = 24 * 3_600_000;
/// A trial that failed is made again after so long, or after the shorter time once nothing that it needs is damaged any more.
const AGAIN_MS: u64 = 3_600_000;
const HEALED_AGAIN_MS: u64 = 60_000;
/// Versions that are looked at for one whose data is on the disk.
const PICKS_MAX: usize = 8;
/// Where there's none, it's looked again after so long.
const PICK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// What is known besides what the catalog says.
#[derive(Default)]
pub(crate) struct Trials {
    /// Computers of whose files none was on the disk, and when that was found.
    away: Mutex<BTreeMap<ComputerId, Instant>>,
    /// Computers whose last trial failed though nothing was known to be wrong with what it needed.
    unexplained: Mutex<BTreeSet<ComputerId>>,
}

/// How a trial ended.
enum Ended {
    Right,
    Wrong(String),
    /// The box stops, or the version is no longer kept.
    Open,
}

impl Trials {
    /// Whether no file of a computer was found whose data is on the disk.
    pub(crate) fn is_away(&self, computer: ComputerId) -> bool {
        self.away().contains_key(&computer)
    }

    fn away(&self) -> MutexGuard<'_, BTreeMap<ComputerId, Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the trials that are due.
    pub(crate) fn work(&self, appliance: &Appliance, stop: &watch::Receiver<bool>) -> Result<(), VaultError> {
        let reading = appliance.vault.reading();
        let is_damaged = !reading.known_damage()?.is_empty();
        let now_ms = appliance.vault.now_ms();
        let last: BTreeMap<u32, Trial> =
            reading.trials()?.into_iter().map(|trial| (trial.computer, trial)).collect();
        self.away().retain(|_, since| since.elapsed() < PICK_AGAIN);
        for computer in reading.computers()?.into_iter().map(|one| ComputerId(one.computer)) {
            let last = last.get(&computer.0);
            if self.is_away(computer) {
                continue;
            }
            if let Some(last) = last
                && !is_due(last, now_ms, is_damaged && self.waits_for_healing(reading, last)?)
            {
                continue;
            }
            let Some(version) = self.choose(appliance, computer, last)? else { continue };
            let is_harmed = reading.is_harmed(&version)?;
            match try_restore(appliance, &version, stop)? {
                Ended::Right => {
                    self.unexplained().remove(&computer);
                    appliance.vault.note_trial(computer, &version, None)?;
                }
                Ended::Wrong(why) => {
                    // What it finds out by itself explains it.
                    if !is_harmed && !reading.is_harmed(&version)? {
                        self.unexplained().insert(computer);
                    }
                    appliance.vault.note_trial(computer, &version, Some(&why))?;
                }
                Ended::Open => {}
            }
            if *stop.borrow() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a trial that failed would fail again: the damage that it met isn't healed, or nobody knows why it failed.
    fn waits_for_healing(&self, reading: &Arc<Reading>, last: &Trial) -> Result<bool, VaultError> {
        if last.why.is_none() {
            return Ok(false);
        }
        let is_harmed = reading.is_harmed(&last.version())?;
        Ok(is_harmed || self.unexplained().contains(&ComputerId(last.computer)))
    }

    fn unexplained(&self) -> MutexGuard<'_, BTreeSet<ComputerId>> {
        self.unexplained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What failed is tried until it's right; else it's any file whose data is here.
    fn choose(
        &self,
        appliance: &Appliance,
        computer: ComputerId,
        last: Option<&Trial>,
    ) -> Result<Option<Version>, VaultError> {
        let reading = appliance.vault.reading();
        if let Some(failed) = last.filter(|last| last.why.is_some()).map(Trial::version)
            && reading.check_point(failed.config, failed.point).is_ok()
            && !reading.is_doubtful(failed.config, failed.point)?
            && reading.missing_for(&failed.wanted())?.is_empty()
        {
            return Ok(Some(failed));
        }
        let mut has_files = false;
        for _ in 0..PICKS_MAX {
            let Some(version) = reading.random_version(computer)? else { continue };
            has_files = true;
            // That a point may be older than it was says nothing against restoring.
            if !reading.is_doubtful(version.config, version.point)?
                && reading.missing_for(&version.wanted())?.is_empty()
            {
                return Ok(Some(version));
            }
        }
        if !has_files {
            return Ok(None);
        }
        self.away().insert(computer, Instant::now());
        Ok(None)
    }
}

fn is_due(last: &Trial, now_ms: u64, is_damaged: bool) -> bool {
    let wait_ms = match (&last.why, is_damaged) {
        (None, _) => DAY_MS,
        (Some(_), true) => AGAIN_MS,
        (Some(_), false) => HEALED_AGAIN_MS,
    };
    // A time that lies in the future is none to go by.
    now_ms.saturating_sub(last.ms) >= wait_ms || last.ms > now_ms + DAY_MS
}

fn try_restore(
    appliance: &Appliance,
    version: &Version,
    stop: &watch::Receiver<bool>,
) -> Result<Ended, VaultError> {
    let reading = appliance.vault.reading();
    let mut pace = Pace::new(&appliance.traffic, stop, true);
    let expected = match reading.expected(version) {
        Ok(expected) => expected,
        Err(VaultError::Refused { .. }) => return Ok(Ended::Open),
        Err(error) => return found(appliance, &BTreeSet::new(), error.to_string(), &mut pace),
    };
    let segments = expected.segments()?;
    let mut comparison = Comparison::new(version.path.clone(), expected);
    let restored = reading.restore(&version.wanted(), &mut |message| {
        comparison.take(message).map_err(|source| VaultError::Io {
            doing: "compare",
            path: "what was restored".into(),
            source,
        })?;
        if pace.goes_on() { Ok(()) } else { Err(ended()) }
    });
    match restored {
        Ok(restore::Restored { .. }) => {}
        Err(VaultError::Refused { .. }) => return Ok(Ended::Open),
        Err(error) => return found(appliance, &segments, error.to_string(), &mut pace),
    }
    match comparison.finish() {
        None => Ok(Ended::Right),
        Some(why) => found(appliance, &segments, why, &mut pace),
    }
}

/// What a trial finds is looked at closely at once, so that it's known as damage and heals.
fn found(
    appliance: &Appliance,
    segments: &BTreeSet<SegmentId>,
    why: String,
    pace: &mut Pace<'_>,
) -> Result<Ended, VaultError> {
    tracing::error!(why, "a trial restore didn't give what was stored");
    for segment in segments {
        appliance.vault.scrub(*segment, &mut |_| pace.goes_on())?;
    }
    Ok(if pace.is_stopping() { Ended::Open } else { Ended::Wrong(why) })
}

fn ended() -> VaultError {
    VaultError::Refused { code: coffer_format::wire::RefusalCode::Busy, sentence: "the box stops".into() }
}
