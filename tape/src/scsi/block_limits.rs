//! READ BLOCK LIMITS data (SSC-4 7.6).

use coffer_format::{DecodeError, Reader};

use super::{be16, be24, byte};

/// How long a drive's blocks may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLimits {
    pub shortest: u16,
    pub longest: u32,
}

impl BlockLimits {
    pub const LEN: usize = 6;

    pub fn decode(bytes: &[u8]) -> Result<BlockLimits, DecodeError> {
        let mut r = Reader::new(bytes);
        byte(&mut r, "block limits")?;
        Ok(BlockLimits { longest: be24(&mut r, "block limits")?, shortest: be16(&mut r, "block limits")? })
    }
}
