//! REPORT SUPPORTED OPERATION CODES data, all commands (SPC-4 6.35.2).

use coffer_format::{DecodeError, Reader};

use super::cdb::Cdb;
use super::{be16, be32, byte, take_some};

const WHAT: &str = "supported operation codes";

/// The commands a device says it knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opcodes(Vec<(u8, Option<u16>)>);

impl Opcodes {
    pub fn decode(bytes: &[u8]) -> Result<Opcodes, DecodeError> {
        const TIMEOUTS_PRESENT: u8 = 2;
        const ACTION_VALID: u8 = 1;
        let mut r = Reader::new(bytes);
        let len = be32(&mut r, WHAT)? as usize;
        let mut r = Reader::new(take_some(&mut r, len, WHAT)?);
        let mut known = Vec::new();
        while r.remaining() >= 8 {
            let opcode = byte(&mut r, WHAT)?;
            byte(&mut r, WHAT)?;
            let action = be16(&mut r, WHAT)?;
            byte(&mut r, WHAT)?;
            let flags = byte(&mut r, WHAT)?;
            be16(&mut r, WHAT)?;
            if flags & TIMEOUTS_PRESENT != 0 {
                take_some(&mut r, 12, WHAT)?;
            }
            known.push((opcode, (flags & ACTION_VALID != 0).then_some(action)));
        }
        Ok(Opcodes(known))
    }

    /// Whether the command is listed; one without service actions stands for all of them.
    pub fn has(&self, cdb: &Cdb) -> bool {
        let action = cdb.bytes().get(1).map(|byte| u16::from(byte & 0x1f));
        self.0.iter().any(|(opcode, only)| *opcode == cdb.opcode() && (only.is_none() || *only == action))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::cdb::{self, PositionForm};
    use proptest::prelude::*;

    #[test]
    fn service_actions_are_told_apart() {
        let page = [
            0, 0, 0, 36, 0x34, 0, 0, 0, 0, 1, 0, 10, 0x34, 0, 0, 6, 0, 3, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0, 6,
        ];
        let known = Opcodes::decode(&page).unwrap();
        assert!(known.has(&cdb::read_position(PositionForm::Short)));
        assert!(known.has(&cdb::read_position(PositionForm::Long)));
        assert!(!known.has(&cdb::read_position(PositionForm::Extended)));
        assert!(known.has(&cdb::rewind()) && !known.has(&cdb::erase(true)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Opcodes::decode(&bytes);
        }
    }
}
