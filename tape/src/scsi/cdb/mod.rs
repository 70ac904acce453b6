//! Command descriptor blocks, each with its clause, its own timeout and the sense it may rightly end with.
//!
//! Clauses: SPC-4 (all devices), SMC-3 (changers), SSC-4 (tape drives), SSC-3 and SPC-2 for what the newer ones dropped.

mod changer;
mod primary;
mod secure;
mod tape;

pub use changer::{
    DoorMove, ElementDetail, RangeOpcode, exchange_medium, initialize_element_status,
    initialize_element_status_with_range, move_medium, open_close_mail_slot, position_to_element,
    read_element_status,
};
pub use primary::{
    Removal, inquiry, inquiry_vpd, log_sense, mode_select, mode_select_10, mode_sense, mode_sense_10,
    prevent_allow_removal, read_attribute, report_supported_opcodes, request_sense, test_unit_ready,
    write_attribute,
};
pub use secure::{
    ReservationIn, ReservationOut, persistent_reserve_in, persistent_reserve_out, release, reserve,
    security_protocol_in, security_protocol_out,
};
pub(crate) use tape::SPACE_6_COUNTS;
pub use tape::{
    PositionForm, SpaceUnit, erase, load, locate, locate_16, read, read_block_limits, read_fixed,
    read_position, report_density_support, rewind, space, space_16, unload, write, write_filemarks,
    write_filemarks_16, write_fixed,
};

use super::{Sense, key};

const SECOND_MS: u32 = 1000;
const MINUTE_MS: u32 = 60 * SECOND_MS;
/// Questions that touch neither tape nor robot.
const QUERY_MS: u32 = 5 * MINUTE_MS;
/// A block or a filemark: the drive may reposition or retry for minutes.
const TRANSFER_MS: u32 = 10 * MINUTE_MS;
/// Winding from one end to the other, and a robot that takes stock of every slot.
const LONG_MS: u32 = 30 * MINUTE_MS;
/// The first load of new LTO-9 media takes up to two hours and can't be cancelled.
const LOAD_MS: u32 = 150 * MINUTE_MS;
/// Overwriting a whole cartridge: LTO-9 takes up to 12.5 hours, and some firmware more.
const ERASE_MS: u32 = 16 * 60 * MINUTE_MS;

/// Whether a command may simply be sent again after a unit attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It means the same wherever the tape stands.
    Allowed,
    /// It depends on the position, which a reset may have changed: sending it again could overwrite data.
    Forbidden,
}

/// What a command may rightly end with besides success; anything else is logged as a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The device may not know the command or the page.
    Unsupported,
    /// Not ready, no medium, or another kind of it.
    NotReady,
    /// Filemark, end of data, another length.
    Reading,
    /// Early warning, overflow, write protection.
    Writing,
    /// Filemark, end of data, beginning, unknown form.
    Winding,
    /// A place that is full, empty or unknown.
    Moving,
}

/// One command, ready to send.
#[derive(Debug, Clone, Copy)]
pub struct Cdb {
    /// The standard's name for it.
    pub name: &'static str,
    bytes: [u8; 16],
    len: usize,
    pub timeout_ms: u32,
    pub repeat: Repeat,
    expected: Expected,
}

impl Cdb {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn opcode(&self) -> u8 {
        self.bytes[0]
    }

    /// Whether `sense` is one of the ways in which this command ends in good order.
    pub fn expects(&self, sense: &Sense) -> bool {
        use Expected::*;
        if sense.is_done() || (sense.key == key::UNIT_ATTENTION && !sense.deferred) {
            return true;
        }
        match self.expected {
            Unsupported => matches!(sense.key, key::ILLEGAL_REQUEST | key::NOT_READY),
            NotReady => sense.key == key::NOT_READY,
            Reading => sense.key == key::BLANK_CHECK,
            Writing => matches!(sense.key, key::VOLUME_OVERFLOW | key::DATA_PROTECT),
            Winding => sense.key == key::BLANK_CHECK || sense.is_unsupported(),
            Moving => sense.key == key::ILLEGAL_REQUEST,
        }
    }

