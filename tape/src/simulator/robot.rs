//! A simulated changer (SMC-3): knows what is where and moves it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::deck::Deck;
use super::medium::Medium;
use super::reply::{
    Check, DESTINATION_FULL, Done, GOOD, NO_SUCH_ELEMENT, POWERED_ON, SOURCE_EMPTY, UNKNOWN_COMMAND,
    answer_inquiry, field, reply,
};
use super::state::{Spot, State};
use super::{Protection, locked};
use crate::scsi::{Data, ElementAddress, Inquiry, ScsiReply, ScsiTransport, key};
use crate::{Barcode, TapeError};

const PRODUCT: &str = "LIBRARY";
const SERIAL: &str = "CFLIB00000";
/// Where the kinds of elements begin, as in some common libraries.
const SLOTS_FROM: u16 = 4096;
const DRIVES_FROM: u16 = 256;
const MAIL_SLOTS_FROM: u16 = 16;
pub(super) const HAND: u16 = 1;

/// A move the robot has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RobotMove {
    pub barcode: Barcode,
    pub from: Spot,
    pub to: Spot,
}

type Observer = Box<dyn Fn(&RobotMove) + Send>;

/// The robot and all it can reach.
pub(super) struct Robot {
    dir: PathBuf,
    pub(super) state: State,
    decks: Vec<Arc<Mutex<Deck>>>,
    attentions: Vec<(u8, u8)>,
    observers: Vec<Observer>,
}

impl Robot {
    pub(super) fn new(dir: PathBuf, state: State, decks: Vec<Arc<Mutex<Deck>>>) -> Robot {
        Robot { dir, state, decks, attentions: vec![POWERED_ON], observers: Vec::new() }
    }

    pub(super) fn observe(&mut self, observer: Observer) {
        self.observers.push(observer);
    }

    pub(super) fn cartridges(&self) -> Vec<(Barcode, Spot)> {
        self.state.cartridges.iter().map(|(barcode, cartridge)| (barcode.clone(), cartridge.spot)).collect()
    }

    pub(super) fn set_write_protected(
        &mut self,
        barcode: &Barcode,
        protection: Protection,
    ) -> Result<(), TapeError> {
        let spot = self.spot(barcode)?;
        self.change(|state| {
            if let Some(cartridge) = state.cartridges.get_mut(barcode) {
                cartridge.protection = protection;
            }
        })?;
        if let Spot::Drive(number) = spot {
            locked(&self.decks[usize::from(number)]).set_protection(protection);
        }
        Ok(())
    }

    pub(super) fn take_out(&mut self, barcode: &Barcode) -> Result<(), TapeError> {
        match self.spot(barcode)? {
            Spot::Drive(_) => Err(TapeError::Shape(format!("tape {barcode} is in a drive: unload it first"))),
            _ => self.put(barcode, Spot::Outside, None),
        }
    }

    pub(super) fn put_in(&mut self, barcode: &Barcode) -> Result<(), TapeError> {
        if self.spot(barcode)? != Spot::Outside {
            return Err(TapeError::Shape(format!("tape {barcode} is in the library already")));
        }
        let shape = &self.state.shape;
        let mut places = (0..shape.mail_slots).map(Spot::MailSlot).chain((0..shape.slots).map(Spot::Slot));
        let free = places.find(|spot| self.state.at(*spot).is_none());
        let spot = free.ok_or(TapeError::NoFreeSlot)?;
        self.put(barcode, spot, None)
    }

    pub(super) fn drive_serial(&self, number: u16) -> String {
        super::deck::serial(number)
    }

    /// The place at an element address.
    fn spot_at(&self, element: u16) -> Option<Spot> {
        let within = |from: u16, count: u16| element.checked_sub(from).filter(|number| *number < count);
        let shape = &self.state.shape;
        within(SLOTS_FROM, shape.slots)
            .map(Spot::Slot)
            .or_else(|| within(DRIVES_FROM, shape.drives).map(Spot::Drive))
            .or_else(|| within(MAIL_SLOTS_FROM, shape.mail_slots).map(Spot::MailSlot))
    }

