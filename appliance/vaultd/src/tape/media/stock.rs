//! What is known of all media at one moment, from the catalog and from what the robot sees.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::SegmentId;
use coffer_format::event::{CartridgeState, Event};
use coffer_tape::Barcode;

/// Where a cartridge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// In a slot, or in a drive that can be used.
    Library,
    /// In a drive that failed: it can't be got at.
    Stuck,
    /// In the mail slot, put there by a person.
    Arrived,
    /// In the mail slot, for a person to take out.
    Leaving,
    Away,
}

/// A closed segment that the vault keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub bytes: u64,
    /// What kept points need of it, as of when that was last looked for; the rest goes when it's written anew.
    pub needed_bytes: u64,
    pub on_disk: bool,
    pub at_hq: bool,
}

/// One cartridge. `written` in bytes, times in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tape {
    /// `None`: the catalog doesn't know it.
    pub state: Option<CartridgeState>,
    pub set: String,
    pub number: u32,
    pub containers: u32,
    pub written: u64,
    pub labelled_ms: u64,
    pub moved_ms: u64,
    pub loads: u32,
    pub failed_in_a_row: u32,
    /// A drive says that it shouldn't be used any more.
    pub is_worn: bool,
    pub spot: Spot,
    /// Segments with a verified copy on it.
    pub holds: BTreeSet<SegmentId>,
}

/// Everything that decisions are made from.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    pub now_ms: u64,
    /// Whether `now_ms` may be wrong: nothing is given up by age then.
    pub is_clock_in_doubt: bool,
    /// Data cartridges that the catalog knows or the robot sees.
    pub tapes: BTreeMap<Barcode, Tape>,
    pub segments: BTreeMap<SegmentId, Segment>,
    pub free_slots: usize,
    pub mail_slots: usize,
    pub free_mail_slots: usize,
    /// Drives that can be used.
    pub drives: usize,
    /// Drives that asked to be cleaned, where there is something to clean them with.
    pub to_clean: BTreeSet<usize>,
}

impl Tape {
    /// That it's in another state now; the rest is as it was.
    pub fn with_state(&self, barcode: &Barcode, state: CartridgeState) -> Event {
        Event::CartridgeSet {
            barcode: barcode.to_string(),
            state,
            set: self.set.clone(),
            number: self.number,
            containers: self.containers,
            written: self.written,
        }
    }

    /// One that the robot has just seen for the first time.
    pub fn unknown(spot: Spot) -> Tape {
        Tape {
            state: None,
            set: String::new(),
            number: 0,
            containers: 0,
            written: 0,
            labelled_ms: 0,
            moved_ms: 0,
            loads: 0,
            failed_in_a_row: 0,
            is_worn: false,
            spot,
            holds: BTreeSet::new(),
        }
    }

    /// Whether the copies on it make its set whole.
    pub(super) fn counts(&self) -> bool {
        matches!(self.state, Some(CartridgeState::Filling | CartridgeState::Full))
    }

    /// Whether it may be labelled anew: scratch, given to us, or one that nobody has looked at yet.
    pub(super) fn is_spare(&self) -> bool {
        use CartridgeState::{Scratch, Taken};
        self.spot == Spot::Library && matches!(self.state, None | Some(Scratch | Taken))
    }
}

impl Stock {
    /// Segments that have a copy on a cartridge of this set.
    pub fn covered(&self, set: &str) -> BTreeSet<SegmentId> {
        let tapes = self.tapes.values().filter(|tape| tape.set == set && tape.counts());
        tapes.flat_map(|tape| tape.holds.iter().copied()).collect()
    }

    /// Segments that this set doesn't hold, oldest first.
    pub fn missing(&self, set: &str) -> Vec<SegmentId> {
        let covered = self.covered(set);
        self.segments.keys().filter(|segment| !covered.contains(segment)).copied().collect()
    }

    /// What this set doesn't hold and could be written now.
    pub fn writable(&self, set: &str) -> Vec<SegmentId> {
        let mut missing = self.missing(set);
        missing.retain(|segment| self.segments[segment].on_disk);
        missing
    }

    pub fn bytes(&self, segments: &[SegmentId]) -> u64 {
        segments.iter().filter_map(|segment| self.segments.get(segment)).map(|one| one.bytes).sum()
    }

    /// Bytes on a cartridge that are still needed.
    pub(super) fn live_bytes(&self, tape: &Tape) -> u64 {
        tape.holds.iter().filter_map(|segment| self.segments.get(segment)).map(|one| one.needed_bytes).sum()
    }

    /// Whether the vault keeps anything that is on a cartridge.
    pub(super) fn holds_anything(&self, tape: &Tape) -> bool {
        tape.holds.iter().any(|segment| self.segments.contains_key(segment))
    }

    /// Media other than `except` that hold a verified copy.
    pub(super) fn copies_besides(&self, segment: SegmentId, except: &Barcode) -> usize {
        let on_tape = self.tapes.iter().filter(|(barcode, tape)| {
            *barcode != except && tape.state != Some(CartridgeState::Lost) && tape.holds.contains(&segment)
        });
        let at_hq = self.segments.get(&segment).is_some_and(|one| one.at_hq);
        on_tape.count() + usize::from(at_hq)
    }

    /// Segments that are neither on disk nor anywhere else.
    pub(in crate::tape) fn orphans(&self) -> BTreeSet<SegmentId> {
        let held: BTreeSet<SegmentId> =
            self.tapes.values().flat_map(|tape| tape.holds.iter().copied()).collect();
        let is_orphan = |(segment, state): &(&SegmentId, &Segment)| {
            !state.on_disk && !state.at_hq && !held.contains(segment)
        };
        self.segments.iter().filter(is_orphan).map(|(segment, _)| *segment).collect()
    }

    pub(in crate::tape) fn spares(&self) -> usize {
        self.tapes.values().filter(|tape| tape.is_spare()).count()
    }
}