    fn new(name: &'static str, timeout_ms: u32, command: &[u8]) -> Cdb {
        let mut bytes = [0; 16];
        bytes[..command.len()].copy_from_slice(command);
        let (repeat, expected) = (Repeat::Allowed, Expected::Unsupported);
        Cdb { name, bytes, len: command.len(), timeout_ms, repeat, expected }
    }

    fn at_position(mut self) -> Cdb {
        self.repeat = Repeat::Forbidden;
        self
    }

    fn expecting(mut self, expected: Expected) -> Cdb {
        self.expected = expected;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::{ElementAddress, ElementKind};

    #[test]
    fn fields_lie_where_the_standards_put_them() {
        assert_eq!(space(SpaceUnit::Filemarks, -2).bytes(), [0x11, 1, 0xff, 0xff, 0xfe, 0]);
        assert_eq!(write(262_144).bytes(), [0x0a, 0, 4, 0, 0, 0]);
        assert_eq!(locate(0x01020304).bytes(), [0x2b, 0, 0, 1, 2, 3, 4, 0, 0, 0]);
        let status = read_element_status(
            ElementKind::Drive,
            ElementAddress(256),
            2,
            ElementDetail::BarcodesAndDeviceIds,
            0xffff,
        );
        assert_eq!(status.bytes(), [0xb8, 0x14, 1, 0, 0, 2, 1, 0, 0xff, 0xff, 0, 0]);
        let moved = move_medium(ElementAddress(1), ElementAddress(4096), ElementAddress(256));
        assert_eq!(moved.bytes(), [0xa5, 0, 0, 1, 0x10, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn long_forms_carry_64_bits() {
        let far = 0x0102_0304_0506_0708;
        assert_eq!(locate_16(far).bytes()[..12], [0x92, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            space_16(SpaceUnit::Blocks, -1).bytes()[..12],
            [0x91, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
        );
        assert_eq!(write_filemarks_16(3).bytes()[..6], [0x80, 0, 0, 0, 0, 0]);
        assert_eq!(write_filemarks_16(3).bytes()[12..15], [0, 0, 3]);
        assert_eq!(read_position(PositionForm::Long).bytes(), [0x34, 6, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read_position(PositionForm::Extended).bytes(), [0x34, 8, 0, 0, 0, 0, 0, 0, 32, 0]);
    }

    #[test]
    fn both_opcodes_take_stock_of_a_range() {
        let range = |opcode| initialize_element_status_with_range(opcode, ElementAddress(0x1000), 4);
        assert_eq!(range(RangeOpcode::Current).bytes(), [0x37, 1, 0x10, 0, 0, 0, 0, 4, 0, 0]);
        assert_eq!(range(RangeOpcode::Older).bytes(), [0xe7, 1, 0x10, 0, 0, 0, 0, 4, 0, 0]);
    }

    #[test]
    fn what_depends_on_the_position_is_never_repeated() {
        let commands = [
            read(1),
            read_fixed(1),
            write(1),
            write_fixed(1),
            write_filemarks(1),
            write_filemarks_16(1),
            space(SpaceUnit::Blocks, 1),
            space_16(SpaceUnit::Blocks, 1),
            erase(true),
        ];
        for cdb in commands {
            assert_eq!(cdb.repeat, Repeat::Forbidden, "{}", cdb.name);
        }
    }

    #[test]
    fn each_command_knows_how_it_may_end() {
        let sense = |key, asc, ascq| Sense { key, asc, ascq, ..Sense::default() };
        assert!(read(1).expects(&sense(8, 0, 5)));
        assert!(!read(1).expects(&sense(3, 0x11, 0)));
        assert!(write(1).expects(&sense(0xd, 0, 2)));
        assert!(!write(1).expects(&sense(3, 0x0c, 0)));
        assert!(test_unit_ready().expects(&sense(2, 4, 1)));
        assert!(log_sense(0x2e, 8).expects(&sense(5, 0x20, 0)));
    }
}
