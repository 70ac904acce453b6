//! What a read met that isn't as it was written: kept in mind until the segment is read back closely, so that it's listed as damage and
//! heals, whoever read it and for what.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::SegmentId;

use crate::catalog::Doubt;
use crate::reading::Reading;
use crate::vault::Vault;
use crate::{Result, VaultError};

/// Most places that are kept in mind. Those beyond are met again.
const SUSPECTS_MAX: usize = 4096;

/// It isn't known where.
const ANYWHERE: u64 = u64::MAX;

/// Segments, and the offsets at which they couldn't be read.
pub(crate) type Suspects = BTreeSet<(SegmentId, u64)>;

impl Reading {
    /// Keeps in mind that a segment couldn't be read at an offset in bytes.
    pub fn suspect(&self, segment: SegmentId, offset: u64) {
        let mut suspects = self.suspects.lock().expect("no panics here");
        if segment != SegmentId(0) && suspects.len() < SUSPECTS_MAX {
            suspects.insert((segment, offset));
        }
    }

    /// Keeps in mind that a segment isn't what it was when it was closed, wherever that is.
    pub fn suspect_segment(&self, segment: SegmentId) {
        self.suspect(segment, ANYWHERE);
    }

    /// Keeps in mind what an error says of a segment.
    pub(crate) fn note_met(&self, error: &VaultError) {
        match error {
            VaultError::Damaged { segment, offset, .. } => self.suspect(*segment, *offset),
            VaultError::NotOnDisk(segments) => segments.iter().for_each(|segment| self.suspect(*segment, 0)),
            _ => {}
        }
    }

    /// A segment's bytes were put right, or were read back closely: what reads met of it before counts no more.
    pub(crate) fn forget_met(&self, segment: SegmentId) {
        self.suspects.lock().expect("no panics here").retain(|(of, _)| *of != segment);
        self.forget_unrecorded([&segment]);
    }

    /// Places that reads met, of segments that should be here, and that aren't listed as damaged; how many there are of each
    /// segment.
    pub fn suspected(&self) -> Result<BTreeMap<SegmentId, usize>> {
        let suspects = self.suspects.lock().expect("no panics here").clone();
        let mut unlisted = BTreeMap::new();
        if suspects.is_empty() {
            return Ok(unlisted);
        }
        let known = self.all_damage()?;
        let states = self.segments()?;
        let here: BTreeSet<_> =
            states.iter().filter(|state| state.on_disk).map(|state| state.segment).collect();
        for (segment, offset) in suspects.into_iter().filter(|(segment, _)| here.contains(segment)) {
            let mut known = known.iter().map(|(stretch, _)| stretch).filter(|one| one.segment == segment);
            if !known.any(|stretch| offset == ANYWHERE || stretch.overlaps(offset, 1)) {
                *unlisted.entry(segment).or_default() += 1;
            }
        }
        Ok(unlisted)
    }
}

impl Vault {
    /// Reads segments back in which a read met something that isn't as it was written, so that it's listed and heals. What is
    /// listed already isn't read again. Returns the number of damaged places.
    pub fn look_at_suspects(&self) -> Result<usize> {
        self.check_writable()?;
        let met = self.reading.suspected()?;
        self.reading
            .suspects
            .lock()
            .expect("no panics here")
            .retain(|(segment, _)| met.contains_key(segment));
        let (mut places, mut failed) = (0, None);
        for segment in met.into_keys() {
            let found = match self.scrub(segment, &mut |_| true) {
                Ok(found) => found,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            let suspects = self.reading.suspects.lock().expect("no panics here");
            let was_at_a_place = suspects.iter().any(|(of, at)| *of == segment && *at != ANYWHERE);
            drop(suspects);
            self.reading.forget_met(segment);
            if found == Some(0) && was_at_a_place {
                // Then what led there isn't right.
                self.reading.readers.doubt(Doubt::Rows);
            }
            places += found.unwrap_or(0);
        }
        failed.map_or(Ok(places), Err)
    }
}
