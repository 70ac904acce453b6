//! Cartridges that another line of this vault's history has written. A box that was replaced from an older copy of its vault, or whose vault
//! was set back, doesn't know what came after; cartridges may hold it. Such a cartridge is never written: what it holds may be nowhere else.

use coffer_format::SegmentId;
use coffer_format::container::Label;
use coffer_format::event::CartridgeState;
use coffer_tape::container::{Outline, SegmentPlace, read_outline, scan_cartridge};
use coffer_tape::{Barcode, Drive};
use coffer_vault::Vault;

use super::labelling::blank_state;
use super::media::Tape;
use super::{TapeJob, Trouble};

/// A label is written a moment before that's recorded.
const SLACK_MS: u64 = 3_600_000;

/// What is known here of a cartridge.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    labelled_ms: Option<u64>,
    containers: u32,
}

impl Known {
    pub(super) fn of(tape: Option<&Tape>) -> Known {
        let known = tape.filter(|tape| tape.state.is_some());
        Known {
            labelled_ms: known.map(|tape| tape.labelled_ms),
            containers: known.map_or(0, |tape| tape.containers),
        }
    }

    /// Whether all containers before that one are known.
    pub(super) fn has_all_before(&self, next: u32) -> bool {
        next <= self.containers + 1
    }

    /// Whether a label is newer than the one that is known.
    pub(super) fn is_older_than(&self, label: &Label) -> bool {
        self.labelled_ms.is_some_and(|known_ms| label.created_ms > known_ms + SLACK_MS)
    }
}

/// Whether a cartridge of this vault has containers that this line of its history didn't write. One that it wrote, and that a crash kept it
/// from recording, is its own.
pub(super) fn is_of_other_line(drive: &mut Drive, vault: &Vault, known: Known) -> Result<bool, Trouble> {
    let contents = scan_cartridge(drive)?;
    let unknown: Vec<SegmentPlace> =
        contents.places().filter(|place| place.container > known.containers).collect();
    let numbers: Vec<SegmentId> = unknown.iter().map(|place| place.entry.segment).collect();
    if !vault.never_made(&numbers)?.is_empty() {
        return Ok(true);
    }
    // The numbers are known: whether it's the same segments, the newest tells.
    let Some(newest) = unknown.iter().max_by_key(|place| place.entry.segment) else { return Ok(false) };
    match read_outline(drive, &contents.label, newest) {
        Ok(Outline { segment, bytes, .. }) => Ok(!vault.is_own(segment, &bytes)?),
        // The numbers are all that can be told.
        Err(error) if error.is_damage() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl TapeJob {
    /// Leaves a cartridge as it is, with what is known to be on it, and says so.
    pub(super) fn leave_to_other_line(
        &self,
        vault: &Vault,
        barcode: &Barcode,
        tape: Option<&Tape>,
    ) -> Result<(), Trouble> {
        tracing::error!(%barcode, "a cartridge was written by another history of this vault: it's left as it is");
        vault.audit(
            "box",
            &format!("left tape {barcode} alone: another history of this vault has written it"),
        )?;
        let state = match tape {
            // What was written before the two parted still counts.
            Some(tape) if !tape.holds.is_empty() => tape.with_state(barcode, CartridgeState::Full),
            _ => blank_state(barcode, CartridgeState::Foreign),
        };
        vault.record(vec![state])?;
        self.state().parted.insert(barcode.clone());
        Ok(())
    }
}

/// What is said of such cartridges.
pub(super) fn sentence(barcode: &Barcode) -> String {
    format!(
        "Tape {barcode} holds data of this vault that this box doesn't know: another history of it, from before the box was replaced or set back. It's \
         left as it is. `coffer tape read` restores from it; if nothing of it is needed, `coffer tape take {barcode}` has it used again."
    )
}
