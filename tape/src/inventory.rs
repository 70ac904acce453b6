//! What a library holds, as people and programs are shown it.

use serde::Serialize;

use crate::Barcode;
use crate::scsi::{ElementAddress, ElementStatus};

/// A place for one cartridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub element: ElementAddress,
    pub full: bool,
    /// `None` if the place is empty or the label can't be read.
    pub barcode: Option<Barcode>,
}

/// A drive in its element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrivePlace {
    /// Number in this library, from 0.
    pub drive: usize,
    pub element: ElementAddress,
    /// `None` if it isn't known which device is in this element.
    pub device: Option<String>,
    pub serial: Option<String>,
    pub full: bool,
    pub barcode: Option<Barcode>,
    /// Where the cartridge came from.
    pub source: Option<ElementAddress>,
}

/// Everything in a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inventory {
    pub changer: String,
    pub slots: Vec<Place>,
    pub mail_slots: Vec<Place>,
    pub drives: Vec<DrivePlace>,
}

/// Where a cartridge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    Slot(ElementAddress),
    MailSlot(ElementAddress),
    /// Number of the drive in the library.
    Drive(usize),
}

impl Inventory {
    pub fn find(&self, barcode: &Barcode) -> Option<Whereabouts> {
        let is_it = |found: &Option<Barcode>| found.as_ref() == Some(barcode);
        let place =
            |places: &[Place]| places.iter().find(|place| is_it(&place.barcode)).map(|place| place.element);
        let drive = self.drives.iter().find(|drive| is_it(&drive.barcode));
        drive
            .map(|drive| Whereabouts::Drive(drive.drive))
            .or_else(|| place(&self.slots).map(Whereabouts::Slot))
            .or_else(|| place(&self.mail_slots).map(Whereabouts::MailSlot))
    }

    /// All barcodes in the library, slots first.
    pub fn barcodes(&self) -> Vec<Barcode> {
        let places = self.slots.iter().chain(&self.mail_slots).map(|place| &place.barcode);
        places.chain(self.drives.iter().map(|drive| &drive.barcode)).flatten().cloned().collect()
    }
}

impl From<ElementStatus> for Place {
    fn from(status: ElementStatus) -> Place {
        Place { element: status.address, full: status.full, barcode: status.barcode }
    }
}
