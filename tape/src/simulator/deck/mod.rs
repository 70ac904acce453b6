//! A simulated tape drive (SSC-4): moves over objects, reads and writes them, and tells of itself.

mod memory;
mod motion;
mod pages;
mod secure;
mod writing;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use self::secure::Locks;
use super::cartridge::{self, CartridgeKind, CartridgeState, Protection};
use super::fate::{self, Fate, Machine};
use super::fault::FaultDevice;
use super::medium::Medium;
use super::quirks::{Loading, Quirks};
use super::reply::{
    BECOMING_READY, CANT_WRITE_FORMAT, CLEANING_CARTRIDGE, Check, Code, Done, GOOD, INCOMPATIBLE,
    MEDIUM_CHANGED, NO_MEDIUM, POWERED_ON, STILL_THREADED, UNKNOWN_COMMAND, WAITS_FOR_LOAD, WRITE_PROTECTED,
    WRITTEN_ONCE, answer_inquiry, field, give, opcode_list,
};
use super::{LibraryShape, locked};
use crate::medium::Generation;
use crate::scsi::{Data, Inquiry, ScsiReply, ScsiTransport, TapeAlert, key};
use crate::{Barcode, TapeError};

/// Polls for which a cartridge that was put in isn't ready.
const LOADING_POLLS: u32 = 2;
/// Polls for which a cleaner is at work.
const CLEANING_POLLS: u32 = 3;
/// Commands that don't need a cartridge that can be used, and don't stop at a unit attention that waits.
const ALWAYS: [u8; 2] = [0x12, 0x03];

const OPCODES: [u8; 32] = [
    0x00, 0x01, 0x03, 0x05, 0x08, 0x0a, 0x10, 0x11, 0x12, 0x15, 0x16, 0x17, 0x19, 0x1a, 0x1b, 0x1e, 0x2b,
    0x34, 0x44, 0x4d, 0x55, 0x5a, 0x5e, 0x5f, 0x80, 0x8c, 0x8d, 0x91, 0x92, 0xa2, 0xa3, 0xb5,
];

/// A cartridge in a drive.
#[derive(Debug)]
pub(super) struct Cassette {
    pub(super) barcode: Barcode,
    pub(super) state: CartridgeState,
    pub(super) medium: Medium,
    generation: Generation,
}

impl Cassette {
    pub(super) fn open(
        dir: &std::path::Path,
        barcode: &Barcode,
        state: &CartridgeState,
        shape: &LibraryShape,
    ) -> Result<Cassette, TapeError> {
        let medium = Medium::open(dir, barcode, shape.capacity_bytes, shape.quirks.end_warning)?;
        let generation = cartridge::generation(state.generation.as_ref().unwrap_or(&shape.generation))?;
        Ok(Cassette { barcode: barcode.clone(), state: state.clone(), medium, generation })
    }
}

/// A drive and the cartridge in it.
#[derive(Debug)]
pub(super) struct Deck {
    product: String,
    serial: String,
    number: u16,
    generation: Generation,
    quirks: Quirks,
    fate: Arc<Mutex<Fate>>,
    cassette: Option<Cassette>,
    threaded: bool,
    loading_polls: u32,
    /// A cleaner is in, for so many more polls.
    cleaning_polls: Option<u32>,
    wants_cleaning: bool,
    alerts: BTreeSet<u8>,
    attentions: Vec<Code>,
    /// Index of the next object.
    position: usize,
    /// 0 is variable.
    block_len: u32,
    compresses: bool,
    locks: Locks,
    blocks_written: u64,
    blocks_read: u64,
    /// Commands so far that failed on the medium.
    medium_errors: u64,
}

impl Deck {
    pub(super) fn new(number: u16, shape: &LibraryShape, fate: Arc<Mutex<Fate>>) -> Result<Deck, TapeError> {
        let generation = cartridge::generation(&shape.generation)?;
        Ok(Deck {
            product: format!("ULTRIUM-TD{}", generation.to_string().trim_start_matches("LTO-")),
            serial: serial(number),
            number,
            generation,
            quirks: shape.quirks.clone(),
            fate,
            cassette: None,
            threaded: false,
            loading_polls: 0,
            cleaning_polls: None,
            wants_cleaning: false,
            alerts: BTreeSet::new(),
            attentions: vec![POWERED_ON],
            position: 0,
            block_len: 0,
            compresses: true,
            locks: Locks::default(),
            blocks_written: 0,
            blocks_read: 0,
            medium_errors: 0,
        })
    }

