//! Cleaning a drive: on request, with an empty drive, and with the cleaner put back whatever happens.

use serde::Serialize;

use super::journal::{Errand, Intent};
use super::{DriveIndex, Library};
use crate::scsi::{ElementAddress, Patience, Readiness, Sense, TapeAlert, key};
use crate::{Barcode, TapeError};

/// Cleaning takes a minute or two; a drive that still holds the cleaner after this long is asked to let go.
const CLEANING_MS: u64 = 15 * 60 * 1000;
/// A drive that shows no cartridge this soon hasn't begun.
const BEGIN_MS: u64 = 20_000;

/// A drive was cleaned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    pub drive: usize,
    /// The cleaning cartridge: its barcode, or its place. Count its uses by this; most last for 50.
    pub cleaner: Barcode,
    /// Where it has been put back.
    pub element: ElementAddress,
    /// Flags the drive raised meanwhile.
    pub alerts: Vec<TapeAlert>,
    /// Cleaning cartridges that were tried before and are used up, or of the wrong kind.
    pub refused: Vec<Barcode>,
}

impl Library {
    /// Cleans an empty drive with the first cleaning cartridge that it takes.
    pub fn clean(&mut self, index: DriveIndex) -> Result<Cleaned, TapeError> {
        let inventory = self.inventory()?;
        let place = inventory.drives.iter().find(|place| place.drive == index.0);
        let place = place.ok_or(TapeError::NoSuchDrive(index.0))?;
        if place.full {
            return Err(TapeError::DriveNotEmpty(index.0));
        }
        self.drive(index)?;
        let cleaners: Vec<(Barcode, ElementAddress)> =
            inventory.cleaners().map(|place| (place.name(), place.element)).collect();
        let (mut refused, mut last) = (Vec::new(), TapeError::NoCleaner);
        for (cleaner, from) in cleaners {
            match self.clean_with(index, &cleaner, from) {
                Ok((element, alerts)) => {
                    return Ok(Cleaned { drive: index.0, cleaner, element, alerts, refused });
                }
                Err(error @ (TapeError::CleanerExpired(_) | TapeError::CleanerInvalid(_))) => {
                    refused.push(cleaner);
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn clean_with(
        &mut self,
        index: DriveIndex,
        cleaner: &Barcode,
        from: ElementAddress,
    ) -> Result<(ElementAddress, Vec<TapeAlert>), TapeError> {
        let to = self.element_of(index)?;
        self.drive(index)?.note_alerts()?;
        let before = self.drive(index)?.take_noted_alerts();
        let intent = Intent { errand: Errand::Clean, barcode: Some(cleaner.clone()), from, to };
        let cleaned = self.in_and_out(index, intent);
        let drive = self.drive(index)?;
        let noted = drive.note_alerts();
        let alerts = drive.give_back_alerts(before);
        let failure = cleaned?;
        noted?;
        let name = cleaner.to_string();
        if alerts.contains(&TapeAlert::ExpiredCleaningMedia) {
            return Err(TapeError::CleanerExpired(name));
        }
        if alerts.contains(&TapeAlert::InvalidCleaningTape) {
            return Err(TapeError::CleanerInvalid(name));
        }
        if let Some(sense) = failure {
            let device = drive.name().to_owned();
            return Err(TapeError::CleaningFailed { device, cleaner: name, sense });
        }
        drive.was_cleaned();
        Ok((from, alerts))
    }

    /// Moves the cleaner in, waits, and moves it back whatever came of it.
    fn in_and_out(&mut self, index: DriveIndex, intent: Intent) -> Result<Option<Sense>, TapeError> {
        self.journal.begin(intent.clone())?;
        self.move_now(&intent)?;
        let ended = self.wait_cleaned(index);
        let (from, to) = (intent.to, intent.from);
        self.move_now(&Intent { from, to, ..intent })?;
        self.journal.end()?;
        ended
    }

    /// Until the drive has let go of the cleaner by itself. The sense with which it says that it failed, if it does.
    pub(super) fn wait_cleaned(&mut self, index: DriveIndex) -> Result<Option<Sense>, TapeError> {
        let drive = self.drive(index)?;
        let (mut patience, mut seen) = (Patience::default(), false);
        while patience.waited_ms < CLEANING_MS {
            match drive.readiness()? {
                Readiness::NoMedium if seen || patience.waited_ms >= BEGIN_MS => return Ok(None),
                Readiness::NoMedium => {}
                // A drive that takes it for data: nothing was cleaned.
                Readiness::Ready => {
                    drive.unload()?;
                    return Ok(Some(Sense { key: key::NOT_READY, asc: 0x30, ..Sense::default() }));
                }
                Readiness::Failed(sense) if !is_cleaning(&sense) => {
                    drive.unload()?;
                    return Ok(Some(sense));
                }
                Readiness::Becoming(_) | Readiness::Failed(_) => seen = true,
            }
            drive.device().pause(&mut patience);
        }
        drive.unload()?;
        Ok(None)
    }
}

/// The cleaner is in and at work.
fn is_cleaning(sense: &Sense) -> bool {
    sense.key == key::NOT_READY && ((sense.asc, sense.ascq) == (0x30, 0x03) || sense.asc == 0x04)
}
