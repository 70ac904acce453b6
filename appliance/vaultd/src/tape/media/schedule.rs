//! When a run starts: not for every megabyte (starting and stopping wears tape and drive), and not later than promised.

use std::collections::BTreeSet;

use super::{Rules, Stock};

/// Why a run starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tape) enum Due {
    /// Enough is waiting to write in one go.
    Enough,
    /// Something has waited as long as it may.
    Time,
    /// Cartridges leave the house: what they can take goes with them.
    Leaving,
}

/// Whether there's a cartridge to write a set on.
pub(in crate::tape) fn can_write(stock: &Stock, set: &str) -> bool {
    super::next_cartridge(stock, set, &BTreeSet::new()).is_some()
}

/// Whether a run is due; `oldest_ms`: when the oldest point that isn't on tape was closed.
pub(in crate::tape) fn due(stock: &Stock, rules: &Rules, oldest_ms: Option<u64>) -> Option<Due> {
    // What waits for a cartridge isn't helped by starting.
    let sets = rules.sets().filter(|set| can_write(stock, set));
    let waiting = sets.map(|set| stock.bytes(&stock.writable(set))).max().unwrap_or(0);
    let waited = oldest_ms.map_or(0, |oldest| stock.now_ms.saturating_sub(oldest));
    match () {
        () if waiting >= rules.start_bytes => Some(Due::Enough),
        () if oldest_ms.is_some() && waited >= rules.every_ms => Some(Due::Time),
        () if stock.free_mail_slots > 0 && !super::offsite::to_eject(stock, rules).is_empty() => {
            Some(Due::Leaving)
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use coffer_format::event::CartridgeState;

    use super::super::samples::{rules, stock};
    use super::*;

    #[test]
    fn a_run_waits_for_enough_or_for_the_day_to_end() {
        let mut stock = stock();
        let mut rules = rules();
        rules.offsite = None;
        stock.now_ms = 10 * rules.every_ms;
        for number in 0..9 {
            stock.segment(number, true);
        }
        assert_eq!(due(&stock, &rules, Some(stock.now_ms - 1)), None);
        assert_eq!(due(&stock, &rules, Some(stock.now_ms - rules.every_ms)), Some(Due::Time));
        stock.segment(9, true);
        assert_eq!(due(&stock, &rules, None), None, "there's nothing to write on");
        stock.add("COF001L6", Some(CartridgeState::Scratch), "");
        assert_eq!(due(&stock, &rules, None), Some(Due::Enough));
    }
}
