//! Everything that should be done with media now, in order, to be shown before it's done.

use std::collections::BTreeSet;
use std::fmt;

use coffer_format::SegmentId;
use coffer_format::event::CartridgeState;
use coffer_tape::Barcode;
use serde::Serialize;

use super::{Rules, Spot, Stock, health, next_cartridge, offsite, recycling};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Move what a person put into the mail slot to a slot.
    TakeIn(Barcode),
    /// It has been away for too long: its copies count no more.
    GiveUpLost(Barcode),
    /// It was counted as lost and is back: read from it what is nowhere else.
    Rescue(Barcode),
    /// It failed or is worn out: copy what is on it elsewhere, then retire it.
    SetDamaged(Barcode),
    /// Nothing on it is needed from it any more: it may be overwritten (or, if it's damaged, is retired).
    Recycle(Barcode, CartridgeState),
    /// Copy what is still needed of it elsewhere, so that it can be recycled.
    Empty(Barcode),
    /// Bring segments back to disk, to write them to `set`.
    ReadBack { set: String, segments: Vec<SegmentId>, bytes: u64 },
    /// Write what `set` doesn't hold yet.
    Write { set: String, on: Barcode, segments: usize, bytes: u64 },
    /// Writing to `set` needs a cartridge that isn't here.
    Lack { set: String, bytes: u64 },
    /// Move it to the mail slot.
    Eject(Barcode),
    /// Clean the drive with this number.
    Clean(usize),
}

/// Whether writing is asked for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tape) enum Pressure {
    /// Only what needs no drive, or little of it.
    None,
    Write,
}

/// What was no use in this run, and isn't tried again before the next.
#[derive(Debug, Clone, Default)]
pub(in crate::tape) struct Tried {
    pub(in crate::tape) tapes: BTreeSet<Barcode>,
    /// Segments that couldn't be read where they should be.
    pub(in crate::tape) segments: BTreeSet<SegmentId>,
}

/// What to do, in order. After each step the rest may look different.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
}

impl Plan {
    /// Decides.
    pub(in crate::tape) fn of(stock: &Stock, rules: &Rules, pressure: Pressure, tried: &Tried) -> Plan {
        let mut steps = Vec::new();
        let arrived = stock.tapes.iter().filter(|(_, tape)| tape.spot == Spot::Arrived);
        steps.extend(arrived.take(stock.free_slots).map(|(barcode, _)| Step::TakeIn(barcode.clone())));
        steps.extend(health::lost(stock, rules).into_iter().map(Step::GiveUpLost));
        steps.extend(plan_rescue(stock, tried));
        steps.extend(health::damaged(stock, rules).into_iter().map(Step::SetDamaged));
        let recycled = recycling::to_recycle(stock, rules).into_iter().map(|barcode| {
            let next = recycling::state_after(stock.tapes[&barcode].state);
            Step::Recycle(barcode, next)
        });
        steps.extend(recycled);
        steps.extend(stock.to_clean.iter().copied().map(Step::Clean));
        if !steps.is_empty() {
            // What follows depends on how these go.
            return Plan { steps };
        }
        if pressure == Pressure::Write && stock.drives > 0 {
            for set in rules.sets() {
                steps.extend(recycling::to_empty(stock, rules, set).map(Step::Empty));
                steps.extend(plan_writing(stock, rules, set, tried));
            }
        }
        steps.extend(plan_ejecting(stock, rules, pressure, &steps));
        Plan { steps }
    }
}

fn plan_writing(stock: &Stock, rules: &Rules, set: &str, tried: &Tried) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut writable, mut back) = (stock.writable(set), recycling::to_read_back(stock, rules, set));
    writable.retain(|segment| !tried.segments.contains(segment));
    back.retain(|segment| !tried.segments.contains(segment));
    let waiting = stock.bytes(&writable) + stock.bytes(&back);
    if writable.is_empty() && back.is_empty() {
        return steps;
    }
    let Some(choice) = next_cartridge(stock, set, &tried.tapes) else {
        return vec![Step::Lack { set: set.into(), bytes: waiting }];
    };
    if !writable.is_empty() {
        let (segments, bytes) = (writable.len(), stock.bytes(&writable));
        steps.push(Step::Write { set: set.into(), on: choice.barcode().clone(), segments, bytes });
    } else {
        let bytes = stock.bytes(&back);
        steps.push(Step::ReadBack { set: set.into(), segments: back, bytes });
    }
    steps
}

fn plan_rescue(stock: &Stock, tried: &Tried) -> Vec<Step> {
    let back = stock.tapes.iter().filter(|(barcode, tape)| {
        tape.state == Some(CartridgeState::Lost)
            && tape.spot == Spot::Library
            && !tried.tapes.contains(*barcode)
    });
    let mut back = back.map(|(barcode, _)| Step::Rescue(barcode.clone())).peekable();
    let is_needed = back.peek().is_some() && stock.drives > 0 && !stock.orphans().is_empty();
    back.filter(|_| is_needed).collect()
}

/// Retired cartridges leave at once; the off-site set on the calendar, after what it can take was written.
fn plan_ejecting(stock: &Stock, rules: &Rules, pressure: Pressure, before: &[Step]) -> Vec<Step> {
    let mut leaving = health::retired(stock);
    let writes = before.iter().any(|step| matches!(step, Step::Write { .. } | Step::ReadBack { .. }));
    if pressure == Pressure::Write && !writes || stock.drives == 0 {
        leaving.extend(offsite::to_eject(stock, rules));
    }
    leaving.into_iter().take(stock.free_mail_slots).map(Step::Eject).collect()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = crate::units::size;
        match self {
            Step::TakeIn(tape) => write!(f, "move tape {tape} from the mail slot to a slot"),
            Step::GiveUpLost(tape) => {
                write!(f, "count tape {tape} as lost: it has been missing for too long")
            }
            Step::Rescue(tape) => write!(f, "read from tape {tape} what is nowhere else"),
            Step::SetDamaged(tape) => {
                write!(f, "copy what is on tape {tape} elsewhere: it failed or is worn out")
            }
            Step::Recycle(tape, CartridgeState::Retired) => write!(f, "retire tape {tape}"),
            Step::Recycle(tape, _) => {
                write!(f, "let tape {tape} be overwritten: all that is kept of it is elsewhere")
            }
            Step::Empty(tape) => write!(f, "copy the little that is still needed of tape {tape} elsewhere"),
            Step::ReadBack { set, segments, bytes } => {
                write!(f, "read {} segments ({}) back to disk for set {set}", segments.len(), size(*bytes))
            }
            Step::Write { set, on, segments, bytes } => {
                write!(f, "write {segments} segments ({}) of set {set}, beginning on tape {on}", size(*bytes))
            }
            Step::Lack { set, bytes } => {
                write!(f, "wait with {} of set {set}: no tape here can take it", size(*bytes))
            }
            Step::Eject(tape) => write!(f, "move tape {tape} to the mail slot"),
            Step::Clean(drive) => write!(f, "clean drive {drive}"),
        }
    }
}

impl Serialize for Step {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Serialize for Plan {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.steps.serialize(to)
    }
}
