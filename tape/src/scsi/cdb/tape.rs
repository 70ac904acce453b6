//! Commands of tape drives (SSC-4).

use super::{Cdb, ERASE_MS, Expected, LOAD_MS, LONG_MS, QUERY_MS, TRANSFER_MS};

/// SSC-4 7.6.
pub fn read_block_limits() -> Cdb {
    Cdb::new("READ BLOCK LIMITS", QUERY_MS, &[0x05, 0, 0, 0, 0, 0])
}

/// SSC-4 7.10: REPORT DENSITY SUPPORT, of the medium in the drive or of the drive itself.
pub fn report_density_support(of_medium: bool, alloc: u16) -> Cdb {
    let [hi, lo] = alloc.to_be_bytes();
    let command = [0x44, u8::from(of_medium), 0, 0, 0, 0, 0, hi, lo, 0];
    Cdb::new("REPORT DENSITY SUPPORT", QUERY_MS, &command)
}

/// SSC-4 6.5: READ(6) of one block of at most `len` bytes, variable length; a wrong length is told.
pub fn read(len: u32) -> Cdb {
    transfer("READ(6)", 0x08, 0, len).expecting(Expected::Reading)
}

/// SSC-4 6.5: READ(6) of `blocks` blocks of the length set.
pub fn read_fixed(blocks: u32) -> Cdb {
    transfer("READ(6)", 0x08, 1, blocks).expecting(Expected::Reading)
}

/// SSC-4 6.8: WRITE(6) of one block of `len` bytes.
pub fn write(len: u32) -> Cdb {
    transfer("WRITE(6)", 0x0a, 0, len).expecting(Expected::Writing)
}

/// SSC-4 6.8: WRITE(6) of `blocks` blocks of the length set.
pub fn write_fixed(blocks: u32) -> Cdb {
    transfer("WRITE(6)", 0x0a, 1, blocks).expecting(Expected::Writing)
}

fn transfer(name: &'static str, opcode: u8, fixed: u8, len: u32) -> Cdb {
    let [_, a, b, c] = len.to_be_bytes();
    Cdb::new(name, TRANSFER_MS, &[opcode, fixed, a, b, c, 0]).at_position()
}

/// SSC-4 6.10: WRITE FILEMARKS(6), answered when all before it is on the medium. Count 0 only synchronizes.
pub fn write_filemarks(count: u8) -> Cdb {
    let command = [0x10, 0, 0, 0, count, 0];
    Cdb::new("WRITE FILEMARKS(6)", LONG_MS, &command).at_position().expecting(Expected::Writing)
}

/// SSC-4 5.9: WRITE FILEMARKS(16), as [`write_filemarks`].
pub fn write_filemarks_16(count: u8) -> Cdb {
    let command = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, count, 0];
    Cdb::new("WRITE FILEMARKS(16)", LONG_MS, &command).at_position().expecting(Expected::Writing)
}

/// What SPACE counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceUnit {
    Blocks,
    Filemarks,
    EndOfData,
}

impl SpaceUnit {
    fn code(self) -> u8 {
        match self {
            SpaceUnit::Blocks => 0,
            SpaceUnit::Filemarks => 1,
            SpaceUnit::EndOfData => 3,
        }
    }
}

/// The counts that SPACE(6) can carry.
pub(crate) const SPACE_6_COUNTS: std::ops::RangeInclusive<i64> = -0x80_0000..=0x7f_ffff;

/// SSC-4 7.12: SPACE(6). `count` is held to its 24 bits, negative is backward.
pub fn space(unit: SpaceUnit, count: i64) -> Cdb {
    let [.., a, b, c] = count.clamp(*SPACE_6_COUNTS.start(), *SPACE_6_COUNTS.end()).to_be_bytes();
    Cdb::new("SPACE(6)", LONG_MS, &[0x11, unit.code(), a, b, c, 0]).at_position().expecting(Expected::Winding)
}

/// SSC-4 5.8: SPACE(16).
pub fn space_16(unit: SpaceUnit, count: i64) -> Cdb {
    let mut command = [0; 16];
    (command[0], command[1]) = (0x91, unit.code());
    command[4..12].copy_from_slice(&count.to_be_bytes());
    Cdb::new("SPACE(16)", LONG_MS, &command).at_position().expecting(Expected::Winding)
}

/// SSC-4 7.3: LOCATE(10) to a block address.
pub fn locate(block: u32) -> Cdb {
    let [a, b, c, d] = block.to_be_bytes();
    Cdb::new("LOCATE(10)", LONG_MS, &[0x2b, 0, 0, a, b, c, d, 0, 0, 0]).expecting(Expected::Winding)
}

/// SSC-4 5.4: LOCATE(16) to a block address.
pub fn locate_16(block: u64) -> Cdb {
    let mut command = [0; 16];
    command[0] = 0x92;
    command[4..12].copy_from_slice(&block.to_be_bytes());
    Cdb::new("LOCATE(16)", LONG_MS, &command).expecting(Expected::Winding)
}

/// The forms of READ POSITION (SSC-4 table 77).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionForm {
    /// 20 bytes, addresses of 32 bits.
    Short,
    /// 32 bytes, addresses of 64 bits, and files.
    Long,
    /// 32 bytes, addresses of 64 bits, and what is buffered.
    Extended,
}

impl PositionForm {
    /// Bytes of the answer.
    pub fn answer_len(self) -> usize {
        match self {
            PositionForm::Short => 20,
            PositionForm::Long | PositionForm::Extended => 32,
        }
    }
}

/// SSC-4 7.7: READ POSITION. Only the extended form takes an allocation length.
pub fn read_position(form: PositionForm) -> Cdb {
    let (action, alloc) = match form {
        PositionForm::Short => (0x00, 0),
        PositionForm::Long => (0x06, 0),
        PositionForm::Extended => (0x08, 32),
    };
    Cdb::new("READ POSITION", QUERY_MS, &[0x34, action, 0, 0, 0, 0, 0, 0, alloc, 0]).at_position()
}

/// SSC-4 7.9.
pub fn rewind() -> Cdb {
    Cdb::new("REWIND", LONG_MS, &[0x01, 0, 0, 0, 0, 0]).expecting(Expected::NotReady)
}

/// SSC-4 7.2: load.
pub fn load() -> Cdb {
    Cdb::new("LOAD UNLOAD", LOAD_MS, &[0x1b, 0, 0, 0, 1, 0]).expecting(Expected::NotReady)
}

/// SSC-4 7.2: unload.
pub fn unload() -> Cdb {
    Cdb::new("LOAD UNLOAD", LONG_MS, &[0x1b, 0, 0, 0, 0, 0]).expecting(Expected::NotReady)
}

/// SSC-4 6.2: ERASE(6), from the position: a mark that data ends here, or (LONG) every byte to the end of the medium.
pub fn erase(long: bool) -> Cdb {
    let timeout_ms = if long { ERASE_MS } else { LONG_MS };
    let command = [0x19, u8::from(long), 0, 0, 0, 0];
    Cdb::new("ERASE(6)", timeout_ms, &command).at_position().expecting(Expected::Writing)
}
