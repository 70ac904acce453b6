//! READ POSITION data, short form (SSC-4 7.7.2).

use coffer_format::{DecodeError, Reader};

use super::{be32, byte};

/// Where a tape stands, as the drive says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapePosition {
    /// Address of the next block; `None` if the drive says it doesn't know.
    pub block: Option<u32>,
    /// Between early warning and the end of the partition.
    pub past_early_warning: bool,
}

impl TapePosition {
    pub const LEN: usize = 20;

    pub fn decode(bytes: &[u8]) -> Result<TapePosition, DecodeError> {
        const UNKNOWN: u8 = 0x04;
        const END_OF_PARTITION: u8 = 0x40;
        let mut r = Reader::new(bytes);
        let flags = byte(&mut r, "tape position")?;
        r.take(3, "tape position")?;
        let block = be32(&mut r, "tape position")?;
        Ok(TapePosition {
            block: (flags & UNKNOWN == 0).then_some(block),
            past_early_warning: flags & END_OF_PARTITION != 0,
        })
    }
}
