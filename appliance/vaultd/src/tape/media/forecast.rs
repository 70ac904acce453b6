//! How long the cartridges at hand will last.

use coffer_format::event::CartridgeState;

use super::{Rules, Spot, Stock, Tape};

/// What is looked ahead to, in days: within it a person is told, and for it cartridges are ordered.
const TOLD_DAYS: u64 = 14;
const ORDER_DAYS: u64 = 60;

/// When cartridges run out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tape) struct Forecast {
    pub(in crate::tape) days: u64,
    pub(in crate::tape) order: u64,
    /// Such as `LTO-8`; empty where barcodes don't say.
    pub(in crate::tape) kind: String,
}

/// Bytes that one cartridge takes.
pub(super) fn capacity_bytes(stock: &Stock, rules: &Rules) -> Option<u64> {
    let full = stock.tapes.values().filter(|tape| tape.state == Some(CartridgeState::Full));
    let measured = || full.map(|tape| tape.written).max().filter(|bytes| *bytes > 0);
    let nominal = || generation(stock).map(|(_, bytes)| bytes);
    rules.capacity_bytes.or_else(measured).or_else(nominal)
}

/// The newest LTO generation among the cartridges, and what it holds.
fn generation(stock: &Stock) -> Option<(u8, u64)> {
    const TERABYTES_TENTHS: [(u8, u64); 7] = [(3, 4), (4, 8), (5, 15), (6, 25), (7, 60), (8, 120), (9, 180)];
    let digit = |barcode: &str| barcode.get(6..8)?.strip_prefix('L')?.parse::<u8>().ok();
    let newest = stock.tapes.keys().filter_map(|barcode| digit(barcode.as_str())).max()?;
    TERABYTES_TENTHS
        .into_iter()
        .find(|(number, _)| *number == newest)
        .map(|(n, tenths)| (n, tenths * 100_000_000_000))
}

pub(super) fn kind(stock: &Stock) -> String {
    generation(stock).map_or_else(String::new, |(number, _)| format!("LTO-{number}"))
}

/// What is left, at this many bytes a day over all sets. Nothing: it lasts long enough, or nothing is known yet.
pub(in crate::tape) fn forecast(stock: &Stock, rules: &Rules, bytes_per_day: u64) -> Option<Forecast> {
    let capacity = capacity_bytes(stock, rules)?;
    let room = |tape: &Tape| match tape.state {
        _ if tape.is_spare() => capacity,
        Some(CartridgeState::Filling) if tape.spot == Spot::Library => capacity.saturating_sub(tape.written),
        Some(CartridgeState::Full | CartridgeState::Emptying) if rules.is_in_use(tape) => {
            gain(stock, rules, tape)
        }
        _ => 0,
    };
    let left: u64 = stock.tapes.values().map(room).sum();
    let days = left.checked_div(bytes_per_day)?;
    let order = (bytes_per_day * ORDER_DAYS).div_ceil(capacity).max(1);
    (days < TOLD_DAYS).then(|| Forecast { days, order, kind: kind(stock) })
}

/// What emptying a cartridge would give.
fn gain(stock: &Stock, rules: &Rules, tape: &Tape) -> u64 {
    let live = stock.live_bytes(tape);
    let is_worth_it = live * 100 < tape.written * rules.empty_below_percent;
    if is_worth_it { tape.written - live } else { 0 }
}

impl std::fmt::Display for Forecast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Forecast { days, order, kind } = self;
        let tapes = match (order, kind.is_empty()) {
            (1, true) => "1 tape".to_owned(),
            (1, false) => format!("1 {kind} tape"),
            (_, true) => format!("{order} tapes"),
            (_, false) => format!("{order} {kind} tapes"),
        };
        write!(f, "The last empty tape will be full in about {days} days: order {tapes}.")
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{rules, stock};
    use super::*;

    #[test]
    fn the_forecast_says_when_and_how_many() {
        let mut stock = stock();
        stock.add("COF001L8", Some(CartridgeState::Filling), "branch").written = 100;
        assert_eq!(forecast(&stock, &rules(), 0), None);
        let told = forecast(&stock, &rules(), 100).unwrap();
        assert_eq!(
            told.to_string(),
            "The last empty tape will be full in about 9 days: order 6 LTO-8 tapes."
        );
        stock.add("COF002L8", Some(CartridgeState::Scratch), "");
        assert_eq!(forecast(&stock, &rules(), 100), None, "19 days are enough");
    }
}
