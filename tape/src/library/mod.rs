//! A changer and its drives as one thing: cartridges by barcode, drives by number.
//!
//! Which device is in which element is taken from serial numbers, never from order. Where a changer names no
//! drives, it's found by elimination, or by which drive gets ready when a cartridge is moved in. Where it reads no
//! barcodes, cartridges are named by their place until somebody who read the label says who they are.
//!
//! What the robot is about to do is in the [`journal`] before it does it: after a power cut at any step
//! [`Library::recover`] finds every cartridge by asking the robot and puts it away.

mod clean;
mod housing;
pub mod journal;
mod mail;
mod moves;
mod recover;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

pub use clean::Cleaned;
pub use mail::Imported;
pub use recover::{PutAway, Recovered};

use self::journal::Journal;
use crate::changer::{Changer, ChangerFeatures};
use crate::drive::DriveFeatures;
use crate::inventory::{DrivePlace, Inventory, Place};
use crate::scsi::{ElementAddress, ElementKind, ElementStatus, ScsiTransport};
use crate::{Barcode, Drive, Generation, Medium, MediumKind, TapeError, Waiter};

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

/// What a library's devices can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Features {
    pub changer: ChangerFeatures,
    /// By device, in order of elements.
    pub drives: Vec<(String, DriveFeatures)>,
}

/// A changer and its drives.
#[derive(Debug)]
pub struct Library {
    changer: Changer,
    elements: Vec<ElementAddress>,
    bays: Vec<Bay>,
    /// Devices of which the element isn't known yet.
    homeless: Vec<Drive>,
    /// Devices that didn't answer when they were opened, and why.
    silent: Vec<(String, TapeError)>,
    /// Names of cartridges whose barcode can't be read, by where they are.
    names: BTreeMap<ElementAddress, Barcode>,
    journal: Journal,
}

impl Library {
    /// Opens all devices; refuses devices of the wrong kind. A drive that doesn't answer is left out, as long as another
    /// one does.
    pub fn open(
        changer: Box<dyn ScsiTransport + Send>,
        drives: Vec<Box<dyn ScsiTransport + Send>>,
        waiter: Arc<dyn Waiter>,
    ) -> Result<Library, TapeError> {
        let mut changer = Changer::open(changer, waiter.clone())?;
        let (homeless, silent) = open_drives(drives, &waiter)?;
        let states = changer.status(ElementKind::Drive)?;
        let elements = states.iter().map(|state| state.address).collect();
        let bays = states.iter().map(|_| Bay::Unknown).collect();
        let (names, journal) = (BTreeMap::new(), Journal::default());
        let mut library = Library { changer, elements, bays, homeless, silent, names, journal };
        library.house_by_name(&states);
        library.house_by_elimination();
        Ok(library)
    }

    /// Keeps a journal of what the robot is about to do in this file, made if it isn't there. What an earlier run left
    /// unfinished is taken up by [`Library::recover`].
    pub fn keep_journal(&mut self, path: impl AsRef<Path>) -> Result<(), TapeError> {
        self.journal = Journal::open(path.as_ref())?;
        Ok(())
    }

    pub fn changer(&self) -> &Changer {
        &self.changer
    }

    /// Drives that didn't answer when the library was opened, by device, and what came of it: open it again when they do.
    pub fn silent_drives(&self) -> &[(String, TapeError)] {
        &self.silent
    }

    /// The robot itself, for what a library doesn't do by itself.
    pub fn changer_mut(&mut self) -> &mut Changer {
        &mut self.changer
    }

    /// Asks the changer what is where. Doesn't move anything.
    pub fn inventory(&mut self) -> Result<Inventory, TapeError> {
        let slots = self.places(ElementKind::Slot)?;
        let mail_slots = self.places(ElementKind::MailSlot)?;
        let hands = self.places(ElementKind::Transport)?.into_iter().filter(|hand| hand.full).collect();
        let drives = self.changer.status(ElementKind::Drive)?;
        let drives = drives.into_iter().filter_map(|state| self.drive_place(state)).collect();
        let inventory =
            Inventory { changer: self.changer.name().to_owned(), slots, mail_slots, drives, hands };
        self.forget_names(&inventory);
        Ok(inventory)
    }

    /// Makes the changer look at every place again, then as [`Library::inventory`].
    pub fn take_stock(&mut self) -> Result<Inventory, TapeError> {
        self.changer.take_stock()?;
        self.inventory()
    }

    /// How many drives there are.
    pub fn drive_count(&self) -> usize {
        self.bays.len()
    }

