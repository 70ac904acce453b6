//! LOG SENSE pages: which there are (SPC-4 7.3.17), error counters (7.3.5), TapeAlert (SSC-4 8.2.3), and what a drive
//! says of itself and its cartridge (SSC-4 8.2).

use coffer_format::{DecodeError, Reader};
use serde::{Deserialize, Serialize};

use super::{TapeAlert, be16, byte, take_some};

const WHAT: &str = "log page";
/// Most parameters of a page that are looked at.
const PARAMETERS_MAX: usize = 1024;

/// Codes of log pages.
pub mod log {
    pub const SUPPORTED: u8 = 0x00;
    pub const WRITE_ERRORS: u8 = 0x02;
    pub const READ_ERRORS: u8 = 0x03;
    pub const DEVICE_STATUS: u8 = 0x11;
    pub const TAPE_ALERT_RESPONSE: u8 = 0x12;
    pub const VOLUME_STATISTICS: u8 = 0x17;
    pub const TAPE_ALERT: u8 = 0x2e;
    pub const TAPE_CAPACITY: u8 = 0x31;
}

/// The pages a device has.
pub fn decode_supported_pages(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Ok(body(bytes, log::SUPPORTED)?.iter().map(|page| page & 0x3f).collect())
}

/// The TapeAlert flags that are set, from page 2Eh, which clears them.
pub fn decode_tape_alerts(bytes: &[u8]) -> Result<Vec<TapeAlert>, DecodeError> {
    let set = parameters(bytes, log::TAPE_ALERT)?.into_iter().filter_map(|(code, value)| {
        let is_set = value.first().is_some_and(|flag| flag & 1 != 0);
        TapeAlert::new(u8::try_from(code).ok()?).filter(|_| is_set)
    });
    Ok(set.collect())
}

/// The TapeAlert flags that are set, from page 12h, which leaves them.
pub fn decode_tape_alert_response(bytes: &[u8]) -> Result<Vec<TapeAlert>, DecodeError> {
    let all = parameters(bytes, log::TAPE_ALERT_RESPONSE)?;
    let flags = all.iter().find(|(code, _)| *code == 0).map_or(&[][..], |(_, value)| value);
    let is_set = |flag: &u8| {
        let at = usize::from(flag - 1);
        flags.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
    };
    Ok((1..=TapeAlert::MAX).filter(is_set).filter_map(TapeAlert::new).collect())
}

/// Pages 02h and 03h: how hard writing or reading was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorCounters {
    /// Errors made good, at once or after some time.
    pub corrected: u64,
    /// Blocks written or read again.
    pub retries: u64,
    pub uncorrected: u64,
    pub bytes: u64,
}

impl ErrorCounters {
    /// `page` is one of [`log::WRITE_ERRORS`] and [`log::READ_ERRORS`].
    pub fn decode(bytes: &[u8], page: u8) -> Result<ErrorCounters, DecodeError> {
        let all = parameters(bytes, page)?;
        let value =
            |wanted: u16| all.iter().find(|(code, _)| *code == wanted).map(|(_, value)| number(value));
        let parts = value(0).unwrap_or(0).saturating_add(value(1).unwrap_or(0));
        Ok(ErrorCounters {
            corrected: value(3).unwrap_or(parts),
            retries: value(2).unwrap_or(0),
            uncorrected: value(6).unwrap_or(0),
            bytes: value(5).unwrap_or(0),
        })
    }
}

/// Page 11h, parameter 0: a drive's very high frequency data (SSC-4 8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceStatus {
    pub write_protected: bool,
    pub cleaning_requested: bool,
    pub cleaning_required: bool,
    pub medium_present: bool,
    pub medium_threaded: bool,
}

impl DeviceStatus {
    pub fn decode(bytes: &[u8]) -> Result<DeviceStatus, DecodeError> {
        let all = parameters(bytes, log::DEVICE_STATUS)?;
        let value = all.iter().find(|(code, value)| *code == 0 && value.len() >= 4);
        let Some((_, value)) = value else { return Err(DecodeError::Invalid { what: WHAT }) };
        Ok(DeviceStatus {
            write_protected: value[0] & 0x08 != 0,
            cleaning_requested: value[0] & 0x04 != 0,
            cleaning_required: value[0] & 0x02 != 0,
            medium_present: value[1] & 0x10 != 0,
            medium_threaded: value[1] & 0x02 != 0,
        })
    }
}

