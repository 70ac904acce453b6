//! Asking for everything once, without harm to a cartridge or its position.

use super::{Drive, DriveFeatures, Support};
use crate::TapeError;
use crate::scsi::cdb::{self, Cdb, PositionForm, Removal, SpaceUnit};
use crate::scsi::{Answer, Data, key};

impl Drive {
    /// Finds out what the drive can do, as far as it can be asked in its present state. With a cartridge in it, the tape
    /// should stand in a known place, and isn't moved.
    pub fn probe(&mut self) -> Result<DriveFeatures, TapeError> {
        let listed = self.device.lists(&cdb::test_unit_ready())?;
        self.features.opcode_list = Support::of(listed.is_some());
        self.generation()?;
        self.encryption()?;
        self.holders()?;
        self.compression()?;
        self.health_features()?;
        self.lock_removal(Removal::Allow)?;
        if self.require_position().is_ok() {
            self.probe_with_cartridge()?;
        }
        Ok(self.features)
    }

    fn probe_with_cartridge(&mut self) -> Result<(), TapeError> {
        self.medium()?;
        self.features.position_long = Support::of(self.position_by(PositionForm::Long)?.is_some());
        self.features.position_extended = Support::of(self.position_by(PositionForm::Extended)?.is_some());
        // Nothing is wound, and nothing is written but what was written before.
        self.features.space_16 = self.ask_once(&cdb::space_16(SpaceUnit::Blocks, 0))?;
        self.features.write_filemarks_16 = self.ask_once(&cdb::write_filemarks_16(0))?;
        if let Some(at) = self.position()? {
            self.features.locate_16 = self.ask_once(&cdb::locate_16(at.0))?;
        }
        Ok(())
    }

    /// The pages that tell of health, without telling any alert away.
    fn health_features(&mut self) -> Result<(), TapeError> {
        let noted = self.health()?;
        self.alerts = noted.alerts;
        Ok(())
    }

    fn ask_once(&mut self, command: &Cdb) -> Result<Support, TapeError> {
        if self.device.lists(command)? == Some(false) {
            return Ok(Support::No);
        }
        match self.device.run(command, Data::None)? {
            Answer::Check { sense, .. } if sense.is_unsupported() => Ok(Support::No),
            Answer::Check { sense, .. } if sense.key == key::DATA_PROTECT => Ok(Support::Yes),
            Answer::Check { sense, .. } if !sense.is_done() => Err(self.device.sense_error(command, sense)),
            _ => Ok(Support::Yes),
        }
    }
}
