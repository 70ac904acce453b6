//! What the tape job remembers between runs, for screens and people. Nothing durable: all of it is found out again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coffer_format::SegmentId;
use coffer_format::event::CartridgeState;
use coffer_tape::Barcode;

use super::TapeJob;
use super::media::{Plan, Pressure, Request, Rules, Spot, Step, Stock, Tape, due, forecast, request};
use super::mounting::Benched;
use super::parted;
use super::stocktaking::Taken;
use super::unread::UnreadTapes;

/// See above.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) benched: Vec<Benched>,
    /// Cartridges that restores wait for.
    pub(super) wanted: BTreeSet<Barcode>,
    /// Sets that could not be written for want of a cartridge.
    lacking: BTreeSet<String>,
    /// Drives that can be used.
    drives: usize,
    blanks: usize,
    request: Option<Request>,
    forecast: Option<String>,
    /// Drives that didn't answer when the library was opened, and why.
    pub(super) silent: Vec<(String, String)>,
    /// When drives that don't answer were last tried.
    pub(super) silent_tried_ms: u64,
    /// Why the last run ended early.
    pub(super) failure: Option<String>,
    pub(super) not_before_ms: u64,
    /// What kept points need of data segments; what isn't named counts whole.
    pub(super) needed: Arc<BTreeMap<SegmentId, u64>>,
    /// Drives that asked to be cleaned.
    pub(super) dirty: BTreeSet<usize>,
    /// No cleaning cartridge here can be used, or for much longer.
    pub(super) no_cleaner: bool,
    /// Cartridges that a drive says are worn out, or of which several copies couldn't be read.
    pub(super) worn: BTreeSet<Barcode>,
    /// Copies that couldn't be read and aren't on tape again yet, by cartridge.
    pub(super) unreadable: BTreeMap<Barcode, BTreeSet<SegmentId>>,
    /// Cartridges that another history of this vault has written.
    pub(super) parted: BTreeSet<Barcode>,
    /// Cartridges that couldn't be read when they were needed; these are kept in a file.
    pub(super) unread: UnreadTapes,
    here: BTreeSet<Barcode>,
}

impl Memory {
    /// Whether it's worth starting again after a run that couldn't do everything.
    pub(super) fn may_try(&self, stock: &Stock) -> bool {
        stock.now_ms >= self.not_before_ms || here(stock) != self.here
    }

    pub(super) fn remember(&mut self, rules: &Rules, taken: &Taken, plan: &Plan, pressure: Pressure) {
        let stock = &taken.stock;
        self.drives = stock.drives;
        self.forget_rewritten(stock);
        self.unread.forget_empty(stock);
        if pressure == Pressure::Write {
            let lacks = plan.steps.iter().filter_map(|step| match step {
                Step::Lack { set, .. } => Some(set.clone()),
                _ => None,
            });
            self.lacking = lacks.collect();
            // The last cartridge is in use and none comes free: another will be needed before long.
            let is_last = stock.spares() == 0 && !is_making_room(stock, plan);
            self.blanks = self.lacking.len().max(usize::from(is_last));
            // Starting again at once would end the same way.
            let is_short = !self.lacking.is_empty() || stock.drives == 0 || due(stock, rules, None).is_some();
            self.not_before_ms = if is_short { stock.now_ms + super::tending::RETRY_MS } else { 0 };
            self.here = here(stock);
        }
        self.request = request(stock, rules, &self.wanted, self.blanks);
        self.forecast = forecast(stock, rules, taken.bytes_per_day).map(|forecast| forecast.to_string());
    }
}

/// Whether a cartridge is being emptied here. One that is away comes back when it comes back.
fn is_making_room(stock: &Stock, plan: &Plan) -> bool {
    let is_emptied = |tape: &Tape| tape.state == Some(CartridgeState::Emptying) && tape.spot == Spot::Library;
    stock.tapes.values().any(is_emptied)
        || plan.steps.iter().any(|step| matches!(step, Step::Empty(_) | Step::Recycle(..)))
}

fn here(stock: &Stock) -> BTreeSet<Barcode> {
    let here = stock.tapes.iter().filter(|(_, tape)| tape.spot != Spot::Away);
    here.map(|(barcode, _)| barcode.clone()).collect()
}

impl TapeJob {
    /// What a person at the library is asked to do, in one sentence.
    pub fn request(&self) -> Option<Request> {
        self.state().request.clone()
    }

    /// Says which cartridges restores wait for; what is in the library already is not asked for.
    pub(crate) fn ask_for(&self, barcodes: BTreeSet<Barcode>) {
        self.state().wanted = barcodes;
    }

    /// What a person should know of tape, what is asked of them first.
    pub fn sentences(&self) -> Vec<String> {
        let state = self.state();
        let mut told: Vec<String> = state.request.iter().map(ToString::to_string).collect();
        let then = match state.drives {
            0 => "Until then what is new is only on this box's disk.",
            _ => "Another drive does its work.",
        };
        for benched in &state.benched {
            told.push(format!(
                "Tape drive {} failed ({}): it's tried again by itself; call service if this stays. {then}",
                benched.index, benched.why
            ));
        }
        for (device, why) in &state.silent {
            told.push(format!(
                "Tape drive {device} doesn't answer ({why}): check its power and cables; it's tried again by itself. {then}"
            ));
        }
        if let Some(failure) = &state.failure {
            told.push(format!(
                "The last tape run ended early, and nothing more goes to tape until one succeeds: {failure}. It's tried again by itself within half \
                 an hour; `coffer tape run` tries at once."
            ));
        }
        told.extend(state.unread.sentences());
        told.extend(state.unreadable_sentences());
        told.extend(state.parted.iter().map(parted::sentence));
        told.extend(state.cleaning_sentence());
        told.extend(state.forecast.clone());
        told
    }
}
