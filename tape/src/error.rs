//! What can go wrong with tape, and whose job it is to mend it.

use std::io;

use coffer_format::{DecodeError, SegmentId};
use thiserror::Error;

use crate::Barcode;
use crate::barcode::BarcodeError;
use crate::medium::Generation;
use crate::scsi::{ElementAddress, Sense, key};

/// Who or what can mend an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It may go by itself: try again, a bounded number of times.
    Retry,
    /// A person has to do something.
    Operator,
    /// The medium is damaged: another copy is needed.
    Corrupt,
    /// This program asked for something it shouldn't have.
    Bug,
}

/// An error of the tape layer. Each names the object; what a person sees ends with what to do.
#[derive(Debug, Error)]
pub enum TapeError {
    #[error(
        "{command} could not be sent to {device}: check that the device exists, is switched on and is not in use by another program"
    )]
    Transport {
        device: String,
        command: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "{command} to {device} got lost on the way (host status {host_status:02X}h, driver status {driver_status:02X}h): check cable and power"
    )]
    Link { device: String, command: &'static str, host_status: u16, driver_status: u16 },
    #[error(
        "{device} answered {command} with status {status:02X}h: switch the device off and on if this repeats"
    )]
    Status { device: String, command: &'static str, status: u8 },
    #[error("{device} is reserved by another computer: release it there")]
    Reserved { device: String },
    #[error("{device} refused {command}: {sense}{}", advice(.sense))]
    Sense { device: String, command: &'static str, sense: Sense },
    #[error("{device} has no cartridge in it: load one")]
    NoMedium { device: String },
    #[error("{device} did not become ready: take the cartridge out and try another one")]
    NeverReady { device: String },
    #[error("{device} sent a page that makes no sense: update its firmware or report this")]
    Page {
        device: String,
        #[source]
        source: DecodeError,
    },
    #[error("{device} is not a {wanted}: correct the device in the configuration")]
    WrongDevice { device: String, wanted: &'static str },
    #[error("{device} takes blocks of at most {longest} bytes, {needed} are needed: use another drive")]
    BlocksTooShort { device: String, longest: u32, needed: u32 },

    #[error("{device} lost its place on the tape, after a reset or a lost command: start the job again")]
    PositionLost { device: String },
    #[error("{device} can't {what}: do without, or use another device")]
    Unsupported { device: String, what: &'static str },

    #[error("tape {0} is not in the library. Put tape {0} in")]
    NotInLibrary(Barcode),
    #[error("tape {0} is a cleaning cartridge and can't hold data: choose another tape")]
    Cleaning(Barcode),
    #[error("a cleaning cartridge is in {device} and can't hold data: put it back and choose another tape")]
    CleaningInDrive { device: String },
    #[error("place {0} is empty: choose one that the inventory shows as full")]
    EmptyPlace(ElementAddress),
    #[error("the library has no place number {0}: choose one that the inventory lists")]
    NoSuchPlace(ElementAddress),
    #[error("no drive is free for tape {0}: unload one first")]
    NoFreeDrive(Barcode),
    #[error("no drive is free for the tape in place {0}: unload one first")]
    NoFreeDriveFor(ElementAddress),
    #[error("drive {0} has a cartridge in it and can't be cleaned: unload it first")]
    DriveNotEmpty(usize),
    #[error("the library has no drive number {0}: choose one that the inventory lists")]
    NoSuchDrive(usize),
    #[error("drive {0} is in use: wait for its job to end")]
    DriveLent(usize),
    #[error("the drive in element {0} is none of those configured: add its /dev/sgN to the configuration")]
    UnknownDrive(ElementAddress),
    #[error("there is no free slot to put a tape into: take a tape out")]
    NoFreeSlot,
    #[error("the library has no mail slot: open its door and take tape {0} out")]
    NoMailSlot(Barcode),
    #[error("the mail slot is full. Take the tape in it out, then ask for tape {0} again")]
    MailSlotFull(Barcode),

    #[error("the mail slot is open or its lock is held elsewhere ({sense}): close it, then try again")]
    MailSlotStuck { sense: Sense },
    #[error("the robot still holds a cartridge: recover the library, which puts it away")]
    GripperFull,
    #[error("{device} can't move while somebody is at it ({sense}): close its door and put its magazines in")]
    DoorOpen { device: String, sense: Sense },
    #[error(
        "the robot of {device} is stuck ({sense}): look at the library's panel; what it holds stays there until then"
    )]
    RobotStuck { device: String, sense: Sense },
    #[error(
        "{device} found places {from} and {to} otherwise than it last said ({sense}): take stock of the library"
    )]
    OutOfStep { device: String, from: ElementAddress, to: ElementAddress, sense: Sense },

    #[error("there is no cleaning cartridge in the library that can still be used: put a new one in")]
    NoCleaner,
    #[error("cleaning cartridge {0} is used up: take it out and put a new one in")]
    CleanerExpired(String),
    #[error(
        "cartridge {0} isn't a cleaning cartridge this drive takes: take it out and put the right one in"
    )]
    CleanerInvalid(String),
    #[error(
        "{device} was not cleaned with cartridge {cleaner} ({sense}): try another cleaning cartridge, then call service"
    )]
    CleaningFailed { device: String, cleaner: String, sense: Sense },

    #[error("the cartridge holds data that is not Coffer's: use another tape, or overwrite it on purpose")]
    NotBlank,
    #[error(
        "the cartridge already holds a label of this program (tape {0}): overwrite it on purpose, or use another tape"
    )]
    AlreadyLabelled(String),
    #[error("the cartridge has no label: label it first")]
    NotLabelled,
    #[error("the cartridge in the drive is tape {found}, not tape {wanted}: load tape {wanted}")]
    WrongCartridge { wanted: String, found: String },
    #[error("the cartridge is full: continue on another tape")]
    CartridgeFull,
    #[error("the cartridge is write protected: move its switch, or use another tape")]
    WriteProtected,
    #[error(
        "the cartridge can only be written once (WORM) and would never be free again: use a rewritable tape"
    )]
    WriteOnce,
    #[error(
        "the cartridge is {medium} and {device} ({drive}) can't write it: use a tape made for that drive"
    )]
    WrongGeneration { device: String, medium: Generation, drive: Generation },
    #[error("{device} can't use the cartridge in it ({sense}): use a tape made for that drive")]
    Incompatible { device: String, sense: Sense },
    #[error("container {container} is damaged at block {block} ({what}): use another copy of what is in it")]
    Damaged { container: u32, block: u32, what: String },
    #[error("segment {segment} in container {container} is not the one that was written: use another copy")]
    WrongBytes { container: u32, segment: SegmentId },
    #[error(
        "where the data on this cartridge ends could not be found ({0}): use another tape and verify this one"
    )]
    LostEnd(&'static str),
    #[error("the writer stopped after an error and can't be used on: open the cartridge again")]
    Stopped,
    #[error("the bytes read from tape could not be passed on")]
    Sink(#[source] io::Error),

    #[error("the library's journal {path} can't be {doing}: check the disk it is on")]
    Journal {
        doing: &'static str,
        path: std::path::PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot {doing} {path}")]
    Simulator {
        doing: &'static str,
        path: std::path::PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Shape(String),
    #[error(transparent)]
    Barcode(#[from] BarcodeError),
}

impl TapeError {
    pub fn class(&self) -> ErrorClass {
        use TapeError::*;
        match self {
            Link { .. } | Status { .. } | DriveLent(_) | PositionLost { .. } => ErrorClass::Retry,
            Sense { sense, .. } => sense_class(sense),
            Damaged { .. } | WrongBytes { .. } | LostEnd(_) => ErrorClass::Corrupt,
            Stopped | NoSuchDrive(_) | NoSuchPlace(_) => ErrorClass::Bug,
            _ => ErrorClass::Operator,
        }
    }

    /// The medium, at this place, can't be read: what lies behind it may be.
    pub fn is_damage(&self) -> bool {
        matches!(self, TapeError::Damaged { .. } | TapeError::WrongBytes { .. }) || self.is_medium_error()
    }

    /// The drive is well and can't use this cartridge: it's put back.
    pub fn is_about_cartridge(&self) -> bool {
        use TapeError::*;
        let refused = matches!(
            self,
            CleaningInDrive { .. }
                | Incompatible { .. }
                | WrongGeneration { .. }
                | WriteOnce
                | WriteProtected
        );
        refused || self.is_medium_error()
    }

    pub(crate) fn is_medium_error(&self) -> bool {
        matches!(self, TapeError::Sense { sense, .. } if sense.key == key::MEDIUM_ERROR)
    }

    pub(crate) fn simulator(
        doing: &'static str,
        path: impl Into<std::path::PathBuf>,
    ) -> impl FnOnce(io::Error) -> TapeError {
        let path = path.into();
        move |source| TapeError::Simulator { doing, path, source }
    }
}

fn sense_class(sense: &Sense) -> ErrorClass {
    match sense.key {
        key::UNIT_ATTENTION | key::ABORTED => ErrorClass::Retry,
        key::MEDIUM_ERROR => ErrorClass::Corrupt,
        key::ILLEGAL_REQUEST => ErrorClass::Bug,
        _ => ErrorClass::Operator,
    }
}

/// What to do, by key.
fn advice(sense: &Sense) -> &'static str {
    match sense.key {
        key::NOT_READY => ": wait, then look at the device's panel",
        key::MEDIUM_ERROR => ": clean the drive; if it repeats, retire the cartridge",
        key::HARDWARE_ERROR => ": look at the device's panel and call service",
        key::UNIT_ATTENTION => ": the position is lost, start the job again",
        key::DATA_PROTECT => ": use another cartridge",
        key::ABORTED => ": check the cable, then try again",
        _ => ": if it repeats, report it with these numbers",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_what_to_do() {
        let barcode: Barcode = "COF007L6".parse().unwrap();
        assert_eq!(
            TapeError::NotInLibrary(barcode).to_string(),
            "tape COF007L6 is not in the library. Put tape COF007L6 in"
        );
        let sense = Sense { key: 3, asc: 0x11, ..Sense::default() };
        let error = TapeError::Sense { device: "/dev/sg2".into(), command: "READ(6)", sense };
        assert_eq!(
            error.to_string(),
            "/dev/sg2 refused READ(6): unrecovered read error (sense 3/11/00): clean the drive; if it repeats, retire the cartridge"
        );
        assert_eq!(error.class(), ErrorClass::Corrupt);
    }
}
