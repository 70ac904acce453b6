//! A simulated changer (SMC-3): knows what is where and moves it.

mod hands;
mod moves;
mod pages;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::cartridge::CartridgeState;
use super::deck::Deck;
use super::fate::{self, Fate, Machine};
use super::fault::FaultDevice;
use super::locked;
use super::reply::{
    Check, Code, Done, GOOD, INVALID_FIELD, MEDIUM_CHANGED, NEEDS_A_HAND, NO_SUCH_ELEMENT, POWERED_ON,
    UNKNOWN_COMMAND, answer_inquiry, field, opcode_list,
};
use super::state::{Spot, State};
use crate::scsi::{Data, ElementAddress, Inquiry, ScsiReply, ScsiTransport, key};
use crate::{Barcode, TapeError};

const PRODUCT: &str = "LIBRARY";
const SERIAL: &str = "CFLIB00000";
const OPCODES: [u8; 15] =
    [0x00, 0x03, 0x07, 0x12, 0x1a, 0x1b, 0x1e, 0x2b, 0x37, 0x5a, 0xa3, 0xa5, 0xa6, 0xb8, 0xe7];
/// Commands that need the robot to be free to move.
const MOVING: [u8; 7] = [0x00, 0x07, 0x2b, 0x37, 0xa5, 0xa6, 0xe7];

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
    state: State,
    decks: Vec<Arc<Mutex<Deck>>>,
    fate: Arc<Mutex<Fate>>,
    /// The door was open when last seen.
    door_open: bool,
    mail_locked: bool,
    attentions: Vec<Code>,
    observers: Vec<Observer>,
}

impl Robot {
    pub(super) fn new(
        dir: PathBuf,
        state: State,
        decks: Vec<Arc<Mutex<Deck>>>,
        fate: Arc<Mutex<Fate>>,
    ) -> Robot {
        Robot {
            dir,
            state,
            decks,
            fate,
            door_open: false,
            mail_locked: false,
            attentions: vec![POWERED_ON],
            observers: Vec::new(),
        }
    }

    pub(super) fn observe(&mut self, observer: Observer) {
        self.observers.push(observer);
    }

    pub(super) fn cartridges(&self) -> Vec<(Barcode, Spot)> {
        self.state.cartridges.iter().map(|(barcode, cartridge)| (barcode.clone(), cartridge.spot)).collect()
    }

    /// The element address of a place.
    fn address(&self, spot: Spot) -> Option<ElementAddress> {
        let bases = &self.state.shape.quirks.bases;
        Some(ElementAddress(match spot {
            Spot::Slot(number) => bases.slots + number,
            Spot::Drive(number) => bases.drives + number,
            Spot::MailSlot(number) => bases.mail_slots + number,
            Spot::Hand => bases.hand,
            Spot::Outside => return None,
        }))
    }

    /// The place at an element address.
    fn spot_at(&self, element: u16) -> Option<Spot> {
        let within = |from: u16, count: u16| element.checked_sub(from).filter(|number| *number < count);
        let shape = &self.state.shape;
        let bases = &shape.quirks.bases;
        within(bases.slots, shape.slots)
            .map(Spot::Slot)
            .or_else(|| within(bases.drives, shape.drives).map(Spot::Drive))
            .or_else(|| within(bases.mail_slots, shape.mail_slots).map(Spot::MailSlot))
            .or_else(|| (element == bases.hand).then_some(Spot::Hand))
    }

    fn no_such_place(&self) -> Check {
        Check::illegal(if self.state.shape.quirks.vague_places { INVALID_FIELD } else { NO_SUCH_ELEMENT })
    }

