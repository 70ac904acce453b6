//! Command descriptor blocks, each with its clause and its own timeout.
//!
//! Clauses: SPC-4 (all devices), SMC-3 (changers), SSC-4 (tape drives).

use super::{ElementAddress, ElementKind};

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

/// Whether a command may simply be sent again after a unit attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It means the same wherever the tape stands.
    Allowed,
    /// It depends on the position, which a reset may have changed: sending it again could overwrite data.
    Forbidden,
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
}

impl Cdb {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn new(name: &'static str, timeout_ms: u32, command: &[u8]) -> Cdb {
        let mut bytes = [0; 16];
        bytes[..command.len()].copy_from_slice(command);
        Cdb { name, bytes, len: command.len(), timeout_ms, repeat: Repeat::Allowed }
    }

    fn at_position(mut self) -> Cdb {
        self.repeat = Repeat::Forbidden;
        self
    }
}

/// SPC-4 6.47.
pub fn test_unit_ready() -> Cdb {
    Cdb::new("TEST UNIT READY", QUERY_MS, &[0x00, 0, 0, 0, 0, 0])
}

/// SPC-4 6.6: standard data.
pub fn inquiry(alloc: u16) -> Cdb {
    let [hi, lo] = alloc.to_be_bytes();
    Cdb::new("INQUIRY", QUERY_MS, &[0x12, 0, 0, hi, lo, 0])
}

/// SPC-4 6.6: a vital product data page (7.8).
pub fn inquiry_vpd(page: u8, alloc: u16) -> Cdb {
    let [hi, lo] = alloc.to_be_bytes();
    Cdb::new("INQUIRY", QUERY_MS, &[0x12, 1, page, hi, lo, 0])
}

/// SPC-4 6.11: MODE SENSE(6), current values, without block descriptors.
pub fn mode_sense(page: u8, alloc: u8) -> Cdb {
    Cdb::new("MODE SENSE(6)", QUERY_MS, &[0x1a, 0x08, page, 0, alloc, 0])
}

/// SPC-4 6.9: MODE SELECT(6) of `len` bytes of parameters.
pub fn mode_select(len: u8) -> Cdb {
    Cdb::new("MODE SELECT(6)", QUERY_MS, &[0x15, 0x10, 0, 0, len, 0])
}

/// SPC-4 6.8: cumulative values of one log page.
pub fn log_sense(page: u8, alloc: u16) -> Cdb {
    let [hi, lo] = alloc.to_be_bytes();
    Cdb::new("LOG SENSE", QUERY_MS, &[0x4d, 0, 0x40 | (page & 0x3f), 0, 0, 0, 0, hi, lo, 0])
}

/// What READ ELEMENT STATUS should tell besides the elements' state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementDetail {
    Barcodes,
    DeviceIds,
    BarcodesAndDeviceIds,
}

/// SMC-3 6.14: `count` elements of one kind from `first`.
pub fn read_element_status(
    kind: ElementKind,
    first: ElementAddress,
    count: u16,
    detail: ElementDetail,
    alloc: u16,
) -> Cdb {
    let barcodes = u8::from(detail != ElementDetail::DeviceIds) << 4;
    let ids = u8::from(detail != ElementDetail::Barcodes);
    let ([fh, fl], [ch, cl], [ah, al]) = (first.0.to_be_bytes(), count.to_be_bytes(), alloc.to_be_bytes());
    let command = [0xb8, barcodes | kind.code(), fh, fl, ch, cl, ids, 0, ah, al, 0, 0];
    Cdb::new("READ ELEMENT STATUS", LONG_MS, &command)
}

/// SMC-3 6.4.
pub fn initialize_element_status() -> Cdb {
    Cdb::new("INITIALIZE ELEMENT STATUS", LONG_MS, &[0x07, 0, 0, 0, 0, 0])
}

/// SMC-3 6.6. Not repeated by itself: a move that was done can't be done twice.
pub fn move_medium(transport: ElementAddress, from: ElementAddress, to: ElementAddress) -> Cdb {
    let ([th, tl], [fh, fl], [dh, dl]) =
        (transport.0.to_be_bytes(), from.0.to_be_bytes(), to.0.to_be_bytes());
    Cdb::new("MOVE MEDIUM", LONG_MS, &[0xa5, 0, th, tl, fh, fl, dh, dl, 0, 0, 0, 0])
}

/// SSC-4 7.6.
pub fn read_block_limits() -> Cdb {
    Cdb::new("READ BLOCK LIMITS", QUERY_MS, &[0x05, 0, 0, 0, 0, 0])
}

/// SSC-4 6.5: READ(6) of one block of at most `len` bytes, variable length; a wrong length is told.
pub fn read(len: u32) -> Cdb {
    let [_, a, b, c] = len.to_be_bytes();
    Cdb::new("READ(6)", TRANSFER_MS, &[0x08, 0, a, b, c, 0]).at_position()
}

/// SSC-4 6.8: WRITE(6) of one block of `len` bytes.
pub fn write(len: u32) -> Cdb {
    let [_, a, b, c] = len.to_be_bytes();
    Cdb::new("WRITE(6)", TRANSFER_MS, &[0x0a, 0, a, b, c, 0]).at_position()
}

/// SSC-4 6.10: WRITE FILEMARKS(6), answered when all before it is on the medium. Count 0 only synchronizes.
pub fn write_filemarks(count: u8) -> Cdb {
    Cdb::new("WRITE FILEMARKS(6)", LONG_MS, &[0x10, 0, 0, 0, count, 0]).at_position()
}

/// What SPACE counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceUnit {
    Blocks,
    Filemarks,
    EndOfData,
}

/// SSC-4 7.12: SPACE(6). `count` is held to its 24 bits, negative is backward.
pub fn space(unit: SpaceUnit, count: i32) -> Cdb {
    let code = match unit {
        SpaceUnit::Blocks => 0,
        SpaceUnit::Filemarks => 1,
        SpaceUnit::EndOfData => 3,
    };
    let [_, a, b, c] = count.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
    Cdb::new("SPACE(6)", LONG_MS, &[0x11, code, a, b, c, 0]).at_position()
}

/// SSC-4 7.3: LOCATE(10) to a block address.
pub fn locate(block: u32) -> Cdb {
    let [a, b, c, d] = block.to_be_bytes();
    Cdb::new("LOCATE(10)", LONG_MS, &[0x2b, 0, 0, a, b, c, d, 0, 0, 0])
}

/// SSC-4 7.7: READ POSITION, short form.
pub fn read_position() -> Cdb {
    Cdb::new("READ POSITION", QUERY_MS, &[0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0]).at_position()
}

/// SSC-4 7.9.
pub fn rewind() -> Cdb {
    Cdb::new("REWIND", LONG_MS, &[0x01, 0, 0, 0, 0, 0])
}

/// SSC-4 7.2: load.
pub fn load() -> Cdb {
    Cdb::new("LOAD UNLOAD", LOAD_MS, &[0x1b, 0, 0, 0, 1, 0])
}

/// SSC-4 7.2: unload.
pub fn unload() -> Cdb {
    Cdb::new("LOAD UNLOAD", LONG_MS, &[0x1b, 0, 0, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_depends_on_the_position_is_never_repeated() {
        for cdb in [read(1), write(1), write_filemarks(1), space(SpaceUnit::Blocks, 1)] {
            assert_eq!(cdb.repeat, Repeat::Forbidden, "{}", cdb.name);
        }
    }
}
