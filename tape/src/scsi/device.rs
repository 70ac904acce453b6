//! One device: sends a command, judges all of the answer, absorbs what is expected and remembers what was said aside.

use std::fmt;
use std::sync::Arc;

use super::cdb::{self, Cdb, Repeat};
use super::{
    Data, Inquiry, ModeForm, ModeParameters, Opcodes, ScsiReply, ScsiTransport, Sense, decode_serial, key,
    status,
};
use crate::{TapeError, Waiter};

/// Most times one command is sent: unit attentions come in pairs (reset, then medium changed), and a busy device
/// gets some more time.
const SENDS_MAX: u32 = 8;
const BUSY_WAIT_MS: u64 = 2000;
/// A device that isn't ready is asked again after this long at first, twice as long each time.
const POLL_FIRST_MS: u64 = 125;
const POLL_LONGEST_MS: u64 = 2000;
/// 2.5 hours, for the first load of new LTO-9 media.
pub(crate) const READY_MS: u64 = 150 * 60 * 1000;
/// A device that doesn't say why it isn't ready is given up sooner.
pub(crate) const VAGUE_MS: u64 = 10 * 60 * 1000;
/// Most remarks kept until somebody asks for them.
const TOLD_MAX: usize = 32;

/// How a command ended that reached the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Good { transferred: usize },
    Check { sense: Sense, transferred: usize },
}

/// Whether a device can be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NoMedium,
    Becoming(Sense),
    Failed(Sense),
}

/// How long one waits for the next poll.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    polls: u32,
    /// Milliseconds so far.
    pub(crate) waited_ms: u64,
}

