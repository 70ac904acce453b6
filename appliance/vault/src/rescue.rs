//! On a disk that takes no writes, what a restore can't read there is taken from a copy while it's read: the copy is laid over the disk for as
//! long as the vault is open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use coffer_format::SegmentId;

use crate::Result;
use crate::reading::Reading;

/// What couldn't be had isn't asked for again for so long.
const AGAIN: Duration = Duration::from_secs(300);
/// Nothing is asked for that long after nobody answered: a restore doesn't wait for that again and again.
const AWAY: Duration = Duration::from_secs(60);

/// Brings a segment from a copy and gives it to [`crate::Vault::import_segment`].
pub type Rescuer = dyn Fn(SegmentId) -> Rescued + Send + Sync;

/// What came of asking for a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescued {
    Brought,
    /// No copy of it could be used.
    NotThere,
    /// Nobody answered.
    NotReached,
}

/// Who brings segments, and what was brought.
#[derive(Default)]
pub(crate) struct Rescue {
    by: OnceLock<Box<Rescuer>>,
    restores: AtomicUsize,
    asked: Mutex<Asked>,
    laid_over: Mutex<BTreeSet<SegmentId>>,
}

/// What was asked for in vain, and when.
#[derive(Default)]
struct Asked {
    segments: BTreeMap<SegmentId, Instant>,
    away: Option<Instant>,
}

impl Asked {
    fn is_in_vain(&self, segment: SegmentId) -> bool {
        self.away.is_some_and(|at| at.elapsed() < AWAY)
            || self.segments.get(&segment).is_some_and(|at| at.elapsed() < AGAIN)
    }
}

/// A restore under way.
pub(crate) struct Restoring<'a>(&'a AtomicUsize);

impl Drop for Restoring<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Reading {
    /// From here on what a restore can't read is asked of `rescuer`.
    pub fn rescue_by(&self, rescuer: Box<Rescuer>) {
        // There's one way to the copies, and it stays.
        let _ = self.rescue.by.set(rescuer);
    }

    /// While this is held, what can't be read is brought from a copy.
    pub(crate) fn restoring(&self) -> Restoring<'_> {
        self.rescue.restores.fetch_add(1, Ordering::SeqCst);
        Restoring(&self.rescue.restores)
    }

    /// Whether a segment can be read from a copy now.
    pub(crate) fn rescue(&self, segment: SegmentId) -> bool {
        let Some(by) = self.rescue.by.get() else { return false };
        if self.rescue.restores.load(Ordering::SeqCst) == 0 {
            return false;
        }
        // Whoever else needs it waits.
        let mut asked = self.rescue.asked.lock().expect("no panics here");
        if self.is_laid_over(segment) {
            return true;
        }
        if asked.is_in_vain(segment) || self.copies(segment).map_or(true, |copies| copies.is_empty()) {
            return false;
        }
        match by(segment) {
            Rescued::Brought => return true,
            Rescued::NotThere => drop(asked.segments.insert(segment, Instant::now())),
            Rescued::NotReached => asked.away = Some(Instant::now()),
        }
        false
    }

    pub(crate) fn is_laid_over(&self, segment: SegmentId) -> bool {
        self.rescue.laid_over.lock().expect("no panics here").contains(&segment)
    }

    /// Notes that a copy is read in place of what the disk has, which counts as it is.
    pub(crate) fn note_laid_over(&self, segment: SegmentId) -> Result<()> {
        self.rescue.laid_over.lock().expect("no panics here").insert(segment);
        let found = self.check_below(segment)?;
        self.keep_unrecorded(&found, &BTreeSet::from([segment]));
        Ok(())
    }
}
