//! Cartridges for a machine that isn't the box: from a library, or fed by a person into one drive. What isn't there is asked for
//! in a sentence.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use coffer_format::container::Label;
use coffer_tape::container::{LabelState, read_label};
use coffer_tape::scsi::{Readiness, ScsiTransport, SgIo};
use coffer_tape::simulator::Simulated;
use coffer_tape::{Barcode, Drive, Library, SystemWaiter, TapeError, Waiter};

use super::Source;
use super::fetching::near;
use super::gathering::{Mounts, Work};
use super::order::Nearness;

/// Asks a person for something; `false`: they can't.
pub type Ask = Box<dyn FnMut(&str) -> bool>;

/// Most wrong cartridges in a row that are taken for a mistake.
const WRONG_MAX: usize = 10;

/// Where cartridges come from.
pub struct Tapes {
    from: From,
    ask: Ask,
    /// Kept open: it answers for the simulated devices.
    _simulated: Option<Simulated>,
}

enum From {
    Library(Box<Library>),
    Hand(Box<Drive>),
}

impl Tapes {
    /// A library, as the tape job uses it.
    pub fn of_library(source: &Source, ask: Ask) -> Result<Tapes> {
        let (library, simulated) = source.open()?;
        Ok(Tapes { from: From::Library(Box::new(library)), ask, _simulated: simulated })
    }

    /// One drive's device, such as /dev/sg3.
    pub fn of_drive(path: &Path, ask: Ask) -> Result<Tapes> {
        let device = SgIo::open(path)
            .with_context(|| format!("cannot open {}: is it the sg device?", path.display()))?;
        Tapes::of_transport(Box::new(device), Arc::new(SystemWaiter), ask)
    }

    /// One drive, however its commands are sent.
    pub fn of_transport(
        drive: Box<dyn ScsiTransport + Send>,
        waiter: Arc<dyn Waiter>,
        ask: Ask,
    ) -> Result<Tapes> {
        let drive = Drive::open(drive, waiter)?;
        Ok(Tapes { from: From::Hand(Box::new(drive)), ask, _simulated: None })
    }

    /// Whether a person puts the cartridges in one by one.
    pub(super) fn is_by_hand(&self) -> bool {
        matches!(self.from, From::Hand(_))
    }

    /// Labels of the cartridges in the library, `None` where one is blank; without those that can't be read. Each is loaded for it.
    pub(super) fn labels(
        &mut self,
        tell: &mut dyn FnMut(String),
    ) -> Result<Vec<(Barcode, Option<Label>)>, TapeError> {
        let From::Library(library) = &mut self.from else { return Ok(Vec::new()) };
        let barcodes: Vec<Barcode> = library.take_stock()?.barcodes();
        let mut labels = Vec::new();
        for barcode in barcodes.iter().filter(|one| !one.is_cleaning()) {
            tell(format!("looking at the label of tape {barcode}"));
            let looked = load(library, barcode.as_str(), &mut |drive| {
                match read_label(drive)? {
                    LabelState::Ours(label) => labels.push((barcode.clone(), Some(label))),
                    LabelState::Blank => labels.push((barcode.clone(), None)),
                    LabelState::Foreign => {}
                }
                Ok(0)
            });
            if let Err(error) = looked {
                tell(format!("tape {barcode} can't be read: {error}"));
            }
        }
        Ok(labels)
    }

    /// Has whichever cartridge the person chooses put in; `None` if they have none.
    pub(super) fn any(&mut self, sentence: &str, work: &mut Work<'_>) -> Result<Option<()>, TapeError> {
        let From::Hand(drive) = &mut self.from else { return Ok(None) };
        for _ in 0..WRONG_MAX {
            if !(self.ask)(sentence) {
                return Ok(None);
            }
            match ready(drive) {
                Ok(()) => {
                    let worked = work(drive).map(drop);
                    let ejected = eject(drive);
                    return worked.and(ejected).map(Some);
                }
                Err(error) => tracing::warn!(%error, "the cartridge can't be used"),
            }
        }
        Ok(None)
    }
}

impl Mounts for Tapes {
    fn near(&mut self) -> Result<BTreeMap<String, Nearness>, TapeError> {
        match &mut self.from {
            From::Library(library) => near(library),
            From::Hand(_) => Ok(BTreeMap::new()),
        }
    }

    fn with_loaded(&mut self, barcode: &str, work: &mut Work<'_>) -> Result<(), TapeError> {
        match &mut self.from {
            From::Library(library) => loop {
                match load(library, barcode, work) {
                    Err(TapeError::NotInLibrary(missing)) => {
                        if !(self.ask)(&format!("Put tape {barcode} into the library")) {
                            return Err(TapeError::NotInLibrary(missing));
                        }
                        library.take_stock()?;
                    }
                    other => return other,
                }
            },
            From::Hand(drive) => by_hand(drive, &mut self.ask, barcode, work),
        }
    }
}

fn load(library: &mut Library, barcode: &str, work: &mut Work<'_>) -> Result<(), TapeError> {
    let index = library.load(&barcode.parse()?)?;
    let worked = library.drive(index).and_then(work).map(drop);
    // The tape goes back whatever happened; what happened first is what is told.
    worked.and(library.unload(index).map(drop))
}

fn by_hand(drive: &mut Drive, ask: &mut Ask, barcode: &str, work: &mut Work<'_>) -> Result<(), TapeError> {
    let mut sentence = format!("Put tape {barcode} into the drive");
    for _ in 0..WRONG_MAX {
        if !ask(&sentence) {
            break;
        }
        let found = ready(drive).and_then(|()| read_label(drive));
        sentence = match found {
            Ok(LabelState::Ours(label)) if label.barcode == barcode => {
                let worked = work(drive).map(drop);
                return worked.and(eject(drive));
            }
            Ok(LabelState::Ours(label)) => {
                format!("That is tape {}. Put tape {barcode} into the drive", label.barcode)
            }
            Ok(_) => format!("That tape isn't one of Coffer's. Put tape {barcode} into the drive"),
            Err(error) => format!("That tape can't be read ({error}). Put tape {barcode} into the drive"),
        };
        if let Err(error) = eject(drive) {
            tracing::warn!(%error, "the drive doesn't let go of the cartridge");
        }
    }
    Err(TapeError::NotInLibrary(barcode.parse()?))
}

/// Threads the cartridge that was put in, if the drive hasn't by itself.
fn ready(drive: &mut Drive) -> Result<(), TapeError> {
    match drive.readiness()? {
        Readiness::Ready => drive.prepare(),
        _ => drive.load(),
    }
}

fn eject(drive: &mut Drive) -> Result<(), TapeError> {
    drive.rewind()?;
    drive.unload()
}
