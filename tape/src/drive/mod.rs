//! One tape drive: blocks, filemarks and positions; its cartridge; its health.
//!
//! What a drive can't do is found out by asking and remembered; callers get `Unsupported` or `None` and go
//! another way. Addresses a drive reports are believed only while they agree with what was done. After a reset, a lost
//! command or a change of cartridge nothing is read or written before the tape has been put in a known place.

mod check;
mod facts;
mod features;
mod outcome;
mod probe;
mod ready;
mod secure;
mod transfer;
mod wind;

use std::sync::Arc;

pub use features::{DriveFeatures, Feature, Support};
pub use outcome::{BlockAddress, Erasure, LocateOutcome, Performed, ReadOutcome, SpaceOutcome, WriteOutcome};
pub use secure::{Holders, Reservation};

use crate::health::CleaningNeed;
use crate::medium::Generation;
use crate::scsi::{Device, DeviceIds, Inquiry, Readiness, ScsiTransport, TapeAlert, decode_device_ids};
use crate::{TapeError, Waiter};

/// Where the tape stands, as far as it matters to whether an address of 0 is a lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whence {
    Beginning,
    /// Something lies before the position.
    Beyond,
    /// Wound backward or to an address: maybe the beginning.
    Anywhere,
}

/// How blocks are transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockMode {
    Variable,
    /// All blocks have this many bytes.
    Fixed(u32),
}

/// A drive.
#[derive(Debug)]
pub struct Drive {
    device: Device,
    inquiry: Inquiry,
    serial: Option<String>,
    ids: DeviceIds,
    features: DriveFeatures,
    blocks: BlockMode,
    whence: Whence,
    /// [`Device::upsets`] when the tape was last put in a known place; `None` before that.
    settled: Option<u64>,
    /// [`Device::upsets`] when the cartridge was last found to be one that may be written.
    writable: Option<u64>,
    /// `None` before it was asked.
    generation: Option<Option<Generation>>,
    log_pages: Option<Vec<u8>>,
    /// Flags read and not told yet.
    alerts: Vec<TapeAlert>,
    /// Flags that page 12h showed last time; it doesn't clear them.
    standing_alerts: Vec<TapeAlert>,
    cleaning: CleaningNeed,
    reservation: Reservation,
}

impl Drive {
    /// Asks the device who it is; no cartridge is needed.
    pub fn open(
        transport: Box<dyn ScsiTransport + Send>,
        waiter: Arc<dyn Waiter>,
    ) -> Result<Drive, TapeError> {
        let mut device = Device::new(transport, waiter);
        let (inquiry, serial) = device.introduce(Inquiry::TAPE, "tape drive")?;
        let ids = device.vital_page(0x83)?.and_then(|page| decode_device_ids(&page).ok());
        Ok(Drive {
            device,
            inquiry,
            serial: serial.filter(|serial| !serial.is_empty()),
            ids: ids.unwrap_or_default(),
            features: DriveFeatures::default(),
            blocks: BlockMode::Variable,
            whence: Whence::Anywhere,
            settled: None,
            writable: None,
            generation: None,
            log_pages: None,
            alerts: Vec::new(),
            standing_alerts: Vec::new(),
            cleaning: CleaningNeed::NotAsked,
            reservation: Reservation::None,
        })
    }

    pub fn name(&self) -> &str {
        self.device.name()
    }
    pub fn inquiry(&self) -> &Inquiry {
        &self.inquiry
    }
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }
    pub fn features(&self) -> DriveFeatures {
        self.features
    }

    /// Whether a changer that says `device_id` means this drive: the serial number alone, or vendor (8),
    /// product (16) and serial number, or one of the drive's own names.
    pub fn is_called(&self, device_id: &str) -> bool {
        /// A shorter one could be the end of another's.
        const TELLING_LEN: usize = 8;
        let serial = self.serial.as_deref();
        let tail = device_id.get(24..).map(str::trim);
        let ends = |serial: &str| serial.len() >= TELLING_LEN && device_id.ends_with(serial);
        serial.is_some_and(|serial| device_id == serial || tail == Some(serial) || ends(serial))
            || self.ids.0.iter().any(|id| !id.is_empty() && id == device_id)
    }

    /// Asks once whether the drive can be used.
    pub fn readiness(&mut self) -> Result<Readiness, TapeError> {
        self.device.readiness()
    }

    pub(crate) fn device(&mut self) -> &mut Device {
        &mut self.device
    }

    /// The tape stands in a known place now.
    fn settle(&mut self, whence: Whence) {
        self.whence = whence;
        self.settled = Some(self.device.upsets());
    }

    /// Refuses what depends on the position if that isn't known any more.
    fn require_position(&self) -> Result<(), TapeError> {
        match self.settled == Some(self.device.upsets()) {
            true => Ok(()),
            false => Err(TapeError::PositionLost { device: self.name().to_owned() }),
        }
    }

    fn page_error(&self, source: coffer_format::DecodeError) -> TapeError {
        TapeError::Page { device: self.name().to_owned(), source }
    }
}
