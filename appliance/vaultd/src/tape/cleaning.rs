//! Drives are cleaned when they ask for it, and only then; each use of a cleaning cartridge is counted.

use std::collections::BTreeSet;

use coffer_format::event::Event;
use coffer_tape::inventory::Inventory;
use coffer_tape::{Barcode, CleaningNeed, DriveIndex, Library, TapeError};
use coffer_vault::Vault;

use super::remembering::Memory;
use super::{TapeJob, Trouble};

/// Most cleaning cartridges last for so many uses.
const USES_MAX: u32 = 50;

impl TapeJob {
    /// Asks the drive how it is, before its cartridge leaves.
    pub(super) fn look_at_health(&self, library: &mut Library, index: DriveIndex, barcode: &Barcode) {
        let health = match library.drive(index).and_then(|drive| drive.health()) {
            Ok(health) => health,
            Err(error) => {
                tracing::warn!(drive = index.0, %error, "a drive doesn't say how it is");
                return;
            }
        };
        let mut state = self.state();
        if health.cleaning != CleaningNeed::NotAsked {
            state.dirty.insert(index.0);
        }
        if !health.against_cartridge().is_empty() {
            tracing::warn!(%barcode, "the drive says that this cartridge is worn out");
            state.worn.insert(barcode.clone());
        }
        for sentence in health.sentences() {
            tracing::warn!(sentence, "a drive told of its health");
        }
    }

    /// Cleans a drive that asked for it. Without a cleaning cartridge that is told, and nothing else suffers.
    pub(super) fn clean(&self, library: &mut Library, vault: &Vault, drive: usize) -> Result<(), Trouble> {
        self.state().dirty.remove(&drive);
        match self.clean_now(library, vault, drive) {
            Ok(cleaner) => {
                tracing::info!(drive, %cleaner, "a drive was cleaned");
                Ok(())
            }
            Err(Trouble::Tape(error)) if is_for_want_of_a_cleaner(&error) => {
                tracing::warn!(drive, %error, "a drive wasn't cleaned");
                self.state().no_cleaner = true;
                Ok(())
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Cleans a drive and counts that. Returns with what.
    pub(super) fn clean_now(
        &self,
        library: &mut Library,
        vault: &Vault,
        drive: usize,
    ) -> Result<Barcode, Trouble> {
        let cleaner = library.clean(DriveIndex(drive))?.cleaner;
        let device = library.drive(DriveIndex(drive))?;
        let serial = device.serial().unwrap_or(device.name()).to_owned();
        vault.record(vec![Event::DriveCleaned { drive: serial, cleaner: cleaner.to_string() }])?;
        let uses = vault.reading().cleaners()?.into_iter().find(|one| one.barcode == cleaner.as_str());
        self.state().no_cleaner = uses.is_some_and(|one| one.uses >= USES_MAX);
        Ok(cleaner)
    }
}

fn is_for_want_of_a_cleaner(error: &TapeError) -> bool {
    matches!(error, TapeError::NoCleaner | TapeError::CleanerExpired(_) | TapeError::CleanerInvalid(_))
}

impl Memory {
    /// Drives to clean, if there's something to clean them with.
    pub(super) fn to_clean(&self, inventory: &Inventory, benched: &[usize]) -> BTreeSet<usize> {
        if inventory.cleaners().next().is_none() {
            return BTreeSet::new();
        }
        let is_empty =
            |drive: &usize| inventory.drives.iter().any(|place| place.drive == *drive && !place.full);
        self.dirty.iter().copied().filter(|drive| is_empty(drive) && !benched.contains(drive)).collect()
    }

    /// What is missing to keep drives clean.
    pub(super) fn cleaning_sentence(&self) -> Option<String> {
        let needed = self.no_cleaner || !self.dirty.is_empty();
        needed.then(|| "A tape drive wants to be cleaned. Put a new cleaning tape in.".to_owned())
    }
}
