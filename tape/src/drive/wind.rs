//! Winding, and knowing where one is.

use super::{BlockAddress, Drive, LocateOutcome, SpaceOutcome, Support, Whence};
use crate::TapeError;
use crate::scsi::cdb::{self, PositionForm, SPACE_6_COUNTS, SpaceUnit};
use crate::scsi::{Answer, Data, TapePosition, key};

impl Drive {
    /// Winds over `count` filemarks, negative is backward. Stands behind the last, or before it going backward.
    pub fn space_filemarks(&mut self, count: impl Into<i64>) -> Result<SpaceOutcome, TapeError> {
        self.space(SpaceUnit::Filemarks, count.into())
    }

    /// Winds over `count` blocks, negative is backward; a filemark ends it.
    pub fn space_blocks(&mut self, count: impl Into<i64>) -> Result<SpaceOutcome, TapeError> {
        self.space(SpaceUnit::Blocks, count.into())
    }

    /// Winds to where data ends.
    pub fn space_end(&mut self) -> Result<SpaceOutcome, TapeError> {
        let outcome = match self.space_once(SpaceUnit::EndOfData, 0)? {
            SpaceOutcome::EndOfData => SpaceOutcome::Done,
            other => other,
        };
        if outcome == SpaceOutcome::Done {
            self.settle(Whence::Anywhere);
        }
        Ok(outcome)
    }

    /// Goes to a block address.
    pub fn locate(&mut self, to: BlockAddress) -> Result<LocateOutcome, TapeError> {
        if self.features.locate == Support::No {
            return Ok(LocateOutcome::Unsupported);
        }
        let mut outcome = LocateOutcome::Unsupported;
        if let Ok(block) = u32::try_from(to.0) {
            outcome = self.locate_by(&cdb::locate(block), to)?;
        }
        if outcome == LocateOutcome::Unsupported && self.features.locate_16 != Support::No {
            outcome = self.locate_by(&cdb::locate_16(to.0), to)?;
            self.features.locate_16 = Support::of(outcome != LocateOutcome::Unsupported);
        }
        if outcome != LocateOutcome::Unsupported {
            self.features.locate = Support::Yes;
        } else if to.0 <= u64::from(u32::MAX) {
            tracing::warn!(drive = self.name(), "no LOCATE: going by filemarks, which takes longer");
            self.features.locate = Support::No;
        }
        Ok(outcome)
    }

    /// Where the tape stands; `None` if the drive can't tell or has told an untruth.
    pub fn position(&mut self) -> Result<Option<BlockAddress>, TapeError> {
        let Some(position) = self.ask_position()? else {
            self.features.position = Support::No;
            return Ok(None);
        };
        if self.whence == Whence::Beyond && position.block == Some(0) {
            tracing::warn!(
                drive = self.name(),
                "READ POSITION stays at 0: going by filemarks, which takes longer"
            );
            self.features.position = Support::No;
        }
        if self.features.position == Support::No {
            return Ok(None);
        }
        self.features.position = Support::Yes;
        Ok(position.block.map(BlockAddress))
    }

    /// Whether the drive says, unasked for a write, that it's past early warning.
    pub fn is_nearly_full(&mut self) -> Result<bool, TapeError> {
        Ok(self.ask_position()?.is_some_and(|position| position.past_early_warning))
    }

    pub fn rewind(&mut self) -> Result<(), TapeError> {
        match self.device.run(&cdb::rewind(), Data::None)? {
            Answer::Check { sense, .. } if !sense.is_done() => {
                let error = self.refusal(sense);
                return Err(match error {
                    TapeError::Sense { .. } => self.device.sense_error(&cdb::rewind(), sense),
                    other => other,
                });
            }
            _ => self.settle(Whence::Beginning),
        }
        Ok(())
    }

    /// One form of READ POSITION; `None` if the drive doesn't know it.
    pub(super) fn position_by(&mut self, form: PositionForm) -> Result<Option<TapePosition>, TapeError> {
        let command = cdb::read_position(form);
        let mut page = vec![0; form.answer_len()];
        match self.device.run(&command, Data::In(&mut page))? {
            Answer::Check { sense, .. } if sense.is_unsupported() => Ok(None),
            Answer::Check { sense, .. } if !sense.is_done() => Err(self.device.sense_error(&command, sense)),
            _ => TapePosition::decode(&page, form).map(Some).map_err(|source| self.page_error(source)),
        }
    }

