//! A tape library in a directory: a robot and drives that answer SCSI commands byte for byte.
//!
//! `library.json` says what is where, replaced atomically at each move; each cartridge is one file of objects
//! (see [`medium`]) that explains itself from its own bytes, so that whatever ended the program, the next one finds
//! the same tapes. One program at a time, as with real devices. What is to go wrong is in `faults.json` beside it, which
//! any program may write.

mod cartridge;
mod deck;
mod fate;
mod fault;
mod medium;
mod quirks;
mod reply;
mod robot;
mod shape;
mod state;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use cartridge::{CartridgeKind, Protection, ShownBarcode};
pub use fault::{Carried, CutPoint, Fault, FaultDevice, FaultPlan, FaultSense, Misfortune, RaisedAlert};
pub use quirks::{Blocks, DriveNames, ElementBases, EndWarning, Loading, Positions, Quirks, Reader};
pub use robot::RobotMove;
pub use shape::LibraryShape;
pub use state::Spot;

use crate::scsi::ScsiTransport;
use crate::{Barcode, TapeError};
use deck::{Cassette, Deck, DeckTransport};
use fate::Fate;
use robot::{Robot, RobotTransport};
use state::State;

/// A simulated library.
pub struct Simulated {
    robot: Arc<Mutex<Robot>>,
    decks: Vec<Arc<Mutex<Deck>>>,
    fate: Arc<Mutex<Fate>>,
    dir: PathBuf,
    lock: Arc<File>,
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulated").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Simulated {
    /// Makes a new library with blank cartridges in its first slots. Refuses a directory that has one.
    pub fn create(dir: impl Into<PathBuf>, shape: LibraryShape) -> Result<Simulated, TapeError> {
        let dir = dir.into();
        shape.check()?;
        std::fs::create_dir_all(&dir).map_err(TapeError::simulator("create", &dir))?;
        let lock = lock(&dir)?;
        let state = State::create(&dir, shape)?;
        Simulated::start(dir, lock, state)
    }

