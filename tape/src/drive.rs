//! One tape drive: blocks, filemarks and positions.
//!
//! What a drive can't do is found out by asking and remembered; callers get `Unsupported` or `None` and go
//! another way. Addresses a drive reports are believed only while they agree with what was done.

use std::fmt;
use std::sync::Arc;

use coffer_format::container::BLOCK_LEN;
use serde::Serialize;

use crate::scsi::cdb::{self, Cdb, SpaceUnit};
use crate::scsi::{
    Answer, BlockLimits, Data, Device, DeviceIds, Inquiry, Readiness, ScsiTransport, Sense, TapePosition,
    decode_device_ids, decode_serial, decode_supported_pages, decode_tape_alerts, key,
};
use crate::{TapeError, Waiter};

/// A block's address on the cartridge, counted by the drive from the beginning; filemarks count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockAddress(pub u64);

impl fmt::Display for BlockAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What lay at the position that was read. The position is behind it, except at the end of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    /// A block of this many bytes, all in the buffer.
    Block(usize),
    /// A block longer than the buffer.
    TooLong,
    Filemark,
    EndOfData,
}

/// A block or filemark was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    Written,
    /// Written, and there is room for little more.
    EarlyWarning,
}

/// Where winding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceOutcome {
    /// Where it was meant to.
    Done,
    /// Behind (or, going backward, before) a filemark that was in the way.
    Filemark,
    EndOfData,
    BeginningOfTape,
    Unsupported,
}

/// Whether a drive has a way to a block address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocateOutcome {
    Done,
    /// There is no such block: the tape stands where data ends.
    EndOfData,
    Unsupported,
}

/// How far a drive's own block addresses can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// Not asked yet.
    Unknown,
    Yes,
    No,
}

/// What is known of what a drive can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DriveFeatures {
    pub locate: Support,
    pub position: Support,
    pub tape_alert: Support,
}

/// A drive.
#[derive(Debug)]
pub struct Drive {
    device: Device,
    inquiry: Inquiry,
    serial: Option<String>,
    ids: DeviceIds,
    features: DriveFeatures,
    /// The tape can't stand at its beginning: an address of 0 would be a lie.
    moved: bool,
}

impl Drive {
    /// Asks the device who it is; no cartridge is needed.
    pub fn open(
        transport: Box<dyn ScsiTransport + Send>,
        waiter: Arc<dyn Waiter>,
    ) -> Result<Drive, TapeError> {
        let mut device = Device::new(transport, waiter);
        let inquiry = device.inquiry()?;
        if inquiry.device_type != Inquiry::TAPE {
            return Err(TapeError::WrongDevice { device: device.name().to_owned(), wanted: "tape drive" });
        }
        let serial = device.vital_page(0x80)?.and_then(|page| decode_serial(&page).ok());
        let ids = device.vital_page(0x83)?.and_then(|page| decode_device_ids(&page).ok());
        let features = DriveFeatures {
            locate: Support::Unknown,
            position: Support::Unknown,
            tape_alert: Support::Unknown,
        };
        let serial = serial.filter(|serial| !serial.is_empty());
        Ok(Drive { device, inquiry, serial, ids: ids.unwrap_or_default(), features, moved: true })
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
        let serial = self.serial.as_deref();
        let tail = device_id.get(24..).map(str::trim);
        serial.is_some_and(|serial| device_id == serial || tail == Some(serial))
            || self.ids.0.iter().any(|id| !id.is_empty() && id == device_id)
    }

    /// Between two polls of several drives.
    pub(crate) fn pause(&self) {
        self.device.pause();
    }

    pub fn readiness(&mut self) -> Result<Readiness, TapeError> {
        self.device.readiness()
    }

