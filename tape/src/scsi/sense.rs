//! What a device says about a command that didn't simply succeed (SPC-4 4.5).

use std::fmt;

/// Sense keys (SPC-4 4.5.6).
pub mod key {
    pub const NO_SENSE: u8 = 0x0;
    pub const RECOVERED: u8 = 0x1;
    pub const NOT_READY: u8 = 0x2;
    pub const MEDIUM_ERROR: u8 = 0x3;
    pub const HARDWARE_ERROR: u8 = 0x4;
    pub const ILLEGAL_REQUEST: u8 = 0x5;
    pub const UNIT_ATTENTION: u8 = 0x6;
    pub const DATA_PROTECT: u8 = 0x7;
    pub const BLANK_CHECK: u8 = 0x8;
    pub const ABORTED: u8 = 0xb;
    pub const VOLUME_OVERFLOW: u8 = 0xd;
}

/// Sense, from the fixed or the descriptor format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sense {
    /// One of [`key`].
    pub key: u8,
    pub asc: u8,
    pub ascq: u8,
    /// A filemark was met.
    pub filemark: bool,
    /// End of medium: at or past early warning going forward, at the beginning going backward.
    pub end_of_medium: bool,
    /// The block's length isn't the one asked for.
    pub wrong_length: bool,
    /// About an earlier command, whose answer was given before it was done.
    pub deferred: bool,
    /// The INFORMATION field, if valid; for tape the requested less the done, signed.
    pub information: Option<i64>,
}

impl Sense {
    /// Reads either format; `None` if the bytes are neither.
    pub fn parse(bytes: &[u8]) -> Option<Sense> {
        match bytes.first()? & 0x7f {
            0x70 | 0x71 => fixed(bytes),
            0x72 | 0x73 => descriptor(bytes),
            _ => None,
        }
    }

    /// Key, additional code and its qualifier.
    pub fn is(&self, key: u8, asc: u8, ascq: u8) -> bool {
        (self.key, self.asc, self.ascq) == (key, asc, ascq)
    }

    /// Becoming ready: worth waiting for (SPC-4 table 28: 04h/01h; 04h/00h is said by some while they load; 04h/02h
    /// by those that want to be told to).
    pub fn is_becoming_ready(&self) -> bool {
        self.key == key::NOT_READY && self.asc == 0x04 && matches!(self.ascq, 0x00..=0x02)
    }

    /// Not ready for a reason that isn't told, or until it's told to load: waiting alone may never end.
    pub fn is_vaguely_not_ready(&self) -> bool {
        self.is_becoming_ready() && self.ascq != 0x01
    }

    /// Of a changer: somebody has to close a door or press a button. Vendors have codes of their own for that.
    pub fn needs_a_hand(&self) -> bool {
        let by_hand = matches!((self.asc, self.ascq), (0x04, 0x03 | 0x12 | 0x80..));
        (self.key == key::NOT_READY && by_hand) || matches!((self.asc, self.ascq), (0x3b, 0x11..=0x12))
    }

    /// A cleaning cartridge is in the drive, or has just failed to clean it.
    pub fn is_cleaning_cartridge(&self) -> bool {
        self.key != key::NO_SENSE && self.asc == 0x30 && matches!(self.ascq, 0x03 | 0x07)
    }

    /// The drive can't use this cartridge, or can't write it: its format, its generation.
    pub fn is_incompatible(&self) -> bool {
        matches!(self.key, key::NOT_READY | key::MEDIUM_ERROR | key::ILLEGAL_REQUEST | key::DATA_PROTECT)
            && self.asc == 0x30
            && matches!(self.ascq, 0x00..=0x02 | 0x04..=0x06 | 0x0d | 0x10)
    }

    /// The cartridge can only be written once.
    pub fn is_write_once(&self) -> bool {
        self.key == key::DATA_PROTECT && (self.asc, self.ascq) == (0x30, 0x0c)
    }

    /// The drive asks to be cleaned, whatever else it says.
    pub fn asks_for_cleaning(&self) -> bool {
        self.key <= key::RECOVERED && (self.asc, self.ascq) == (0x00, 0x17)
    }

    pub fn is_no_medium(&self) -> bool {
        self.key == key::NOT_READY && self.asc == 0x3a
    }

    /// Something changed that the sender should know. The command wasn't begun (SAM-5 5.14).
    pub fn is_attention(&self) -> bool {
        self.key == key::UNIT_ATTENTION && !self.deferred
    }

    /// The medium may be another (28h) or the device has lost its state (29h): positions are no longer known.
    pub fn is_upset(&self) -> bool {
        self.key == key::UNIT_ATTENTION && matches!(self.asc, 0x28 | 0x29)
    }

    /// The device doesn't know this command, or not with these fields.
    pub fn is_unsupported(&self) -> bool {
        self.key == key::ILLEGAL_REQUEST && matches!(self.asc, 0x20 | 0x24 | 0x26)
    }

    /// Where data ends. Some say it with the key of a blank medium, some with none at all.
    pub fn is_end_of_data(&self) -> bool {
        self.key == key::BLANK_CHECK || (self.key == key::NO_SENSE && (self.asc, self.ascq) == (0x00, 0x05))
    }

    /// Going backward ended at the beginning of the tape; not all set the end-of-medium bit with it.
    pub fn is_beginning_of_tape(&self) -> bool {
        self.is_done() && (self.end_of_medium || (self.asc, self.ascq) == (0x00, 0x04))
    }

    /// The command was done; there is merely something to say.
    pub fn is_done(&self) -> bool {
        matches!(self.key, key::NO_SENSE | key::RECOVERED)
    }

