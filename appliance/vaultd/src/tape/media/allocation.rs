//! Which cartridge is written next. Only what the robot can get at is ever chosen.

use std::collections::BTreeSet;

use coffer_format::event::CartridgeState;
use coffer_tape::Barcode;

use super::{Spot, Stock};

/// The cartridge to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tape) enum Choice {
    /// It belongs to the set and has room.
    Append(Barcode),
    /// It gets a new label: scratch, or ordered to be used.
    Label(Barcode),
    /// Nobody has looked at it yet: it gets a label if it turns out to be blank.
    Look(Barcode),
}

impl Choice {
    pub(in crate::tape) fn barcode(&self) -> &Barcode {
        match self {
            Choice::Append(barcode) | Choice::Label(barcode) | Choice::Look(barcode) => barcode,
        }
    }
}

/// Chooses for a set, leaving out what was tried in vain.
pub(in crate::tape) fn next_cartridge(stock: &Stock, set: &str, tried: &BTreeSet<Barcode>) -> Option<Choice> {
    let here = || {
        let all = stock.tapes.iter().filter(|(barcode, tape)| {
            tape.spot == Spot::Library && !barcode.is_cleaning() && !tried.contains(barcode)
        });
        all.map(|(barcode, tape)| (barcode.clone(), tape))
    };
    let begun = here().filter(|(_, tape)| tape.state == Some(CartridgeState::Filling) && tape.set == set);
    if let Some((barcode, _)) = begun.max_by_key(|(_, tape)| tape.number) {
        return Some(Choice::Append(barcode));
    }
    // Of those that can be labelled anew the least worn.
    let known = here().filter(|(_, tape)| tape.state.is_some() && tape.is_spare());
    if let Some((barcode, _)) = known.min_by_key(|(_, tape)| tape.loads) {
        return Some(Choice::Label(barcode));
    }
    here().find(|(_, tape)| tape.state.is_none()).map(|(barcode, _)| Choice::Look(barcode))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{barcode, stock};
    use super::*;

    fn chosen(stock: &Stock, set: &str) -> Option<Choice> {
        next_cartridge(stock, set, &BTreeSet::new())
    }

    #[test]
    fn a_begun_cartridge_goes_on_then_scratch_then_one_nobody_looked_at() {
        let mut stock = stock();
        stock.add("COF001L6", Some(CartridgeState::Filling), "branch");
        stock.add("COF002L6", Some(CartridgeState::Filling), "offsite");
        stock.add("COF003L6", Some(CartridgeState::Scratch), "");
        stock.add("COF004L6", None, "");
        assert_eq!(chosen(&stock, "branch"), Some(Choice::Append(barcode("COF001L6"))));
        stock.tape("COF001L6").state = Some(CartridgeState::Full);
        assert_eq!(chosen(&stock, "branch"), Some(Choice::Label(barcode("COF003L6"))));
        stock.tape("COF003L6").spot = Spot::Away;
        assert_eq!(chosen(&stock, "branch"), Some(Choice::Look(barcode("COF004L6"))));
    }

    #[test]
    fn what_isnt_in_the_library_or_isnt_ours_is_never_chosen() {
        let mut stock = stock();
        for (number, spot) in [Spot::Away, Spot::Leaving, Spot::Stuck, Spot::Arrived].into_iter().enumerate()
        {
            let name = format!("COF{number:03}L6");
            stock.add(&name, Some(CartridgeState::Filling), "branch");
            stock.tape(&name).spot = spot;
        }
        use CartridgeState::*;
        for (number, state) in [Foreign, Damaged, Retired, Emptying, Lost, Full].into_iter().enumerate() {
            stock.add(&format!("BAD{number:03}L6"), Some(state), "branch");
        }
        stock.add("CLN001L1", None, "");
        assert_eq!(chosen(&stock, "branch"), None);
    }
}