    fn execute(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let operation = field(cdb, 0);
        if operation == 0x12 {
            return answer_inquiry(cdb, data, (Inquiry::CHANGER, PRODUCT, SERIAL));
        }
        if !self.attentions.is_empty() {
            return Err(Check::new(key::UNIT_ATTENTION, self.attentions.remove(0)));
        }
        match operation {
            0x00 | 0x07 => GOOD,
            0x1a => self.mode_sense(cdb, data),
            0xa5 => self.move_medium(cdb),
            0xb8 => self.element_status(cdb, data),
            _ => Err(Check::illegal(UNKNOWN_COMMAND)),
        }
    }

    fn move_medium(&mut self, cdb: &[u8]) -> Done {
        let element = |at: usize| u16::from_be_bytes([field(cdb, at), field(cdb, at + 1)]);
        let spot = |element: u16| self.spot_at(element).ok_or(Check::illegal(NO_SUCH_ELEMENT));
        if !matches!(element(2), 0 | HAND) {
            return Err(Check::illegal(NO_SUCH_ELEMENT));
        }
        let (from, to) = (spot(element(4))?, spot(element(6))?);
        let barcode = self.state.at(from).map(|(barcode, _)| barcode.clone());
        let barcode = barcode.ok_or(Check::illegal(SOURCE_EMPTY))?;
        if from == to {
            return GOOD;
        }
        if self.state.at(to).is_some() {
            return Err(Check::illegal(DESTINATION_FULL));
        }
        self.carry(&barcode, from, to)?;
        let moved = RobotMove { barcode, from, to };
        self.observers.iter().for_each(|observer| observer(&moved));
        GOOD
    }

    /// Out of a drive, the state saved, into a drive: a crash between leaves the cartridge in one place.
    fn carry(&mut self, barcode: &Barcode, from: Spot, to: Spot) -> Result<(), Check> {
        let broken = |error: TapeError| {
            tracing::error!(%error, "simulated robot failed");
            Check::new(key::HARDWARE_ERROR, (0x15, 0x01))
        };
        if let Spot::Drive(number) = from {
            locked(&self.decks[usize::from(number)]).remove()?;
        }
        self.put(barcode, to, Some(from)).map_err(broken)?;
        if let Spot::Drive(number) = to {
            let protection = self.state.cartridges[barcode].protection;
            let capacity_bytes = self.state.shape.capacity_bytes;
            let medium = Medium::open(&self.dir, barcode, capacity_bytes, protection).map_err(broken)?;
            locked(&self.decks[usize::from(number)]).insert(medium);
        }
        Ok(())
    }

    fn put(&mut self, barcode: &Barcode, spot: Spot, source: Option<Spot>) -> Result<(), TapeError> {
        self.change(|state| {
            if let Some(cartridge) = state.cartridges.get_mut(barcode) {
                (cartridge.spot, cartridge.source) = (spot, source);
            }
        })
    }

    /// Saves first; what couldn't be saved hasn't happened.
    fn change(&mut self, edit: impl FnOnce(&mut State)) -> Result<(), TapeError> {
        let mut state = self.state.clone();
        edit(&mut state);
        state.save(&self.dir)?;
        self.state = state;
        Ok(())
    }

    fn spot(&self, barcode: &Barcode) -> Result<Spot, TapeError> {
        let cartridge = self.state.cartridges.get(barcode);
        cartridge.map(|cartridge| cartridge.spot).ok_or_else(|| TapeError::NotInLibrary(barcode.clone()))
    }
}

/// The element address of a place.
pub(super) fn address(spot: Spot) -> Option<ElementAddress> {
    match spot {
        Spot::Slot(number) => Some(ElementAddress(SLOTS_FROM + number)),
        Spot::Drive(number) => Some(ElementAddress(DRIVES_FROM + number)),
        Spot::MailSlot(number) => Some(ElementAddress(MAIL_SLOTS_FROM + number)),
        Spot::Outside => None,
    }
}

/// The way to the robot.
pub(super) struct RobotTransport {
    robot: Arc<Mutex<Robot>>,
    path: PathBuf,
    /// The directory stays held as long as any device is open.
    _lock: Arc<File>,
}

impl RobotTransport {
    pub(super) fn new(robot: Arc<Mutex<Robot>>, path: PathBuf, lock: Arc<File>) -> RobotTransport {
        RobotTransport { robot, path, _lock: lock }
    }
}

impl ScsiTransport for RobotTransport {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn execute(&mut self, cdb: &[u8], mut data: Data<'_>, _timeout_ms: u32) -> io::Result<ScsiReply> {
        let len = data.len();
        let done = locked(&self.robot).execute(cdb, &mut data);
        Ok(reply(done, len))
    }
}