    /// Waits for the cartridge, then sets the drive up for blocks of any length up to ours.
    pub fn prepare(&mut self) -> Result<(), TapeError> {
        self.device.wait_ready()?;
        let mut page = [0; BlockLimits::LEN];
        let filled = self.device.done(&cdb::read_block_limits(), Data::In(&mut page))?;
        let limits = BlockLimits::decode(&page[..filled]).map_err(|source| self.page_error(source))?;
        if limits.longest != 0 && (limits.longest as usize) < BLOCK_LEN {
            return Err(TapeError::BlocksTooShort {
                device: self.name().to_owned(),
                longest: limits.longest,
                needed: BLOCK_LEN as u32,
            });
        }
        // Header (4): buffered mode 1. Block descriptor (8): current density, block length 0 = variable
        // (SPC-4 7.5.6, SSC-4 8.3.1).
        let parameters = [0, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        self.device.done(&cdb::mode_select(parameters.len() as u8), Data::Out(&parameters))?;
        self.rewind()
    }

    /// Reads one block into `buffer`.
    pub fn read_block(&mut self, buffer: &mut [u8]) -> Result<ReadOutcome, TapeError> {
        let command = cdb::read(buffer.len() as u32);
        let len = buffer.len();
        let answer = self.device.run(&command, Data::In(buffer))?;
        self.moved = true;
        match answer {
            Answer::Good { transferred } => Ok(ReadOutcome::Block(transferred)),
            Answer::Check { sense, .. } if sense.key == key::BLANK_CHECK => Ok(ReadOutcome::EndOfData),
            Answer::Check { sense, .. } if sense.filemark => Ok(ReadOutcome::Filemark),
            Answer::Check { sense, transferred } if sense.is_done() => {
                Ok(read_length(&sense, len, transferred))
            }
            Answer::Check { sense, .. } => Err(self.device.sense_error(&command, sense)),
        }
    }

    /// Writes one block at the position; whatever lay behind it is gone.
    pub fn write_block(&mut self, block: &[u8]) -> Result<WriteOutcome, TapeError> {
        let command = cdb::write(block.len() as u32);
        let answer = self.device.run(&command, Data::Out(block))?;
        self.moved = true;
        self.written(&command, answer)
    }

    /// Writes `count` filemarks. Returns when they, and all before them, are on the medium.
    pub fn write_filemarks(&mut self, count: u8) -> Result<WriteOutcome, TapeError> {
        let command = cdb::write_filemarks(count);
        let answer = self.device.run(&command, Data::None)?;
        self.moved |= count > 0;
        self.written(&command, answer)
    }

    /// Returns when all that was written is on the medium.
    pub fn synchronize(&mut self) -> Result<(), TapeError> {
        self.write_filemarks(0).map(drop)
    }

    /// Winds over `count` filemarks, negative is backward. Stands behind the last, or before it going backward.
    pub fn space_filemarks(&mut self, count: i32) -> Result<SpaceOutcome, TapeError> {
        self.space(SpaceUnit::Filemarks, count)
    }

    /// Winds over `count` blocks, negative is backward; a filemark ends it.
    pub fn space_blocks(&mut self, count: i32) -> Result<SpaceOutcome, TapeError> {
        self.space(SpaceUnit::Blocks, count)
    }

    /// Winds to where data ends.
    pub fn space_end(&mut self) -> Result<SpaceOutcome, TapeError> {
        match self.space(SpaceUnit::EndOfData, 0)? {
            SpaceOutcome::EndOfData => Ok(SpaceOutcome::Done),
            other => Ok(other),
        }
    }

    /// Goes to a block address.
    pub fn locate(&mut self, to: BlockAddress) -> Result<LocateOutcome, TapeError> {
        let (Ok(block), Support::Unknown | Support::Yes) = (u32::try_from(to.0), self.features.locate) else {
            return Ok(LocateOutcome::Unsupported);
        };
        let command = cdb::locate(block);
        self.moved = true;
        match self.device.run(&command, Data::None)? {
            Answer::Check { sense, .. } if sense.is_unsupported() => {
                tracing::warn!(drive = self.name(), "no LOCATE: going by filemarks, which takes longer");
                self.features.locate = Support::No;
                Ok(LocateOutcome::Unsupported)
            }
            Answer::Check { sense, .. } if sense.key == key::BLANK_CHECK => Ok(LocateOutcome::EndOfData),
            Answer::Check { sense, .. } if !sense.is_done() => Err(self.device.sense_error(&command, sense)),
            _ => {
                self.features.locate = Support::Yes;
                Ok(LocateOutcome::Done)
            }
        }
    }

    /// Where the tape stands; `None` if the drive can't tell or has told an untruth.
    pub fn position(&mut self) -> Result<Option<BlockAddress>, TapeError> {
        let Some(position) = self.ask_position()? else { return Ok(None) };
        if self.moved && position.block == Some(0) {
            tracing::warn!(
                drive = self.name(),
                "READ POSITION stays at 0: going by filemarks, which takes longer"
            );
            self.features.position = Support::No;
        }
        if self.features.position == Support::No {
            return Ok(None);
        }
        self.features.position = Support::Yes;
        Ok(position.block.map(|block| BlockAddress(block.into())))
    }

    /// Whether the drive says, unasked for a write, that it's past early warning.
    pub fn is_nearly_full(&mut self) -> Result<bool, TapeError> {
        Ok(self.ask_position()?.is_some_and(|position| position.past_early_warning))
    }

    pub fn rewind(&mut self) -> Result<(), TapeError> {
        self.device.done(&cdb::rewind(), Data::None)?;
        self.moved = false;
        Ok(())
    }

    /// Loads the cartridge that lies in the drive.
    pub fn load(&mut self) -> Result<(), TapeError> {
        self.device.done(&cdb::load(), Data::None)?;
        self.prepare()
    }

    /// Unthreads the tape. Rewind first: winding and unloading in one go can exceed a drive's own limits.
    pub fn unload(&mut self) -> Result<(), TapeError> {
        self.device.done(&cdb::unload(), Data::None)?;
        self.moved = true;
        Ok(())
    }

    /// Numbers of the TapeAlert flags that are set; `None` if the drive has none. Reading clears them.
    pub fn tape_alerts(&mut self) -> Result<Option<Vec<u8>>, TapeError> {
        if self.features.tape_alert == Support::Unknown {
            let page = self.ask_log(0x00)?;
            let pages = page.and_then(|page| decode_supported_pages(&page).ok()).unwrap_or_default();
            self.features.tape_alert = if pages.contains(&0x2e) { Support::Yes } else { Support::No };
        }
        if self.features.tape_alert == Support::No {
            return Ok(None);
        }
        let Some(page) = self.ask_log(0x2e)? else { return Ok(None) };
        decode_tape_alerts(&page).map(Some).map_err(|source| self.page_error(source))
    }

    fn ask_position(&mut self) -> Result<Option<TapePosition>, TapeError> {
        let mut page = [0; TapePosition::LEN];
        match self.device.run(&cdb::read_position(), Data::In(&mut page))? {
            Answer::Check { sense, .. } if sense.is_unsupported() => Ok(None),
            Answer::Check { sense, .. } if !sense.is_done() => {
                Err(self.device.sense_error(&cdb::read_position(), sense))
            }
            Answer::Good { transferred } | Answer::Check { transferred, .. } => {
                TapePosition::decode(&page[..transferred]).map(Some).map_err(|source| self.page_error(source))
            }
        }
    }

    fn ask_log(&mut self, page: u8) -> Result<Option<Vec<u8>>, TapeError> {
        const ALLOC: u16 = 4096;
        let mut bytes = vec![0; ALLOC.into()];
        match self.device.run(&cdb::log_sense(page, ALLOC), Data::In(&mut bytes))? {
            Answer::Good { transferred } => {
                bytes.truncate(transferred);
                Ok(Some(bytes))
            }
            Answer::Check { sense, .. } if sense.key == key::ILLEGAL_REQUEST => Ok(None),
            Answer::Check { sense, .. } => Err(self.device.sense_error(&cdb::log_sense(page, ALLOC), sense)),
        }
    }

    fn space(&mut self, unit: SpaceUnit, count: i32) -> Result<SpaceOutcome, TapeError> {
        let command = cdb::space(unit, count);
        let answer = self.device.run(&command, Data::None)?;
        self.moved = true;
        let outcome = match answer {
            Answer::Good { .. } => SpaceOutcome::Done,
            Answer::Check { sense, .. } if sense.is_unsupported() => SpaceOutcome::Unsupported,
            Answer::Check { sense, .. } if sense.key == key::BLANK_CHECK => SpaceOutcome::EndOfData,
            Answer::Check { sense, .. } if sense.filemark => SpaceOutcome::Filemark,
            Answer::Check { sense, .. } if sense.is_done() && sense.end_of_medium && count < 0 => {
                SpaceOutcome::BeginningOfTape
            }
            Answer::Check { sense, .. } if sense.is_done() => SpaceOutcome::Done,
            Answer::Check { sense, .. } => return Err(self.device.sense_error(&command, sense)),
        };
        if outcome == SpaceOutcome::BeginningOfTape {
            self.moved = false;
        }
        Ok(outcome)
    }

    fn written(&self, command: &Cdb, answer: Answer) -> Result<WriteOutcome, TapeError> {
        match answer {
            Answer::Good { .. } => Ok(WriteOutcome::Written),
            Answer::Check { sense, .. } if sense.key == key::VOLUME_OVERFLOW => Err(TapeError::CartridgeFull),
            Answer::Check { sense, .. } if sense.key == key::DATA_PROTECT && sense.asc == 0x27 => {
                Err(TapeError::WriteProtected)
            }
            Answer::Check { sense, .. } if sense.is_done() && sense.end_of_medium => {
                Ok(WriteOutcome::EarlyWarning)
            }
            Answer::Check { sense, .. } if sense.is_done() && !sense.deferred => Ok(WriteOutcome::Written),
            Answer::Check { sense, .. } => Err(self.device.sense_error(command, sense)),
        }
    }

    fn page_error(&self, source: coffer_format::DecodeError) -> TapeError {
        TapeError::Page { device: self.name().to_owned(), source }
    }
}

/// The length of a block that isn't `len` long: the INFORMATION field is what was asked for less what is there.
fn read_length(sense: &Sense, len: usize, transferred: usize) -> ReadOutcome {
    match sense.information {
        Some(less) if sense.wrong_length && less < 0 => ReadOutcome::TooLong,
        Some(less) if sense.wrong_length => {
            ReadOutcome::Block(len.saturating_sub(usize::try_from(less).unwrap_or(len)))
        }
        _ => ReadOutcome::Block(transferred),
    }
}
