//! What a simulated cartridge is, besides its tape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::Spot;
use crate::medium::Generation;
use crate::{Barcode, TapeError};

/// The switch on a cartridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    #[default]
    Writable,
    Protected,
}

/// What a cartridge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CartridgeKind {
    #[default]
    Data,
    /// To be written once.
    Worm,
    Cleaning {
        uses_left: u32,
    },
    /// A cleaning cartridge the drives don't take.
    WrongCleaning,
}

/// What the barcode reader sees.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownBarcode {
    #[default]
    AsIs,
    Unreadable,
    Other(Barcode),
}

/// One cartridge: where it is, and what doesn't lie on its tape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CartridgeState {
    pub(super) spot: Spot,
    /// Where it came from when it was last moved.
    pub(super) source: Option<Spot>,
    pub(super) protection: Protection,
    #[serde(default)]
    pub(super) kind: CartridgeKind,
    /// Medium type such as `L6`; `None` is the library's own.
    #[serde(default)]
    pub(super) generation: Option<String>,
    #[serde(default)]
    pub(super) shown: ShownBarcode,
    /// Numbers of objects on tape that can't be read or written.
    #[serde(default)]
    pub(super) bad_blocks: Vec<u64>,
    #[serde(default)]
    pub(super) loads: u64,
    /// A person put it where it is.
    #[serde(default)]
    pub(super) by_hand: bool,
    /// Attributes that hosts wrote into its memory.
    #[serde(default)]
    pub(super) memory: BTreeMap<u16, Vec<u8>>,
}

impl CartridgeState {
    pub(super) fn new(spot: Spot) -> CartridgeState {
        CartridgeState {
            spot,
            source: None,
            protection: Protection::Writable,
            kind: CartridgeKind::Data,
            generation: None,
            shown: ShownBarcode::AsIs,
            bad_blocks: Vec::new(),
            loads: 0,
            by_hand: false,
            memory: BTreeMap::new(),
        }
    }

    pub(super) fn is_cleaner(&self) -> bool {
        matches!(self.kind, CartridgeKind::Cleaning { .. } | CartridgeKind::WrongCleaning)
    }

    /// The barcode as the reader sees it.
    pub(super) fn seen<'a>(&'a self, barcode: &'a Barcode) -> Option<&'a Barcode> {
        match &self.shown {
            ShownBarcode::AsIs => Some(barcode),
            ShownBarcode::Unreadable => None,
            ShownBarcode::Other(other) => Some(other),
        }
    }
}

/// The generation of a medium type such as `L6`.
pub(super) fn generation(medium_type: &str) -> Result<Generation, TapeError> {
    let unknown = || TapeError::Shape(format!("{medium_type:?} is no tape generation: give one such as L6"));
    let barcode: Barcode = format!("XXXXXX{medium_type}").parse()?;
    Generation::from_barcode(&barcode).ok_or_else(unknown)
}
