//! Cartridges into drives and out again: around drives that fail, and with each use counted.
//!
//! A drive that fails is benched: its cartridge is put away if it lets go of it, and the drive isn't used until a later
//! run tries it again. With another drive everything goes on there.

use coffer_format::event::Event;
use coffer_tape::inventory::Whereabouts;
use coffer_tape::{Barcode, Drive, DriveIndex, Library, TapeError};
use coffer_vault::Vault;

use super::trouble::{Fault, device_of, fault};
use super::{TapeJob, Trouble};

/// A benched drive is tried again after so long.
const BENCH_MS: u64 = 3_600_000;

/// A drive that failed. It's kept here, so that the library doesn't use it.
#[derive(Debug)]
pub(super) struct Benched {
    pub(super) drive: Drive,
    pub(super) index: usize,
    pub(super) since_ms: u64,
    pub(super) why: String,
}

/// A cartridge in a drive.
#[derive(Debug)]
pub(super) struct Mounted {
    pub(super) barcode: Barcode,
    pub(super) drive: DriveIndex,
    serial: String,
}

/// What was done with it. Bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Use {
    pub(super) written: u64,
    pub(super) read: u64,
    pub(super) errors: u32,
}

impl TapeJob {
    /// Numbers of the drives that failed.
    pub(super) fn benched(&self) -> Vec<usize> {
        self.state().benched.iter().map(|benched| benched.index).collect()
    }

    /// Loads a cartridge, in another drive if one fails.
    pub(super) fn mount(
        &self,
        library: &mut Library,
        vault: &Vault,
        barcode: &Barcode,
    ) -> Result<Mounted, Trouble> {
        loop {
            let error = match library.load(barcode) {
                Ok(drive) => {
                    let serial = serial_of(library.drive(drive)?);
                    return Ok(Mounted { barcode: barcode.clone(), drive, serial });
                }
                Err(error) => error,
            };
            let changer = library.changer().name().to_owned();
            let inventory = library.inventory()?;
            match (fault(&error, &changer), inventory.find(barcode)) {
                (Fault::Drive, found) => {
                    let by_name =
                        || inventory.drives.iter().find(|one| one.device.as_deref() == device_of(&error));
                    let index = match found {
                        Some(Whereabouts::Drive(index)) => Some(index),
                        _ => by_name().map(|one| one.drive),
                    };
                    let Some(index) = index else { return Err(error.into()) };
                    let is_stuck = self.bench(library, vault, DriveIndex(index), barcode, &error)?;
                    if is_stuck || !self.has_drive(library)? {
                        return Err(error.into());
                    }
                }
                (Fault::Cartridge, Some(Whereabouts::Drive(index)))
                    if library.drive(DriveIndex(index)).is_ok() =>
                {
                    let drive = DriveIndex(index);
                    let serial = serial_of(library.drive(drive)?);
                    let mounted = Mounted { barcode: barcode.clone(), drive, serial };
                    self.dismount(library, vault, mounted, Use { errors: 1, ..Use::default() })?;
                    return Err(error.into());
                }
                (Fault::Cartridge, _) => {
                    // The library has put it back.
                    let (drive, done) = (String::new(), Use { errors: 1, ..Use::default() });
                    vault.record(vec![used(barcode.to_string(), drive, done)])?;
                    return Err(error.into());
                }
                _ => return Err(error.into()),
            }
        }
    }

    /// Puts a cartridge away and counts its use.
    pub(super) fn dismount(
        &self,
        library: &mut Library,
        vault: &Vault,
        mounted: Mounted,
        done: Use,
    ) -> Result<(), Trouble> {
        let Mounted { barcode, drive, serial } = mounted;
        vault.record(vec![used(barcode.to_string(), serial, done)])?;
        self.look_at_health(library, drive, &barcode);
        match library.unload(drive) {
            Ok(_) => Ok(()),
            Err(error) if fault(&error, library.changer().name()) == Fault::Drive => {
                self.bench(library, vault, drive, &barcode, &error).map(drop)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a mount that failed: says against the cartridge or the drive, as the error does.
    pub(super) fn dismount_failed(
        &self,
        library: &mut Library,
        vault: &Vault,
        mounted: Mounted,
        done: Use,
        error: &TapeError,
    ) -> Result<(), Trouble> {
        match fault(error, library.changer().name()) {
            Fault::Drive => {
                let (drive, barcode) = (mounted.drive, mounted.barcode);
                self.bench(library, vault, drive, &barcode, error).map(drop)
            }
            Fault::Cartridge => {
                self.dismount(library, vault, mounted, Use { errors: done.errors.max(1), ..done })
            }
            Fault::Library => self.dismount(library, vault, mounted, done),
        }
    }

    /// Takes a drive out of use. `true`: the cartridge is stuck in it.
    pub(super) fn bench(
        &self,
        library: &mut Library,
        vault: &Vault,
        index: DriveIndex,
        barcode: &Barcode,
        error: &TapeError,
    ) -> Result<bool, Trouble> {
        tracing::error!(drive = index.0, %barcode, %error, "a drive failed and isn't used for a while");
        if let Err(error) = library.unload(index) {
            tracing::warn!(drive = index.0, %error, "the failed drive doesn't give its cartridge back");
        }
        let stuck = library.inventory()?.drives.iter().any(|one| one.drive == index.0 && one.full);
        let drive = library.lend_drive(index)?;
        // The failure is the drive's, not the cartridge's.
        let done = Use { errors: 1, ..Use::default() };
        vault.record(vec![used(String::new(), serial_of(&drive), done)])?;
        let benched = Benched { drive, index: index.0, since_ms: vault.now_ms(), why: error.to_string() };
        self.state().benched.push(benched);
        Ok(stuck)
    }

    /// Lets the library use again what failed a while ago.
    pub(super) fn try_benched_again(&self, library: &mut Library, now_ms: u64) {
        let mut state = self.state();
        let (again, rest): (Vec<_>, Vec<_>) =
            state.benched.drain(..).partition(|benched| now_ms.saturating_sub(benched.since_ms) >= BENCH_MS);
        state.benched = rest;
        for benched in again {
            library.give_back(benched.drive);
        }
    }

    /// Whether there's a drive that can be used.
    pub(super) fn has_drive(&self, library: &mut Library) -> Result<bool, Trouble> {
        let benched = self.benched();
        let drives = library.inventory()?.drives;
        Ok(drives.iter().any(|drive| drive.device.is_some() && !benched.contains(&drive.drive)))
    }
}

fn used(barcode: String, drive: String, done: Use) -> Event {
    Event::TapeUsed { barcode, drive, loads: 1, written: done.written, read: done.read, errors: done.errors }
}

/// What a drive is known by.
fn serial_of(drive: &Drive) -> String {
    drive.serial().unwrap_or(drive.name()).to_owned()
}