/// Page 31h: what a cartridge still holds, in MiB: the main partition's remaining and maximum capacity.
pub fn decode_tape_capacity(bytes: &[u8]) -> Result<(Option<u64>, Option<u64>), DecodeError> {
    let all = parameters(bytes, log::TAPE_CAPACITY)?;
    let value = |wanted: u16| all.iter().find(|(code, _)| *code == wanted).map(|(_, value)| number(value));
    Ok((value(1), value(3)))
}

/// Page 17h: how often the cartridge has been loaded (thread count).
pub fn decode_volume_loads(bytes: &[u8]) -> Result<Option<u64>, DecodeError> {
    let all = parameters(bytes, log::VOLUME_STATISTICS)?;
    Ok(all.iter().find(|(code, _)| *code == 1).map(|(_, value)| number(value)))
}

/// A page's parameters, code and value; the last one may be cut by the allocation length.
fn parameters(bytes: &[u8], page: u8) -> Result<Vec<(u16, &[u8])>, DecodeError> {
    let mut r = Reader::new(body(bytes, page)?);
    let mut found = Vec::new();
    while r.remaining() > 0 && found.len() < PARAMETERS_MAX {
        let code = be16(&mut r, WHAT)?;
        byte(&mut r, WHAT)?;
        let len = byte(&mut r, WHAT)?;
        found.push((code, r.take(len.into(), WHAT)?));
    }
    Ok(found)
}

/// A counter of any width up to 8 bytes; a wider one is held to what fits.
fn number(value: &[u8]) -> u64 {
    let (high, low) = value.split_at(value.len().saturating_sub(8));
    match high.iter().any(|byte| *byte != 0) {
        true => u64::MAX,
        false => low.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    }
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
        let flags =
            |numbers: &[u8]| numbers.iter().filter_map(|flag| TapeAlert::new(*flag)).collect::<Vec<_>>();
        assert_eq!(decode_tape_alerts(&page), Ok(flags(&[3, 0x14])));
        assert!(decode_tape_alerts(&page[..17]).is_err());
        assert!(decode_tape_alerts(&[0x12, 0, 0, 0]).is_err());
        assert_eq!(decode_supported_pages(&[0, 0, 0, 2, 0, 0x2e]), Ok(vec![0, 0x2e]));
        let response = [0x12, 0, 0, 12, 0, 0, 3, 8, 0x20, 0, 0x10, 0, 0, 0, 0, 0];
        assert_eq!(decode_tape_alert_response(&response), Ok(flags(&[3, 20])));
    }

    #[test]
    fn counters_of_any_width_are_read() {
        let page = [3, 0, 0, 21, 0, 2, 0x40, 1, 7, 0, 3, 0x40, 2, 1, 0, 0, 6, 0x40, 4, 0, 0, 0, 2, 0, 9];
        assert!(ErrorCounters::decode(&page, log::READ_ERRORS).is_err(), "the last parameter is cut");
        let mut page = page[..23].to_vec();
        page[3] = 19;
        let counters = ErrorCounters::decode(&page, log::READ_ERRORS).unwrap();
        assert_eq!(counters, ErrorCounters { corrected: 256, retries: 7, uncorrected: 2, bytes: 0 });
        assert!(ErrorCounters::decode(&page, log::WRITE_ERRORS).is_err());
        assert_eq!(number(&[1, 0, 0, 0, 0, 0, 0, 0, 0]), u64::MAX);
    }

    #[test]
    fn a_drives_status_and_its_cartridges_capacity_are_read() {
        let status = [0x11, 0, 0, 8, 0, 0, 3, 4, 0x0e, 0x12, 0, 0];
        let status = DeviceStatus::decode(&status).unwrap();
        assert!(status.write_protected && status.cleaning_requested && status.cleaning_required);
        assert!(status.medium_present && status.medium_threaded);
        assert!(DeviceStatus::decode(&[0x11, 0, 0, 0]).is_err());
        let capacity = [0x31, 0, 0, 16, 0, 1, 0x60, 4, 0, 0, 1, 0, 0, 3, 0x60, 4, 0, 0, 2, 0];
        assert_eq!(decode_tape_capacity(&capacity), Ok((Some(256), Some(512))));
        assert_eq!(decode_volume_loads(&[0x17, 0, 0, 6, 0, 1, 3, 2, 0, 42]), Ok(Some(42)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            for page in [0x00, 0x02, 0x11, 0x12, 0x17, 0x2e, 0x31] {
                bytes[0] = page;
                let _ = decode_supported_pages(&bytes);
                let _ = (decode_tape_alerts(&bytes), decode_tape_alert_response(&bytes));
                let _ = (ErrorCounters::decode(&bytes, 2), DeviceStatus::decode(&bytes));
                let _ = (decode_tape_capacity(&bytes), decode_volume_loads(&bytes));
            }
        }
    }
}
