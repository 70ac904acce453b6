//! The set that goes out of the house: what leaves on the calendar, and what is asked back.
//!
//! A cartridge is asked back only when it's of no use outside: nothing on it is kept any more, or all of it is on other
//! cartridges of the set that are away themselves.

use coffer_format::event::CartridgeState;
use coffer_tape::Barcode;

use super::{Rules, Spot, Stock, Tape};

/// Cartridges that have been in the house since before the calendar's last moment.
pub(super) fn to_eject(stock: &Stock, rules: &Rules) -> Vec<Barcode> {
    let Some(offsite) = &rules.offsite else { return Vec::new() };
    let moment = offsite.calendar.last_moment_ms(stock.now_ms);
    let due = stock.tapes.iter().filter(|(_, tape)| {
        tape.set == offsite.set
            && tape.counts()
            && tape.spot == Spot::Library
            && tape.moved_ms.max(tape.labelled_ms) < moment
            && stock.holds_anything(tape)
    });
    due.map(|(barcode, _)| barcode.clone()).collect()
}

/// Cartridges that are away and can come back to be used again, the oldest first.
pub(super) fn to_recall(stock: &Stock, rules: &Rules) -> Vec<Barcode> {
    let mut back: Vec<_> = stock
        .tapes
        .iter()
        .filter(|(_, tape)| tape.spot == Spot::Away && rules.is_offsite(tape))
        .filter(|(barcode, tape)| has_expired(stock, rules, tape) || is_superseded(stock, barcode, tape))
        .collect();
    back.sort_by_key(|(_, tape)| tape.number);
    back.into_iter().map(|(barcode, _)| barcode.clone()).collect()
}

/// A cartridge of the set on which nothing is kept any more. While the clock is in doubt none has.
pub(super) fn has_expired(stock: &Stock, rules: &Rules, tape: &Tape) -> bool {
    !stock.is_clock_in_doubt
        && rules.is_offsite(tape)
        && tape.counts()
        && tape.containers > 0
        && !stock.holds_anything(tape)
}

fn is_superseded(stock: &Stock, barcode: &Barcode, tape: &Tape) -> bool {
    let is_away_elsewhere = |segment| {
        stock.tapes.iter().any(|(other, found)| {
            other != barcode
                && found.set == tape.set
                && found.counts()
                && found.spot == Spot::Away
                && found.holds.contains(segment)
        })
    };
    let kept = || tape.holds.iter().filter(|segment| stock.segments.contains_key(segment));
    tape.state == Some(CartridgeState::Emptying) && kept().all(is_away_elsewhere)
}

#[cfg(test)]
mod tests {
    use coffer_format::SegmentId;

    use super::super::samples::{barcode, rules, stock};
    use super::*;

    #[test]
    fn a_superseded_cartridge_comes_back_only_when_the_newer_one_is_away() {
        let mut stock = stock();
        stock.segment(1, true);
        let old = stock.add("OFF001L6", Some(CartridgeState::Emptying), "offsite");
        (old.spot, old.holds) = (Spot::Away, [SegmentId(1)].into());
        stock.add("OFF002L6", Some(CartridgeState::Filling), "offsite").holds = [SegmentId(1)].into();
        assert_eq!(to_recall(&stock, &rules()), []);
        stock.tape("OFF002L6").spot = Spot::Away;
        assert_eq!(to_recall(&stock, &rules()), [barcode("OFF001L6")]);
    }

    #[test]
    fn what_was_here_before_the_moment_leaves() {
        let mut stock = stock();
        stock.now_ms = 1_767_571_200_000;
        stock.segment(1, true);
        stock.add("OFF001L6", Some(CartridgeState::Filling), "offsite").holds = [SegmentId(1)].into();
        assert_eq!(to_eject(&stock, &rules()), [barcode("OFF001L6")]);
        stock.tape("OFF001L6").moved_ms = stock.now_ms - 1;
        assert_eq!(to_eject(&stock, &rules()), [], "it came back after the moment");
    }
}
