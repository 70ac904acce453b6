//! Files of newest points that lie only on tapes which couldn't be read when they were needed: until one can be, a restore doesn't
//! give them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coffer_format::{ConfigId, SegmentId};
use coffer_vault::VaultError;

use crate::serve::Appliance;
use crate::tape::{TapeJob, only_on_unread};

/// Versions are looked through again only after so many times as long as that took.
const REST: u32 = 20;

/// How many there are of each configuration.
type Counts = BTreeMap<ConfigId, u64>;

/// What was found last.
#[derive(Default)]
pub(crate) struct OnUnread(Mutex<Option<Found>>);

struct Found {
    segments: BTreeSet<SegmentId>,
    ended: Instant,
    took: Duration,
    counts: Counts,
}

impl OnUnread {
    pub(super) fn counts(&self, appliance: &Appliance) -> Result<Counts, VaultError> {
        let unread = appliance.tape.as_ref().map(TapeJob::unread).unwrap_or_default();
        let segments = only_on_unread(&appliance.vault, &unread)?;
        if segments.is_empty() {
            return Ok(Counts::new());
        }
        if let Some(found) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && found.segments == segments
            && found.ended.elapsed() < found.took * REST
        {
            return Ok(found.counts.clone());
        }
        let started = Instant::now();
        let counts = appliance.vault.reading().impact(&segments, 0)?.of_newest;
        let found =
            Found { segments, ended: Instant::now(), took: started.elapsed(), counts: counts.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(counts)
    }
}
