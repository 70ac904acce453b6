//! Which cartridges may be overwritten, and which are worth emptying so that they may.
//!
//! A cartridge is recycled only if its set stays whole without it, and if what isn't on disk keeps as many verified copies
//! as the policy asks for. It waits for that until room is needed: what has expired is still there until then.

use std::collections::BTreeSet;

use coffer_format::SegmentId;
use coffer_format::event::CartridgeState;
use coffer_tape::Barcode;

use super::{Rules, Spot, Stock, Tape};

/// Whether nothing is lost by overwriting a cartridge.
pub(super) fn is_free(stock: &Stock, rules: &Rules, barcode: &Barcode) -> bool {
    let Some(tape) = stock.tapes.get(barcode) else { return false };
    let held = tape.holds.iter().filter_map(|segment| Some((*segment, stock.segments.get(segment)?)));
    let required = rules.copies_before_eviction.max(1) as usize;
    held.into_iter().all(|(segment, state)| {
        is_in_set_besides(stock, tape, barcode, segment)
            && (state.on_disk || stock.copies_besides(segment, barcode) >= required)
    })
}

/// Whether another cartridge of the same set holds it too.
fn is_in_set_besides(stock: &Stock, tape: &Tape, barcode: &Barcode, segment: SegmentId) -> bool {
    stock.tapes.iter().any(|(other, found)| {
        other != barcode && found.set == tape.set && found.counts() && found.holds.contains(&segment)
    })
}

/// Cartridges to make scratch now (or to retire, if they're damaged), in order. Each takes those before it into account.
pub(super) fn to_recycle(stock: &Stock, rules: &Rules) -> Vec<Barcode> {
    let mut after = stock.clone();
    let mut chosen = Vec::new();
    let mut candidates: Vec<(Barcode, Tape)> = stock.tapes.clone().into_iter().collect();
    candidates.retain(|(_, tape)| tape.spot == Spot::Library);
    // What was emptied for it first; then what has lain longest.
    candidates.sort_by_key(|(_, tape)| (!is_emptied_first(tape), tape.labelled_ms));
    for (barcode, tape) in candidates {
        let wanted = match tape.state {
            Some(CartridgeState::Emptying | CartridgeState::Damaged) => true,
            // It may hold what is nowhere else.
            Some(CartridgeState::Lost) => stock.orphans().is_empty(),
            // The oldest goes first; which that is, a clock in doubt can't tell.
            Some(CartridgeState::Full) if after.spares() < rules.spare_tapes => !stock.is_clock_in_doubt,
            _ => super::offsite::has_expired(stock, rules, &tape),
        };
        if wanted && is_free(&after, rules, &barcode) {
            give_up(&mut after, &barcode);
            chosen.push(barcode);
        }
    }
    chosen
}

fn is_emptied_first(tape: &Tape) -> bool {
    tape.state != Some(CartridgeState::Full)
}

/// What recycling makes of a cartridge.
pub(super) fn give_up(stock: &mut Stock, barcode: &Barcode) {
    if let Some(tape) = stock.tapes.get_mut(barcode) {
        tape.state = Some(state_after(tape.state));
        tape.holds.clear();
        (tape.set, tape.containers, tape.written) = (String::new(), 0, 0);
    }
}

/// A damaged cartridge isn't used again.
pub(super) fn state_after(state: Option<CartridgeState>) -> CartridgeState {
    match state {
        Some(CartridgeState::Damaged) => CartridgeState::Retired,
        _ => CartridgeState::Scratch,
    }
}

/// The cartridge of a set that is worth emptying now: little on it is still needed, and too few are scratch.
pub(super) fn to_empty(stock: &Stock, rules: &Rules, set: &str) -> Option<Barcode> {
    let of_set = || stock.tapes.iter().filter(|(_, tape)| tape.set == set);
    let is_under_way = of_set().any(|(_, tape)| tape.state == Some(CartridgeState::Emptying));
    if is_under_way || stock.spares() >= rules.spare_tapes {
        return None;
    }
    super::next_cartridge(stock, set, &Default::default())?;
    let is_worth_it = |tape: &Tape| {
        let closed = tape.state == Some(CartridgeState::Full)
            || rules.is_offsite(tape) && tape.counts() && tape.spot == Spot::Away;
        closed && stock.live_bytes(tape) * 100 < tape.written * rules.empty_below_percent
    };
    let worth = of_set().filter(|(_, tape)| is_worth_it(tape) && is_readable(stock, tape));
    worth.min_by_key(|(_, tape)| stock.live_bytes(tape)).map(|(barcode, _)| barcode.clone())
}

