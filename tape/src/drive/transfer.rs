//! Reading and writing.

use super::{BlockMode, Drive, Erasure, Performed, ReadOutcome, Support, Whence, WriteOutcome};
use crate::TapeError;
use crate::scsi::cdb::{self, Cdb};
use crate::scsi::{Answer, Data, Sense, key};

impl Drive {
    /// Reads one block into `buffer`.
    pub fn read_block(&mut self, buffer: &mut [u8]) -> Result<ReadOutcome, TapeError> {
        self.require_position()?;
        let len = buffer.len();
        let command = match self.blocks {
            BlockMode::Fixed(block_len) if block_len as usize == len => cdb::read_fixed(1),
            _ => cdb::read(len as u32),
        };
        let answer = self.device.run(&command, Data::In(buffer))?;
        self.whence = Whence::Beyond;
        match answer {
            // Without a remark on its length a block has the length asked for (SSC-4 6.5), whatever the residual claims.
            Answer::Good { .. } => Ok(ReadOutcome::Block(len)),
            Answer::Check { sense, .. } if sense.is_end_of_data() => Ok(ReadOutcome::EndOfData),
            Answer::Check { sense, .. } if sense.filemark => Ok(ReadOutcome::Filemark),
            Answer::Check { sense, transferred } if sense.is_done() => {
                Ok(read_length(&sense, len, transferred))
            }
            Answer::Check { sense, .. } => Err(self.device.sense_error(&command, sense)),
        }
    }

    /// Writes one block at the position; whatever lay behind it is gone. Before the first block on a cartridge it's
    /// made sure that this is one to write on.
    pub fn write_block(&mut self, block: &[u8]) -> Result<WriteOutcome, TapeError> {
        self.require_writable()?;
        let command = match self.blocks {
            BlockMode::Fixed(block_len) if block_len as usize == block.len() => cdb::write_fixed(1),
            _ => cdb::write(block.len() as u32),
        };
        let answer = self.device.run(&command, Data::Out(block))?;
        self.whence = Whence::Beyond;
        self.written(&command, answer)
    }

    /// Writes `count` filemarks. Returns when they, and all before them, are on the medium.
    pub fn write_filemarks(&mut self, count: u8) -> Result<WriteOutcome, TapeError> {
        if count > 0 {
            self.require_writable()?;
        } else {
            self.report_deferred()?;
            self.require_position()?;
        }
        let mut command = cdb::write_filemarks(count);
        let mut answer = self.device.run(&command, Data::None)?;
        if is_unknown(&answer) {
            command = cdb::write_filemarks_16(count);
            answer = self.device.run(&command, Data::None)?;
            self.features.write_filemarks_16 = Support::of(!is_unknown(&answer));
        }
        if count > 0 {
            self.whence = Whence::Beyond;
        }
        let outcome = self.written(&command, answer)?;
        self.report_deferred()?;
        Ok(outcome)
    }

    /// Returns when all that was written is on the medium. An error of an earlier write that came late is told here at
    /// the latest.
    pub fn synchronize(&mut self) -> Result<(), TapeError> {
        self.write_filemarks(0).map(drop)
    }

    /// Erases from the position on.
    pub fn erase(&mut self, erasure: Erasure) -> Result<Performed, TapeError> {
        self.require_writable()?;
        let command = cdb::erase(erasure == Erasure::Whole);
        let known = self.device.done_if_known(&command, Data::None)?;
        self.features.erase = Support::of(known.is_some());
        Ok(Performed::from_known(known))
    }

    /// Refuses cartridges that mustn't be written, positions that aren't known, and to go on after a late error.
    fn require_writable(&mut self) -> Result<(), TapeError> {
        self.report_deferred()?;
        self.require_position()?;
        if self.writable != Some(self.device.upsets()) {
            self.check_writable()?;
            self.require_position()?;
            self.writable = Some(self.device.upsets());
        }
        Ok(())
    }

    fn report_deferred(&mut self) -> Result<(), TapeError> {
        match self.device.take_deferred() {
            Some(sense) => Err(self.device.sense_error(&cdb::write(0), sense)),
            None => Ok(()),
        }
    }

    fn written(&mut self, command: &Cdb, answer: Answer) -> Result<WriteOutcome, TapeError> {
        let Answer::Check { sense, .. } = answer else { return Ok(WriteOutcome::Written) };
        if sense.deferred {
            // This is its telling.
            self.device.take_deferred();
            return Err(self.device.sense_error(command, sense));
        }
        match sense.key {
            key::VOLUME_OVERFLOW => Err(TapeError::CartridgeFull),
            key::DATA_PROTECT if sense.asc == 0x27 => Err(TapeError::WriteProtected),
            _ if sense.is_done() && sense.end_of_medium => Ok(WriteOutcome::EarlyWarning),
            _ if sense.is_done() => Ok(WriteOutcome::Written),
            _ if sense.is_write_once() || sense.is_incompatible() || sense.is_cleaning_cartridge() => {
                Err(self.refusal(sense))
            }
            _ => Err(self.device.sense_error(command, sense)),
        }
    }
}

fn is_unknown(answer: &Answer) -> bool {
    matches!(answer, Answer::Check { sense, .. } if sense.is_unsupported())
}

/// The length of a block that isn't `len` long: the INFORMATION field is what was asked for less what is there.
fn read_length(sense: &Sense, len: usize, transferred: usize) -> ReadOutcome {
    match sense.information {
        Some(less) if sense.wrong_length && less < 0 => ReadOutcome::TooLong,
        Some(less) if sense.wrong_length => {
            ReadOutcome::Block(len.saturating_sub(usize::try_from(less).unwrap_or(len)))
        }
        _ => ReadOutcome::Block(transferred),
    }
}
