//! Pages of the tape data encryption protocol (SSC-4 8.5): what a drive can encrypt with, its state, and the key.

use std::fmt;

use coffer_format::{DecodeError, Reader};
use serde::Serialize;

use super::{be16, be32, byte, take_some};

const WHAT: &str = "encryption page";
/// Most algorithms that are looked at.
const ALGORITHMS_MAX: usize = 64;

/// Pages of SECURITY PROTOCOL IN (SSC-4 table 154).
pub mod spin {
    pub const CAPABILITIES: u16 = 0x0010;
    pub const STATUS: u16 = 0x0020;
}

/// The page of SECURITY PROTOCOL OUT that sets a key (SSC-4 8.5.3.2).
pub const SET_KEY_PAGE: u16 = 0x0010;

/// A key for AES-256. Not shown, and forgotten when dropped as far as the language allows.
#[derive(Clone)]
pub struct EncryptionKey([u8; EncryptionKey::LEN]);

impl EncryptionKey {
    pub const LEN: usize = 32;

    pub fn new(bytes: [u8; EncryptionKey::LEN]) -> EncryptionKey {
        EncryptionKey(bytes)
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(…)")
    }
}

impl Drop for EncryptionKey {
    fn drop(&mut self) {
        std::hint::black_box(&mut self.0).fill(0);
    }
}

/// What a drive does with what it writes and reads (SSC-4 8.5.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EncryptionStatus {
    pub encrypts: bool,
    pub decrypts: bool,
}

impl EncryptionStatus {
    pub fn decode(bytes: &[u8]) -> Result<EncryptionStatus, DecodeError> {
        let mut r = page(bytes, spin::STATUS)?;
        byte(&mut r, WHAT)?;
        let (encrypt, decrypt) = (byte(&mut r, WHAT)?, byte(&mut r, WHAT)?);
        Ok(EncryptionStatus { encrypts: encrypt == 2, decrypts: matches!(decrypt, 2 | 3) })
    }
}

/// Index of AES-256-GCM among a drive's algorithms; `None` if it has none.
pub fn decode_aes_256_index(bytes: &[u8]) -> Result<Option<u8>, DecodeError> {
    const AES_256_GCM: u32 = 0x0001_0014;
    let mut r = page(bytes, spin::CAPABILITIES)?;
    take_some(&mut r, 16, WHAT)?;
    for _ in 0..ALGORITHMS_MAX {
        if r.remaining() < 24 {
            break;
        }
        let index = byte(&mut r, WHAT)?;
        byte(&mut r, WHAT)?;
        let len = usize::from(be16(&mut r, WHAT)?);
        let mut body = Reader::new(r.take(len.min(r.remaining()), WHAT)?);
        if body.take(16, WHAT).is_ok() && be32(&mut body, WHAT) == Ok(AES_256_GCM) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// The page that makes a drive encrypt with `key`, for all initiators, until it's cleared or loses power.
pub fn encode_set_key(algorithm: u8, key: &EncryptionKey) -> Vec<u8> {
    const ENCRYPT: u8 = 2;
    /// What isn't encrypted can be read too.
    const MIXED: u8 = 3;
    let mut bytes = header(ENCRYPT, MIXED, algorithm, EncryptionKey::LEN as u16);
    bytes.extend(key.0);
    let len = (bytes.len() - 4) as u16;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// The page that makes a drive forget its key.
pub fn encode_clear_key() -> Vec<u8> {
    let mut bytes = header(0, 0, 0, 0);
    let len = (bytes.len() - 4) as u16;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes
}

fn header(encrypt: u8, decrypt: u8, algorithm: u8, key_len: u16) -> Vec<u8> {
    const ALL_NEXUSES: u8 = 2 << 5;
    let [ph, pl] = SET_KEY_PAGE.to_be_bytes();
    let mut bytes = vec![ph, pl, 0, 0, ALL_NEXUSES, 0, encrypt, decrypt, algorithm];
    bytes.extend([0; 9]);
    bytes.extend(key_len.to_be_bytes());
    bytes
}

fn page(bytes: &[u8], code: u16) -> Result<Reader<'_>, DecodeError> {
    let mut r = Reader::new(bytes);
    if be16(&mut r, WHAT)? != code {
        return Err(DecodeError::Invalid { what: WHAT });
    }
    let len = usize::from(be16(&mut r, WHAT)?);
    Ok(Reader::new(take_some(&mut r, len, WHAT)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_key_lies_behind_its_length_and_is_never_shown() {
        let key = EncryptionKey::new([7; 32]);
        assert_eq!(format!("{key:?}"), "EncryptionKey(…)");
        let bytes = encode_set_key(1, &key);
        assert_eq!(bytes[..9], [0, 0x10, 0, 48, 0x40, 0, 2, 3, 1]);
        assert_eq!(bytes[18..20], [0, 32]);
        assert_eq!((bytes.len(), bytes[20]), (52, 7));
        assert_eq!(encode_clear_key().len(), 20);
    }

    #[test]
    fn algorithm_and_status_are_read() {
        let mut page = vec![0, 0x10, 0, 40];
        page.extend([0; 16]);
        page.extend([1, 0, 0, 20]);
        page.extend([0; 16]);
        page.extend([0, 1, 0, 0x14]);
        assert_eq!(decode_aes_256_index(&page), Ok(Some(1)));
        page[43] = 0x10;
        assert_eq!(decode_aes_256_index(&page), Ok(None));
        let status = EncryptionStatus::decode(&[0, 0x20, 0, 4, 0x40, 2, 3, 1]).unwrap();
        assert!(status.encrypts && status.decrypts);
        assert!(EncryptionStatus::decode(&[0, 0x10, 0, 4, 0, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 2..200)) {
            for code in [0x10, 0x20] {
                (bytes[0], bytes[1]) = (0, code);
                let _ = (EncryptionStatus::decode(&bytes), decode_aes_256_index(&bytes));
            }
        }
    }
}
