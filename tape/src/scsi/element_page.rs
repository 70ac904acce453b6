//! Where a changer's elements are: mode page 1Dh, element address assignment (SMC-3 7.3.4).

use coffer_format::{DecodeError, Reader};

use super::{ElementAddress, ModeForm, ModeParameters, be16};

/// What an element is (SMC-3 table 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementKind {
    /// The robot's hand.
    Transport,
    Slot,
    MailSlot,
    Drive,
}

impl ElementKind {
    pub fn code(self) -> u8 {
        match self {
            ElementKind::Transport => 1,
            ElementKind::Slot => 2,
            ElementKind::MailSlot => 3,
            ElementKind::Drive => 4,
        }
    }

    pub fn from_code(code: u8) -> Option<ElementKind> {
        use ElementKind::*;
        [Transport, Slot, MailSlot, Drive].into_iter().find(|kind| kind.code() == code)
    }
}

/// Elements with addresses in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ElementRange {
    pub first: ElementAddress,
    pub count: u16,
}

/// All elements of a changer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ElementMap {
    pub transport: ElementRange,
    pub slots: ElementRange,
    pub mail_slots: ElementRange,
    pub drives: ElementRange,
}

impl ElementMap {
    pub const PAGE: u8 = 0x1d;

    /// Reads a MODE SENSE reply.
    pub fn decode(bytes: &[u8], form: ModeForm) -> Result<ElementMap, DecodeError> {
        const WHAT: &str = "element address page";
        let parameters = ModeParameters::decode(bytes, form)?;
        let page = parameters.page_of(Self::PAGE).ok_or(DecodeError::Invalid { what: WHAT })?;
        let mut r = Reader::new(page);
        r.take(2, WHAT)?;
        let mut range =
            || Ok(ElementRange { first: ElementAddress(be16(&mut r, WHAT)?), count: be16(&mut r, WHAT)? });
        Ok(ElementMap { transport: range()?, slots: range()?, mail_slots: range()?, drives: range()? })
    }

    pub fn range(&self, kind: ElementKind) -> ElementRange {
        match kind {
            ElementKind::Transport => self.transport,
            ElementKind::Slot => self.slots,
            ElementKind::MailSlot => self.mail_slots,
            ElementKind::Drive => self.drives,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page() -> Vec<u8> {
        let mut page = vec![23, 0, 0, 0, 0x9d, 0x12];
        for number in [1u16, 1, 4096, 24, 16, 1, 256, 2, 0] {
            page.extend(number.to_be_bytes());
        }
        page
    }

    #[test]
    fn ranges_are_read_also_behind_a_block_descriptor() {
        let map = ElementMap::decode(&page(), ModeForm::Six).unwrap();
        assert_eq!(map.slots, ElementRange { first: ElementAddress(4096), count: 24 });
        assert_eq!(map.drives, ElementRange { first: ElementAddress(256), count: 2 });
        let mut with_descriptor = page();
        (with_descriptor[0], with_descriptor[3]) = (31, 8);
        with_descriptor.splice(4..4, [0; 8]);
        assert_eq!(ElementMap::decode(&with_descriptor, ModeForm::Six), Ok(map));
        let mut ten = vec![0, 26, 0, 0, 0, 0, 0, 0];
        ten.extend(&page()[4..]);
        assert_eq!(ElementMap::decode(&ten, ModeForm::Ten), Ok(map));
    }

    #[test]
    fn a_short_or_another_page_is_refused() {
        assert!(ElementMap::decode(&page()[..20], ModeForm::Six).is_err());
        let mut other = page();
        other[4] = 0x1f;
        assert!(ElementMap::decode(&other, ModeForm::Six).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ElementMap::decode(&bytes, ModeForm::Six);
            let _ = ElementMap::decode(&bytes, ModeForm::Ten);
        }
    }
}
