//! Copies that turn out to be unreadable: they count no more, so what they were of is written to tape again.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::SegmentId;
use coffer_format::event::{Event, Place};
use coffer_tape::Barcode;
use coffer_vault::{Vault, VaultError};

use super::TapeJob;
use super::media::Stock;
use super::order::Copy;
use super::remembering::Memory;

/// So many copies that can't be read make a cartridge suspect: what is on it is copied elsewhere.
const UNREADABLE_MAX: usize = 2;

impl TapeJob {
    /// Has copies count no more, each with the reason. A cartridge that held the last copy of anything isn't used again: somebody may
    /// still be able to read it.
    pub(super) fn lose(&self, vault: &Vault, copies: &[(SegmentId, Copy, String)]) -> Result<(), VaultError> {
        let mut by_tape: BTreeMap<&str, BTreeSet<SegmentId>> = BTreeMap::new();
        for (segment, copy, why) in copies {
            let Copy { barcode, container, block } = copy.clone();
            tracing::error!(%segment, barcode, why, "a copy on tape can't be read; it counts no more");
            vault.audit("box", &format!("the copy of segment {segment} on tape {barcode} can't be read ({why}), and counts no more"))?;
            vault.record(vec![Event::CopyLost {
                segment: *segment,
                place: Place::Tape { barcode, container, block },
            }])?;
            by_tape.entry(&copy.barcode).or_default().insert(*segment);
        }
        let all = copies.iter().map(|(segment, ..)| *segment).collect();
        let nowhere = nowhere_else(vault, all)?;
        vault.note_missing(nowhere.clone())?;
        for (barcode, segments) in by_tape {
            vault.record(vec![failed_reads(barcode, segments.len())])?;
            let holds_last = !nowhere.is_disjoint(&segments);
            self.state().note_unreadable(barcode, segments, holds_last);
        }
        Ok(())
    }
}

/// Of those segments, the ones that are neither sound on disk nor have another copy.
fn nowhere_else(vault: &Vault, mut segments: BTreeSet<SegmentId>) -> Result<BTreeSet<SegmentId>, VaultError> {
    let reading = vault.reading();
    let unsound = reading.unsound()?;
    for state in vault.segments()?.iter().filter(|state| state.on_disk && !unsound.contains(&state.segment)) {
        segments.remove(&state.segment);
    }
    for copy in reading.all_copies()? {
        segments.remove(&copy.segment);
    }
    Ok(segments)
}

/// Counts against the cartridge, and not against the drive, which read the rest.
fn failed_reads(barcode: &str, errors: usize) -> Event {
    let (barcode, drive) = (barcode.to_owned(), String::new());
    Event::TapeUsed { barcode, drive, loads: 0, written: 0, read: 0, errors: errors as u32 }
}

impl Memory {
    fn note_unreadable(&mut self, barcode: &str, segments: BTreeSet<SegmentId>, holds_last: bool) {
        let Ok(barcode) = barcode.parse::<Barcode>() else { return };
        let unreadable = self.unreadable.entry(barcode.clone()).or_default();
        unreadable.extend(segments);
        if holds_last || unreadable.len() >= UNREADABLE_MAX {
            self.worn.insert(barcode);
        }
    }

    /// What was written to tape again, or is kept no more, isn't told any longer.
    pub(super) fn forget_rewritten(&mut self, stock: &Stock) {
        let is_on_tape = |segment: &SegmentId| stock.tapes.values().any(|tape| tape.holds.contains(segment));
        for segments in self.unreadable.values_mut() {
            segments.retain(|segment| stock.segments.contains_key(segment) && !is_on_tape(segment));
        }
        self.unreadable.retain(|_, segments| !segments.is_empty());
    }

    pub(super) fn unreadable_sentences(&self) -> impl Iterator<Item = String> {
        self.unreadable.iter().map(|(barcode, segments)| {
            let (count, some) = match segments.len() {
                1 => ("A copy".to_owned(), "counts"),
                many => (format!("{many} copies"), "count"),
            };
            let tape = match self.worn.contains(barcode) {
                true => " Everything on that tape is copied elsewhere, and it isn't used again.",
                false => "",
            };
            format!(
                "{count} on tape {barcode} couldn't be read and {some} no more: what they held is written to tape again by itself, from this \
                 box's disk, another tape or headquarters.{tape}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_with_several_unreadable_copies_is_suspect() {
        let mut memory = Memory::default();
        memory.note_unreadable("COF001L6", [SegmentId(1)].into(), false);
        assert!(memory.worn.is_empty());
        let told: Vec<String> = memory.unreadable_sentences().collect();
        assert!(
            told[0].starts_with("A copy on tape COF001L6 couldn't be read and counts no more"),
            "{told:?}"
        );
        memory.note_unreadable("COF001L6", [SegmentId(2)].into(), false);
        assert_eq!(memory.worn.len(), 1);
        let told: Vec<String> = memory.unreadable_sentences().collect();
        assert!(told[0].starts_with("2 copies") && told[0].contains("isn't used again"), "{told:?}");
        memory.forget_rewritten(&Stock::default());
        assert_eq!(memory.unreadable_sentences().count(), 0);
    }

    #[test]
    fn a_tape_that_held_the_last_copy_is_not_used_again() {
        let mut memory = Memory::default();
        memory.note_unreadable("COF001L6", [SegmentId(1)].into(), true);
        assert_eq!(memory.worn.len(), 1);
    }
}
