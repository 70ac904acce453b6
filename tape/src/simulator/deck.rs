//! A simulated tape drive (SSC-4): moves over objects, reads and writes them.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::medium::{Medium, Object, Room};
use super::reply::{
    BECOMING_READY, BEGINNING, Check, Done, END_OF_DATA, END_OF_MEDIUM, FILEMARK, GOOD, Good, INVALID_FIELD,
    MEDIUM_CHANGED, NO_MEDIUM, POWERED_ON, STILL_THREADED, UNKNOWN_COMMAND, WRITE_PROTECTED, answer_inquiry,
    failed, field, reply,
};
use super::{LibraryShape, Protection, locked};
use crate::scsi::{Data, Inquiry, ScsiReply, ScsiTransport, key};

/// Polls for which a cartridge that was put in isn't ready.
const LOADING_POLLS: u32 = 2;

/// A drive and the cartridge in it.
#[derive(Debug)]
pub(super) struct Deck {
    pub(super) product: String,
    pub(super) serial: String,
    medium: Option<Medium>,
    threaded: bool,
    loading_polls: u32,
    attentions: Vec<(u8, u8)>,
    /// Index of the next object.
    pub(super) position: usize,
}

impl Deck {
    pub(super) fn new(number: u16, shape: &LibraryShape) -> Deck {
        Deck {
            product: format!("TAPE {}", shape.generation),
            serial: serial(number),
            medium: None,
            threaded: false,
            loading_polls: 0,
            attentions: vec![POWERED_ON],
            position: 0,
        }
    }

    /// The robot puts a cartridge in; the drive loads it.
    pub(super) fn insert(&mut self, medium: Medium) {
        self.medium = Some(medium);
        self.thread();
    }

    /// The robot takes the cartridge out, if the drive has let go of it.
    pub(super) fn remove(&mut self) -> Result<Medium, Check> {
        if self.threaded {
            return Err(Check::illegal(STILL_THREADED));
        }
        self.medium.take().ok_or(Check::new(key::NOT_READY, NO_MEDIUM))
    }

    pub(super) fn set_protection(&mut self, protection: Protection) {
        if let Some(medium) = &mut self.medium {
            medium.protection = protection;
        }
    }

    fn thread(&mut self) {
        self.threaded = true;
        self.loading_polls = LOADING_POLLS;
        self.position = 0;
        self.attentions.push(MEDIUM_CHANGED);
    }

    fn execute(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let operation = field(cdb, 0);
        if operation == 0x12 {
            return answer_inquiry(cdb, data, (Inquiry::TAPE, &self.product, &self.serial));
        }
        if self.threaded && self.loading_polls > 0 {
            self.loading_polls -= 1;
            return Err(Check::new(key::NOT_READY, BECOMING_READY));
        }
        if !self.attentions.is_empty() {
            return Err(Check::new(key::UNIT_ATTENTION, self.attentions.remove(0)));
        }
        match operation {
            0x00 => self.loaded().map(|_| Good { residual: 0 }),
            0x01 => self.rewind(),
            0x05 => super::deck_query::block_limits(data),
            0x08 => self.read(cdb, data),
            0x0a => self.write(cdb, data),
            0x10 => self.write_filemarks(cdb),
            0x11 => self.space(cdb),
            0x15 => super::deck_query::mode_select(cdb, data),
            0x1a => super::deck_query::mode_sense(cdb, data, self.loaded().ok()),
            0x1b => self.load_or_unload(cdb),
            0x2b => self.locate(cdb),
            0x34 => super::deck_query::position(data, self.position, self.loaded()?),
            0x4d => super::deck_query::log_sense(cdb, data),
            _ => Err(Check::illegal(UNKNOWN_COMMAND)),
        }
    }

    fn loaded(&self) -> Result<&Medium, Check> {
        self.medium.as_ref().filter(|_| self.threaded).ok_or(Check::new(key::NOT_READY, NO_MEDIUM))
    }

    fn writable(&mut self) -> Result<&mut Medium, Check> {
        if self.loaded()?.protection == Protection::Protected {
            return Err(Check::new(key::DATA_PROTECT, WRITE_PROTECTED));
        }
        self.medium.as_mut().ok_or(Check::new(key::NOT_READY, NO_MEDIUM))
    }

    fn rewind(&mut self) -> Done {
        self.loaded()?;
        self.position = 0;
        GOOD
    }

    /// READ(6), variable length only.
    fn read(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let asked = u32::from_be_bytes([0, field(cdb, 2), field(cdb, 3), field(cdb, 4)]);
        let silent = field(cdb, 1) & 2 != 0;
        if field(cdb, 1) & 1 != 0 {
            return Err(Check::illegal(INVALID_FIELD));
        }
        let object = self.loaded()?.objects().get(self.position).copied();
        match object {
            None => Err(Check::new(key::BLANK_CHECK, END_OF_DATA).information(asked.into())),
            Some(Object::Filemark { .. }) => {
                self.position += 1;
                Err(Check::new(key::NO_SENSE, FILEMARK).filemark().information(asked.into()))
            }
            Some(Object::Block { offset, len }) => {
                let Data::In(buffer) = data else { return Err(Check::illegal(INVALID_FIELD)) };
                let filled = (len.min(asked) as usize).min(buffer.len());
                let medium = self.loaded()?;
                medium.read(offset, &mut buffer[..filled]).map_err(|error| failed(&error))?;
                self.position += 1;
                if len != asked && !(silent && len < asked) {
                    let less = i64::from(asked) - i64::from(len);
                    return Err(Check::new(key::NO_SENSE, (0, 0)).wrong_length().information(less));
                }
                Ok(Good { residual: buffer.len() - filled })
            }
        }
    }

