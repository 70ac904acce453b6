//! One device: sends a command, judges all of the answer, absorbs what is expected.

use std::fmt;
use std::sync::Arc;

use super::cdb::{self, Cdb, Repeat};
use super::{Data, Inquiry, ScsiReply, ScsiTransport, Sense, key, status};
use crate::{TapeError, Waiter};

/// Most times one command is sent: unit attentions come in pairs (reset, then medium changed), and a busy device
/// gets some more time.
const SENDS_MAX: u32 = 8;
const BUSY_WAIT_MS: u64 = 2000;
/// A drive that loads is asked this often: 2.5 hours, for the first load of new LTO-9 media.
const READY_POLLS_MAX: u32 = 4500;
const READY_WAIT_MS: u64 = 2000;

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

/// A device and the way to it.
pub struct Device {
    transport: Box<dyn ScsiTransport + Send>,
    waiter: Arc<dyn Waiter>,
    name: String,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Device {
    pub fn new(transport: Box<dyn ScsiTransport + Send>, waiter: Arc<dyn Waiter>) -> Device {
        let name = transport.name();
        Device { transport, waiter, name }
    }

    pub fn name(&self) -> &str {
        &self.name
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
                    let absorb = sense.is_expected_attention() && cdb.repeat == Repeat::Allowed;
                    if !absorb || sent >= SENDS_MAX {
                        return Ok(Answer::Check { sense, transferred });
                    }
                    tracing::info!(device = %self.name, command = cdb.name, %sense, "unit attention taken note of");
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

    /// The error that `sense` is for `cdb`.
    pub fn sense_error(&self, cdb: &Cdb, sense: Sense) -> TapeError {
        TapeError::Sense { device: self.name.clone(), command: cdb.name, sense }
    }

    /// Standard INQUIRY data.
    pub fn inquiry(&mut self) -> Result<Inquiry, TapeError> {
        const ALLOC: u16 = 96;
        let mut page = [0; ALLOC as usize];
        let filled = self.done(&cdb::inquiry(ALLOC), Data::In(&mut page))?;
        Inquiry::decode(&page[..filled])
            .map_err(|source| TapeError::Page { device: self.name.clone(), source })
    }

    /// A vital product data page, if the device has it.
    pub fn vital_page(&mut self, page: u8) -> Result<Option<Vec<u8>>, TapeError> {
        const ALLOC: u16 = 252;
        let mut bytes = vec![0; ALLOC.into()];
        let command = cdb::inquiry_vpd(page, ALLOC);
        match self.run(&command, Data::In(&mut bytes))? {
            Answer::Good { transferred } => {
                bytes.truncate(transferred);
                Ok(Some(bytes))
            }
            Answer::Check { sense, .. } if sense.key == key::ILLEGAL_REQUEST => Ok(None),
            Answer::Check { sense, .. } => Err(self.sense_error(&command, sense)),
        }
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
        for _ in 0..READY_POLLS_MAX {
            match self.readiness()? {
                Readiness::Ready => return Ok(()),
                Readiness::NoMedium => return Err(TapeError::NoMedium { device: self.name.clone() }),
                Readiness::Failed(sense) => return Err(self.sense_error(&cdb::test_unit_ready(), sense)),
                Readiness::Becoming(_) => self.waiter.wait(READY_WAIT_MS),
            }
        }
        Err(TapeError::NeverReady { device: self.name.clone() })
    }

    /// Between two polls of several devices.
    pub fn pause(&self) {
        self.waiter.wait(READY_WAIT_MS);
    }

    /// Sends once; a timeout or a lost link is an error even where the SCSI status looks like success.
    fn send(&mut self, cdb: &Cdb, data: Data<'_>) -> Result<ScsiReply, TapeError> {
        const DRIVER_SENSE: u16 = 0x08;
        let sent = self.transport.execute(cdb.bytes(), data, cdb.timeout_ms);
        let reply = sent.map_err(|source| TapeError::Transport {
            device: self.name.clone(),
            command: cdb.name,
            source,
        })?;
        let driver_status = reply.driver_status & 0x0f;
        if reply.host_status != 0 || !matches!(driver_status, 0 | DRIVER_SENSE) {
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
