//! Cartridges into drives and out of them.

use super::journal::{Errand, Intent};
use super::{Bay, DriveIndex, Library};
use crate::drive::Performed;
use crate::inventory::{Inventory, Whereabouts};
use crate::scsi::{ElementAddress, ElementKind, Patience, Readiness, key};
use crate::{Barcode, Generation, TapeError};

/// A drive takes up to 30 s to let go of a cartridge, and some answer before they have.
const LET_GO_MS: u64 = 120_000;

impl Library {
    /// Puts a cartridge into a drive, unless it is in one, and readies it at its beginning. If the drive can't use it,
    /// it's put back and the error says why.
    ///
    /// A name like `@4096` means the cartridge in that place, whose barcode can't be read.
    pub fn load(&mut self, barcode: &Barcode) -> Result<DriveIndex, TapeError> {
        if barcode.is_cleaning() {
            return Err(TapeError::Cleaning(barcode.clone()));
        }
        let inventory = self.inventory()?;
        match inventory.find(barcode) {
            None => Err(TapeError::NotInLibrary(barcode.clone())),
            Some(Whereabouts::Hand(_)) => Err(TapeError::GripperFull),
            Some(Whereabouts::Drive(index)) => self.ready_loaded(DriveIndex(index)),
            Some(Whereabouts::Slot(from) | Whereabouts::MailSlot(from)) => {
                let index = self.free_bay(&inventory, Generation::from_barcode(barcode));
                let index = index.ok_or_else(|| TapeError::NoFreeDrive(barcode.clone()))?;
                self.load_from(&inventory, from, index)
            }
        }
    }

    /// As [`Library::load`], for the cartridge in a slot or mail slot, whatever it's called.
    pub fn load_place(&mut self, from: ElementAddress) -> Result<DriveIndex, TapeError> {
        let inventory = self.inventory()?;
        let place = inventory.slots.iter().chain(&inventory.mail_slots).find(|place| place.element == from);
        let place = place.ok_or(TapeError::NoSuchPlace(from))?;
        if !place.full {
            return Err(TapeError::EmptyPlace(from));
        }
        if place.is_cleaner() {
            return Err(TapeError::Cleaning(place.name()));
        }
        let index = self.free_bay(&inventory, None).ok_or(TapeError::NoFreeDriveFor(from))?;
        self.load_from(&inventory, from, index)
    }

    /// Rewinds, unloads, and puts the cartridge back where it came from, or into the first free slot.
    /// Returns where it is now.
    pub fn unload(&mut self, index: DriveIndex) -> Result<ElementAddress, TapeError> {
        self.put_back(index, Errand::Unload)
    }

    /// Puts what is in a drive back and another cartridge in: in one go where the robot can exchange.
    pub fn swap(&mut self, index: DriveIndex, barcode: &Barcode) -> Result<DriveIndex, TapeError> {
        let inventory = self.inventory()?;
        let (Some(Whereabouts::Slot(from)), Ok(home)) = (inventory.find(barcode), self.home_of(index)) else {
            self.unload(index)?;
            return self.load(barcode);
        };
        self.take_out(index)?;
        let to = self.element_of(index)?;
        self.journal.begin(Intent { errand: Errand::Load, barcode: Some(barcode.clone()), from, to })?;
        let exchanged = self.changer.exchange(from, to, home)?;
        self.journal.end()?;
        if exchanged == Performed::Unsupported {
            self.put_back(index, Errand::Unload)?;
            return self.load(barcode);
        }
        let (inside, outside) = (self.names.remove(&from), self.names.remove(&to));
        inside.map(|name| self.names.insert(to, name));
        outside.map(|name| self.names.insert(home, name));
        self.prepare_or_put_back(index)
    }

    /// Moves a cartridge to a mail slot, for a person to take out. Returns which.
    pub fn export(&mut self, barcode: &Barcode) -> Result<ElementAddress, TapeError> {
        let inventory = self.inventory()?;
        let found = inventory.find(barcode).ok_or_else(|| TapeError::NotInLibrary(barcode.clone()))?;
        if inventory.mail_slots.is_empty() {
            return Err(TapeError::NoMailSlot(barcode.clone()));
        }
        let free = inventory.mail_slots.iter().find(|place| !place.full).map(|place| place.element);
        let from = match found {
            Whereabouts::MailSlot(already) => {
                self.note_outgoing(already, Some(barcode.clone()))?;
                return Ok(already);
            }
            Whereabouts::Hand(_) => return Err(TapeError::GripperFull),
            Whereabouts::Slot(from) => from,
            Whereabouts::Drive(index) => self.element_of(DriveIndex(index))?,
        };
        let to = free.ok_or_else(|| TapeError::MailSlotFull(barcode.clone()))?;
        if let Whereabouts::Drive(index) = found {
            self.take_out(DriveIndex(index))?;
        }
        self.note_outgoing(to, Some(barcode.clone()))?;
        self.carry(Intent { errand: Errand::Export, barcode: Some(barcode.clone()), from, to })?;
        self.check_hand_mark(to)?;
        Ok(to)
    }

