//! What is where in a simulated library, kept in `library.json`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cartridge::CartridgeState;
use super::{LibraryShape, medium};
use crate::{Barcode, TapeError};

/// A place, numbered from 0 among its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spot {
    Slot(u16),
    MailSlot(u16),
    Drive(u16),
    /// In the robot's hand.
    Hand,
    /// Not in the library.
    Outside,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) shape: LibraryShape,
    pub(super) cartridges: BTreeMap<Barcode, CartridgeState>,
}

impl State {
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("library.json")
    }

    pub(super) fn create(dir: &Path, shape: LibraryShape) -> Result<State, TapeError> {
        let path = State::path(dir);
        if path.exists() {
            return Err(TapeError::Shape(format!(
                "{} already holds a library: open it instead",
                dir.display()
            )));
        }
        let mut cartridges = BTreeMap::new();
        for number in 0..shape.cartridges {
            let spot = if number < shape.slots { Spot::Slot(number) } else { Spot::Outside };
            let barcode = shape.barcode(number + 1)?;
            medium::create(dir, &barcode)?;
            cartridges.insert(barcode, CartridgeState::new(spot));
        }
        let state = State { shape, cartridges };
        state.save(dir)?;
        Ok(state)
    }

    pub(super) fn open(dir: &Path) -> Result<State, TapeError> {
        let path = State::path(dir);
        let text = fs::read_to_string(&path).map_err(TapeError::simulator("read", &path))?;
        let state: State = serde_json::from_str(&text).map_err(|_| damaged(dir))?;
        state.shape.check()?;
        Ok(state)
    }

    /// Replaces the file: after a crash there is the old one or the new one.
    pub(super) fn save(&self, dir: &Path) -> Result<(), TapeError> {
        let path = State::path(dir);
        let write = || -> io::Result<()> {
            let new = dir.join("library.json.new");
            let mut file = File::create(&new)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(TapeError::simulator("replace", &path))
    }

    /// What lies in a place.
    pub(super) fn at(&self, spot: Spot) -> Option<(&Barcode, &CartridgeState)> {
        self.cartridges.iter().find(|(_, cartridge)| cartridge.spot == spot)
    }
}

pub(super) fn damaged(dir: &Path) -> TapeError {
    let path = State::path(dir);
    TapeError::Shape(format!(
        "{} is damaged: write it anew, the cartridges' own files are whole",
        path.display()
    ))
}
