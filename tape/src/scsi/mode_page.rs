//! Mode parameters (SPC-4 7.5): header, block descriptor, one page; in the forms of 6 and of 10 bytes.

use coffer_format::{DecodeError, Reader};

use super::{be16, be24, byte, take_some};

const WHAT: &str = "mode parameters";

/// Which MODE SENSE an answer is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeForm {
    Six,
    Ten,
}

/// A mode parameter list with at most one page that matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModeParameters {
    /// Device dependent: LTO drives tell generation and WORM by it.
    pub medium_type: u8,
    /// For tape: bit 7 write protection, bits 4 to 6 the buffered mode (SSC-4 8.3.1).
    pub device_specific: u8,
    pub block: Option<BlockDescriptor>,
    /// The first page, with its header of two bytes; empty if there is none.
    pub page: Vec<u8>,
}

/// A block descriptor (SSC-4 8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockDescriptor {
    pub density: u8,
    /// Bytes; 0 is variable.
    pub block_len: u32,
}

impl ModeParameters {
    pub fn decode(bytes: &[u8], form: ModeForm) -> Result<ModeParameters, DecodeError> {
        let mut r = Reader::new(bytes);
        let (said, medium_type, device_specific, descriptors_len) = match form {
            ModeForm::Six => {
                let said = usize::from(byte(&mut r, WHAT)?) + 1;
                let (kind, specific) = (byte(&mut r, WHAT)?, byte(&mut r, WHAT)?);
                (said, kind, specific, usize::from(byte(&mut r, WHAT)?))
            }
            ModeForm::Ten => {
                let said = usize::from(be16(&mut r, WHAT)?) + 2;
                let (kind, specific) = (byte(&mut r, WHAT)?, byte(&mut r, WHAT)?);
                r.take(2, WHAT)?;
                (said, kind, specific, usize::from(be16(&mut r, WHAT)?))
            }
        };
        let read = bytes.len() - r.remaining();
        let descriptors = r.take(descriptors_len, WHAT)?;
        let page = take_some(&mut r, said.saturating_sub(read + descriptors_len), WHAT)?;
        let page_len = page.get(1).map_or(0, |len| 2 + usize::from(*len));
        Ok(ModeParameters {
            medium_type,
            device_specific,
            block: BlockDescriptor::decode(descriptors).ok(),
            page: page[..page_len.min(page.len())].to_vec(),
        })
    }

    /// The page, if it's the one with this code.
    pub fn page_of(&self, code: u8) -> Option<&[u8]> {
        self.page.first().filter(|first| **first & 0x3f == code).map(|_| self.page.as_slice())
    }

    pub fn write_protected(&self) -> bool {
        self.device_specific & 0x80 != 0
    }
}

impl BlockDescriptor {
    fn decode(bytes: &[u8]) -> Result<BlockDescriptor, DecodeError> {
        let mut r = Reader::new(bytes);
        let density = byte(&mut r, WHAT)?;
        r.take(4, WHAT)?;
        Ok(BlockDescriptor { density, block_len: be24(&mut r, WHAT)? })
    }
}

/// Page 0Fh, data compression (SSC-4 8.3.2).
pub(crate) mod compression {
    pub(crate) const PAGE: u8 = 0x0f;
    const ENABLED: u8 = 0x80;
    const CAPABLE: u8 = 0x40;

    /// Whether the drive can compress, and does.
    pub(crate) fn state(page: &[u8]) -> Option<(bool, bool)> {
        let flags = *page.get(2)?;
        Some((flags & CAPABLE != 0, flags & ENABLED != 0))
    }

    /// The page to send back; the bit that says it can be saved is reserved there.
    pub(crate) fn with(page: &[u8], enabled: bool) -> Vec<u8> {
        let mut page = page.to_vec();
        if let Some(code) = page.first_mut() {
            *code = PAGE;
        }
        if let Some(flags) = page.get_mut(2) {
            *flags = *flags & !ENABLED | if enabled { ENABLED } else { 0 };
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_say_the_same() {
        let descriptor = [0x5a, 0, 0, 0, 0, 0, 2, 0];
        let page = [0x0f, 2, 0xc0, 0];
        let mut six = vec![15, 0x68, 0x90, 8];
        let mut ten = vec![0, 18, 0x68, 0x90, 0, 0, 0, 8];
        for form in [&mut six, &mut ten] {
            form.extend(descriptor);
            form.extend(page);
            form.extend([0xee; 9]);
        }
        let parameters = ModeParameters::decode(&six, ModeForm::Six).unwrap();
        assert_eq!(Ok(parameters.clone()), ModeParameters::decode(&ten, ModeForm::Ten));
        assert_eq!(parameters.block, Some(BlockDescriptor { density: 0x5a, block_len: 512 }));
        assert!(parameters.write_protected());
        assert_eq!(parameters.page_of(0x0f), Some(&page[..]));
        assert_eq!(parameters.page_of(0x10), None);
        assert_eq!(compression::state(&page), Some((true, true)));
        assert_eq!(compression::with(&page, false), [0x0f, 2, 0x40, 0]);
    }

    #[test]
    fn a_header_that_is_cut_is_refused_and_a_page_that_is_cut_is_short() {
        assert!(ModeParameters::decode(&[3, 0, 0], ModeForm::Six).is_err());
        assert!(ModeParameters::decode(&[11, 0, 0, 8, 0, 0], ModeForm::Six).is_err());
        let cut = ModeParameters::decode(&[9, 0, 0, 0, 0x0f, 14, 0x80], ModeForm::Six).unwrap();
        assert_eq!(cut.page, [0x0f, 14, 0x80]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for form in [ModeForm::Six, ModeForm::Ten] {
                if let Ok(parameters) = ModeParameters::decode(&bytes, form) {
                    let _ = (parameters.page_of(0x0f), compression::state(&parameters.page));
                    let _ = compression::with(&parameters.page, true);
                }
            }
        }
    }
}
