//! After a power cut, a crash or a stuck robot: what is where it shouldn't be is put away.

use serde::Serialize;

use super::journal::{Errand, Intent};
use super::moves::free_slot;
use super::{Bay, DriveIndex, Library};
use crate::inventory::{Inventory, Place, Whereabouts};
use crate::scsi::ElementAddress;
use crate::{Barcode, TapeError};

/// A cartridge that wasn't in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PutAway {
    pub barcode: Option<Barcode>,
    pub from: ElementAddress,
    /// The slot it's in now.
    pub to: ElementAddress,
}

/// What [`Library::recover`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recovered {
    pub put_away: Vec<PutAway>,
    /// What was interrupted, and what couldn't be put away, in sentences.
    pub sentences: Vec<String>,
    /// Cartridges are still in drives or in the gripper: the sentences say why.
    pub left: usize,
}

impl Library {
    /// Asks the robot what is where, puts away what is in its hand and in drives that aren't lent, and tells of the errand
    /// the journal names. Safe to call at any time no job runs; call it after every start.
    pub fn recover(&mut self) -> Result<Recovered, TapeError> {
        let mut recovered = Recovered::default();
        let interrupted = self.journal.intent().cloned();
        let inventory = self.inventory()?;
        for hand in &inventory.hands {
            let intended = interrupted.as_ref().map(|intent| intent.from);
            self.put_away(hand, intended, "the robot's hand", &mut recovered)?;
        }
        for drive in inventory.drives.iter().filter(|drive| drive.full) {
            if matches!(self.bays.get(drive.drive), Some(Bay::Lent { .. })) {
                continue;
            }
            self.empty_drive(DriveIndex(drive.drive), drive.barcode.as_ref(), &mut recovered)?;
        }
        if let Some(intent) = interrupted {
            let now = self.inventory()?;
            let sentence = tell(&intent, &now, self.elements.iter().position(|one| *one == intent.to));
            tracing::warn!(sentence, "an errand of the robot was interrupted");
            recovered.sentences.insert(0, sentence);
        }
        if recovered.left == 0 {
            self.journal.end()?;
        }
        Ok(recovered)
    }

    fn put_away(
        &mut self,
        place: &Place,
        intended: Option<ElementAddress>,
        what: &str,
        recovered: &mut Recovered,
    ) -> Result<(), TapeError> {
        let inventory = self.inventory()?;
        let from = place.element;
        let moved = match free_slot(&inventory, intended) {
            Some(to) => {
                let barcode = place.barcode.clone();
                self.move_now(&Intent { errand: Errand::PutAway, barcode, from, to }).map(|()| to)
            }
            None => Err(TapeError::NoFreeSlot),
        };
        note(recovered, place.barcode.as_ref(), from, moved, what);
        Ok(())
    }

    fn empty_drive(
        &mut self,
        index: DriveIndex,
        barcode: Option<&Barcode>,
        recovered: &mut Recovered,
    ) -> Result<(), TapeError> {
        let from = self.element_of(index)?;
        let kept = self.journal.intent().cloned();
        let moved = self.put_back(index, Errand::PutAway);
        // The errand that was interrupted is told of until everything is away.
        match kept {
            Some(intent) => self.journal.begin(intent)?,
            None => self.journal.end()?,
        }
        note(recovered, barcode, from, moved, &format!("drive {}", index.0));
        Ok(())
    }
}

fn note(
    recovered: &mut Recovered,
    barcode: Option<&Barcode>,
    from: ElementAddress,
    moved: Result<ElementAddress, TapeError>,
    what: &str,
) {
    let name =
        barcode.map_or_else(|| "a tape without a barcode".to_owned(), |barcode| format!("tape {barcode}"));
    match moved {
        Ok(to) => {
            recovered.sentences.push(format!("{name} was in {what} and is in slot {to} now"));
            recovered.put_away.push(PutAway { barcode: barcode.cloned(), from, to });
        }
        Err(error) => {
            recovered.sentences.push(format!("{name} is still in {what}: {error}"));
            recovered.left += 1;
        }
    }
}

/// What was interrupted, and where its cartridge is now.
fn tell(intent: &Intent, now: &Inventory, drive: Option<usize>) -> String {
    let name = match &intent.barcode {
        Some(barcode) => format!("tape {barcode}"),
        None => format!("the tape of place {}", intent.from),
    };
    let to = drive.map_or_else(|| format!("place {}", intent.to), |drive| format!("drive {drive}"));
    let doing = match intent.errand {
        Errand::Load => format!("loading {name} into {to}"),
        Errand::Unload => format!("unloading {name}"),
        Errand::Export => format!("moving {name} to the mail slot"),
        Errand::Import => format!("taking {name} in from the mail slot"),
        Errand::Clean => format!("cleaning {to} with {name}"),
        Errand::PutAway => format!("putting {name} away"),
    };
    let found = intent.barcode.as_ref().and_then(|barcode| now.find(barcode));
    let place = match found {
        Some(Whereabouts::Slot(at)) => format!("it is in slot {at}"),
        Some(Whereabouts::MailSlot(at)) => format!("it is in mail slot {at}"),
        Some(Whereabouts::Drive(drive)) => format!("it is in drive {drive}"),
        Some(Whereabouts::Hand(_)) => "it is in the robot's hand".to_owned(),
        None => "where it is now can't be seen: take stock of the library".to_owned(),
    };
    format!("{doing} was interrupted; {place}")
}
