//! What a library holds, as people and programs are shown it.

use serde::Serialize;

use crate::Barcode;
use crate::scsi::{ElementAddress, ElementMedium, ElementStatus};

/// A place for one cartridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub element: ElementAddress,
    pub full: bool,
    /// `None` if the place is empty or the label can't be read and nobody has named the cartridge.
    pub barcode: Option<Barcode>,
    /// What the changer takes the cartridge for.
    #[serde(skip_serializing_if = "is_unknown")]
    pub medium: ElementMedium,
    /// In a mail slot, put there by a person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub placed_by_hand: bool,
    /// Additional sense code and qualifier, if the place isn't as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<(u8, u8)>,
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
    /// The robot's hands; empty but amid a move, or after one that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hands: Vec<Place>,
}

/// Where a cartridge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    Slot(ElementAddress),
    MailSlot(ElementAddress),
    /// Number of the drive in the library.
    Drive(usize),
    /// In the robot's hand: recover the library first.
    Hand(ElementAddress),
}

impl Inventory {
    /// A name like `@4096` means what lies in that place.
    pub fn find(&self, barcode: &Barcode) -> Option<Whereabouts> {
        let named = self.search(|element, found| found == Some(barcode) && Some(element) != barcode.place());
        named.or_else(|| {
            let place = barcode.place()?;
            self.search(|element, _| element == place)
        })
    }

    /// All barcodes in the library, slots first.
    pub fn barcodes(&self) -> Vec<Barcode> {
        let places = self.slots.iter().chain(&self.mail_slots).map(|place| &place.barcode);
        places.chain(self.drives.iter().map(|drive| &drive.barcode)).flatten().cloned().collect()
    }

    /// Slots and mail slots with a cartridge nobody can name: load it by place and read its label.
    pub fn nameless(&self) -> impl Iterator<Item = &Place> {
        self.slots.iter().chain(&self.mail_slots).filter(|place| place.full && place.barcode.is_none())
    }

    /// What can clean a drive, by barcode or by what the changer takes it for.
    pub fn cleaners(&self) -> impl Iterator<Item = &Place> {
        self.slots.iter().chain(&self.mail_slots).filter(|place| place.is_cleaner())
    }

    fn search(&self, is_it: impl Fn(ElementAddress, Option<&Barcode>) -> bool) -> Option<Whereabouts> {
        let place = |places: &[Place]| {
            let found =
                places.iter().find(|place| place.full && is_it(place.element, place.barcode.as_ref()));
            found.map(|place| place.element)
        };
        let drive =
            self.drives.iter().find(|drive| drive.full && is_it(drive.element, drive.barcode.as_ref()));
        drive
            .map(|drive| Whereabouts::Drive(drive.drive))
            .or_else(|| place(&self.slots).map(Whereabouts::Slot))
            .or_else(|| place(&self.mail_slots).map(Whereabouts::MailSlot))
            .or_else(|| place(&self.hands).map(Whereabouts::Hand))
    }
}

impl Place {
    pub fn is_cleaner(&self) -> bool {
        self.full
            && (self.medium == ElementMedium::Cleaning
                || self.barcode.as_ref().is_some_and(Barcode::is_cleaning))
    }

    /// A name for the cartridge in it: its barcode, or its place.
    pub fn name(&self) -> Barcode {
        self.barcode.clone().unwrap_or_else(|| Barcode::of_place(self.element))
    }
}

impl From<ElementStatus> for Place {
    fn from(status: ElementStatus) -> Place {
        Place {
            element: status.address,
            full: status.full,
            barcode: status.barcode,
            medium: status.medium,
            placed_by_hand: status.placed_by_hand,
            exception: status.exception,
        }
    }
}

fn is_unknown(medium: &ElementMedium) -> bool {
    *medium == ElementMedium::Unknown
}
