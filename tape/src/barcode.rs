//! The label on the outside of a cartridge: six characters and a medium type, like `COF001L6`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest barcode a changer can report (SMC-3 6.14: volume identification field).
const BARCODE_MAX: usize = 32;

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

    /// A cleaning cartridge must never be written to or loaded for data.
    pub fn is_cleaning(&self) -> bool {
        self.0.starts_with("CLN")
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
        assert!("CLN001L1".parse::<Barcode>().unwrap().is_cleaning());
    }

    #[test]
    fn blanks_and_control_characters_are_refused() {
        for text in ["", "   ", "A B", "A\u{7}B", "Ä00001L6"] {
            assert!(text.parse::<Barcode>().is_err(), "{text:?}");
        }
    }
}
