//! Ways in which libraries of the field differ from each other.

use serde::{Deserialize, Serialize};

/// Where each kind of element begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElementBases {
    pub hand: u16,
    pub slots: u16,
    pub mail_slots: u16,
    pub drives: u16,
}

impl ElementBases {
    /// As an IBM 3573 and its kin.
    pub const LOW_MAIL: ElementBases = ElementBases { hand: 1, slots: 4096, mail_slots: 16, drives: 256 };
    /// As an HP 1x8 G2.
    pub const ROUND: ElementBases = ElementBases { hand: 0, slots: 1000, mail_slots: 10, drives: 500 };
    /// As an HP MSL.
    pub const CLOSE: ElementBases = ElementBases { hand: 0, slots: 32, mail_slots: 448, drives: 480 };
}

/// How the changer names its drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriveNames {
    /// By serial number.
    Serial,
    /// By vendor (8), product (16) and serial number (10).
    Whole,
    /// By serial number, and not together with barcodes.
    Apart,
    Never,
}

/// How a drive tells that a tape ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndWarning {
    Early,
    /// Not before the overflow.
    None,
    /// With the end-of-medium bit and no code, at capacity, and it goes on writing.
    Endless,
}

/// What a drive does with a cartridge the robot brings, and when it's told to let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loading {
    /// Loads by itself; must be told to unload before the robot can take the cartridge.
    ByItself,
    /// Waits for LOAD.
    WhenTold,
    /// Loads by itself, takes no notice of UNLOAD, and the robot can take the cartridge at any time.
    NeverUnloads,
}

/// Whether the changer reads labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    Present,
    /// Asked for barcodes it gives blanks.
    Absent,
    /// Asked for barcodes it refuses.
    Refuses,
}

/// Whether READ POSITION can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    True,
    AlwaysZero,
}

/// Which lengths of blocks a drive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocks {
    Any,
    FixedOnly,
}

/// Everything that is odd about a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quirks {
    pub bases: ElementBases,
    pub drive_names: DriveNames,
    pub reader: Reader,
    pub loading: Loading,
    pub end_warning: EndWarning,
    pub positions: Positions,
    pub blocks: Blocks,
    /// Operation codes the drives don't know.
    pub drives_without: Vec<u8>,
    /// Operation codes the changer doesn't know.
    pub changer_without: Vec<u8>,
    /// A place that isn't there is an invalid field, not an invalid element.
    pub vague_places: bool,
    /// Says of everything in a mail slot that a person put it there.
    pub marks_all_mail: bool,
    /// Claims this many bytes more than it should not to have been transferred.
    pub residual_excess: u32,
}

impl Default for Quirks {
    fn default() -> Quirks {
        Quirks {
            bases: ElementBases::LOW_MAIL,
            drive_names: DriveNames::Serial,
            reader: Reader::Present,
            loading: Loading::ByItself,
            end_warning: EndWarning::Early,
            positions: Positions::True,
            blocks: Blocks::Any,
            drives_without: Vec::new(),
            changer_without: Vec::new(),
            vague_places: false,
            marks_all_mail: false,
            residual_excess: 0,
        }
    }
}

/// Commands that are only on better drives: 16-byte forms, LOG SENSE, memory, densities, encryption, reservations,
/// locks, long erase, the list of commands.
const BETTER_DRIVES: [u8; 18] = [
    0x16, 0x17, 0x19, 0x1e, 0x2b, 0x44, 0x4d, 0x55, 0x5a, 0x5e, 0x5f, 0x80, 0x8c, 0x8d, 0x91, 0x92, 0xa2,
    0xa3,
];
/// As [`BETTER_DRIVES`]; and EXCHANGE, POSITION, taking stock by range, the mail slot's door and lock.
const BETTER_CHANGERS: [u8; 8] = [0x1b, 0x1e, 0x2b, 0x37, 0x5a, 0xa3, 0xa6, 0xe7];

impl Quirks {
    /// The least a library can do and still be used.
    pub fn poorest() -> Quirks {
        Quirks {
            drive_names: DriveNames::Never,
            loading: Loading::NeverUnloads,
            end_warning: EndWarning::Endless,
            positions: Positions::AlwaysZero,
            drives_without: [&BETTER_DRIVES[..], &[0xb5]].concat(),
            changer_without: BETTER_CHANGERS.to_vec(),
            residual_excess: 50,
            ..Quirks::default()
        }
    }

    /// As an HP 1x8 G2: other places, drives named in full, older stock by range, no exchange.
    pub fn round() -> Quirks {
        Quirks {
            bases: ElementBases::ROUND,
            drive_names: DriveNames::Whole,
            changer_without: vec![0x37, 0xa6, 0xa3],
            vague_places: true,
            ..Quirks::default()
        }
    }

    /// As an HP MSL: names and barcodes asked for apart, no 6-byte mode pages.
    pub fn close() -> Quirks {
        Quirks {
            bases: ElementBases::CLOSE,
            drive_names: DriveNames::Apart,
            changer_without: vec![0x1a, 0xe7, 0x2b],
            drives_without: vec![0x92, 0x91, 0x80],
            ..Quirks::default()
        }
    }
}
