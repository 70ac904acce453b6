//! Writing.

use std::io;

use super::Deck;
use crate::scsi::{Data, key};
use crate::simulator::medium::Room;
use crate::simulator::quirks::EndWarning;
use crate::simulator::reply::{
    Check, Done, END_OF_MEDIUM, GOOD, INVALID_FIELD, WRITE_ERROR, failed, field, field_24,
};

impl Deck {
    /// WRITE(6), of variable length or in blocks of the length set.
    pub(super) fn write(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let Data::Out(buffer) = data else { return Err(Check::illegal(INVALID_FIELD)) };
        let asked = field_24(cdb, 2) as usize;
        let fixed = field(cdb, 1) & 1 != 0;
        let block_len = if fixed { self.block_len as usize } else { asked };
        let len = if fixed { asked.saturating_mul(block_len) } else { asked };
        if (fixed && block_len == 0) || len > buffer.len() {
            return Err(Check::illegal(INVALID_FIELD));
        }
        if len == 0 {
            return GOOD;
        }
        let mut done = GOOD;
        for (number, block) in buffer[..len].chunks(block_len).enumerate() {
            let unwritten = if fixed { (asked - number) as i64 } else { asked as i64 };
            done = self.write_one(block, unwritten);
            if done.is_err_and(|check| !check.is_remark()) {
                return done;
            }
        }
        done
    }

    /// WRITE FILEMARKS(6) and (16); without IMMED everything before it is on the medium when it's answered.
    pub(super) fn write_filemarks(&mut self, cdb: &[u8]) -> Done {
        let count = if field(cdb, 0) == 0x80 { field_24(cdb, 12) } else { field_24(cdb, 2) };
        let immediate = field(cdb, 1) & 1 != 0;
        let mut done = GOOD;
        for written in 0..count {
            let position = self.position;
            let room = self.writable()?.write_filemark(position);
            done = self.wrote(room, i64::from(count - written));
            if done.is_err_and(|check| !check.is_remark()) {
                return done;
            }
        }
        if !immediate {
            self.sync()?;
        }
        done
    }

    /// ERASE(6): nothing is left behind the position.
    pub(super) fn erase(&mut self) -> Done {
        let position = self.position;
        let erased = self.writable()?.erase(position);
        erased.map_err(|error| failed(&error))?;
        self.sync()?;
        GOOD
    }

    fn sync(&mut self) -> Result<(), Check> {
        self.loaded()?;
        let synced = self.cassette.as_mut().map(|cassette| cassette.medium.sync());
        synced.unwrap_or(Ok(())).map_err(|error| failed(&error))
    }

    fn write_one(&mut self, block: &[u8], unwritten: i64) -> Done {
        let position = self.position;
        self.writable()?;
        if self.loaded()?.state.bad_blocks.contains(&(position as u64)) {
            self.medium_errors += 1;
            return Err(Check::new(key::MEDIUM_ERROR, WRITE_ERROR).information(unwritten));
        }
        let room = self.writable()?.write_block(position, block);
        self.wrote(room, unwritten)
    }

    fn wrote(&mut self, room: io::Result<Room>, unwritten: i64) -> Done {
        let room = room.map_err(|error| failed(&error))?;
        if room == Room::None {
            return Err(Check::new(key::VOLUME_OVERFLOW, END_OF_MEDIUM)
                .end_of_medium()
                .information(unwritten));
        }
        self.position += 1;
        self.blocks_written += 1;
        match room {
            Room::Little if self.quirks.end_warning == EndWarning::Endless => {
                Err(Check::new(key::NO_SENSE, (0, 0)).end_of_medium().information(0))
            }
            Room::Little => Err(Check::new(key::NO_SENSE, END_OF_MEDIUM).end_of_medium().information(0)),
            _ => GOOD,
        }
    }
}
