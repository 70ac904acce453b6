//! The mail slot: where people and robot meet.

use serde::Serialize;

use super::Library;
use super::journal::{Errand, Intent, Outgoing};
use crate::drive::Performed;
use crate::inventory::Place;
use crate::scsi::cdb::{DoorMove, Removal};
use crate::scsi::{ElementAddress, ElementKind};
use crate::{Barcode, TapeError};

/// A cartridge taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// `None` if its barcode can't be read.
    pub barcode: Option<Barcode>,
    pub from: ElementAddress,
    /// The slot it's in now.
    pub to: ElementAddress,
}

impl Library {
    /// Takes in what people have put into the mail slot, to free slots. What the robot put there for them to take out
    /// stays. Stops with [`TapeError::NoFreeSlot`] only if nothing could be taken in.
    pub fn import_mail(&mut self) -> Result<Vec<Imported>, TapeError> {
        let inventory = self.inventory()?;
        self.forget_taken(&inventory.mail_slots)?;
        let mut free = inventory.slots.iter().filter(|slot| !slot.full).map(|slot| slot.element);
        let mut imported = Vec::new();
        for place in inventory.mail_slots.iter().filter(|place| place.full) {
            if self.is_outgoing(place) {
                continue;
            }
            let Some(to) = free.next() else {
                if imported.is_empty() {
                    return Err(TapeError::NoFreeSlot);
                }
                break;
            };
            let (barcode, from) = (place.barcode.clone(), place.element);
            self.carry(Intent { errand: Errand::Import, barcode: barcode.clone(), from, to })?;
            self.clear_outgoing(from)?;
            imported.push(Imported { barcode, from, to });
        }
        Ok(imported)
    }

    /// Cartridges that wait in the mail slot for a person to take them out.
    pub fn outgoing(&mut self) -> Result<Vec<Outgoing>, TapeError> {
        let mail = self.places(ElementKind::MailSlot)?;
        self.forget_taken(&mail)?;
        Ok(self.journal.outgoing().to_vec())
    }

    /// Locks the mail slot against people, or frees it.
    pub fn lock_mail(&mut self, removal: Removal) -> Result<Performed, TapeError> {
        self.changer.lock(removal)
    }

    /// Opens the mail slot, where it opens by itself.
    pub fn open_mail(&mut self, at: ElementAddress) -> Result<Performed, TapeError> {
        self.move_mail(at, DoorMove::Open)
    }

    pub fn close_mail(&mut self, at: ElementAddress) -> Result<Performed, TapeError> {
        self.move_mail(at, DoorMove::Close)
    }

    fn move_mail(&mut self, at: ElementAddress, door: DoorMove) -> Result<Performed, TapeError> {
        match self.changer.move_mail_door(at, door) {
            Err(TapeError::Sense { sense, .. }) if sense.asc == 0x53 || sense.asc == 0x3a => {
                Err(TapeError::MailSlotStuck { sense })
            }
            other => other,
        }
    }

    /// Before the robot moves, so that a crash can't have it taken in again.
    pub(super) fn note_outgoing(
        &mut self,
        element: ElementAddress,
        barcode: Option<Barcode>,
    ) -> Result<(), TapeError> {
        let mut outgoing = self.without(element);
        outgoing.push(Outgoing { element, barcode, marked_anyway: false });
        self.journal.set_outgoing(outgoing)
    }

    /// A changer that says of what the robot has just put there that a person did isn't believed in that.
    pub(super) fn check_hand_mark(&mut self, element: ElementAddress) -> Result<(), TapeError> {
        let mail = self.places(ElementKind::MailSlot)?;
        let marked = mail.iter().any(|place| place.element == element && place.placed_by_hand);
        let mut outgoing = self.journal.outgoing().to_vec();
        outgoing.iter_mut().filter(|one| one.element == element).for_each(|one| one.marked_anyway = marked);
        self.journal.set_outgoing(outgoing)
    }

    fn clear_outgoing(&mut self, element: ElementAddress) -> Result<(), TapeError> {
        let outgoing = self.without(element);
        self.journal.set_outgoing(outgoing)
    }

    fn without(&self, element: ElementAddress) -> Vec<Outgoing> {
        self.journal.outgoing().iter().filter(|one| one.element != element).cloned().collect()
    }

    /// What has been taken out, or replaced by something else, or comes back by hand, isn't outgoing any more.
    fn forget_taken(&mut self, mail: &[Place]) -> Result<(), TapeError> {
        let stays = |one: &Outgoing| {
            mail.iter().any(|place| place.element == one.element && place.full && is_same(place, one))
        };
        let outgoing = self.journal.outgoing().iter().filter(|one| stays(one)).cloned().collect();
        self.journal.set_outgoing(outgoing)
    }

    fn is_outgoing(&self, place: &Place) -> bool {
        self.journal.outgoing().iter().any(|one| one.element == place.element)
    }
}

/// The cartridge the robot put there, as far as can be seen. A changer that says a person put it there is believed.
fn is_same(place: &Place, outgoing: &Outgoing) -> bool {
    let read = outgoing.barcode.as_ref().filter(|barcode| barcode.place().is_none());
    let other = place.barcode.as_ref().zip(read).is_some_and(|(found, sent)| found != sent);
    !other && (outgoing.marked_anyway || !place.placed_by_hand)
}
