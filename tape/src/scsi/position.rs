//! READ POSITION data, in its short (SSC-4 7.7.2), long (7.7.3) and extended (7.7.4) forms.

use coffer_format::{DecodeError, Reader};

use super::cdb::PositionForm;
use super::{be32, be64, byte};

const WHAT: &str = "tape position";

/// Where a tape stands, as the drive says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapePosition {
    /// Address of the next block; `None` if the drive says it doesn't know or the form can't hold it.
    pub block: Option<u64>,
    /// Number of filemarks before it; only the long form tells.
    pub file: Option<u64>,
    /// At the beginning of the partition.
    pub beginning: bool,
    /// Between early warning and the end of the partition.
    pub past_early_warning: bool,
}

impl TapePosition {
    pub fn decode(bytes: &[u8], form: PositionForm) -> Result<TapePosition, DecodeError> {
        const BEGINNING: u8 = 0x80;
        const END: u8 = 0x40;
        /// Short and extended: LOLU, unknown; long: LONU.
        const UNKNOWN: u8 = 0x04;
        /// Short and extended: PERR, the address is too large for its field.
        const TOO_LARGE: u8 = 0x02;
        const FILE_UNKNOWN: u8 = 0x08;
        let mut r = Reader::new(bytes);
        let flags = byte(&mut r, WHAT)?;
        let (block, file) = match form {
            PositionForm::Short => {
                r.take(3, WHAT)?;
                (be32(&mut r, WHAT)?.into(), None)
            }
            PositionForm::Long => {
                r.take(7, WHAT)?;
                (be64(&mut r, WHAT)?, Some(be64(&mut r, WHAT)?).filter(|_| flags & FILE_UNKNOWN == 0))
            }
            PositionForm::Extended => {
                r.take(7, WHAT)?;
                (be64(&mut r, WHAT)?, None)
            }
        };
        let doubt = if form == PositionForm::Long { UNKNOWN } else { UNKNOWN | TOO_LARGE };
        Ok(TapePosition {
            block: (flags & doubt == 0).then_some(block),
            file,
            beginning: flags & BEGINNING != 0,
            past_early_warning: flags & END != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_form_is_read_and_what_it_cant_hold_is_unknown() {
        let mut page = [0; 32];
        page[0] = 0x40;
        page[4..8].copy_from_slice(&7u32.to_be_bytes());
        let short = TapePosition::decode(&page[..20], PositionForm::Short).unwrap();
        assert_eq!((short.block, short.past_early_warning), (Some(7), true));
        page[0] |= 2;
        assert_eq!(TapePosition::decode(&page, PositionForm::Short).unwrap().block, None);
        page[8..16].copy_from_slice(&(1u64 << 33).to_be_bytes());
        page[16..24].copy_from_slice(&9u64.to_be_bytes());
        let long = TapePosition::decode(&page, PositionForm::Long).unwrap();
        assert_eq!((long.block, long.file), (Some(1 << 33), Some(9)));
        page[0] = 0x80;
        let extended = TapePosition::decode(&page, PositionForm::Extended).unwrap();
        assert_eq!((extended.block, extended.file, extended.beginning), (Some(1 << 33), None, true));
        assert!(TapePosition::decode(&page[..10], PositionForm::Long).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for form in [PositionForm::Short, PositionForm::Long, PositionForm::Extended] {
                let _ = TapePosition::decode(&bytes, form);
            }
        }
    }
}
