//! Persistent reservations' data (SPC-4 6.15, 6.16): who may use a device.

use coffer_format::{DecodeError, Reader};

use super::{be32, be64, take_some};

const WHAT: &str = "reservation";
/// Most registered keys that are looked at.
const KEYS_MAX: usize = 1024;

/// A registration's key: any number but 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservationKey(pub u64);

/// READ KEYS data.
pub fn decode_keys(bytes: &[u8]) -> Result<Vec<ReservationKey>, DecodeError> {
    let mut r = Reader::new(bytes);
    be32(&mut r, WHAT)?;
    let len = be32(&mut r, WHAT)? as usize;
    let body = take_some(&mut r, len, WHAT)?;
    body.chunks_exact(8)
        .take(KEYS_MAX)
        .map(|key| Ok(ReservationKey(be64(&mut Reader::new(key), WHAT)?)))
        .collect()
}

/// READ RESERVATION data: the holder's key, if there is a reservation.
pub fn decode_holder(bytes: &[u8]) -> Result<Option<ReservationKey>, DecodeError> {
    let mut r = Reader::new(bytes);
    be32(&mut r, WHAT)?;
    match be32(&mut r, WHAT)? {
        0 => Ok(None),
        _ => Ok(Some(ReservationKey(be64(&mut r, WHAT)?))),
    }
}

/// PERSISTENT RESERVE OUT parameters: the key registered, and the one to register.
pub fn encode_reservation(registered: ReservationKey, next: ReservationKey) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&registered.0.to_be_bytes());
    bytes[8..16].copy_from_slice(&next.0.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_and_holder_are_read() {
        let mut page = vec![0, 0, 0, 1, 0, 0, 0, 16];
        page.extend(5u64.to_be_bytes());
        page.extend(6u64.to_be_bytes());
        assert_eq!(decode_keys(&page), Ok(vec![ReservationKey(5), ReservationKey(6)]));
        assert_eq!(decode_holder(&page), Ok(Some(ReservationKey(5))));
        assert_eq!(decode_holder(&[0; 8]), Ok(None));
        assert!(decode_holder(&page[..10]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (decode_keys(&bytes), decode_holder(&bytes));
        }
    }
}
