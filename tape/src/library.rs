//! A changer and its drives as one thing: cartridges by barcode, drives by number.
//!
//! Which device is in which element is taken from serial numbers, never from order. Where a changer names no
//! drives, it's found by elimination, or by which drive gets ready when a cartridge is moved in.

use std::sync::Arc;

use crate::changer::Changer;
use crate::inventory::{DrivePlace, Inventory, Place, Whereabouts};
use crate::scsi::{ElementAddress, ElementKind, ElementStatus, Readiness, ScsiTransport};
use crate::{Barcode, Drive, TapeError, Waiter};

/// Most polls for which drive got a cartridge: 20 minutes.
const FIND_POLLS_MAX: u32 = 600;

/// A drive's number in its library, from 0, in order of element addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriveIndex(pub usize);

/// A drive element and the device in it.
#[derive(Debug)]
enum Bay {
    Known(Box<Drive>),
    /// Lent to a job.
    Lent {
        device: String,
        serial: Option<String>,
    },
    Unknown,
}

/// A changer and its drives.
#[derive(Debug)]
pub struct Library {
    changer: Changer,
    elements: Vec<ElementAddress>,
    bays: Vec<Bay>,
    /// Devices of which the element isn't known yet.
    homeless: Vec<Drive>,
}

impl Library {
    /// Opens all devices; refuses devices of the wrong kind.
    pub fn open(
        changer: Box<dyn ScsiTransport + Send>,
        drives: Vec<Box<dyn ScsiTransport + Send>>,
        waiter: Arc<dyn Waiter>,
    ) -> Result<Library, TapeError> {
        let mut changer = Changer::open(changer, waiter.clone())?;
        let open = |drive| Drive::open(drive, waiter.clone());
        let homeless = drives.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let states = changer.status(ElementKind::Drive)?;
        let elements = states.iter().map(|state| state.address).collect();
        let bays = states.iter().map(|_| Bay::Unknown).collect();
        let mut library = Library { changer, elements, bays, homeless };
        library.house_by_name(&states);
        library.house_by_elimination();
        Ok(library)
    }

    pub fn changer(&self) -> &Changer {
        &self.changer
    }

    /// Asks the changer what is where. Doesn't move anything.
    pub fn inventory(&mut self) -> Result<Inventory, TapeError> {
        let places = |states: Vec<ElementStatus>| states.into_iter().map(Place::from).collect();
        let slots = places(self.changer.status(ElementKind::Slot)?);
        let mail_slots = places(self.changer.status(ElementKind::MailSlot)?);
        let drives = self.changer.status(ElementKind::Drive)?;
        let drives = drives.into_iter().filter_map(|state| self.drive_place(state)).collect();
        Ok(Inventory { changer: self.changer.name().to_owned(), slots, mail_slots, drives })
    }

    /// Makes the changer look at every place again, then as [`Library::inventory`].
    pub fn take_stock(&mut self) -> Result<Inventory, TapeError> {
        self.changer.take_stock()?;
        self.inventory()
    }

    /// Puts a cartridge into a drive, unless it is in one, and readies it at its beginning.
    pub fn load(&mut self, barcode: &Barcode) -> Result<DriveIndex, TapeError> {
        if barcode.is_cleaning() {
            return Err(TapeError::Cleaning(barcode.clone()));
        }
        let inventory = self.inventory()?;
        let from = match inventory.find(barcode) {
            None => return Err(TapeError::NotInLibrary(barcode.clone())),
            Some(Whereabouts::Drive(index)) => return self.ready_loaded(DriveIndex(index)),
            Some(Whereabouts::Slot(from) | Whereabouts::MailSlot(from)) => from,
        };
        let index = self.free_bay(&inventory).ok_or_else(|| TapeError::NoFreeDrive(barcode.clone()))?;
        let candidates = self.empty_homeless()?;
        self.changer.move_medium(from, self.elements[index])?;
        if matches!(self.bays[index], Bay::Unknown) {
            self.house_by_load(index, candidates)?;
        }
        self.drive(DriveIndex(index))?.prepare()?;
        Ok(DriveIndex(index))
    }

