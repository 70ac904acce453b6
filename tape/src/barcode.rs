//! The label on the outside of a cartridge: six characters and a medium type, like `COF001L6`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::scsi::ElementAddress;

/// Longest barcode a changer can report (SMC-3 6.14: volume identification field).
const BARCODE_MAX: usize = 32;
/// No label has it.
const PLACE_MARK: char = '@';

/// A barcode: printable ASCII without blanks, never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Barcode(String);

/// Why a text is no barcode.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no barcode: give the characters on the cartridge's label, such as COF001L6")]
pub struct BarcodeError(String);

impl Barcode {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A cleaning cartridge must never be written to or loaded for data: `CLNxxxLx`, or medium type CU.
    pub fn is_cleaning(&self) -> bool {
        self.0.starts_with("CLN") || self.medium_type() == Some("CU")
    }

    /// The last two of eight characters, such as `L6`.
    pub fn medium_type(&self) -> Option<&str> {
        if self.0.len() == 8 { self.0.get(6..) } else { None }
    }

    /// By its medium type the cartridge can only be written once: `LT` to `LZ`.
    pub fn is_write_once(&self) -> bool {
        matches!(self.medium_type().map(str::as_bytes), Some([b'L', b'T'..=b'Z']))
    }

    /// A name for a cartridge whose label can't be read: the place it's in, as `@4096`.
    pub fn of_place(element: ElementAddress) -> Barcode {
        Barcode(format!("{PLACE_MARK}{element}"))
    }

    /// The place that a name of [`Barcode::of_place`] means.
    pub fn place(&self) -> Option<ElementAddress> {
        self.0.strip_prefix(PLACE_MARK)?.parse().ok().map(ElementAddress)
    }
}

impl FromStr for Barcode {
    type Err = BarcodeError;
    fn from_str(text: &str) -> Result<Barcode, BarcodeError> {
        let text = text.trim_matches([' ', '\0']);
        let fits = (1..=BARCODE_MAX).contains(&text.len());
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BarcodeError(text.to_owned()));
        }
        Ok(Barcode(text.to_owned()))
    }
}

impl fmt::Display for Barcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Barcode> for String {
    fn from(barcode: Barcode) -> String {
        barcode.0
    }
}

impl TryFrom<String> for Barcode {
    type Error = BarcodeError;
    fn try_from(text: String) -> Result<Barcode, BarcodeError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_volume_tag_is_its_barcode() {
        let barcode: Barcode = "COF001L6                        ".parse().unwrap();
        assert_eq!(barcode.to_string(), "COF001L6");
        assert!(!barcode.is_cleaning());
        for cleaning in ["CLN001L1", "CLNU01CU", "ABC123CU"] {
            assert!(cleaning.parse::<Barcode>().unwrap().is_cleaning(), "{cleaning}");
        }
        assert_eq!(barcode.place(), None);
        assert!(!barcode.is_write_once() && "COF001LX".parse::<Barcode>().unwrap().is_write_once());
        assert_eq!(Barcode::of_place(ElementAddress(4096)).place(), Some(ElementAddress(4096)));
    }

    #[test]
    fn blanks_and_control_characters_are_refused() {
        for text in ["", "   ", "A B", "A\u{7}B", "Ä00001L6"] {
            assert!(text.parse::<Barcode>().is_err(), "{text:?}");
        }
    }
}
