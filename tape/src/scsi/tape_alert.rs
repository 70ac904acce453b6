//! TapeAlert flags (SSC-4 4.2.20, annex A): what a drive warns of, how bad it is, and what to do.

use std::fmt;

use serde::Serialize;

/// How bad a flag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSeverity {
    Information,
    Warning,
    Critical,
}

/// What a flag asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertAction {
    Nothing,
    /// Clean the drive.
    Clean,
    /// Copy what is on the cartridge and use it no more.
    RetireCartridge,
    /// Verify what was written last.
    Verify,
    /// Another cleaning cartridge is needed.
    ReplaceCleaner,
    /// Another kind of cartridge is needed.
    ChangeCartridge,
    /// The drive or the library needs service.
    Service,
    /// A person should look at the library.
    Look,
}

/// One flag. Flags without a name in the standard are `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TapeAlert {
    ReadWarning,
    WriteWarning,
    HardError,
    Media,
    ReadFailure,
    WriteFailure,
    MediaLife,
    NotDataGrade,
    WriteProtect,
    NoRemoval,
    CleaningMedia,
    UnsupportedFormat,
    RecoverableCartridgeFailure,
    UnrecoverableCartridgeFailure,
    MemoryChipFailure,
    ForcedEject,
    ReadOnlyFormat,
    DirectoryCorrupted,
    NearingMediaLife,
    CleanNow,
    CleanPeriodic,
    ExpiredCleaningMedia,
    InvalidCleaningTape,
    RetensionRequested,
    InterfaceError,
    CoolingFanFailure,
    PowerSupplyFailure,
    DriveMaintenance,
    HardwareA,
    HardwareB,
    EjectMedia,
    PredictiveFailure,
    DiagnosticsRequired,
    LostStatistics,
    DirectoryInvalidAtUnload,
    SystemAreaWriteFailure,
    SystemAreaReadFailure,
    NoStartOfData,
    LoadingFailure,
    UnrecoverableUnloadFailure,
    AutomationInterfaceFailure,
    FirmwareFailure,
    WormIntegrity,
    WormOverwrite,
    /// A flag this program has no name for.
    Other(u8),
}

use AlertAction::*;
use AlertSeverity::*;
use TapeAlert::*;

/// Flag number, name in the standard, severity, action.
const KNOWN: &[(u8, TapeAlert, &str, AlertSeverity, AlertAction)] = &[
    (0x01, ReadWarning, "read warning", Warning, Nothing),
    (0x02, WriteWarning, "write warning", Warning, Nothing),
    (0x03, HardError, "hard error", Warning, Verify),
    (0x04, Media, "media", Critical, RetireCartridge),
    (0x05, ReadFailure, "read failure", Critical, RetireCartridge),
    (0x06, WriteFailure, "write failure", Critical, RetireCartridge),
    (0x07, MediaLife, "media life", Warning, RetireCartridge),
    (0x08, NotDataGrade, "not data grade", Warning, ChangeCartridge),
    (0x09, WriteProtect, "write protect", Critical, ChangeCartridge),
    (0x0a, NoRemoval, "no removal", Information, Nothing),
    (0x0b, CleaningMedia, "cleaning media", Information, Nothing),
    (0x0c, UnsupportedFormat, "unsupported format", Information, ChangeCartridge),
    (
        0x0d,
        RecoverableCartridgeFailure,
        "recoverable mechanical cartridge failure",
        Critical,
        RetireCartridge,
    ),
    (0x0e, UnrecoverableCartridgeFailure, "unrecoverable mechanical cartridge failure", Critical, Service),
    (0x0f, MemoryChipFailure, "memory chip in cartridge failure", Warning, RetireCartridge),
    (0x10, ForcedEject, "forced eject", Critical, Verify),
    (0x11, ReadOnlyFormat, "read only format", Warning, ChangeCartridge),
    (0x12, DirectoryCorrupted, "tape directory corrupted on load", Warning, Verify),
    (0x13, NearingMediaLife, "nearing media life", Information, RetireCartridge),
    (0x14, CleanNow, "clean now", Critical, Clean),
    (0x15, CleanPeriodic, "clean periodic", Warning, Clean),
    (0x16, ExpiredCleaningMedia, "expired cleaning media", Critical, ReplaceCleaner),
    (0x17, InvalidCleaningTape, "invalid cleaning tape", Critical, ReplaceCleaner),
    (0x18, RetensionRequested, "retension requested", Warning, Nothing),
    (0x19, InterfaceError, "multi-port interface error on a primary port", Warning, Look),
    (0x1a, CoolingFanFailure, "cooling fan failure", Warning, Service),
    (0x1b, PowerSupplyFailure, "power supply failure", Warning, Service),
    (0x1d, DriveMaintenance, "drive preventive maintenance required", Warning, Service),
    (0x1e, HardwareA, "hardware A", Critical, Service),
    (0x1f, HardwareB, "hardware B", Critical, Service),
    (0x21, EjectMedia, "eject media", Critical, Verify),
    (0x26, PredictiveFailure, "predictive failure", Critical, Service),
    (0x27, DiagnosticsRequired, "diagnostics required", Warning, Service),
    (0x32, LostStatistics, "lost statistics", Warning, Nothing),
    (0x33, DirectoryInvalidAtUnload, "tape directory invalid at unload", Warning, Verify),
    (0x34, SystemAreaWriteFailure, "tape system area write failure", Critical, RetireCartridge),
    (0x35, SystemAreaReadFailure, "tape system area read failure", Critical, RetireCartridge),
    (0x36, NoStartOfData, "no start of data", Critical, RetireCartridge),
    (0x37, LoadingFailure, "loading or threading failure", Critical, RetireCartridge),
    (0x38, UnrecoverableUnloadFailure, "unrecoverable unload failure", Critical, Service),
    (0x39, AutomationInterfaceFailure, "automation interface failure", Critical, Service),
    (0x3a, FirmwareFailure, "firmware failure", Warning, Service),
    (0x3b, WormIntegrity, "WORM medium integrity check failed", Warning, Verify),
    (0x3c, WormOverwrite, "WORM medium overwrite attempted", Warning, ChangeCartridge),
];