    /// Rewinds, unloads, and puts the cartridge back where it came from, or into the first free slot.
    /// Returns where it is now.
    pub fn unload(&mut self, index: DriveIndex) -> Result<ElementAddress, TapeError> {
        let to = self.home_of(index)?;
        self.take_out(index)?;
        self.changer.move_medium(self.elements[index.0], to)?;
        Ok(to)
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
            Whereabouts::MailSlot(already) => return Ok(already),
            Whereabouts::Slot(from) => from,
            Whereabouts::Drive(index) => self.elements[index],
        };
        let to = free.ok_or_else(|| TapeError::MailSlotFull(barcode.clone()))?;
        if let Whereabouts::Drive(index) = found {
            self.take_out(DriveIndex(index))?;
        }
        self.changer.move_medium(from, to)?;
        Ok(to)
    }

    /// The drive with this number.
    pub fn drive(&mut self, index: DriveIndex) -> Result<&mut Drive, TapeError> {
        let element = *self.elements.get(index.0).ok_or(TapeError::NoSuchDrive(index.0))?;
        match &mut self.bays[index.0] {
            Bay::Known(drive) => Ok(drive),
            Bay::Lent { .. } => Err(TapeError::DriveLent(index.0)),
            Bay::Unknown => Err(TapeError::UnknownDrive(element)),
        }
    }

    /// Lends a drive to a job of its own; until it's given back the library leaves it alone.
    pub fn lend_drive(&mut self, index: DriveIndex) -> Result<Drive, TapeError> {
        let drive = self.drive(index)?;
        let lent = Bay::Lent { device: drive.name().to_owned(), serial: drive.serial().map(str::to_owned) };
        match std::mem::replace(&mut self.bays[index.0], lent) {
            Bay::Known(drive) => Ok(*drive),
            _ => Err(TapeError::NoSuchDrive(index.0)),
        }
    }

    /// Takes a lent drive back.
    pub fn give_back(&mut self, drive: Drive) {
        let is_it = |bay: &Bay| matches!(bay, Bay::Lent { device, .. } if device == drive.name());
        match self.bays.iter_mut().find(|bay| is_it(bay)) {
            Some(bay) => *bay = Bay::Known(Box::new(drive)),
            None => self.homeless.push(drive),
        }
    }

    fn drive_place(&self, state: ElementStatus) -> Option<DrivePlace> {
        let drive = self.elements.iter().position(|element| *element == state.address)?;
        let (device, serial) = match &self.bays[drive] {
            Bay::Known(drive) => (Some(drive.name().to_owned()), drive.serial().map(str::to_owned)),
            Bay::Lent { device, serial } => (Some(device.clone()), serial.clone()),
            Bay::Unknown => (None, None),
        };
        Some(DrivePlace {
            drive,
            element: state.address,
            device,
            serial,
            full: state.full,
            barcode: state.barcode,
            source: state.source,
        })
    }

    /// A cartridge that is in its drive already may have been unloaded there.
    fn ready_loaded(&mut self, index: DriveIndex) -> Result<DriveIndex, TapeError> {
        let drive = self.drive(index)?;
        match drive.readiness()? {
            Readiness::NoMedium => drive.load()?,
            Readiness::Failed(sense) if sense.key == crate::scsi::key::NOT_READY => drive.load()?,
            _ => drive.prepare()?,
        }
        Ok(index)
    }

    /// An empty element with a known drive, or else one whose drive loading will make known.
    fn free_bay(&self, inventory: &Inventory) -> Option<usize> {
        let empty = || inventory.drives.iter().filter(|place| !place.full).map(|place| place.drive);
        let known = empty().find(|index| matches!(self.bays[*index], Bay::Known(_)));
        let unknown = || empty().find(|index| matches!(self.bays[*index], Bay::Unknown));
        known.or_else(|| unknown().filter(|_| !self.homeless.is_empty()))
    }

    /// Where an unloaded cartridge goes.
    fn home_of(&mut self, index: DriveIndex) -> Result<ElementAddress, TapeError> {
        let inventory = self.inventory()?;
        let place = inventory.drives.get(index.0).ok_or(TapeError::NoSuchDrive(index.0))?;
        let mut free = inventory.slots.iter().filter(|slot| !slot.full).map(|slot| slot.element);
        let source = place.source.and_then(|source| free.clone().find(|slot| *slot == source));
        source.or_else(|| free.next()).ok_or(TapeError::NoFreeSlot)
    }

    /// Unthreads a drive's tape, so that the robot can take the cartridge.
    fn take_out(&mut self, index: DriveIndex) -> Result<(), TapeError> {
        let drive = self.drive(index)?;
        if drive.readiness()? == Readiness::Ready {
            if let Some(alerts) = drive.tape_alerts()?.filter(|alerts| !alerts.is_empty()) {
                tracing::warn!(drive = drive.name(), ?alerts, "TapeAlert");
            }
            drive.rewind()?;
            drive.unload()?;
        }
        Ok(())
    }

    fn house(&mut self, index: usize, homeless: usize) {
        let drive = self.homeless.remove(homeless);
        tracing::info!(element = %self.elements[index], device = drive.name(), "drive found");
        self.bays[index] = Bay::Known(Box::new(drive));
    }

    /// By the names the changer gives its drives.
    fn house_by_name(&mut self, states: &[ElementStatus]) {
        for (index, state) in states.iter().enumerate() {
            let Some(id) = &state.device_id else { continue };
            if let Some(found) = self.homeless.iter().position(|drive| drive.is_called(id)) {
                self.house(index, found);
            }
        }
    }

    /// One place and one drive left over belong together.
    fn house_by_elimination(&mut self) {
        let mut open = self.bays.iter().enumerate().filter(|(_, bay)| matches!(bay, Bay::Unknown));
        if let (Some((index, _)), None, 1) = (open.next(), open.next(), self.homeless.len()) {
            self.house(index, 0);
        }
    }

    /// Devices that could be the one a cartridge is about to be moved into.
    fn empty_homeless(&mut self) -> Result<Vec<String>, TapeError> {
        let mut empty = Vec::new();
        for drive in &mut self.homeless {
            if drive.readiness()? == Readiness::NoMedium {
                empty.push(drive.name().to_owned());
            }
        }
        Ok(empty)
    }

    /// By which of `candidates` has a cartridge now and had none before.
    fn house_by_load(&mut self, index: usize, candidates: Vec<String>) -> Result<(), TapeError> {
        for _ in 0..FIND_POLLS_MAX {
            for at in 0..self.homeless.len() {
                let drive = &mut self.homeless[at];
                let is_candidate = candidates.iter().any(|name| name == drive.name());
                if is_candidate && drive.readiness()? != Readiness::NoMedium {
                    self.house(index, at);
                    self.house_by_elimination();
                    return Ok(());
                }
            }
            match self.homeless.first() {
                Some(drive) => drive.pause(),
                None => break,
            }
        }
        Err(TapeError::UnknownDrive(self.elements[index]))
    }
}
