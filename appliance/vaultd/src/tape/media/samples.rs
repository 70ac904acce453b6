//! Small stocks for tests.

use std::ops::{Deref, DerefMut};

use coffer_format::SegmentId;
use coffer_format::event::CartridgeState;
use coffer_tape::Barcode;

use super::{Calendar, OffSite, Rules, Segment, Spot, Stock, Tape};

/// A stock that is easy to fill.
pub(super) struct Sample(Stock);

impl Deref for Sample {
    type Target = Stock;
    fn deref(&self) -> &Stock {
        &self.0
    }
}
impl DerefMut for Sample {
    fn deref_mut(&mut self) -> &mut Stock {
        &mut self.0
    }
}

pub(super) fn barcode(text: &str) -> Barcode {
    text.parse().unwrap()
}

pub(super) fn stock() -> Sample {
    Sample(Stock {
        now_ms: 1_000_000,
        free_slots: 4,
        mail_slots: 1,
        free_mail_slots: 1,
        drives: 1,
        ..Stock::default()
    })
}

impl Sample {
    pub(super) fn add(&mut self, name: &str, state: Option<CartridgeState>, set: &str) -> &mut Tape {
        let containers = u32::from(state.is_some());
        let tape = Tape { state, set: set.into(), containers, ..Tape::unknown(Spot::Library) };
        self.0.tapes.entry(barcode(name)).insert_entry(tape).into_mut()
    }

    pub(super) fn tape(&mut self, name: &str) -> &mut Tape {
        self.0.tapes.get_mut(&barcode(name)).unwrap()
    }

    /// A segment of 100 bytes.
    pub(super) fn segment(&mut self, number: u64, on_disk: bool) {
        self.0
            .segments
            .insert(SegmentId(number), Segment { bytes: 100, needed_bytes: 100, on_disk, at_hq: false });
    }
}

pub(super) fn rules() -> Rules {
    Rules {
        branch: "branch".into(),
        offsite: Some(OffSite {
            set: "offsite".into(),
            calendar: Calendar::weekly("friday", "16:00").unwrap(),
        }),
        copies_before_eviction: 1,
        start_bytes: 1000,
        every_ms: 24 * 3_600_000,
        spare_tapes: 1,
        empty_below_percent: 50,
        missing_ms: 7 * 24 * 3_600_000,
        capacity_bytes: Some(1000),
        read_back_bytes: 1 << 30,
    }
}