impl TapeAlert {
    /// The highest flag.
    pub const MAX: u8 = 64;

    /// The flag with this number, 1 to 64.
    pub fn new(number: u8) -> Option<TapeAlert> {
        let known = KNOWN.iter().find(|(flag, ..)| *flag == number).map(|(_, alert, ..)| *alert);
        (1..=TapeAlert::MAX).contains(&number).then(|| known.unwrap_or(Other(number)))
    }

    pub fn number(self) -> u8 {
        match self {
            Other(number) => number,
            _ => self.row().map_or(0, |(number, ..)| *number),
        }
    }

    /// The standard's name.
    pub fn name(self) -> &'static str {
        self.row().map_or("a flag without a name", |(_, _, name, ..)| name)
    }

    pub fn severity(self) -> AlertSeverity {
        self.row().map_or(Information, |(_, _, _, severity, _)| *severity)
    }

    pub fn action(self) -> AlertAction {
        self.row().map_or(Nothing, |(.., action)| *action)
    }

    /// What to do, as a sentence's end.
    pub fn advice(self) -> &'static str {
        match self.action() {
            Nothing => "nothing needs to be done",
            Clean => "clean the drive",
            RetireCartridge => "copy what is on the cartridge elsewhere and use it no more",
            Verify => "verify what was written last",
            ReplaceCleaner => "put a new cleaning cartridge in",
            ChangeCartridge => "use another cartridge",
            Service => "call service for the drive",
            Look => "look at the drive's cables and panel",
        }
    }

    fn row(self) -> Option<&'static (u8, TapeAlert, &'static str, AlertSeverity, AlertAction)> {
        KNOWN.iter().find(|(_, alert, ..)| *alert == self)
    }
}

impl fmt::Display for TapeAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (TapeAlert {:02X}h): {}", self.name(), self.number(), self.advice())
    }
}

/// As number, name and advice.
impl Serialize for TapeAlert {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("TapeAlert", 4)?;
        fields.serialize_field("flag", &self.number())?;
        fields.serialize_field("name", self.name())?;
        fields.serialize_field("severity", &self.severity())?;
        fields.serialize_field("advice", self.advice())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_flag_and_back() {
        for number in 1..=64 {
            assert_eq!(TapeAlert::new(number).unwrap().number(), number);
        }
        assert_eq!((TapeAlert::new(0), TapeAlert::new(65)), (None, None));
    }

    #[test]
    fn a_flag_says_what_to_do() {
        assert_eq!(TapeAlert::CleanNow.to_string(), "clean now (TapeAlert 14h): clean the drive");
        assert_eq!(TapeAlert::ExpiredCleaningMedia.action(), AlertAction::ReplaceCleaner);
        assert_eq!(TapeAlert::new(0x3f), Some(TapeAlert::Other(0x3f)));
    }
}
