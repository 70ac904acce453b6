//! What reading segments back showed and couldn't be recorded, as the disk takes no writes or is full: it counts as recorded damage does for
//! as long as the vault is open.

use std::collections::BTreeSet;

use coffer_format::SegmentId;

use crate::catalog::{self, DamageKind, Stretch};
use crate::reading::Reading;
use crate::verify::{Damage, stretch_of};
use crate::{Result, VaultError};

/// Damage that no record tells of, and the segments of which nothing else counts.
#[derive(Debug, Default)]
pub(crate) struct Unrecorded {
    looked_at: BTreeSet<SegmentId>,
    damage: Vec<(Stretch, Vec<u8>)>,
}

impl Unrecorded {
    fn forget(&mut self, segment: SegmentId) {
        self.looked_at.remove(&segment);
        self.damage.retain(|(stretch, _)| stretch.segment != segment);
    }
}

impl Reading {
    /// All damage that is known and not mended, in order, recorded or not.
    pub(crate) fn all_damage(&self) -> Result<Vec<(Stretch, Vec<u8>)>> {
        let mut damage = self.readers.with(catalog::all_damage)?;
        let unrecorded = self.unrecorded.lock().expect("no panics here");
        // What a segment was closed with stays; all else is as the last look showed it.
        damage.retain(|(stretch, _)| {
            stretch.kind == DamageKind::Closed || !unrecorded.looked_at.contains(&stretch.segment)
        });
        let is_known = |one: &Stretch| {
            damage.iter().any(|(known, _)| (known.segment, known.offset) == (one.segment, one.offset))
        };
        let more: Vec<_> = unrecorded.damage.iter().filter(|(one, _)| !is_known(one)).cloned().collect();
        damage.extend(more);
        damage.sort_by_key(|(stretch, _)| (stretch.segment, stretch.offset));
        Ok(damage)
    }

    /// Keeps in mind what was found. In `looked_at` nothing else counts until the vault is opened anew: nothing can be recorded any more.
    pub(crate) fn keep_unrecorded(&self, found: &[Damage], looked_at: &BTreeSet<SegmentId>) {
        let segments: BTreeSet<_> =
            looked_at.iter().copied().chain(found.iter().map(|one| one.segment)).collect();
        segments.iter().for_each(|segment| self.forget_met(*segment));
        let mut unrecorded = self.unrecorded.lock().expect("no panics here");
        unrecorded.looked_at.extend(looked_at);
        unrecorded.damage.extend(found.iter().map(|one| (stretch_of(one), one.what.clone().into_bytes())));
    }

    /// The same where recording it failed, for want of room or of a disk that takes writes.
    pub(crate) fn keep_unless_recorded(&self, outcome: Result<()>, found: &[Damage]) -> Result<()> {
        outcome.inspect_err(|error| {
            if error.is_of_no_writes() || matches!(error, VaultError::ReadOnly) {
                tracing::warn!(%error, "the disk took no write, so what reading back found couldn't be recorded");
                self.keep_unrecorded(found, &BTreeSet::new());
            }
        })
    }

    /// Damage of these segments is recorded now, or gone.
    pub(crate) fn forget_unrecorded<'a>(&self, segments: impl IntoIterator<Item = &'a SegmentId>) {
        let mut unrecorded = self.unrecorded.lock().expect("no panics here");
        segments.into_iter().for_each(|segment| unrecorded.forget(*segment));
    }
}
