//! What people do to a simulated library.

use super::Robot;
use crate::simulator::cartridge::{CartridgeKind, CartridgeState, Protection, ShownBarcode, generation};
use crate::simulator::medium;
use crate::simulator::reply::MAIL_SLOT_USED;
use crate::simulator::state::Spot;
use crate::{Barcode, TapeError};

impl Robot {
    pub(in crate::simulator) fn set_write_protected(
        &mut self,
        barcode: &Barcode,
        protection: Protection,
    ) -> Result<(), TapeError> {
        self.change_cartridge(barcode, |cartridge| cartridge.protection = protection)
    }

    pub(in crate::simulator) fn set_kind(
        &mut self,
        barcode: &Barcode,
        kind: CartridgeKind,
    ) -> Result<(), TapeError> {
        self.change_cartridge(barcode, |cartridge| cartridge.kind = kind)
    }

    pub(in crate::simulator) fn set_generation(
        &mut self,
        barcode: &Barcode,
        medium_type: &str,
    ) -> Result<(), TapeError> {
        generation(medium_type)?;
        self.change_cartridge(barcode, |cartridge| cartridge.generation = Some(medium_type.to_owned()))
    }

    pub(in crate::simulator) fn show_barcode(
        &mut self,
        barcode: &Barcode,
        shown: &ShownBarcode,
    ) -> Result<(), TapeError> {
        self.change_cartridge(barcode, |cartridge| cartridge.shown = shown.clone())
    }

    pub(in crate::simulator) fn set_bad_blocks(
        &mut self,
        barcode: &Barcode,
        bad: &[u64],
    ) -> Result<(), TapeError> {
        self.change_cartridge(barcode, |cartridge| cartridge.bad_blocks = bad.to_vec())
    }

    /// A new cartridge, blank, outside.
    pub(in crate::simulator) fn buy(
        &mut self,
        barcode: &Barcode,
        kind: CartridgeKind,
    ) -> Result<(), TapeError> {
        if self.state.cartridges.contains_key(barcode) {
            return Err(TapeError::Shape(format!(
                "there is a tape {barcode} already: choose another barcode"
            )));
        }
        medium::create(&self.dir, barcode)?;
        let cartridge = CartridgeState { kind, ..CartridgeState::new(Spot::Outside) };
        self.change(|state| drop(state.cartridges.insert(barcode.clone(), cartridge)))
    }

    /// A move that stopped with the cartridge in the hand.
    pub(in crate::simulator) fn leave_in_hand(&mut self, barcode: &Barcode) -> Result<(), TapeError> {
        match self.spot(barcode)? {
            Spot::Drive(_) => Err(TapeError::Shape(format!("tape {barcode} is in a drive: unload it first"))),
            from => self.change_cartridge(barcode, |cartridge| {
                (cartridge.spot, cartridge.source) = (Spot::Hand, Some(from));
            }),
        }
    }

    pub(in crate::simulator) fn take_out(&mut self, barcode: &Barcode) -> Result<(), TapeError> {
        match self.spot(barcode)? {
            Spot::Drive(_) => Err(TapeError::Shape(format!("tape {barcode} is in a drive: unload it first"))),
            _ => self.put(barcode, Spot::Outside),
        }
    }

    pub(in crate::simulator) fn put_in(&mut self, barcode: &Barcode) -> Result<(), TapeError> {
        if self.spot(barcode)? != Spot::Outside {
            return Err(TapeError::Shape(format!("tape {barcode} is in the library already")));
        }
        let shape = &self.state.shape;
        let mut places = (0..shape.mail_slots).map(Spot::MailSlot).chain((0..shape.slots).map(Spot::Slot));
        let free = places.find(|spot| self.state.at(*spot).is_none());
        let spot = free.ok_or(TapeError::NoFreeSlot)?;
        self.put(barcode, spot)?;
        self.attentions.push(MAIL_SLOT_USED);
        Ok(())
    }

    fn put(&mut self, barcode: &Barcode, spot: Spot) -> Result<(), TapeError> {
        self.change_cartridge(barcode, |cartridge| {
            (cartridge.spot, cartridge.source) = (spot, None);
            cartridge.by_hand = true;
        })
    }
}