    fn run(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        const INQUIRY: u8 = 0x12;
        let operation = field(cdb, 0);
        if self.state.shape.quirks.changer_without.contains(&operation) {
            return Err(Check::illegal(UNKNOWN_COMMAND));
        }
        if operation != INQUIRY {
            self.not_now(operation)?;
        }
        match operation {
            INQUIRY => answer_inquiry(cdb, data, (Inquiry::CHANGER, PRODUCT, SERIAL)),
            0x00 | 0x03 | 0x07 | 0x37 | 0xe7 => GOOD,
            0x1a | 0x5a => self.mode_sense(cdb, data),
            0x1b => self.mail_door(cdb),
            0x1e => {
                self.mail_locked = field(cdb, 4) & 1 != 0;
                GOOD
            }
            0x2b => self.position_to(cdb),
            0xa3 => opcode_list(cdb, data, &OPCODES, &self.state.shape.quirks.changer_without),
            0xa5 => self.move_medium(cdb),
            0xa6 => self.exchange(cdb),
            0xb8 => self.element_status(cdb, data),
            _ => Err(Check::illegal(UNKNOWN_COMMAND)),
        }
    }

    /// An open door, and what it leaves to be told.
    fn not_now(&mut self, operation: u8) -> Result<(), Check> {
        let open = locked(&self.fate).plan().door_open;
        if std::mem::replace(&mut self.door_open, open) && !open {
            self.attentions.push(MEDIUM_CHANGED);
        }
        if !self.attentions.is_empty() {
            return Err(Check::new(key::UNIT_ATTENTION, self.attentions.remove(0)));
        }
        if open && MOVING.contains(&operation) {
            return Err(Check::new(key::NOT_READY, NEEDS_A_HAND));
        }
        Ok(())
    }

    /// Saves first; what couldn't be saved hasn't happened.
    fn change(&mut self, edit: impl FnOnce(&mut State)) -> Result<(), TapeError> {
        let mut state = self.state.clone();
        edit(&mut state);
        state.save(&self.dir)?;
        self.state = state;
        Ok(())
    }

    /// Changes one cartridge, also while it's in a drive.
    fn change_cartridge(
        &mut self,
        barcode: &Barcode,
        edit: impl Fn(&mut CartridgeState),
    ) -> Result<(), TapeError> {
        let spot = self.spot(barcode)?;
        self.change(|state| {
            if let Some(cartridge) = state.cartridges.get_mut(barcode) {
                edit(cartridge);
            }
        })?;
        if let Spot::Drive(number) = spot {
            locked(&self.decks[usize::from(number)]).alter(edit);
        }
        Ok(())
    }

    fn spot(&self, barcode: &Barcode) -> Result<Spot, TapeError> {
        let cartridge = self.state.cartridges.get(barcode);
        cartridge.map(|cartridge| cartridge.spot).ok_or_else(|| TapeError::NotInLibrary(barcode.clone()))
    }
}

impl Machine for Robot {
    fn execute(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let good = self.run(cdb, data)?;
        let excess = self.state.shape.quirks.residual_excess as usize;
        Ok(super::reply::Good { residual: good.residual + excess })
    }

    fn execute_half(&mut self, cdb: &[u8], _data: &mut Data<'_>) {
        if let (0xa5, Err(_)) = (field(cdb, 0), self.take_in_hand(cdb)) {
            tracing::info!("there was nothing for the robot to take");
        }
    }

    fn lose_buffer(&mut self) {
        for deck in &self.decks {
            locked(deck).lose_buffer();
        }
    }
}

/// The way to the robot.
pub(super) struct RobotTransport {
    robot: Arc<Mutex<Robot>>,
    fate: Arc<Mutex<Fate>>,
    path: PathBuf,
    /// The directory stays held as long as any device is open.
    _lock: Arc<File>,
}

impl RobotTransport {
    pub(super) fn new(robot: Arc<Mutex<Robot>>, path: PathBuf, lock: Arc<File>) -> RobotTransport {
        let fate = locked(&robot).fate.clone();
        RobotTransport { robot, fate, path, _lock: lock }
    }
}

impl ScsiTransport for RobotTransport {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn execute(&mut self, cdb: &[u8], data: Data<'_>, _timeout_ms: u32) -> io::Result<ScsiReply> {
        let mut robot = locked(&self.robot);
        fate::execute(&self.fate, FaultDevice::Changer, &mut *robot, cdb, data)
    }
}