    /// One move of the robot, in the journal while it lasts. Where the robot refuses, nothing has moved.
    pub(super) fn carry(&mut self, intent: Intent) -> Result<(), TapeError> {
        self.journal.begin(intent.clone())?;
        self.move_now(&intent)?;
        self.journal.end()
    }

    /// As [`Library::carry`], with the journal's errand left open.
    pub(super) fn move_now(&mut self, intent: &Intent) -> Result<(), TapeError> {
        let Intent { from, to, .. } = *intent;
        let mut patience = Patience::default();
        loop {
            let error = match self.changer.move_medium(from, to) {
                Ok(()) => break,
                Err(error) => error,
            };
            let held = matches!(&error, TapeError::Sense { sense, .. } if sense.asc == 0x53);
            if held && patience.waited_ms < LET_GO_MS {
                self.changer.device().pause(&mut patience);
                continue;
            }
            return Err(self.why_not(error)?);
        }
        let name = self.names.remove(&from).or_else(|| {
            // Without a barcode to be seen there, the cartridge is known by the place it came from.
            let unread = intent.barcode.as_ref().is_none_or(|name| name.place().is_some());
            unread.then(|| intent.barcode.clone().unwrap_or_else(|| Barcode::of_place(from)))
        });
        if let Some(name) = name.filter(|name| name.place() != Some(to)) {
            self.names.insert(to, name);
        }
        Ok(())
    }

    /// Why the robot didn't move. What it refused before it began isn't left in the journal.
    fn why_not(&mut self, error: TapeError) -> Result<TapeError, TapeError> {
        let refused = match &error {
            TapeError::OutOfStep { .. } | TapeError::DoorOpen { .. } | TapeError::Reserved { .. } => true,
            TapeError::Sense { sense, .. } => matches!(sense.key, key::ILLEGAL_REQUEST | key::NOT_READY),
            _ => false,
        };
        if !refused {
            return Ok(error);
        }
        self.journal.end()?;
        let hands = self.changer.status(ElementKind::Transport)?;
        let full = hands.iter().any(|hand| hand.full);
        Ok(if full && matches!(error, TapeError::OutOfStep { .. }) { TapeError::GripperFull } else { error })
    }

    fn load_from(
        &mut self,
        inventory: &Inventory,
        from: ElementAddress,
        index: usize,
    ) -> Result<DriveIndex, TapeError> {
        let candidates = self.empty_homeless();
        let places = inventory.slots.iter().chain(&inventory.mail_slots);
        let barcode =
            places.clone().find(|place| place.element == from).and_then(|place| place.barcode.clone());
        let to = self.elements[index];
        self.carry(Intent { errand: Errand::Load, barcode, from, to })?;
        if matches!(self.bays[index], Bay::Unknown) {
            self.house_by_load(index, &candidates)?;
        }
        self.prepare_or_put_back(DriveIndex(index))
    }

    /// A cartridge the drive can't use doesn't stay in it. One in a drive that failed does, so that it can be seen which
    /// that is: unload it, or recover the library.
    fn prepare_or_put_back(&mut self, index: DriveIndex) -> Result<DriveIndex, TapeError> {
        let Err(error) = self.drive(index)?.prepare() else { return Ok(index) };
        if error.is_about_cartridge() {
            tracing::warn!(drive = index.0, %error, "putting the cartridge back");
            if let Err(stuck) = self.put_back(index, Errand::Unload) {
                tracing::warn!(drive = index.0, error = %stuck, "it stays in the drive until the library is recovered");
            }
        }
        Err(error)
    }

    /// A cartridge that is in its drive already may have been unloaded there.
    fn ready_loaded(&mut self, index: DriveIndex) -> Result<DriveIndex, TapeError> {
        let drive = self.drive(index)?;
        match drive.readiness()? {
            Readiness::NoMedium => drive.ask_to_load()?,
            Readiness::Failed(sense) if sense.key == key::NOT_READY => drive.ask_to_load()?,
            _ => {}
        }
        self.prepare_or_put_back(index)
    }