/// Whether all that is needed of a cartridge is on disk or on a cartridge that is here.
fn is_readable(stock: &Stock, tape: &Tape) -> bool {
    let kept = tape.holds.iter().filter(|segment| stock.segments.contains_key(segment));
    kept.into_iter().all(|segment| stock.segments[segment].on_disk || is_on_tape_here(stock, *segment))
}

fn is_on_tape_here(stock: &Stock, segment: SegmentId) -> bool {
    stock.tapes.values().any(|tape| tape.spot == Spot::Library && tape.holds.contains(&segment))
}

/// What must come back to disk to be written to a set, as far as it fits.
pub(super) fn to_read_back(stock: &Stock, rules: &Rules, set: &str) -> Vec<SegmentId> {
    let mut room = rules.read_back_bytes;
    let mut chosen = Vec::new();
    for segment in stock.missing(set) {
        let state = &stock.segments[&segment];
        if state.on_disk || !is_on_tape_here(stock, segment) {
            continue;
        }
        if state.bytes > room {
            break;
        }
        room -= state.bytes;
        chosen.push(segment);
    }
    chosen
}

/// Cartridges that are away and hold what a set lacks, where nothing here does: few of them, each with much of it.
pub(super) fn to_bring_back(stock: &Stock, rules: &Rules) -> Vec<Barcode> {
    let mut lacking: BTreeSet<SegmentId> = rules.sets().flat_map(|set| stock.missing(set)).collect();
    lacking.retain(|segment| !stock.segments[segment].on_disk && !is_on_tape_here(stock, *segment));
    let mut chosen = Vec::new();
    while !lacking.is_empty() {
        let held = |tape: &Tape| tape.holds.intersection(&lacking).count();
        let away = stock.tapes.iter().filter(|(_, tape)| tape.spot == Spot::Away);
        let Some((barcode, tape)) =
            away.max_by_key(|(_, tape)| held(tape)).filter(|(_, tape)| held(tape) > 0)
        else {
            break;
        };
        lacking.retain(|segment| !tape.holds.contains(segment));
        chosen.push(barcode.clone());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::samples::{barcode, rules, stock};
    use super::*;

    #[test]
    fn a_cartridge_is_free_only_if_its_set_stays_whole() {
        let mut stock = stock();
        stock.segment(1, true);
        stock.add("COF001L6", Some(CartridgeState::Full), "branch").holds = [SegmentId(1)].into();
        stock.add("COF002L6", Some(CartridgeState::Full), "offsite").holds = [SegmentId(1)].into();
        let free = |stock: &Stock| is_free(stock, &rules(), &barcode("COF001L6"));
        assert!(!free(&stock), "the other copy is of another set");
        stock.add("COF003L6", Some(CartridgeState::Filling), "branch").holds = [SegmentId(1)].into();
        assert!(free(&stock));
        stock.segments.clear();
        stock.tapes.remove(&barcode("COF003L6"));
        assert!(free(&stock), "what the vault no longer keeps holds nothing back");
    }

    #[test]
    fn two_cartridges_with_the_same_segment_cover_each_other_only_once() {
        let mut stock = stock();
        stock.segment(1, true);
        for name in ["COF001L6", "COF002L6"] {
            stock.add(name, Some(CartridgeState::Full), "branch").holds = [SegmentId(1)].into();
        }
        let rules = Rules { spare_tapes: 9, ..rules() };
        assert_eq!(to_recycle(&stock, &rules), [barcode("COF001L6")]);
    }

    #[test]
    fn while_the_clock_is_in_doubt_none_is_reused_by_its_age() {
        let mut stock = stock();
        stock.add("COF001L6", Some(CartridgeState::Full), "branch");
        let away = stock.add("COF002L6", Some(CartridgeState::Filling), "branch");
        (away.spot, away.moved_ms) = (Spot::Away, 0);
        stock.now_ms = rules().missing_ms;
        assert_eq!(to_recycle(&stock, &rules()), [barcode("COF001L6")]);
        assert_eq!(super::super::health::lost(&stock, &rules()), [barcode("COF002L6")]);
        stock.is_clock_in_doubt = true;
        assert_eq!(to_recycle(&stock, &rules()), []);
        assert_eq!(super::super::health::lost(&stock, &rules()), []);
    }

    #[test]
    fn a_cartridge_that_came_back_is_kept_while_something_is_nowhere_else() {
        let mut stock = stock();
        stock.segment(1, false);
        stock.add("COF001L6", Some(CartridgeState::Lost), "branch");
        assert_eq!(to_recycle(&stock, &rules()), []);
        stock.segment(1, true);
        assert_eq!(to_recycle(&stock, &rules()), [barcode("COF001L6")]);
    }

    #[test]
    fn what_left_the_disk_keeps_as_many_copies_as_the_policy_says() {
        let mut stock = stock();
        stock.segment(1, false);
        for name in ["COF001L6", "COF002L6"] {
            stock.add(name, Some(CartridgeState::Full), "branch").holds = [SegmentId(1)].into();
        }
        let strict = Rules { copies_before_eviction: 2, ..rules() };
        assert!(!is_free(&stock, &strict, &barcode("COF001L6")));
        assert!(is_free(&stock, &rules(), &barcode("COF001L6")));
    }

    #[test]
    fn a_half_dead_cartridge_is_emptied_when_no_spare_is_left() {
        let mut stock = stock();
        stock.segment(1, true);
        stock.segment(2, true);
        let full = stock.add("COF001L6", Some(CartridgeState::Full), "branch");
        (full.written, full.holds) = (1000, [SegmentId(1)].into());
        let fuller = stock.add("COF002L6", Some(CartridgeState::Full), "branch");
        (fuller.written, fuller.holds) = (150, [SegmentId(2)].into());
        stock.add("COF003L6", Some(CartridgeState::Filling), "branch");
        assert_eq!(to_empty(&stock, &rules(), "branch"), Some(barcode("COF001L6")));
        stock.add("COF004L6", Some(CartridgeState::Scratch), "");
        assert_eq!(to_empty(&stock, &rules(), "branch"), None, "a spare is at hand");
    }

    #[test]
    fn what_only_a_cartridge_outside_holds_is_asked_for() {
        let mut stock = stock();
        stock.segment(1, false);
        stock.segment(2, false);
        for (name, held) in [("OFF001L6", 1..=1), ("OFF002L6", 1..=2)] {
            let tape = stock.add(name, Some(CartridgeState::Full), "offsite");
            (tape.spot, tape.holds) = (Spot::Away, held.map(SegmentId).collect());
        }
        assert_eq!(to_bring_back(&stock, &rules()), [barcode("OFF002L6")]);
        stock.add("COF001L6", Some(CartridgeState::Full), "branch").holds =
            [SegmentId(1), SegmentId(2)].into();
        assert_eq!(to_bring_back(&stock, &rules()), []);
    }

    #[test]
    fn a_damaged_cartridge_is_retired_once_all_of_it_is_elsewhere() {
        let mut stock = stock();
        stock.segment(1, true);
        stock.add("COF001L6", Some(CartridgeState::Damaged), "branch").holds = [SegmentId(1)].into();
        assert_eq!(to_recycle(&stock, &rules()), []);
        stock.add("COF002L6", Some(CartridgeState::Filling), "branch").holds = [SegmentId(1)].into();
        assert_eq!(to_recycle(&stock, &rules()), [barcode("COF001L6")]);
        assert_eq!(state_after(Some(CartridgeState::Damaged)), CartridgeState::Retired);
    }
}
