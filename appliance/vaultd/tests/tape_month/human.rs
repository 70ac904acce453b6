//! Somebody at the branch, who reads the one sentence once a day and does what it says: no more and nothing else.

use coffer_format::event::CartridgeState;
use coffer_tape::Barcode;
use coffer_tape::simulator::{Simulated, Spot};

use crate::branch::Branch;

/// The person, and what they have seen.
#[derive(Debug, Default)]
pub(crate) struct Human {
    pub(crate) stolen: Option<Barcode>,
    pub(crate) visits: u32,
    pub(crate) taken_out: u32,
    /// Cartridges that were in the library once: those in the cupboard are blank.
    used: Vec<Barcode>,
}

impl Human {
    pub(crate) fn new() -> Human {
        Human::default()
    }

    /// Reads the sentence and obeys it literally.
    pub(crate) fn look(&mut self, branch: &Branch) {
        let Some(request) = branch.request() else { return };
        let simulated = branch.simulated();
        let inside = simulated.cartridges().into_iter().filter(|(_, spot)| *spot != Spot::Outside);
        self.used.extend(inside.map(|(barcode, _)| barcode));
        let mut did = false;
        let sentence = request.to_string();
        let sentence = sentence.strip_suffix('.').unwrap();
        for clause in sentence.split(", then ") {
            let words: Vec<&str> = clause.split([' ', ',']).filter(|word| !word.is_empty()).collect();
            did |= match (words[0].to_lowercase().as_str(), words[1]) {
                ("take", "tape" | "tapes") => self.take_out(simulated, &words[2..], sentence),
                ("put", _) => self.put_in(simulated, &words[1..]),
                _ => panic!("nobody at the branch understands: {sentence}"),
            };
        }
        self.visits += u32::from(did);
    }

    fn take_out(&mut self, simulated: &Simulated, words: &[&str], sentence: &str) -> bool {
        let from = words.iter().position(|word| *word == "out").unwrap();
        assert_eq!(words[from..].join(" "), "out of the mail slot", "{sentence}");
        for barcode in names(&words[..from]) {
            let spot = simulated.cartridges().into_iter().find(|(found, _)| *found == barcode).unwrap().1;
            assert!(matches!(spot, Spot::MailSlot(_)), "{sentence}: it's in {spot:?}");
            simulated.take_out(&barcode).unwrap();
            self.taken_out += 1;
        }
        true
    }

    /// Puts in the first that they find, if the mail slot is free: `tapes A and B and 1 blank LTO-6 tape in`.
    fn put_in(&mut self, simulated: &Simulated, words: &[&str]) -> bool {
        assert_eq!(words.last(), Some(&"in"));
        let blank_from = words.iter().position(|word| *word == "blank").map(|at| at - 1);
        let named = &words[..blank_from.unwrap_or(words.len() - 1)];
        let wanted: Vec<Barcode> = if named.is_empty() { Vec::new() } else { names(&named[1..]) };
        if let Some(found) = wanted.into_iter().find(|barcode| self.stolen.as_ref() != Some(barcode)) {
            return put(simulated, &found);
        }
        let Some(from) = blank_from else { return false };
        assert!(words[from].parse::<usize>().unwrap() > 0, "{words:?}");
        let outside = simulated.cartridges().into_iter().filter(|(_, spot)| *spot == Spot::Outside);
        let blank = outside.map(|(barcode, _)| barcode).find(|barcode| !self.used.contains(barcode));
        put(simulated, &blank.expect("the cupboard is empty: too many tapes were needed"))
    }

    /// Somebody opens the door and takes a full cartridge of the branch set with them.
    pub(crate) fn is_robbed(&mut self, branch: &mut Branch) {
        let simulated = branch.simulated();
        let in_slots: Vec<Barcode> = simulated
            .cartridges()
            .into_iter()
            .filter(|(_, spot)| matches!(spot, Spot::Slot(_)))
            .map(|(barcode, _)| barcode)
            .collect();
        let full = branch.cartridges().into_iter().filter(|one| one.state == Some(CartridgeState::Full));
        let mut of_branch = full.filter(|one| one.set == "branch").map(|one| one.barcode.parse().unwrap());
        let stolen = of_branch.find(|barcode| in_slots.contains(barcode)).expect("a full cartridge is there");
        simulated.take_out(&stolen).unwrap();
        self.stolen = Some(stolen);
    }
}

fn names(words: &[&str]) -> Vec<Barcode> {
    words.iter().filter(|word| **word != "and").map(|word| word.parse().unwrap()).collect()
}

fn put(simulated: &Simulated, barcode: &Barcode) -> bool {
    let is_mail = |spot: &Spot| matches!(spot, Spot::MailSlot(_));
    if simulated.cartridges().iter().any(|(_, spot)| is_mail(spot)) {
        return false;
    }
    simulated.put_in(barcode).unwrap();
    true
}
