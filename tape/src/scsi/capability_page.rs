//! What a changer's robot can do: mode pages 1Eh (transport geometry) and 1Fh (device capabilities), SMC-3 7.3.

use coffer_format::{DecodeError, Reader};

use super::{ElementKind, ModeForm, ModeParameters, byte};

/// Mode page 1Fh: between which kinds of elements media can be moved and exchanged, and which hold media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangerCapabilities {
    storage: u8,
    moves: [u8; 4],
    exchanges: [u8; 4],
}

impl ChangerCapabilities {
    pub const PAGE: u8 = 0x1f;

    pub fn decode(bytes: &[u8], form: ModeForm) -> Result<ChangerCapabilities, DecodeError> {
        const WHAT: &str = "device capabilities page";
        let parameters = ModeParameters::decode(bytes, form)?;
        let page = parameters.page_of(Self::PAGE).ok_or(DecodeError::Invalid { what: WHAT })?;
        let mut r = Reader::new(page);
        r.take(2, WHAT)?;
        let storage = byte(&mut r, WHAT)?;
        byte(&mut r, WHAT)?;
        let moves = r.array(WHAT)?;
        r.take(4, WHAT)?;
        Ok(ChangerCapabilities { storage, moves, exchanges: r.array(WHAT)? })
    }

    /// Whether this kind of element keeps a cartridge.
    pub fn stores(&self, kind: ElementKind) -> bool {
        self.storage & bit(kind) != 0
    }

    pub fn moves(&self, from: ElementKind, to: ElementKind) -> bool {
        self.moves[row(from)] & bit(to) != 0
    }

    /// Whether EXCHANGE MEDIUM works with a source of `from` and a destination of `to`.
    pub fn exchanges(&self, from: ElementKind, to: ElementKind) -> bool {
        self.exchanges[row(from)] & bit(to) != 0
    }
}

fn row(kind: ElementKind) -> usize {
    usize::from(kind.code() - 1)
}

fn bit(kind: ElementKind) -> u8 {
    1 << row(kind)
}

/// Mode page 1Eh: which of the robot's hands can turn a medium over.
pub const GEOMETRY_PAGE: u8 = 0x1e;

/// Whether any of the robot's hands rotates media, by page 1Eh.
pub fn decode_rotates(bytes: &[u8], form: ModeForm) -> Result<bool, DecodeError> {
    const WHAT: &str = "transport geometry page";
    let parameters = ModeParameters::decode(bytes, form)?;
    let page = parameters.page_of(GEOMETRY_PAGE).ok_or(DecodeError::Invalid { what: WHAT })?;
    Ok(page.get(2..).unwrap_or_default().chunks_exact(2).any(|hand| hand[0] & 1 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn capabilities_are_by_kind() {
        let mut page = vec![21, 0, 0, 0, 0x1f, 18, 0x0e, 0];
        page.extend([0, 0x0e, 0x0e, 0x0e, 0, 0, 0, 0, 0, 0x08, 0, 0, 0, 0, 0, 0]);
        let can = ChangerCapabilities::decode(&page, ModeForm::Six).unwrap();
        assert!(can.stores(ElementKind::Slot) && !can.stores(ElementKind::Transport));
        assert!(can.moves(ElementKind::Drive, ElementKind::MailSlot));
        assert!(can.exchanges(ElementKind::Slot, ElementKind::Drive));
        assert!(!can.exchanges(ElementKind::Drive, ElementKind::Slot));
        assert!(ChangerCapabilities::decode(&page[..12], ModeForm::Six).is_err());
        assert_eq!(decode_rotates(&[7, 0, 0, 0, 0x1e, 2, 1, 0], ModeForm::Six), Ok(true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 5..60)) {
            (bytes[0], bytes[3], bytes[4]) = (60, 0, 0x1f);
            let _ = ChangerCapabilities::decode(&bytes, ModeForm::Six);
            bytes[4] = 0x1e;
            let _ = decode_rotates(&bytes, ModeForm::Six);
        }
    }
}