    /// The robot puts a cartridge in; the drive loads it, or is cleaned by it.
    pub(super) fn insert(&mut self, cassette: Cassette) {
        let kind = cassette.state.kind;
        self.cassette = Some(cassette);
        match kind {
            CartridgeKind::Cleaning { uses_left: 0 } => self.reject_cleaner(TapeAlert::ExpiredCleaningMedia),
            CartridgeKind::WrongCleaning => self.reject_cleaner(TapeAlert::InvalidCleaningTape),
            CartridgeKind::Cleaning { .. } => {
                self.cleaning_polls = Some(CLEANING_POLLS);
                self.wants_cleaning = false;
            }
            CartridgeKind::Data | CartridgeKind::Worm if self.quirks.loading == Loading::WhenTold => {}
            CartridgeKind::Data | CartridgeKind::Worm => self.thread(),
        }
    }

    /// The robot takes the cartridge out, if the drive has let go of it.
    pub(super) fn remove(&mut self) -> Result<Cassette, Check> {
        let holds = self.threaded || self.cleaning_polls.is_some();
        if holds && self.quirks.loading != Loading::NeverUnloads {
            return Err(Check::illegal(STILL_THREADED));
        }
        (self.threaded, self.cleaning_polls) = (false, None);
        self.cassette.take().ok_or(Check::new(key::NOT_READY, NO_MEDIUM))
    }

    /// What a person does to the cartridge while it's in the drive.
    pub(super) fn alter(&mut self, edit: impl FnOnce(&mut CartridgeState)) {
        if let Some(cassette) = &mut self.cassette {
            edit(&mut cassette.state);
        }
    }

    fn reject_cleaner(&mut self, alert: TapeAlert) {
        self.alerts.insert(alert.number());
        self.cleaning_polls = Some(1);
    }

    fn thread(&mut self) {
        self.threaded = true;
        self.loading_polls = LOADING_POLLS;
        self.position = 0;
        self.attentions.push(MEDIUM_CHANGED);
    }

    fn run(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let operation = field(cdb, 0);
        if self.quirks.drives_without.contains(&operation) {
            return Err(Check::illegal(UNKNOWN_COMMAND));
        }
        if !ALWAYS.contains(&operation) {
            self.not_now(operation)?;
        }
        match operation {
            0x00 => self.loaded().map(drop).and(GOOD),
            0x01 => self.rewind(),
            0x03 => {
                give(data, &[0x70, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], field(cdb, 4).into())
            }
            0x05 => self.block_limits(data),
            0x08 => self.read(cdb, data),
            0x0a => self.write(cdb, data),
            0x10 | 0x80 => self.write_filemarks(cdb),
            0x11 | 0x91 => self.space(cdb),
            0x12 => answer_inquiry(cdb, data, (Inquiry::TAPE, &self.product, &self.serial)),
            0x15 | 0x55 => self.mode_select(cdb, data),
            0x16 | 0x17 | 0x1e | 0x5e | 0x5f | 0xa2 | 0xb5 => self.locks.execute(cdb, data),
            0x19 => self.erase(),
            0x1a | 0x5a => self.mode_sense(cdb, data),
            0x1b => self.load_or_unload(cdb),
            0x2b | 0x92 => self.locate(cdb),
            0x34 => self.read_position(cdb, data),
            0x44 => self.densities(cdb, data),
            0x4d => self.log_sense(cdb, data),
            0x8c => self.read_attribute(cdb, data),
            0x8d => self.write_attribute(data),
            0xa3 => opcode_list(cdb, data, &OPCODES, &self.quirks.drives_without),
            _ => Err(Check::illegal(UNKNOWN_COMMAND)),
        }
    }

    /// What keeps the drive from any command for now.
    fn not_now(&mut self, operation: u8) -> Result<(), Check> {
        const TEST_UNIT_READY: u8 = 0x00;
        if self.threaded && self.loading_polls > 0 {
            self.loading_polls -= 1;
            return Err(Check::new(key::NOT_READY, BECOMING_READY));
        }
        if !self.attentions.is_empty() {
            return Err(Check::new(key::UNIT_ATTENTION, self.attentions.remove(0)));
        }
        if let (Some(polls), TEST_UNIT_READY) = (self.cleaning_polls, operation) {
            self.cleaning_polls = polls.checked_sub(1).filter(|left| *left > 0);
            return Err(Check::new(key::NOT_READY, CLEANING_CARTRIDGE));
        }
        Ok(())
    }

