//! The robot moves cartridges: out of their place, saved as in the hand, into the next, saved again. A crash between leaves
//! each in one place.

use super::{Robot, RobotMove};
use crate::scsi::key;
use crate::simulator::cartridge::{CartridgeKind, CartridgeState};
use crate::simulator::deck::Cassette;
use crate::simulator::locked;
use crate::simulator::reply::{
    Check, DESTINATION_FULL, Done, GOOD, SOURCE_EMPTY, STILL_THREADED, field, field_16,
};
use crate::simulator::state::Spot;
use crate::{Barcode, TapeError};

impl Robot {
    pub(super) fn move_medium(&mut self, cdb: &[u8]) -> Done {
        self.right_hand(field_16(cdb, 2))?;
        let (from, to) = (self.place(cdb, 4)?, self.place(cdb, 6)?);
        let barcode = self.held(from)?;
        if from == to {
            return GOOD;
        }
        let hand_full = from != Spot::Hand && self.state.at(Spot::Hand).is_some();
        if self.state.at(to).is_some() || hand_full {
            return Err(Check::illegal(DESTINATION_FULL));
        }
        self.carry(&barcode, from, to)
    }

    /// EXCHANGE MEDIUM: source to the first destination, what was there to the second.
    pub(super) fn exchange(&mut self, cdb: &[u8]) -> Done {
        self.right_hand(field_16(cdb, 2))?;
        let (from, to, second) = (self.place(cdb, 4)?, self.place(cdb, 6)?, self.place(cdb, 8)?);
        let (first, other) = (self.held(from)?, self.held(to)?);
        let free = second == from || self.state.at(second).is_none();
        if from == to || !free || self.state.at(Spot::Hand).is_some() {
            return Err(Check::illegal(DESTINATION_FULL));
        }
        // What comes out waits in the hand while the other goes in.
        self.pick(&other, to)?;
        self.carry(&first, from, to)?;
        self.place_at(&other, second, Some(to))?;
        self.tell(&other, to, second);
        GOOD
    }

    pub(super) fn position_to(&mut self, cdb: &[u8]) -> Done {
        self.right_hand(field_16(cdb, 2))?;
        self.place(cdb, 4)?;
        GOOD
    }

    /// OPEN/CLOSE IMPORT/EXPORT ELEMENT.
    pub(super) fn mail_door(&mut self, cdb: &[u8]) -> Done {
        match self.place(cdb, 2)? {
            Spot::MailSlot(_) if self.mail_locked && field(cdb, 4) & 0x1f == 0 => {
                Err(Check::illegal(STILL_THREADED))
            }
            Spot::MailSlot(_) => GOOD,
            _ => Err(self.no_such_place()),
        }
    }

    /// The first half of a move, which is where it may stop.
    pub(super) fn take_in_hand(&mut self, cdb: &[u8]) -> Result<(), Check> {
        let from = self.place(cdb, 4)?;
        let barcode = self.held(from)?;
        self.pick(&barcode, from)
    }

    fn carry(&mut self, barcode: &Barcode, from: Spot, to: Spot) -> Done {
        if from != Spot::Hand {
            self.pick(barcode, from)?;
        }
        self.place_at(barcode, to, Some(from))?;
        self.tell(barcode, from, to);
        GOOD
    }

    /// Out of its place, into the hand. What the drive wrote into its memory goes with it.
    fn pick(&mut self, barcode: &Barcode, from: Spot) -> Result<(), Check> {
        let mut memory = None;
        if let Spot::Drive(number) = from {
            let removed = locked(&self.decks[usize::from(number)]).remove()?;
            memory = Some(removed.state.memory);
        }
        self.save(barcode, |cartridge| {
            (cartridge.spot, cartridge.source, cartridge.by_hand) = (Spot::Hand, Some(from), false);
            if let Some(memory) = &memory {
                cartridge.memory.clone_from(memory);
            }
        })
    }

    fn place_at(&mut self, barcode: &Barcode, to: Spot, source: Option<Spot>) -> Result<(), Check> {
        let before = self.state.cartridges[barcode].clone();
        self.save(barcode, |cartridge| {
            (cartridge.spot, cartridge.source) = (to, source);
            if let Spot::Drive(_) = to {
                cartridge.loads += 1;
                if let CartridgeKind::Cleaning { uses_left } = &mut cartridge.kind {
                    *uses_left = uses_left.saturating_sub(1);
                }
            }
        })?;
        if let Spot::Drive(number) = to {
            // As it was when the drive saw it: the last use of a cleaner is one.
            let seen = CartridgeState { kind: before.kind, ..self.state.cartridges[barcode].clone() };
            let cassette = Cassette::open(&self.dir, barcode, &seen, &self.state.shape).map_err(broken)?;
            locked(&self.decks[usize::from(number)]).insert(cassette);
        }
        Ok(())
    }

    fn save(&mut self, barcode: &Barcode, edit: impl Fn(&mut CartridgeState)) -> Result<(), Check> {
        let changed = self.change(|state| {
            if let Some(cartridge) = state.cartridges.get_mut(barcode) {
                edit(cartridge);
            }
        });
        changed.map_err(broken)
    }

    fn tell(&self, barcode: &Barcode, from: Spot, to: Spot) {
        let moved = RobotMove { barcode: barcode.clone(), from, to };
        self.observers.iter().for_each(|observer| observer(&moved));
    }

    fn right_hand(&self, element: u16) -> Result<(), Check> {
        match element == 0 || element == self.state.shape.quirks.bases.hand {
            true => Ok(()),
            false => Err(self.no_such_place()),
        }
    }

    fn place(&self, cdb: &[u8], at: usize) -> Result<Spot, Check> {
        self.spot_at(field_16(cdb, at)).ok_or_else(|| self.no_such_place())
    }

    fn held(&self, spot: Spot) -> Result<Barcode, Check> {
        let held = self.state.at(spot).map(|(barcode, _)| barcode.clone());
        held.ok_or(Check::illegal(SOURCE_EMPTY))
    }
}

fn broken(error: TapeError) -> Check {
    tracing::error!(%error, "simulated robot failed");
    Check::new(key::HARDWARE_ERROR, (0x15, 0x01))
}
