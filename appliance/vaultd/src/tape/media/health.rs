//! Media that fail or go missing.

use coffer_format::event::CartridgeState;
use coffer_tape::Barcode;

use super::{Rules, Spot, Stock};

/// Failing so often in a row makes a cartridge damaged.
const FAILURES_MAX: u32 = 2;
/// Loads after which a cartridge is replaced: a fifth of what LTO media are rated for (20,000 loads and unloads).
const LOADS_MAX: u32 = 4_000;

/// Cartridges in use that failed or are worn out: what is on them is to be copied elsewhere.
pub(super) fn damaged(stock: &Stock, rules: &Rules) -> Vec<Barcode> {
    let bad = stock.tapes.iter().filter(|(_, tape)| {
        rules.is_in_use(tape)
            && tape.state != Some(CartridgeState::Damaged)
            && (tape.failed_in_a_row >= FAILURES_MAX || tape.loads > LOADS_MAX || tape.is_worn)
    });
    bad.map(|(barcode, _)| barcode.clone()).collect()
}

/// Cartridges that only take up room.
pub(super) fn retired(stock: &Stock) -> Vec<Barcode> {
    let retired = stock
        .tapes
        .iter()
        .filter(|(_, tape)| tape.spot == Spot::Library && tape.state == Some(CartridgeState::Retired));
    retired.map(|(barcode, _)| barcode.clone()).collect()
}

/// Cartridges of the branch set that should be in the library and aren't.
pub(super) fn missing(stock: &Stock, rules: &Rules) -> Vec<Barcode> {
    let away = stock
        .tapes
        .iter()
        .filter(|(_, tape)| tape.spot == Spot::Away && rules.is_in_use(tape) && tape.set == rules.branch);
    away.map(|(barcode, _)| barcode.clone()).collect()
}

/// Those that have been missing for so long that their copies no longer count.
pub(super) fn lost(stock: &Stock, rules: &Rules) -> Vec<Barcode> {
    if stock.is_clock_in_doubt {
        return Vec::new();
    }
    let mut lost = missing(stock, rules);
    lost.retain(|barcode| stock.now_ms.saturating_sub(stock.tapes[barcode].moved_ms) >= rules.missing_ms);
    lost
}

#[cfg(test)]
mod tests {
    use super::super::samples::{barcode, rules, stock};
    use super::*;

    #[test]
    fn a_missing_cartridge_is_lost_after_a_while_and_one_off_site_never() {
        let mut stock = stock();
        for (name, set) in [("COF001L6", "branch"), ("OFF001L6", "offsite")] {
            stock.add(name, Some(CartridgeState::Full), set).spot = Spot::Away;
        }
        stock.now_ms = rules().missing_ms - 1;
        assert_eq!(missing(&stock, &rules()), [barcode("COF001L6")]);
        assert_eq!(lost(&stock, &rules()), []);
        stock.now_ms += 1;
        assert_eq!(lost(&stock, &rules()), [barcode("COF001L6")]);
    }

    #[test]
    fn one_failure_is_forgiven() {
        let mut stock = stock();
        stock.add("COF001L6", Some(CartridgeState::Filling), "branch").failed_in_a_row = 1;
        assert_eq!(damaged(&stock, &rules()), []);
        stock.tape("COF001L6").failed_in_a_row = 2;
        assert_eq!(damaged(&stock, &rules()), [barcode("COF001L6")]);
    }
}
