//! What a person is asked for. Only ever: put this tape in, take this tape out; and one sentence at a time.

use std::collections::BTreeSet;
use std::fmt;

use coffer_tape::Barcode;

use super::{Rules, Spot, Stock, forecast, health, offsite, recycling};

/// What is to be put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    pub these: Vec<Barcode>,
    pub blanks: usize,
    /// Of which generation, such as `LTO-8`; empty where that isn't known.
    pub kind: String,
}

/// One thing to do at the library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// What lies in the mail slot to be taken out.
    pub take: Vec<Barcode>,
    /// What is to be taken out through the door, where there's no mail slot.
    pub take_by_door: Vec<Barcode>,
    pub put: Option<Put>,
}

/// What is needed from a person now: `wanted` is what restores wait for, `blanks` how many cartridges writing lacks.
pub(in crate::tape) fn request(
    stock: &Stock,
    rules: &Rules,
    wanted: &BTreeSet<Barcode>,
    blanks: usize,
) -> Option<Request> {
    let at = |spot| {
        stock.tapes.iter().filter(move |(_, tape)| tape.spot == spot).map(|(barcode, _)| barcode.clone())
    };
    let take: Vec<Barcode> = at(Spot::Leaving).collect();
    let take_by_door = match stock.mail_slots {
        0 => offsite::to_eject(stock, rules).into_iter().chain(health::retired(stock)).collect(),
        _ => Vec::new(),
    };
    // What is taken out of the mail slot gives no slot back: that happened when it was moved there.
    let put = to_put(stock, rules, wanted, blanks, stock.free_slots + take_by_door.len());
    let put = Some(put).filter(|put| !put.these.is_empty() || put.blanks > 0);
    let request = Request { take, take_by_door, put };
    (request != Request::default()).then_some(request)
}

/// What is needed most comes first, as far as there is room: what can't be found at once shouldn't keep the rest waiting.
fn to_put(stock: &Stock, rules: &Rules, wanted: &BTreeSet<Barcode>, blanks: usize, room: usize) -> Put {
    let is_away = |barcode: &Barcode| stock.tapes.get(barcode).is_none_or(|tape| tape.spot == Spot::Away);
    let mut these: Vec<Barcode> = wanted.iter().filter(|barcode| is_away(barcode)).cloned().collect();
    let add = |these: &mut Vec<Barcode>, more: Vec<Barcode>, room: usize| {
        for barcode in more {
            if these.len() < room && !these.contains(&barcode) {
                these.push(barcode);
            }
        }
    };
    these.truncate(room);
    add(&mut these, recycling::to_bring_back(stock, rules), room);
    let blanks = blanks.min(room - these.len());
    add(&mut these, health::missing(stock, rules), room - blanks);
    add(&mut these, offsite::to_recall(stock, rules), room - blanks);
    Put { these, blanks, kind: forecast::kind(stock) }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.take.is_empty() {
            parts.push(format!("take {} out of the mail slot", tapes(&self.take)));
        }
        if !self.take_by_door.is_empty() {
            parts.push(format!("open the library's door and take {} out", tapes(&self.take_by_door)));
        }
        if let Some(put) = &self.put {
            parts.push(format!("put {put} in"));
        }
        let sentence = parts.join(", then ");
        let mut letters = sentence.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        write!(f, "{}{}.", first.into_iter().collect::<String>(), letters.as_str())
    }
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Put { these, blanks, kind } = self;
        let space = if kind.is_empty() { "" } else { " " };
        let plural = if *blanks == 1 { "" } else { "s" };
        match (these.is_empty(), blanks) {
            (_, 0) => f.write_str(&tapes(these)),
            (true, _) => write!(f, "{blanks} blank {kind}{space}tape{plural}"),
            (false, _) => write!(f, "{} and {blanks} blank {kind}{space}tape{plural}", tapes(these)),
        }
    }
}

fn tapes(barcodes: &[Barcode]) -> String {
    let names: Vec<&str> = barcodes.iter().map(Barcode::as_str).collect();
    match &names[..] {
        [one] => format!("tape {one}"),
        [before @ .., last] => format!("tapes {} and {last}", before.join(", ")),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{barcode, rules, stock};
    use super::*;
    use coffer_format::event::CartridgeState;

    fn sentence(stock: &Stock, blanks: usize) -> Option<String> {
        request(stock, &rules(), &BTreeSet::new(), blanks).map(|request| request.to_string())
    }

    #[test]
    fn nothing_is_asked_when_nothing_is_needed() {
        assert_eq!(sentence(&stock(), 0), None);
    }

    #[test]
    fn a_person_is_told_in_one_sentence() {
        let mut stock = stock();
        assert_eq!(sentence(&stock, 2).unwrap(), "Put 2 blank tapes in.");
        stock.add("COF001L8", Some(CartridgeState::Full), "branch").spot = Spot::Away;
        assert_eq!(sentence(&stock, 2).unwrap(), "Put tape COF001L8 and 2 blank LTO-8 tapes in.");
        assert_eq!(sentence(&stock, 0).unwrap(), "Put tape COF001L8 in.");
        stock.add("OFF001L8", Some(CartridgeState::Full), "offsite").spot = Spot::Leaving;
        assert_eq!(
            sentence(&stock, 0).unwrap(),
            "Take tape OFF001L8 out of the mail slot, then put tape COF001L8 in."
        );
        stock.tape("COF001L8").spot = Spot::Library;
        stock.free_slots = 0;
        assert_eq!(sentence(&stock, 2).unwrap(), "Take tape OFF001L8 out of the mail slot.");
        stock.tape("OFF001L8").spot = Spot::Library;
        assert_eq!(sentence(&stock, 2), None, "there's no room to put anything");
        stock.free_slots = 1;
        assert_eq!(sentence(&stock, 2).unwrap(), "Put 1 blank LTO-8 tape in.");
    }

    #[test]
    fn what_a_restore_waits_for_comes_first() {
        let mut stock = stock();
        stock.add("COF001L8", Some(CartridgeState::Full), "branch").spot = Spot::Away;
        let wanted = [barcode("OFF009L8")].into();
        let told = request(&stock, &rules(), &wanted, 1).unwrap();
        assert_eq!(told.to_string(), "Put tapes OFF009L8 and COF001L8 and 1 blank LTO-8 tape in.");
        stock.free_slots = 1;
        let told = request(&stock, &rules(), &wanted, 1).unwrap();
        assert_eq!(told.to_string(), "Put tape OFF009L8 in.");
    }
}
