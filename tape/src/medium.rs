//! What is known of a cartridge before anything is written to it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::{Barcode, TapeError};

/// A generation of LTO. Type M media, LTO-7 cartridges with LTO-8's tracks, are `M8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generation {
    Lto(u8),
    M8,
}

/// Density codes and generations (LTO SCSI references; SSC-4 table A.1 for the first ones).
const DENSITIES: [(u8, Generation); 11] = [
    (0x40, Generation::Lto(1)),
    (0x42, Generation::Lto(2)),
    (0x44, Generation::Lto(3)),
    (0x46, Generation::Lto(4)),
    (0x58, Generation::Lto(5)),
    (0x5a, Generation::Lto(6)),
    (0x5c, Generation::Lto(7)),
    (0x5d, Generation::M8),
    (0x5e, Generation::Lto(8)),
    (0x60, Generation::Lto(9)),
    (0x62, Generation::Lto(10)),
];

impl Generation {
    pub fn from_density(code: u8) -> Option<Generation> {
        DENSITIES.iter().find(|(density, _)| *density == code).map(|(_, generation)| *generation)
    }

    pub fn density(self) -> Option<u8> {
        DENSITIES.iter().find(|(_, generation)| *generation == self).map(|(density, _)| *density)
    }

    /// By a barcode's medium type: `L1` to `L9`, `LA`, `M8`, and `LT` to `LZ` for what is written once.
    pub fn from_barcode(barcode: &Barcode) -> Option<Generation> {
        match barcode.medium_type()?.as_bytes() {
            b"M8" => Some(Generation::M8),
            [b'L', digit @ b'1'..=b'9'] => Some(Generation::Lto(digit - b'0')),
            b"LA" => Some(Generation::Lto(10)),
            [b'L', worm @ b'T'..=b'Z'] => Some(Generation::Lto(worm - b'T' + 3)),
            _ => None,
        }
    }

    /// By a drive's product name: `ULT3580-TD6`, `ULTRIUM-HH8`, `Ultrium 5-SCSI`.
    pub fn from_product(product: &str) -> Option<Generation> {
        let upper = product.to_ascii_uppercase();
        if !upper.contains("ULT") && !upper.contains("LTO") {
            return None;
        }
        let digits = |from: &str| {
            let at = upper.find(from)? + from.len();
            let digits: String = upper[at..].chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u8>().ok().filter(|number| (1..=10).contains(number))
        };
        ["-TD", "-HH", "ULTRIUM ", "LTO-", "LTO"].iter().find_map(|from| digits(from)).map(Generation::Lto)
    }

    /// Whether a drive of this generation writes `medium`: its own and one back up to LTO-9, LTO-10 its own alone.
    pub fn writes(self, medium: Generation) -> bool {
        use Generation::*;
        match (self, medium) {
            (Lto(8), M8) => true,
            (Lto(10..), _) => self == medium,
            (Lto(drive), Lto(medium)) => medium == drive || medium + 1 == drive,
            _ => false,
        }
    }

    /// Whether a drive of this generation reads `medium`: two back up to LTO-7, one from LTO-8 on.
    pub fn reads(self, medium: Generation) -> bool {
        match (self, medium) {
            (Generation::Lto(drive @ 3..=7), Generation::Lto(medium)) if medium + 2 == drive => true,
            _ => self.writes(medium),
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Generation::Lto(number) => write!(f, "LTO-{number}"),
            Generation::M8 => f.write_str("LTO-M8"),
        }
    }
}

impl FromStr for Generation {
    type Err = TapeError;
    fn from_str(text: &str) -> Result<Generation, TapeError> {
        let unknown = || TapeError::Shape(format!("{text:?} is no tape generation: give one such as LTO-6"));
        match text.strip_prefix("LTO-").ok_or_else(unknown)? {
            "M8" => Ok(Generation::M8),
            number => number.parse().map(Generation::Lto).map_err(|_| unknown()),
        }
    }
}

impl Serialize for Generation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What kind of cartridge it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MediumKind {
    /// Rewritable.
    Data,
    /// To be written once.
    Worm,
    Cleaning,
    /// The drive says that it can't use it: another format, or another generation.
    Incompatible,
    /// Nothing tells; taken for data, the drive will refuse if it isn't.
    Unknown,
}

/// Whether the switch on the cartridge is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteProtection {
    Off,
    On,
    /// The drive doesn't tell before a write.
    Unknown,
}

/// A cartridge in a drive, as far as the drive can tell. What it can't is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Medium {
    pub kind: MediumKind,
    pub protection: WriteProtection,
    /// From the density code, or the cartridge's memory.
    pub generation: Option<Generation>,
    /// Of the drive it's in.
    pub drive_generation: Option<Generation>,
    /// From the cartridge's memory.
    pub serial: Option<String>,
    pub manufacturer: Option<String>,
    /// The barcode somebody wrote into the cartridge's memory.
    pub memory_barcode: Option<String>,
    pub remaining_mib: Option<u64>,
    pub maximum_mib: Option<u64>,
    /// How often it has been loaded.
    pub loads: Option<u64>,
    /// MiB written and read in the cartridge's life.
    pub written_mib: Option<u64>,
    pub read_mib: Option<u64>,
    /// For a cleaning cartridge, how often it may be used in all.
    pub cleanings_max: Option<u64>,
}

impl Medium {
    pub(crate) fn unknown(kind: MediumKind) -> Medium {
        Medium {
            kind,
            protection: WriteProtection::Unknown,
            generation: None,
            drive_generation: None,
            serial: None,
            manufacturer: None,
            memory_barcode: None,
            remaining_mib: None,
            maximum_mib: None,
            loads: None,
            written_mib: None,
            read_mib: None,
            cleanings_max: None,
        }
    }

    /// Whether the drive says by its generation that it can't write this cartridge: medium's and drive's.
    pub fn mismatch(&self) -> Option<(Generation, Generation)> {
        let pair = self.generation.zip(self.drive_generation)?;
        (!pair.1.writes(pair.0)).then_some(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_known_by_barcode_density_and_product() {
        let of = |barcode: &str| Generation::from_barcode(&barcode.parse().unwrap());
        assert_eq!(of("COF001L6"), Some(Generation::Lto(6)));
        assert_eq!(of("COF001M8"), Some(Generation::M8));
        assert_eq!(of("COF001LZ"), Some(Generation::Lto(9)));
        assert_eq!((of("COF001"), of("COF001XX")), (None, None));
        assert_eq!(Generation::from_density(0x5e), Some(Generation::Lto(8)));
        for (product, number) in
            [("ULT3580-TD6", 6), ("ULTRIUM-HH8", 8), ("Ultrium 5-SCSI", 5), ("LTO-9 HH", 9)]
        {
            assert_eq!(Generation::from_product(product), Some(Generation::Lto(number)), "{product}");
        }
        assert_eq!(Generation::from_product("VIRTUAL TAPE 3"), None);
        assert_eq!("LTO-M8".parse::<Generation>().unwrap(), Generation::M8);
    }

    #[test]
    fn drives_write_their_own_and_one_back() {
        let lto = Generation::Lto;
        assert!(lto(6).writes(lto(6)) && lto(6).writes(lto(5)) && !lto(6).writes(lto(4)));
        assert!(lto(6).reads(lto(4)) && !lto(6).reads(lto(7)));
        assert!(lto(8).writes(Generation::M8) && lto(8).writes(lto(7)) && !lto(8).reads(lto(6)));
        assert!(!lto(9).writes(Generation::M8) && !lto(10).reads(lto(9)));
    }
}
