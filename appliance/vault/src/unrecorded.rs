//! What reading segments back showed and couldn't be recorded, as the disk takes no writes or is full: it counts as recorded damage does for
//! as long as the vault is open.

use std::collections::BTreeSet;

use coffer_format::SegmentId;

use crate::Result;
use crate::catalog::{self, DamageKind, Stretch};
use crate::reading::Reading;
use crate::verify::{Damage, stretch_of};

/// Damage that no record tells of, and the segments that it was looked for in.
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
        damage.extend(unrecorded.damage.iter().cloned());
        damage.sort_by_key(|(stretch, _)| (stretch.segment, stretch.offset));
        Ok(damage)
    }

    /// Keeps in mind what was found in segments that were looked at, in place of what was known of them.
    pub(crate) fn keep_unrecorded(&self, found: &[Damage], looked_at: &BTreeSet<SegmentId>) {
        let segments: BTreeSet<_> =
            looked_at.iter().copied().chain(found.iter().map(|one| one.segment)).collect();
        segments.iter().for_each(|segment| self.forget_met(*segment));
        let mut unrecorded = self.unrecorded.lock().expect("no panics here");
        unrecorded.looked_at.extend(segments);
        unrecorded.damage.extend(found.iter().map(|one| (stretch_of(one), one.what.clone().into_bytes())));
    }

    /// Damage of these segments is recorded now, or gone.
    pub(crate) fn forget_unrecorded<'a>(&self, segments: impl IntoIterator<Item = &'a SegmentId>) {
        let mut unrecorded = self.unrecorded.lock().expect("no panics here");
        segments.into_iter().for_each(|segment| unrecorded.forget(*segment));
    }
}