    /// The short form, unless it can't hold the address or isn't known; then the long ones.
    fn ask_position(&mut self) -> Result<Option<TapePosition>, TapeError> {
        let short = self.position_by(PositionForm::Short)?;
        if short.is_some_and(|position| position.block.is_some()) {
            return Ok(short);
        }
        for form in [PositionForm::Long, PositionForm::Extended] {
            let support = match form {
                PositionForm::Extended => &mut self.features.position_extended,
                _ => &mut self.features.position_long,
            };
            if *support == Support::No {
                continue;
            }
            let found = self.position_by(form)?;
            match form {
                PositionForm::Extended => self.features.position_extended = Support::of(found.is_some()),
                _ => self.features.position_long = Support::of(found.is_some()),
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(short)
    }

    fn locate_by(&mut self, command: &cdb::Cdb, to: BlockAddress) -> Result<LocateOutcome, TapeError> {
        match self.device.run(command, Data::None)? {
            Answer::Check { sense, .. } if sense.is_unsupported() => Ok(LocateOutcome::Unsupported),
            Answer::Check { sense, .. } if sense.is_end_of_data() || sense.end_of_medium => {
                self.settle(Whence::Anywhere);
                Ok(LocateOutcome::EndOfData)
            }
            Answer::Check { sense, .. } if !sense.is_done() => Err(self.device.sense_error(command, sense)),
            _ => {
                self.settle(if to.0 == 0 { Whence::Beginning } else { Whence::Beyond });
                Ok(LocateOutcome::Done)
            }
        }
    }

    /// In as few commands as the drive's forms allow.
    fn space(&mut self, unit: SpaceUnit, count: i64) -> Result<SpaceOutcome, TapeError> {
        self.require_position()?;
        if !SPACE_6_COUNTS.contains(&count) && self.features.space_16 != Support::No {
            let outcome = self.space_by(&cdb::space_16(unit, count), count)?;
            self.features.space_16 = Support::of(outcome != SpaceOutcome::Unsupported);
            if outcome != SpaceOutcome::Unsupported {
                return Ok(outcome);
            }
        }
        let mut left = count;
        loop {
            let step = left.clamp(*SPACE_6_COUNTS.start(), *SPACE_6_COUNTS.end());
            let outcome = self.space_once(unit, step)?;
            left -= step;
            if left == 0 || outcome != SpaceOutcome::Done {
                return Ok(outcome);
            }
        }
    }

    /// SPACE(6), or where that isn't known SPACE(16).
    fn space_once(&mut self, unit: SpaceUnit, count: i64) -> Result<SpaceOutcome, TapeError> {
        let outcome = self.space_by(&cdb::space(unit, count), count)?;
        if outcome != SpaceOutcome::Unsupported || self.features.space_16 == Support::No {
            return Ok(outcome);
        }
        let outcome = self.space_by(&cdb::space_16(unit, count), count)?;
        if outcome != SpaceOutcome::Unsupported {
            self.features.space_16 = Support::Yes;
        }
        Ok(outcome)
    }

    fn space_by(&mut self, command: &cdb::Cdb, count: i64) -> Result<SpaceOutcome, TapeError> {
        let answer = self.device.run(command, Data::None)?;
        self.whence = if count > 0 { Whence::Beyond } else { Whence::Anywhere };
        let outcome = match answer {
            Answer::Good { .. } => SpaceOutcome::Done,
            Answer::Check { sense, .. } if sense.is_unsupported() => SpaceOutcome::Unsupported,
            Answer::Check { sense, .. } if sense.is_end_of_data() => SpaceOutcome::EndOfData,
            Answer::Check { sense, .. } if sense.filemark => SpaceOutcome::Filemark,
            Answer::Check { sense, .. } if sense.is_beginning_of_tape() && count < 0 => {
                SpaceOutcome::BeginningOfTape
            }
            Answer::Check { sense, .. } if sense.key == key::NO_SENSE || sense.is_done() => {
                SpaceOutcome::Done
            }
            Answer::Check { sense, .. } => return Err(self.device.sense_error(command, sense)),
        };
        match outcome {
            SpaceOutcome::BeginningOfTape => self.whence = Whence::Beginning,
            // Nothing lay before where it stands, for all that is known.
            SpaceOutcome::EndOfData | SpaceOutcome::Unsupported => self.whence = Whence::Anywhere,
            _ => {}
        }
        Ok(outcome)
    }
}
