//! Going on where the cartridges of a library are: what they know of a vault and its folder lacks comes from them, before anything new
//! is written, so that no number that a cartridge knows is given out again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use coffer_format::event::{Event, Place};
use coffer_format::wire::SegmentHeld;
use coffer_format::{FileHash, SegmentId, VaultId};
use coffer_tape::Barcode;
use coffer_tape::container::ExpectedHash;
use coffer_vault::continuing::{Continuation, held_in, outline_of};
use coffer_vault::{Opener, Vault};

use super::Source;
use super::by_hand::Tapes;
use super::gathering::{Wanted, gather};
use super::labelling::give_up_stranger;
use super::learning::{Learned, learn_of};
use super::offline::holds;

/// What came from cartridges.
#[derive(Debug, Default)]
pub struct FromTapes {
    /// Segments that the folder lacked, or of which it lacked something.
    pub segments: usize,
    /// What couldn't be read, and why.
    pub lacking: BTreeMap<SegmentId, String>,
    held: Vec<SegmentHeld>,
    learned: Learned,
    /// Cartridges in the library that are blank, or have another label than their barcode and this vault.
    strangers: Vec<Barcode>,
}

/// Completes a vault's folder, which nobody has open, with what the cartridges in a library know beyond it: the outlines, and of what is
/// here in part the whole. Nothing is changed where the two have gone different ways.
pub fn complete_from_tapes(
    source: &Source,
    dir: &Path,
    vault: VaultId,
    opener: Opener,
    tell: &mut dyn FnMut(String),
) -> Result<FromTapes> {
    let mut tapes = Tapes::of_library(source, Box::new(|_| false))?;
    let work = tempfile::tempdir_in(dir).context("there's no room for what the tapes tell")?;
    let (mut labels, mut strangers) = (Vec::new(), Vec::new());
    for (barcode, label) in tapes.labels(tell)? {
        match label.filter(|label| label.vault == vault && label.barcode == barcode.as_str()) {
            Some(label) => labels.push(label),
            None => strangers.push(barcode),
        }
    }
    let Some(learned) = learn_of(&mut tapes, labels, work.path(), tell)? else {
        return Ok(FromTapes { strangers, ..FromTapes::default() });
    };
    let held = held_in(work.path())?;
    let mut continuation = Continuation::begin(dir, opener, held.clone())?;
    let plan = continuation.plan()?;
    if plan.has_own_line() {
        bail!(
            "the vault in {} and the tapes in the library have gone different ways, and only one of the two can be gone on with; nothing was changed. \
             To go on with the folder, take the tapes {} out of the library and start again; to go on with the tapes, move the folder away and make \
             it with `coffer rebuild-from-tape`",
            dir.display(),
            learned.barcodes().join(", ")
        );
    }
    let by_number: BTreeMap<SegmentId, SegmentHeld> = held.iter().map(|held| (held.segment, *held)).collect();
    for segment in &plan.outlines {
        if let Some(held) = by_number.get(segment) {
            continuation.put(*segment, &outline_of(work.path(), held)?)?;
        }
    }
    let wanted = plan.whole.iter().filter_map(|segment| {
        let held = by_number.get(segment)?;
        let (bytes, expected) = (held.bytes, ExpectedHash::BeforeTrailer(held.hash?));
        Some((*segment, Wanted { bytes, expected, copies: learned.copies_of(*segment) }))
    });
    let gathered =
        gather(&mut tapes, wanted.collect(), tell, &mut |segment, bytes| continuation.put(segment, bytes))?;
    let segments = plan.outlines.len() + plan.whole.len() - gathered.lost.len();
    if segments > 0 {
        continuation.finish()?;
    }
    Ok(FromTapes { segments, lacking: gathered.lost, held, learned, strangers })
}

/// Records what lies on the cartridges and how they stand: what was written last isn't told by any segment that they hold.
pub fn record_learned(vault: &Vault, from_tapes: &FromTapes) -> Result<()> {
    let reading = vault.reading();
    let known = reading.cartridges()?;
    let mut events: Vec<Event> = from_tapes
        .learned
        .looked_at()
        .filter(|event| match event {
            Event::CartridgeSet { barcode, number, containers, .. } => {
                let one = known.iter().find(|one| one.barcode == *barcode);
                one.is_none_or(|one| one.number != *number || one.containers < *containers)
            }
            _ => false,
        })
        .cloned()
        .collect();
    let hashes: BTreeMap<SegmentId, FileHash> =
        reading.segments()?.into_iter().filter_map(|state| Some((state.segment, state.hash?))).collect();
    for held in &from_tapes.held {
        // Of one that was given up since, or is another than the cartridges know, nothing is recorded.
        if held.hash.is_none() || hashes.get(&held.segment).copied() != held.hash {
            continue;
        }
        let there = reading.copies(held.segment)?;
        for copy in from_tapes.learned.copies_of(held.segment) {
            let is_known =
                |place: &Place| matches!(place, Place::Tape { barcode, .. } if *barcode == copy.barcode);
            if let (Some(hash), false) = (held.hash, there.iter().any(is_known)) {
                let place =
                    Place::Tape { barcode: copy.barcode, container: copy.container, block: copy.block };
                events.push(Event::CopyRecorded { segment: held.segment, hash, place });
            }
        }
    }
    if !events.is_empty() {
        vault.record(events)?;
    }
    let held_ours = |barcode: &Barcode| {
        known.iter().any(|one| one.barcode == barcode.as_str() && one.state.is_some_and(holds))
    };
    for barcode in from_tapes.strangers.iter().filter(|barcode| held_ours(barcode)) {
        give_up_stranger(vault, barcode)?;
    }
    Ok(())
}