    /// An empty element with a known drive, one that writes the cartridge's generation first; or else one whose drive
    /// loading will make known.
    fn free_bay(&mut self, inventory: &Inventory, generation: Option<Generation>) -> Option<usize> {
        let empty: Vec<usize> =
            inventory.drives.iter().filter(|place| !place.full).map(|place| place.drive).collect();
        let mut known = Vec::new();
        for index in &empty {
            if let Bay::Known(drive) = &mut self.bays[*index] {
                let of_drive = drive.generation().ok().flatten();
                let writes = generation.zip(of_drive).is_none_or(|(medium, drive)| drive.writes(medium));
                known.push((!writes, *index));
            }
        }
        let best = known.into_iter().min().map(|(_, index)| index);
        let unknown = || empty.iter().copied().find(|index| matches!(self.bays[*index], Bay::Unknown));
        best.or_else(|| unknown().filter(|_| !self.homeless.is_empty()))
    }

    /// Where an unloaded cartridge goes.
    pub(super) fn home_of(&mut self, index: DriveIndex) -> Result<ElementAddress, TapeError> {
        let inventory = self.inventory()?;
        let place = inventory.drives.iter().find(|place| place.drive == index.0);
        let place = place.ok_or(TapeError::NoSuchDrive(index.0))?;
        free_slot(&inventory, place.source).ok_or(TapeError::NoFreeSlot)
    }

    /// Out of a drive and home. A drive that can't be reached any more isn't asked to let go: the robot may be able to
    /// take the cartridge all the same.
    pub(super) fn put_back(
        &mut self,
        index: DriveIndex,
        errand: Errand,
    ) -> Result<ElementAddress, TapeError> {
        let from = self.element_of(index)?;
        let inventory = self.inventory()?;
        let place = inventory.drives.iter().find(|place| place.drive == index.0);
        let place = place.ok_or(TapeError::NoSuchDrive(index.0))?;
        let to = free_slot(&inventory, place.source).ok_or(TapeError::NoFreeSlot)?;
        let taken_out = match self.take_out(index) {
            Err(error @ (TapeError::DriveLent(_) | TapeError::NoSuchDrive(_))) => return Err(error),
            Err(error) => {
                tracing::warn!(drive = index.0, %error, "the drive can't be asked to let go of its cartridge");
                Err(error)
            }
            Ok(()) => Ok(()),
        };
        match self.carry(Intent { errand, barcode: place.barcode.clone(), from, to }) {
            Ok(()) => Ok(to),
            Err(error) => Err(taken_out.err().unwrap_or(error)),
        }
    }

    /// Unthreads a drive's tape, so that the robot can take the cartridge. What the drive warns of is noted before.
    pub(super) fn take_out(&mut self, index: DriveIndex) -> Result<(), TapeError> {
        if matches!(self.bays.get(index.0), Some(Bay::Unknown)) {
            return Ok(());
        }
        let drive = self.drive(index)?;
        let mut state = drive.readiness()?;
        if matches!(state, Readiness::Becoming(sense) if !sense.is_vaguely_not_ready()) {
            // Amid loading a drive doesn't let go.
            state = drive.wait_loaded().map_or_else(|_| drive.readiness(), |()| Ok(Readiness::Ready))?;
        }
        match state {
            Readiness::NoMedium => {}
            Readiness::Ready => {
                // What fails here says nothing against letting go.
                if let Err(error) = drive.note_alerts().and_then(|()| drive.rewind()) {
                    tracing::warn!(drive = drive.name(), %error, "unloading all the same");
                }
                drive.unload()?;
            }
            // A cleaner at work isn't stopped: the drive lets go when it's done.
            Readiness::Failed(sense) if sense.is_cleaning_cartridge() => drop(self.wait_cleaned(index)?),
            // Nothing is threaded that could be wound.
            Readiness::Becoming(_) | Readiness::Failed(_) => drive.unload()?,
        }
        Ok(())
    }
}

/// The place a cartridge came from if that is a free slot, or the first free slot.
pub(super) fn free_slot(inventory: &Inventory, source: Option<ElementAddress>) -> Option<ElementAddress> {
    let mut free = inventory.slots.iter().filter(|slot| !slot.full).map(|slot| slot.element);
    let source = source.and_then(|source| free.clone().find(|slot| *slot == source));
    source.or_else(|| free.next())
}