    fn meaning(&self) -> &'static str {
        match (self.key, self.asc, self.ascq) {
            (_, 0x00, 0x01) => "filemark",
            (key::VOLUME_OVERFLOW, ..) => "the medium is full",
            (_, 0x00, 0x02) => "near the end of the medium",
            (_, 0x00, 0x04) => "beginning of the medium",
            (_, 0x00, 0x05) => "end of data",
            (_, 0x00, 0x17) => "the drive asks to be cleaned",
            (_, 0x04, 0x03) => "somebody has to see to it: a door may be open",
            (_, 0x04, _) => "not ready",
            (_, 0x0c, _) => "write error",
            (_, 0x11, _) => "unrecovered read error",
            (_, 0x15, _) => "the robot lost its way",
            (_, 0x20, _) => "unknown command",
            (_, 0x21, 0x01) => "no such element",
            (_, 0x24, _) => "invalid field in the command",
            (_, 0x26, _) => "invalid field in the parameters",
            (_, 0x27, _) => "write protected",
            (_, 0x28, _) => "the medium may have changed",
            (_, 0x29, _) => "the device was reset",
            (_, 0x30, 0x03) => "a cleaning cartridge is loaded",
            (_, 0x30, 0x07) => "cleaning failed",
            (_, 0x30, 0x0c) => "the cartridge can only be written once",
            (_, 0x30, _) => "incompatible medium",
            (_, 0x3a, _) => "no medium",
            (_, 0x3b, 0x0d) => "the destination is full",
            (_, 0x3b, 0x0e) => "the source is empty",
            (_, 0x3b, 0x11..=0x12) => "a magazine isn't in its place",
            (_, 0x53, _) => "the medium can't be taken out",
            (key::MEDIUM_ERROR, ..) => "medium error",
            (key::HARDWARE_ERROR, ..) => "hardware error",
            (key::BLANK_CHECK, ..) => "blank medium",
            _ => "no more is known",
        }
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let earlier = if self.deferred { "an earlier command failed: " } else { "" };
        write!(f, "{earlier}{} (sense {:X}/{:02X}/{:02X})", self.meaning(), self.key, self.asc, self.ascq)
    }
}

fn at(bytes: &[u8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap_or(0)
}

/// SPC-4 4.5.3. A short reply leaves its missing fields zero.
fn fixed(bytes: &[u8]) -> Option<Sense> {
    let flags = *bytes.get(2)?;
    let valid = bytes[0] & 0x80 != 0;
    let information = bytes.get(3..7).and_then(|field| <[u8; 4]>::try_from(field).ok()).filter(|_| valid);
    Some(Sense {
        key: flags & 0x0f,
        asc: at(bytes, 12),
        ascq: at(bytes, 13),
        filemark: flags & 0x80 != 0,
        end_of_medium: flags & 0x40 != 0,
        wrong_length: flags & 0x20 != 0,
        deferred: bytes[0] & 0x7f == 0x71,
        information: information.map(|field| i32::from_be_bytes(field).into()),
    })
}

/// SPC-4 4.5.2, with the information (00h) and stream commands (04h) descriptors.
fn descriptor(bytes: &[u8]) -> Option<Sense> {
    let mut sense = Sense {
        key: bytes.get(1)? & 0x0f,
        asc: at(bytes, 2),
        ascq: at(bytes, 3),
        deferred: bytes[0] & 0x7f == 0x73,
        ..Sense::default()
    };
    let end = bytes.len().min(8 + usize::from(at(bytes, 7)));
    let mut rest = bytes.get(8..end).unwrap_or_default();
    while let [kind, len, ..] = *rest {
        let (one, after) = rest.split_at(rest.len().min(2 + usize::from(len)));
        match kind {
            0x00 if at(one, 2) & 0x80 != 0 => {
                let field = one.get(4..12).and_then(|field| <[u8; 8]>::try_from(field).ok());
                sense.information = field.map(i64::from_be_bytes);
            }
            0x04 => {
                sense.filemark = at(one, 3) & 0x80 != 0;
                sense.end_of_medium = at(one, 3) & 0x40 != 0;
                sense.wrong_length = at(one, 3) & 0x20 != 0;
            }
            _ => {}
        }
        rest = after;
    }
    Some(sense)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_formats_say_the_same() {
        let fixed = [0xf0, 0, 0xa0, 0xff, 0xff, 0xff, 0xfe, 10, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        let mut descriptor = vec![0x72, 0, 0, 1, 0, 0, 0, 16, 0, 0x0a, 0x80, 0];
        descriptor.extend(i64::to_be_bytes(-2));
        descriptor.extend([4, 2, 0, 0xa0]);
        let sense = Sense::parse(&fixed).unwrap();
        assert_eq!(Some(sense), Sense::parse(&descriptor));
        assert!(sense.filemark && sense.wrong_length && !sense.end_of_medium);
        assert_eq!(sense.information, Some(-2));
        assert_eq!(sense.to_string(), "filemark (sense 0/00/01)");
    }

    #[test]
    fn ends_are_known_by_key_or_by_code() {
        let sense = |key, asc, ascq| Sense { key, asc, ascq, ..Sense::default() };
        assert!(sense(8, 0, 5).is_end_of_data() && sense(8, 0, 0).is_end_of_data());
        assert!(sense(0, 0, 5).is_end_of_data() && !sense(0, 0, 1).is_end_of_data());
        assert!(sense(0, 0, 4).is_beginning_of_tape() && !sense(0, 0, 0).is_beginning_of_tape());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), code in 0x70u8..0x74) {
            let _ = Sense::parse(&bytes);
            let mut known = bytes;
            known.insert(0, code);
            let _ = Sense::parse(&known);
        }
    }
}
