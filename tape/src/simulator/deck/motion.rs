//! Reading and winding.

use super::Deck;
use crate::scsi::{Data, key};
use crate::simulator::medium::{Object, Room};
use crate::simulator::quirks::Positions;
use crate::simulator::reply::{
    BEGINNING, Check, Done, END_OF_DATA, FILEMARK, GOOD, Good, INVALID_FIELD, READ_ERROR, failed, field,
    field_24, field_32, field_64, give,
};

impl Deck {
    pub(super) fn rewind(&mut self) -> Done {
        self.loaded()?;
        self.position = 0;
        GOOD
    }

    /// READ(6), of variable length or in blocks of the length set.
    pub(super) fn read(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let (asked, fixed, silent) = (field_24(cdb, 2), field(cdb, 1) & 1 != 0, field(cdb, 1) & 2 != 0);
        let Data::In(buffer) = data else { return Err(Check::illegal(INVALID_FIELD)) };
        if fixed {
            return self.read_fixed(asked, buffer);
        }
        let len = self.read_one(buffer, asked, asked.into())?;
        let filled = (len.min(asked) as usize).min(buffer.len());
        if len != asked && !(silent && len < asked) {
            let less = i64::from(asked) - i64::from(len);
            let check = Check::new(key::NO_SENSE, (0, 0)).wrong_length().information(less);
            return Err(check.left_over(buffer.len() - filled));
        }
        Ok(Good { residual: buffer.len() - filled })
    }

    fn read_fixed(&mut self, blocks: u32, buffer: &mut [u8]) -> Done {
        let block_len = self.block_len;
        if block_len == 0 || (blocks as usize).saturating_mul(block_len as usize) > buffer.len() {
            return Err(Check::illegal(INVALID_FIELD));
        }
        for (done, chunk) in buffer.chunks_mut(block_len as usize).take(blocks as usize).enumerate() {
            let left = i64::from(blocks) - done as i64;
            if self.read_one(chunk, block_len, left)? != block_len {
                return Err(Check::new(key::NO_SENSE, (0, 0)).wrong_length().information(left));
            }
        }
        GOOD
    }

    /// The next block's first bytes; its whole length. `left` is what sense says wasn't done.
    fn read_one(&mut self, buffer: &mut [u8], asked: u32, left: i64) -> Result<u32, Check> {
        let position = self.position;
        let cassette = self.loaded()?;
        if cassette.state.bad_blocks.contains(&(position as u64)) {
            self.position += 1;
            self.medium_errors += 1;
            return Err(Check::new(key::MEDIUM_ERROR, READ_ERROR).information(left));
        }
        match cassette.medium.objects().get(position).copied() {
            None => Err(Check::new(key::BLANK_CHECK, END_OF_DATA).information(left)),
            Some(Object::Filemark { .. }) => {
                self.position += 1;
                Err(Check::new(key::NO_SENSE, FILEMARK).filemark().information(left))
            }
            Some(Object::Block { offset, len }) => {
                let filled = (len.min(asked) as usize).min(buffer.len());
                cassette.medium.read(offset, &mut buffer[..filled]).map_err(|error| failed(&error))?;
                self.position += 1;
                self.blocks_read += 1;
                Ok(len)
            }
        }
    }

    /// SPACE(6) and SPACE(16).
    pub(super) fn space(&mut self, cdb: &[u8]) -> Done {
        let count = match field(cdb, 0) {
            0x91 => field_64(cdb, 4) as i64,
            _ => i64::from((field_24(cdb, 2) << 8) as i32 >> 8),
        };
        let end = self.loaded()?.medium.objects().len();
        match field(cdb, 1) & 0x0f {
            0 => self.space_over(count, false),
            1 => self.space_over(count, true),
            3 => {
                self.position = end;
                GOOD
            }
            _ => Err(Check::illegal(INVALID_FIELD)),
        }
    }

    /// Over `count` filemarks, or over so many blocks that aren't.
    fn space_over(&mut self, count: i64, filemarks: bool) -> Done {
        let mut left = count.abs();
        while left > 0 {
            let check = match (self.step(count)?, count > 0) {
                (Some(Object::Filemark { .. }), _) if filemarks => {
                    left -= 1;
                    continue;
                }
                (Some(Object::Block { .. }), _) => {
                    left -= i64::from(!filemarks);
                    continue;
                }
                (Some(Object::Filemark { .. }), _) => Check::new(key::NO_SENSE, FILEMARK).filemark(),
                (None, true) => Check::new(key::BLANK_CHECK, END_OF_DATA),
                (None, false) => Check::new(key::NO_SENSE, BEGINNING).end_of_medium(),
            };
            return Err(check.information(left));
        }
        GOOD
    }

    /// Goes over one object in the direction of `count` and says what it was.
    fn step(&mut self, count: i64) -> Result<Option<Object>, Check> {
        let objects = self.loaded()?.medium.objects();
        let over = if count > 0 { Some(self.position) } else { self.position.checked_sub(1) };
        let object = over.and_then(|over| objects.get(over)).copied();
        if object.is_some() {
            self.position = if count > 0 { self.position + 1 } else { self.position - 1 };
        }
        Ok(object)
    }

    /// LOCATE(10) and LOCATE(16).
    pub(super) fn locate(&mut self, cdb: &[u8]) -> Done {
        let to = match field(cdb, 0) {
            0x92 => field_64(cdb, 4),
            _ => field_32(cdb, 3).into(),
        };
        let end = self.loaded()?.medium.objects().len();
        self.position = usize::try_from(to).unwrap_or(usize::MAX).min(end);
        if to > end as u64 {
            return Err(Check::new(key::BLANK_CHECK, END_OF_DATA));
        }
        GOOD
    }

    /// READ POSITION: short, long and extended form (SSC-4 7.7).
    pub(super) fn read_position(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let cassette = self.loaded()?;
        let told = match self.quirks.positions {
            Positions::True => self.position,
            Positions::AlwaysZero => 0,
        };
        let warned = cassette.medium.room_at(self.position) != Room::Enough;
        let flags = u8::from(told == 0) << 7 | u8::from(warned) << 6;
        let mut page = vec![flags];
        match field(cdb, 1) & 0x1f {
            0x00 => {
                page.resize(20, 0);
                let address = (told as u32).to_be_bytes();
                page[4..8].copy_from_slice(&address);
                page[8..12].copy_from_slice(&address);
            }
            0x06 => {
                page.resize(32, 0);
                let before = &cassette.medium.objects()[..self.position];
                let files = before.iter().filter(|object| matches!(object, Object::Filemark { .. })).count();
                page[8..16].copy_from_slice(&(told as u64).to_be_bytes());
                page[16..24].copy_from_slice(&(files as u64).to_be_bytes());
            }
            0x08 => {
                page.resize(32, 0);
                page[3] = 0x1c;
                page[8..16].copy_from_slice(&(told as u64).to_be_bytes());
                page[16..24].copy_from_slice(&(told as u64).to_be_bytes());
            }
            _ => return Err(Check::illegal(INVALID_FIELD)),
        }
        give(data, &page, page.len())
    }
}