/// A device and the way to it.
pub struct Device {
    transport: Box<dyn ScsiTransport + Send>,
    waiter: Arc<dyn Waiter>,
    name: String,
    /// Grows with everything after which a position isn't known: resets, changed media, lost commands.
    upsets: u64,
    told: Vec<Sense>,
    deferred: Option<Sense>,
    cleaning_asked: bool,
    /// What the device says it knows; `None` before it was asked.
    opcodes: Option<Opcodes>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Device {
    pub fn new(transport: Box<dyn ScsiTransport + Send>, waiter: Arc<dyn Waiter>) -> Device {
        let name = transport.name();
        Device {
            transport,
            waiter,
            name,
            upsets: 0,
            told: Vec::new(),
            deferred: None,
            cleaning_asked: false,
            opcodes: None,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often something happened after which a position isn't known.
    pub fn upsets(&self) -> u64 {
        self.upsets
    }

    /// Unit attentions absorbed, and late errors nobody was told of, since this was last asked: the last 32 of them.
    pub fn take_told(&mut self) -> Vec<Sense> {
        std::mem::take(&mut self.told)
    }

    /// The first error of an earlier command that came after its answer. Told once.
    pub fn take_deferred(&mut self) -> Option<Sense> {
        self.deferred.take()
    }

    /// That the medium is another is no news after a load.
    pub(crate) fn forget_new_medium(&mut self) {
        self.told.retain(|sense| (sense.asc, sense.ascq) != (0x28, 0x00));
    }

    /// What of an earlier cartridge was told too late for any job becomes a remark.
    pub(crate) fn retell_deferred(&mut self) {
        if let Some(sense) = self.take_deferred() {
            self.tell(sense);
        }
    }

    /// Whether any command's sense asked for cleaning since this was last asked.
    pub fn take_cleaning_asked(&mut self) -> bool {
        std::mem::take(&mut self.cleaning_asked)
    }

    /// Sends `cdb`; sense that isn't absorbed is part of the answer, everything else that went wrong an error.
    pub fn run(&mut self, cdb: &Cdb, mut data: Data<'_>) -> Result<Answer, TapeError> {
        let len = data.len();
        for sent in 1.. {
            let reply = self.send(cdb, data.again())?;
            let transferred = reply.transferred(len);
            match reply.status {
                status::GOOD => return Ok(Answer::Good { transferred }),
                status::BUSY | status::TASK_SET_FULL if sent < SENDS_MAX => self.waiter.wait(BUSY_WAIT_MS),
                status::CHECK_CONDITION => {
                    let sense = Sense::parse(&reply.sense).ok_or_else(|| self.odd_status(cdb, &reply))?;
                    if !self.absorb(cdb, &sense) || sent >= SENDS_MAX {
                        return Ok(Answer::Check { sense, transferred });
                    }
                }
                _ => return Err(self.odd_status(cdb, &reply)),
            }
        }
        unreachable!("the loop over sends only ends by returning")
    }

    /// Sends `cdb` and takes anything but success for an error. Returns the bytes transferred.
    pub fn done(&mut self, cdb: &Cdb, data: Data<'_>) -> Result<usize, TapeError> {
        match self.run(cdb, data)? {
            Answer::Good { transferred } => Ok(transferred),
            Answer::Check { sense, transferred } if sense.is_done() => {
                tracing::info!(device = %self.name, command = cdb.name, %sense, "done, with a remark");
                Ok(transferred)
            }
            Answer::Check { sense, .. } => Err(self.sense_error(cdb, sense)),
        }
    }

    /// Sends a command the device may not know. False if it doesn't.
    pub fn done_if_known(&mut self, cdb: &Cdb, data: Data<'_>) -> Result<Option<usize>, TapeError> {
        match self.run(cdb, data)? {
            Answer::Check { sense, .. } if sense.is_unsupported() => Ok(None),
            Answer::Check { sense, .. } if !sense.is_done() => Err(self.sense_error(cdb, sense)),
            Answer::Good { transferred } | Answer::Check { transferred, .. } => Ok(Some(transferred)),
        }
    }

    /// Asks for a page of at most `alloc` bytes; `None` if the device doesn't have it, or not now.
    ///
    /// Pages say their own length and the buffer is zero before: a residual that claims too much costs nothing.
    pub fn ask(&mut self, cdb: &Cdb, alloc: usize) -> Result<Option<Vec<u8>>, TapeError> {
        let mut page = vec![0; alloc];
        match self.run(cdb, Data::In(&mut page))? {
            Answer::Check { sense, .. } if matches!(sense.key, key::ILLEGAL_REQUEST | key::NOT_READY) => {
                Ok(None)
            }
            Answer::Check { sense, .. } if !sense.is_done() => Err(self.sense_error(cdb, sense)),
            _ => Ok(Some(page)),
        }
    }

    /// The error that `sense` is for `cdb`.
    pub fn sense_error(&self, cdb: &Cdb, sense: Sense) -> TapeError {
        TapeError::Sense { device: self.name.clone(), command: cdb.name, sense }
    }

    /// Standard INQUIRY data.
    pub fn inquiry(&mut self) -> Result<Inquiry, TapeError> {
        const ALLOC: u16 = 96;
        let command = cdb::inquiry(ALLOC);
        let page = self.ask(&command, ALLOC.into())?.unwrap_or_default();
        Inquiry::decode(&page).map_err(|source| TapeError::Page { device: self.name.clone(), source })
    }

    /// Asks the device who it is, and refuses one of another type than `wanted`.
    pub(crate) fn introduce(
        &mut self,
        wanted: u8,
        called: &'static str,
    ) -> Result<(Inquiry, Option<String>), TapeError> {
        let inquiry = self.inquiry()?;
        if inquiry.device_type != wanted {
            return Err(TapeError::WrongDevice { device: self.name.clone(), wanted: called });
        }
        let serial = self.vital_page(0x80)?.and_then(|page| decode_serial(&page).ok());
        Ok((inquiry, serial))
    }

    /// A vital product data page, if the device has it.
    pub fn vital_page(&mut self, page: u8) -> Result<Option<Vec<u8>>, TapeError> {
        const ALLOC: u16 = 252;
        self.ask(&cdb::inquiry_vpd(page, ALLOC), ALLOC.into())
    }

    /// A mode page by MODE SENSE(6), or (10) where that isn't known, taken apart by `decode`.
    pub fn mode_page<T>(
        &mut self,
        page: u8,
        decode: impl Fn(&[u8], ModeForm) -> Result<T, coffer_format::DecodeError>,
    ) -> Result<Option<T>, TapeError> {
        const ALLOC: u8 = 0xfc;
        let six = self.ask(&cdb::mode_sense(page, ALLOC), ALLOC.into())?;
        if let Some(found) = six.and_then(|bytes| decode(&bytes, ModeForm::Six).ok()) {
            return Ok(Some(found));
        }
        let ten = self.ask(&cdb::mode_sense_10(page, ALLOC.into()), ALLOC.into())?;
        Ok(ten.and_then(|bytes| decode(&bytes, ModeForm::Ten).ok()))
    }

    /// Mode parameters with one page.
    pub fn mode_parameters(&mut self, page: u8) -> Result<Option<ModeParameters>, TapeError> {
        self.mode_page(page, ModeParameters::decode)
    }

    /// Whether the device lists a command among those it knows; `None` if it keeps no list.
    pub fn lists(&mut self, command: &Cdb) -> Result<Option<bool>, TapeError> {
        const ALLOC: u32 = 8192;
        if self.opcodes.is_none() {
            let page = self.ask(&cdb::report_supported_opcodes(ALLOC), ALLOC as usize)?;
            self.opcodes = Some(page.and_then(|page| Opcodes::decode(&page).ok()).unwrap_or_default());
        }
        Ok(self.opcodes.as_ref().filter(|known| !known.is_empty()).map(|known| known.has(command)))
    }

    /// Asks once.
    pub fn readiness(&mut self) -> Result<Readiness, TapeError> {
        Ok(match self.run(&cdb::test_unit_ready(), Data::None)? {
            Answer::Good { .. } => Readiness::Ready,
            Answer::Check { sense, .. } if sense.is_done() => Readiness::Ready,
            Answer::Check { sense, .. } if sense.is_no_medium() => Readiness::NoMedium,
            Answer::Check { sense, .. } if sense.is_becoming_ready() => Readiness::Becoming(sense),
            Answer::Check { sense, .. } => Readiness::Failed(sense),
        })
    }

    /// Asks until the device is ready, and no longer than it may take.
    pub fn wait_ready(&mut self) -> Result<(), TapeError> {
        let mut patience = Patience::default();
        loop {
            let limit_ms = match self.readiness()? {
                Readiness::Ready => return Ok(()),
                Readiness::NoMedium => return Err(TapeError::NoMedium { device: self.name.clone() }),
                Readiness::Failed(sense) => return Err(self.sense_error(&cdb::test_unit_ready(), sense)),
                Readiness::Becoming(sense) if sense.is_vaguely_not_ready() => VAGUE_MS,
                Readiness::Becoming(_) => READY_MS,
            };
            if patience.waited_ms >= limit_ms {
                return Err(TapeError::NeverReady { device: self.name.clone() });
            }
            self.pause(&mut patience);
        }
    }

    /// Between two polls.
    pub(crate) fn pause(&self, patience: &mut Patience) {
        let ms = POLL_LONGEST_MS.min(POLL_FIRST_MS << patience.polls.min(8));
        self.waiter.wait(ms);
        patience.polls += 1;
        patience.waited_ms += ms;
    }

    /// Takes note of what was said. Whether the command should be sent again.
    fn absorb(&mut self, cdb: &Cdb, sense: &Sense) -> bool {
        self.cleaning_asked |= sense.asks_for_cleaning();
        if sense.deferred {
            tracing::warn!(device = %self.name, command = cdb.name, %sense, "told late");
            if !sense.is_done() {
                self.deferred.get_or_insert(*sense);
            }
            return cdb.repeat == Repeat::Allowed;
        }
        if sense.is_attention() {
            tracing::info!(device = %self.name, command = cdb.name, %sense, "unit attention taken note of");
            self.upsets += u64::from(sense.is_upset());
            self.tell(*sense);
            return cdb.repeat == Repeat::Allowed;
        }
        if !cdb.expects(sense) {
            tracing::warn!(device = %self.name, command = cdb.name, %sense, "not what this command should end with");
        }
        false
    }

    fn tell(&mut self, sense: Sense) {
        if self.told.len() == TOLD_MAX {
            self.told.remove(0);
        }
        self.told.push(sense);
    }

    /// Sends once; a timeout or a lost link is an error even where the SCSI status looks like success.
    fn send(&mut self, cdb: &Cdb, data: Data<'_>) -> Result<ScsiReply, TapeError> {
        const DRIVER_SENSE: u16 = 0x08;
        let sent = self.transport.execute(cdb.bytes(), data, cdb.timeout_ms);
        let reply = sent.map_err(|source| {
            self.upsets += 1;
            TapeError::Transport { device: self.name.clone(), command: cdb.name, source }
        })?;
        let driver_status = reply.driver_status & 0x0f;
        if reply.host_status != 0 || !matches!(driver_status, 0 | DRIVER_SENSE) {
            self.upsets += 1;
            return Err(TapeError::Link {
                device: self.name.clone(),
                command: cdb.name,
                host_status: reply.host_status,
                driver_status: reply.driver_status,
            });
        }
        Ok(reply)
    }

    fn odd_status(&self, cdb: &Cdb, reply: &ScsiReply) -> TapeError {
        match reply.status {
            status::RESERVATION_CONFLICT => TapeError::Reserved { device: self.name.clone() },
            status => TapeError::Status { device: self.name.clone(), command: cdb.name, status },
        }
    }
}