    fn loaded(&self) -> Result<&Cassette, Check> {
        let not_ready = |code| Check::new(key::NOT_READY, code);
        let cassette = self.cassette.as_ref().ok_or(not_ready(NO_MEDIUM))?;
        if !self.threaded {
            let waits = self.quirks.loading == Loading::WhenTold && !cassette.state.is_cleaner();
            return Err(not_ready(if waits { WAITS_FOR_LOAD } else { NO_MEDIUM }));
        }
        match self.generation.reads(cassette.generation) {
            true => Ok(cassette),
            false => Err(not_ready(INCOMPATIBLE)),
        }
    }

    /// The tape, to be written at the position.
    fn writable(&mut self) -> Result<&mut Medium, Check> {
        let protect = |code| Err(Check::new(key::DATA_PROTECT, code));
        let cassette = self.loaded()?;
        if cassette.state.protection == Protection::Protected {
            return protect(WRITE_PROTECTED);
        }
        if !self.generation.writes(cassette.generation) {
            return protect(CANT_WRITE_FORMAT);
        }
        if cassette.state.kind == CartridgeKind::Worm && self.position < cassette.medium.objects().len() {
            self.alerts.insert(TapeAlert::WormOverwrite.number());
            return protect(WRITTEN_ONCE);
        }
        let cassette = self.cassette.as_mut().ok_or(Check::new(key::NOT_READY, NO_MEDIUM))?;
        Ok(&mut cassette.medium)
    }

    fn load_or_unload(&mut self, cdb: &[u8]) -> Done {
        if field(cdb, 4) & 1 == 0 {
            if self.quirks.loading != Loading::NeverUnloads {
                self.threaded = false;
                self.attentions.clear();
            }
            return GOOD;
        }
        let cassette = self.cassette.as_ref().ok_or(Check::new(key::NOT_READY, NO_MEDIUM))?;
        if cassette.state.is_cleaner() {
            return Err(Check::new(key::NOT_READY, CLEANING_CARTRIDGE));
        }
        if !self.threaded {
            self.thread();
        }
        GOOD
    }
}

impl Machine for Deck {
    fn execute(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let done = self.run(cdb, data);
        match done {
            Ok(good) => {
                Ok(super::reply::Good { residual: good.residual + self.quirks.residual_excess as usize })
            }
            Err(check) => Err(check),
        }
    }

    fn execute_half(&mut self, cdb: &[u8], data: &mut Data<'_>) {
        let (0x0a, Data::Out(block)) = (field(cdb, 0), data) else { return };
        let position = self.position;
        let torn = self.writable().ok().map(|medium| medium.write_half(position, block));
        if let Some(Err(error)) = torn {
            tracing::error!(%error, "a half block can't be written");
        }
    }

    fn lose_buffer(&mut self) {
        let lost = self.cassette.as_mut().map(|cassette| cassette.medium.lose_buffer());
        if let Some(Err(error)) = lost {
            tracing::error!(%error, "the buffer can't be lost");
        }
    }
}

/// A drive's serial number.
pub(super) fn serial(number: u16) -> String {
    format!("CFDRV{number:05}")
}

/// The way to a drive.
#[derive(Debug)]
pub(super) struct DeckTransport {
    deck: Arc<Mutex<Deck>>,
    fate: Arc<Mutex<Fate>>,
    number: u16,
    path: PathBuf,
    /// The directory stays held as long as any device is open.
    _lock: Arc<File>,
}

impl DeckTransport {
    pub(super) fn new(deck: Arc<Mutex<Deck>>, path: PathBuf, lock: Arc<File>) -> DeckTransport {
        let (fate, number) = {
            let deck = locked(&deck);
            (deck.fate.clone(), deck.number)
        };
        DeckTransport { deck, fate, number, path, _lock: lock }
    }
}

impl ScsiTransport for DeckTransport {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn execute(&mut self, cdb: &[u8], data: Data<'_>, _timeout_ms: u32) -> io::Result<ScsiReply> {
        let mut deck = locked(&self.deck);
        fate::execute(&self.fate, FaultDevice::Drive(self.number), &mut *deck, cdb, data)
    }
}
