//! Who a device is: INQUIRY (SPC-4 6.6) and its pages 80h (7.8.15) and 83h (7.8.6).

use coffer_format::{DecodeError, Reader};

use super::{be16, byte, take_some, text};

/// Standard INQUIRY data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inquiry {
    /// 01h is a tape drive, 08h a changer (SPC-4 table 138).
    pub device_type: u8,
    pub vendor: String,
    pub product: String,
    pub revision: String,
}

impl Inquiry {
    pub const TAPE: u8 = 0x01;
    pub const CHANGER: u8 = 0x08;

    pub fn decode(bytes: &[u8]) -> Result<Inquiry, DecodeError> {
        const WHAT: &str = "inquiry data";
        let mut r = Reader::new(bytes);
        let device_type = byte(&mut r, WHAT)? & 0x1f;
        r.take(7, WHAT)?;
        Ok(Inquiry {
            device_type,
            vendor: text(r.take(8, WHAT)?),
            product: text(r.take(16, WHAT)?),
            revision: text(take_some(&mut r, 4, WHAT)?),
        })
    }
}

/// The serial number in page 80h.
pub fn decode_serial(bytes: &[u8]) -> Result<String, DecodeError> {
    Ok(text(vpd(bytes, 0x80, "serial number page")?))
}

/// The names a device gives itself in page 83h, as printable text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceIds(pub Vec<String>);

/// The texts among the designators of page 83h.
pub fn decode_device_ids(bytes: &[u8]) -> Result<DeviceIds, DecodeError> {
    const WHAT: &str = "device identification page";
    let mut r = Reader::new(vpd(bytes, 0x83, WHAT)?);
    let mut ids = Vec::new();
    while r.remaining() > 0 {
        let code_set = byte(&mut r, WHAT)? & 0x0f;
        r.take(2, WHAT)?;
        let len = byte(&mut r, WHAT)?;
        let id = r.take(len.into(), WHAT)?;
        if matches!(code_set, 2 | 3) {
            ids.push(text(id));
        }
    }
    Ok(DeviceIds(ids))
}

/// The body of a vital product data page, refusing another page than the one asked for.
fn vpd<'a>(bytes: &'a [u8], page: u8, what: &'static str) -> Result<&'a [u8], DecodeError> {
    let mut r = Reader::new(bytes);
    byte(&mut r, what)?;
    if byte(&mut r, what)? != page {
        return Err(DecodeError::Invalid { what });
    }
    let len = be16(&mut r, what)?;
    take_some(&mut r, len.into(), what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pages_are_read_and_wrong_ones_refused() {
        assert_eq!(decode_serial(&[1, 0x80, 0, 6, b' ', b'A', b'1', b'2', 0, 0]), Ok("A12".into()));
        assert!(decode_serial(&[1, 0x83, 0, 0]).is_err());
        let ids = [1, 0x83, 0, 7, 2, 1, 0, 3, b'I', b'B', b'M'];
        assert_eq!(decode_device_ids(&ids), Ok(DeviceIds(vec!["IBM".into()])));
        assert!(decode_device_ids(&ids[..9]).is_err());
        assert!(Inquiry::decode(&[1; 20]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 2..200)) {
            let _ = Inquiry::decode(&bytes);
            bytes[1] = 0x80;
            let _ = decode_serial(&bytes);
            bytes[1] = 0x83;
            let _ = decode_device_ids(&bytes);
        }
    }
}
