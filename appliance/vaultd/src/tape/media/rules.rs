//! What the settings say about tape, in the units that decisions are made in.

use coffer_format::event::CartridgeState;

use super::{Calendar, Tape};

/// What media are used for, and how long.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The media set that stays in the library.
    pub branch: String,
    pub offsite: Option<OffSite>,
    /// Verified copies that a segment must keep when it isn't on disk; at least 1 is kept whatever this says.
    pub copies_before_eviction: u32,
    /// A run starts when so much is waiting, and at the latest when something has waited for so long.
    pub start_bytes: u64,
    pub every_ms: u64,
    /// Scratch cartridges to keep at hand: below that, cartridges are recycled and emptied.
    pub spare_tapes: usize,
    /// A cartridge is emptied if less than this part of it (in percent) is still needed.
    pub empty_below_percent: u64,
    /// A cartridge of the branch set that has been away for longer is lost.
    pub missing_ms: u64,
    /// Bytes a cartridge takes; nothing: what full ones took, or what their barcodes say.
    pub capacity_bytes: Option<u64>,
    /// Bytes that may be read back to disk at a time, to be written to another cartridge.
    pub read_back_bytes: u64,
}

/// The set that goes out of the house.
#[derive(Debug, Clone)]
pub struct OffSite {
    pub set: String,
    pub calendar: Calendar,
}

impl Rules {
    /// Every set that must hold a copy of every segment, the branch's first.
    pub fn sets(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.branch).chain(self.offsite.iter().map(|offsite| &*offsite.set))
    }

    pub(super) fn is_offsite(&self, tape: &Tape) -> bool {
        self.offsite.as_ref().is_some_and(|offsite| offsite.set == tape.set)
    }

    /// Whether a cartridge is one of a set's, in a state in which it belongs to a set.
    pub(super) fn is_in_use(&self, tape: &Tape) -> bool {
        use CartridgeState::*;
        let in_use = matches!(tape.state, Some(Filling | Full | Emptying | Damaged));
        in_use && self.sets().any(|set| set == tape.set)
    }
}