    /// Finds the library as it was left. Its devices have just been switched on.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Simulated, TapeError> {
        let dir = dir.into();
        let lock = lock(&dir)?;
        let state = State::open(&dir)?;
        Simulated::start(dir, lock, state)
    }

    /// The library in `dir`, which is made in this shape if it isn't there.
    pub fn open_or_create(dir: &Path, shape: LibraryShape) -> Result<Simulated, TapeError> {
        match State::path(dir).exists() {
            true => Simulated::open(dir),
            false => Simulated::create(dir, shape),
        }
    }

    /// The robot's device.
    pub fn changer(&self) -> Box<dyn ScsiTransport + Send> {
        Box::new(RobotTransport::new(self.robot.clone(), self.dir.join("changer"), self.lock.clone()))
    }

    /// A drive's device, from 0; `None` if there are fewer.
    pub fn drive(&self, number: usize) -> Option<Box<dyn ScsiTransport + Send>> {
        let deck = self.decks.get(number)?.clone();
        Some(Box::new(DeckTransport::new(deck, self.dir.join(format!("drive{number}")), self.lock.clone())))
    }

    /// All drives' devices.
    pub fn drives(&self) -> Vec<Box<dyn ScsiTransport + Send>> {
        (0..self.decks.len()).filter_map(|number| self.drive(number)).collect()
    }

    /// Has `observer` told of every move the robot makes.
    pub fn observe(&self, observer: impl Fn(&RobotMove) + Send + 'static) {
        locked(&self.robot).observe(Box::new(observer));
    }

    /// Every cartridge there is, and where it is.
    pub fn cartridges(&self) -> Vec<(Barcode, Spot)> {
        locked(&self.robot).cartridges()
    }

    /// The file that holds a cartridge's data.
    pub fn cartridge_file(&self, barcode: &Barcode) -> PathBuf {
        medium::path(&self.dir, barcode)
    }

    /// Moves the switch on the cartridge.
    pub fn set_write_protected(&self, barcode: &Barcode, protection: Protection) -> Result<(), TapeError> {
        locked(&self.robot).set_write_protected(barcode, protection)
    }

    /// What the cartridge is for: data, to be written once, cleaning.
    pub fn set_kind(&self, barcode: &Barcode, kind: CartridgeKind) -> Result<(), TapeError> {
        locked(&self.robot).set_kind(barcode, kind)
    }

    /// Makes it a cartridge of another generation than the drives, such as `L4`, whatever its barcode says.
    pub fn set_generation(&self, barcode: &Barcode, medium_type: &str) -> Result<(), TapeError> {
        locked(&self.robot).set_generation(barcode, medium_type)
    }

    /// What the barcode reader sees of it from now on.
    pub fn show_barcode(&self, barcode: &Barcode, shown: &ShownBarcode) -> Result<(), TapeError> {
        locked(&self.robot).show_barcode(barcode, shown)
    }

    /// Objects on its tape, counted from 0, that can be neither read nor written.
    pub fn set_bad_blocks(&self, barcode: &Barcode, bad: &[u64]) -> Result<(), TapeError> {
        locked(&self.robot).set_bad_blocks(barcode, bad)
    }

    /// A new, blank cartridge that lies outside.
    pub fn buy(&self, barcode: &Barcode, kind: CartridgeKind) -> Result<(), TapeError> {
        locked(&self.robot).buy(barcode, kind)
    }

    /// Leaves a cartridge in the robot's hand, as a move that stopped halfway does.
    pub fn leave_in_hand(&self, barcode: &Barcode) -> Result<(), TapeError> {
        locked(&self.robot).leave_in_hand(barcode)
    }

    /// What is to go wrong from now on.
    pub fn plan_faults(&self, edit: impl FnOnce(&mut FaultPlan)) -> Result<(), TapeError> {
        locked(&self.fate).change(edit)
    }

    /// What is still to go wrong.
    pub fn faults(&self) -> FaultPlan {
        locked(&self.fate).plan().clone()
    }

    /// A person takes a cartridge out of the mail slot, or through the door out of a slot.
    pub fn take_out(&self, barcode: &Barcode) -> Result<(), TapeError> {
        locked(&self.robot).take_out(barcode)
    }

    /// A person puts a cartridge into the mail slot, or through the door into a free slot.
    pub fn put_in(&self, barcode: &Barcode) -> Result<(), TapeError> {
        locked(&self.robot).put_in(barcode)
    }

    fn start(dir: PathBuf, lock: File, state: State) -> Result<Simulated, TapeError> {
        let fate = Arc::new(Mutex::new(Fate::open(&dir)?));
        let deck = |number| Ok(Arc::new(Mutex::new(Deck::new(number, &state.shape, fate.clone())?)));
        let decks = (0..state.shape.drives).map(deck).collect::<Result<Vec<_>, TapeError>>()?;
        for (barcode, cartridge) in &state.cartridges {
            if let Spot::Drive(number) = cartridge.spot {
                let cassette = Cassette::open(&dir, barcode, cartridge, &state.shape)?;
                let deck = decks.get(usize::from(number)).ok_or_else(|| state::damaged(&dir))?;
                locked(deck).insert(cassette);
            }
        }
        let robot = Robot::new(dir.clone(), state, decks.clone(), fate.clone());
        Ok(Simulated { robot: Arc::new(Mutex::new(robot)), decks, fate, dir, lock: Arc::new(lock) })
    }
}

/// Holds the directory for this program alone.
fn lock(dir: &Path) -> Result<File, TapeError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(TapeError::simulator("open", &path))?;
    file.try_lock().map_err(|error| match error {
        std::fs::TryLockError::Error(source) => TapeError::Simulator { doing: "lock", path, source },
        std::fs::TryLockError::WouldBlock => {
            TapeError::Shape(format!("{} is in use by another program: stop that first", path.display()))
        }
    })?;
    Ok(file)
}

/// A device keeps working after a panic elsewhere: its state is only changed by whole commands.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
