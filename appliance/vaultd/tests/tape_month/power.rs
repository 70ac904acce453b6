//! Power and hardware, in the test's hands.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use coffer_tape::scsi::{Data, ScsiReply, ScsiTransport};

/// What the devices share.
pub(crate) struct Power {
    /// Commands until the power fails.
    commands_left: AtomicI64,
    /// The first drive fails every command.
    drive_broken: AtomicBool,
    at_next_write: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Power {
    pub(crate) fn on() -> Arc<Power> {
        Arc::new(Power {
            commands_left: AtomicI64::new(i64::MAX),
            drive_broken: AtomicBool::new(false),
            at_next_write: Mutex::default(),
        })
    }
    pub(crate) fn fail_after(&self, commands: i64) {
        self.commands_left.store(commands, Ordering::SeqCst);
    }
    pub(crate) fn restore(&self) {
        self.fail_after(i64::MAX);
    }
    pub(crate) fn has_failed(&self) -> bool {
        self.commands_left.load(Ordering::SeqCst) < 0
    }
    pub(crate) fn set_drive_broken(&self, broken: bool) {
        self.drive_broken.store(broken, Ordering::SeqCst);
    }
}

impl Power {
    /// Has something happen before a drive writes its next block.
    pub(crate) fn at_next_write(&self, happens: impl FnOnce() + Send + 'static) {
        *self.at_next_write.lock().unwrap() = Some(Box::new(happens));
    }
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Changer,
    FirstDrive,
    OtherDrive,
}

/// A device that hangs on the branch's power.
pub(crate) struct Powered {
    pub(crate) inner: Box<dyn ScsiTransport + Send>,
    pub(crate) power: Arc<Power>,
    pub(crate) kind: Kind,
}

const INQUIRY: u8 = 0x12;
const WRITE: u8 = 0x0a;

impl ScsiTransport for Powered {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn execute(&mut self, cdb: &[u8], data: Data<'_>, timeout_ms: u32) -> io::Result<ScsiReply> {
        if self.power.commands_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.power.commands_left.store(-1, Ordering::SeqCst);
            return Err(io::Error::other("the power is off"));
        }
        let broken = self.kind == Kind::FirstDrive && self.power.drive_broken.load(Ordering::SeqCst);
        if broken && cdb[0] != INQUIRY {
            // Hardware error, internal target failure; fixed format.
            let mut sense = vec![0; 18];
            (sense[0], sense[2], sense[7], sense[12]) = (0x70, 0x04, 10, 0x44);
            return Ok(ScsiReply {
                status: 0x02,
                sense,
                residual: data.len() as i64,
                ..ScsiReply::default()
            });
        }
        if cdb[0] == WRITE && self.kind != Kind::Changer {
            let happens = self.power.at_next_write.lock().unwrap().take();
            happens.into_iter().for_each(|happens| happens());
        }
        self.inner.execute(cdb, data, timeout_ms)
    }
}