    /// The drive with this number.
    pub fn drive(&mut self, index: DriveIndex) -> Result<&mut Drive, TapeError> {
        let element = self.element_of(index)?;
        match &mut self.bays[index.0] {
            Bay::Known(drive) => Ok(drive),
            Bay::Lent { .. } => Err(TapeError::DriveLent(index.0)),
            Bay::Unknown => Err(TapeError::UnknownDrive(element)),
        }
    }

    /// What the drive, and where it doesn't tell the barcode, say of the cartridge in it.
    pub fn medium(&mut self, index: DriveIndex) -> Result<Medium, TapeError> {
        let mut medium = self.drive(index)?.medium()?;
        let inventory = self.inventory()?;
        let place = inventory.drives.into_iter().find(|place| place.drive == index.0);
        let barcode = place.and_then(|place| place.barcode);
        let by_barcode = barcode.as_ref().and_then(Generation::from_barcode);
        medium.generation = medium.generation.or(by_barcode);
        if let (MediumKind::Unknown, Some(barcode)) = (medium.kind, &barcode) {
            medium.kind = match () {
                () if barcode.is_cleaning() => MediumKind::Cleaning,
                () if barcode.is_write_once() => MediumKind::Worm,
                () => MediumKind::Unknown,
            };
        }
        Ok(medium)
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

    /// Says who the cartridge in a place is, of which the changer can't read the barcode: its label was read. It keeps
    /// the name while it's in the library.
    pub fn identify(&mut self, at: ElementAddress, barcode: Barcode) {
        self.names.insert(at, barcode);
    }

    /// As [`Library::identify`], for the cartridge in a drive.
    pub fn identify_loaded(&mut self, index: DriveIndex, barcode: Barcode) -> Result<(), TapeError> {
        let element = self.element_of(index)?;
        self.identify(element, barcode);
        Ok(())
    }

    /// Asks every device for all it can do, without moving anything.
    pub fn probe(&mut self) -> Result<Features, TapeError> {
        let changer = self.changer.probe()?;
        let mut drives = Vec::new();
        for bay in &mut self.bays {
            if let Bay::Known(drive) = bay {
                drives.push((drive.name().to_owned(), drive.probe()?));
            }
        }
        Ok(Features { changer, drives })
    }

    fn element_of(&self, index: DriveIndex) -> Result<ElementAddress, TapeError> {
        self.elements.get(index.0).copied().ok_or(TapeError::NoSuchDrive(index.0))
    }

    fn places(&mut self, kind: ElementKind) -> Result<Vec<Place>, TapeError> {
        let mut places: Vec<Place> = self.changer.status(kind)?.into_iter().map(Place::from).collect();
        for place in places.iter_mut().filter(|place| place.full && place.barcode.is_none()) {
            place.barcode = self.names.get(&place.element).cloned();
        }
        Ok(places)
    }

    fn drive_place(&self, state: ElementStatus) -> Option<DrivePlace> {
        let drive = self.elements.iter().position(|element| *element == state.address)?;
        let (device, serial) = match &self.bays[drive] {
            Bay::Known(drive) => (Some(drive.name().to_owned()), drive.serial().map(str::to_owned)),
            Bay::Lent { device, serial } => (Some(device.clone()), serial.clone()),
            Bay::Unknown => (None, None),
        };
        let named = || self.names.get(&state.address).filter(|_| state.full).cloned();
        Some(DrivePlace {
            drive,
            element: state.address,
            device,
            serial,
            full: state.full,
            barcode: state.barcode.or_else(named),
            source: state.source,
        })
    }

    /// A place found empty lets go of its cartridge's name: what comes there next is another.
    fn forget_names(&mut self, inventory: &Inventory) {
        let places = inventory.slots.iter().chain(&inventory.mail_slots);
        let places = places.map(|place| (place.element, place.full));
        let drives = inventory.drives.iter().map(|drive| (drive.element, drive.full));
        for (element, full) in places.chain(drives) {
            if !full {
                self.names.remove(&element);
            }
        }
    }
}

/// The drives that answer, and those that don't; fails if none does.
type Opened = (Vec<Drive>, Vec<(String, TapeError)>);

fn open_drives(
    drives: Vec<Box<dyn ScsiTransport + Send>>,
    waiter: &Arc<dyn Waiter>,
) -> Result<Opened, TapeError> {
    let (mut answering, mut silent) = (Vec::new(), Vec::new());
    for drive in drives {
        let name = drive.name();
        match Drive::open(drive, waiter.clone()) {
            Ok(drive) => answering.push(drive),
            Err(error @ TapeError::WrongDevice { .. }) => return Err(error),
            Err(error) => {
                tracing::error!(drive = name, %error, "a drive doesn't answer and is left out");
                silent.push((name, error));
            }
        }
    }
    match answering.is_empty() {
        true if !silent.is_empty() => Err(silent.swap_remove(0).1),
        _ => Ok((answering, silent)),
    }
}