    /// WRITE(6), variable length only.
    fn write(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let asked = u32::from_be_bytes([0, field(cdb, 2), field(cdb, 3), field(cdb, 4)]) as usize;
        let Data::Out(buffer) = data else { return Err(Check::illegal(INVALID_FIELD)) };
        if field(cdb, 1) & 1 != 0 || asked > buffer.len() {
            return Err(Check::illegal(INVALID_FIELD));
        }
        if asked == 0 {
            return GOOD;
        }
        let (position, block) = (self.position, &buffer[..asked]);
        let room = self.writable()?.write_block(position, block);
        self.wrote(room, asked as i64)
    }

    /// WRITE FILEMARKS(6); without IMMED everything before it is on the medium when it's answered.
    fn write_filemarks(&mut self, cdb: &[u8]) -> Done {
        let count = u32::from_be_bytes([0, field(cdb, 2), field(cdb, 3), field(cdb, 4)]);
        let immediate = field(cdb, 1) & 1 != 0;
        let mut done = GOOD;
        for written in 0..count {
            let position = self.position;
            let room = self.writable()?.write_filemark(position);
            done = self.wrote(room, i64::from(count - written));
            if done.is_err_and(|check| check.is_overflow()) {
                return done;
            }
        }
        if !immediate {
            self.loaded()?.sync().map_err(|error| failed(&error))?;
        }
        done
    }

    fn wrote(&mut self, room: io::Result<Room>, unwritten: i64) -> Done {
        match room.map_err(|error| failed(&error))? {
            Room::None => {
                Err(Check::new(key::VOLUME_OVERFLOW, END_OF_MEDIUM).end_of_medium().information(unwritten))
            }
            Room::Little => {
                self.position += 1;
                Err(Check::new(key::NO_SENSE, END_OF_MEDIUM).end_of_medium().information(0))
            }
            Room::Enough => {
                self.position += 1;
                GOOD
            }
        }
    }

    /// SPACE(6).
    fn space(&mut self, cdb: &[u8]) -> Done {
        let raw = u32::from_be_bytes([field(cdb, 2), field(cdb, 3), field(cdb, 4), 0]);
        let count = i64::from(raw as i32 >> 8);
        let end = self.loaded()?.objects().len();
        match field(cdb, 1) & 0x0f {
            0 => self.space_blocks(count),
            1 => self.space_filemarks(count),
            3 => {
                self.position = end;
                GOOD
            }
            _ => Err(Check::illegal(INVALID_FIELD)),
        }
    }

    fn space_blocks(&mut self, count: i64) -> Done {
        for left in (1..=count.abs()).rev() {
            let check = match (self.step(count)?, count > 0) {
                (Some(Object::Block { .. }), _) => continue,
                (Some(Object::Filemark { .. }), _) => Check::new(key::NO_SENSE, FILEMARK).filemark(),
                (None, true) => Check::new(key::BLANK_CHECK, END_OF_DATA),
                (None, false) => Check::new(key::NO_SENSE, BEGINNING).end_of_medium(),
            };
            return Err(check.information(left));
        }
        GOOD
    }

    fn space_filemarks(&mut self, count: i64) -> Done {
        let mut left = count.abs();
        while left > 0 {
            let check = match (self.step(count)?, count > 0) {
                (Some(Object::Filemark { .. }), _) => {
                    left -= 1;
                    continue;
                }
                (Some(Object::Block { .. }), _) => continue,
                (None, true) => Check::new(key::BLANK_CHECK, END_OF_DATA),
                (None, false) => Check::new(key::NO_SENSE, BEGINNING).end_of_medium(),
            };
            return Err(check.information(left));
        }
        GOOD
    }

    /// Goes over one object in the direction of `count` and says what it was.
    fn step(&mut self, count: i64) -> Result<Option<Object>, Check> {
        let objects = self.loaded()?.objects();
        let over = if count > 0 { Some(self.position) } else { self.position.checked_sub(1) };
        let object = over.and_then(|over| objects.get(over)).copied();
        if object.is_some() {
            self.position = if count > 0 { self.position + 1 } else { self.position - 1 };
        }
        Ok(object)
    }

    fn locate(&mut self, cdb: &[u8]) -> Done {
        let to = u32::from_be_bytes([field(cdb, 3), field(cdb, 4), field(cdb, 5), field(cdb, 6)]) as usize;
        let end = self.loaded()?.objects().len();
        self.position = to.min(end);
        if to > end {
            return Err(Check::new(key::BLANK_CHECK, END_OF_DATA));
        }
        GOOD
    }

    fn load_or_unload(&mut self, cdb: &[u8]) -> Done {
        if field(cdb, 4) & 1 == 0 {
            self.threaded = false;
            self.attentions.clear();
            return GOOD;
        }
        if self.medium.is_none() {
            return Err(Check::new(key::NOT_READY, NO_MEDIUM));
        }
        self.thread();
        GOOD
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
    path: PathBuf,
    /// The directory stays held as long as any device is open.
    _lock: Arc<File>,
}

impl DeckTransport {
    pub(super) fn new(deck: Arc<Mutex<Deck>>, path: PathBuf, lock: Arc<File>) -> DeckTransport {
        DeckTransport { deck, path, _lock: lock }
    }
}

impl ScsiTransport for DeckTransport {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn execute(&mut self, cdb: &[u8], mut data: Data<'_>, _timeout_ms: u32) -> io::Result<ScsiReply> {
        let len = data.len();
        let done = locked(&self.deck).execute(cdb, &mut data);
        Ok(reply(done, len))
    }
}
