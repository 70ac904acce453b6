//! LOG SENSE pages: which there are (SPC-4 7.3.17) and the TapeAlert flags (SSC-4 8.2.3).

use coffer_format::{DecodeError, Reader};

use super::{be16, byte, take_some};

const WHAT: &str = "log page";

/// The pages a device has.
pub fn decode_supported_pages(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Ok(body(bytes, 0x00)?.iter().map(|page| page & 0x3f).collect())
}

/// Numbers (1 to 64) of the TapeAlert flags that are set.
pub fn decode_tape_alerts(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut r = Reader::new(body(bytes, 0x2e)?);
    let mut set = Vec::new();
    while r.remaining() > 0 {
        let code = be16(&mut r, WHAT)?;
        byte(&mut r, WHAT)?;
        let len = byte(&mut r, WHAT)?;
        let value = r.take(len.into(), WHAT)?;
        let is_set = value.first().is_some_and(|flag| flag & 1 != 0);
        if let (true, Ok(flag @ 1..=64)) = (is_set, u8::try_from(code)) {
            set.push(flag);
        }
    }
    Ok(set)
}

/// The parameters of a page, refusing another page than the one asked for.
fn body(bytes: &[u8], page: u8) -> Result<&[u8], DecodeError> {
    let mut r = Reader::new(bytes);
    if byte(&mut r, WHAT)? & 0x3f != page {
        return Err(DecodeError::Invalid { what: WHAT });
    }
    byte(&mut r, WHAT)?;
    let len = be16(&mut r, WHAT)?;
    take_some(&mut r, len.into(), WHAT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn set_flags_are_listed() {
        let page = [0x2e, 0, 0, 15, 0, 3, 0x40, 1, 1, 0, 0x14, 0x40, 1, 1, 0, 0x15, 0x40, 1, 0];
        assert_eq!(decode_tape_alerts(&page), Ok(vec![3, 0x14]));
        assert!(decode_tape_alerts(&page[..17]).is_err());
        assert!(decode_tape_alerts(&[0x12, 0, 0, 0]).is_err());
        assert_eq!(decode_supported_pages(&[0, 0, 0, 2, 0, 0x2e]), Ok(vec![0, 0x2e]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            let _ = decode_supported_pages(&bytes);
            bytes[0] = 0x2e;
            let _ = decode_tape_alerts(&bytes);
        }
    }
}
