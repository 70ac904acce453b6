//! The short name of a public key: enough to recognise an authority that was pinned by a typed code.

use std::fmt;
use std::str::FromStr;

use coffer_format::FileHash;

use crate::IdentityError;

/// The first 80 bits of the BLAKE3 hash of a certificate's public key (SPKI, DER). In hex as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; Pin::LEN]);

impl Pin {
    /// Length in bytes.
    pub const LEN: usize = 10;

    pub(crate) fn of(spki: &FileHash) -> Pin {
        let mut pin = [0; Pin::LEN];
        pin.copy_from_slice(&spki.0[..Pin::LEN]);
        Pin(pin)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Pin {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let bad = || IdentityError::Pin { text: text.to_owned() };
        if text.len() != 2 * Pin::LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut pin = [0; Pin::LEN];
        for (at, byte) in pin.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Pin(pin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_reads_back_from_its_text() {
        let pin = Pin([0, 1, 2, 0xfd, 0xfe, 0xff, 9, 8, 7, 6]);
        assert_eq!(pin.to_string(), "000102fdfeff09080706");
        assert_eq!(pin.to_string().parse::<Pin>().unwrap(), pin);
        assert!("00010203040506070+08".parse::<Pin>().is_err());
        assert!("0001".parse::<Pin>().is_err());
    }
}
