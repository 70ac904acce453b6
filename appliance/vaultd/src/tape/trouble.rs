//! What stops a tape run, and whose fault it is.

use coffer_tape::TapeError;
use coffer_tape::scsi::key;
use coffer_vault::VaultError;
use thiserror::Error;

use super::failed;

/// Why a run can't go on.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Tape(#[from] TapeError),
}

impl Trouble {
    /// A device wasn't reached: it may have come back under the same name.
    pub(super) fn is_of_the_line(&self) -> bool {
        matches!(self, Trouble::Tape(TapeError::Transport { .. } | TapeError::Link { .. }))
    }
}

impl From<Trouble> for VaultError {
    fn from(trouble: Trouble) -> VaultError {
        match trouble {
            Trouble::Vault(error) => error,
            Trouble::Tape(error) => failed(error),
        }
    }
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Cartridge,
    Drive,
    /// The robot, or something that nothing here can mend.
    Library,
}

/// The device that an error is of.
pub(super) fn device_of(error: &TapeError) -> Option<&str> {
    use TapeError::*;
    match error {
        Transport { device, .. }
        | Link { device, .. }
        | Status { device, .. }
        | Sense { device, .. }
        | NeverReady { device }
        | BlocksTooShort { device, .. }
        | Page { device, .. }
        | Reserved { device }
        | NoMedium { device }
        | PositionLost { device } => Some(device),
        _ => None,
    }
}

/// What an error that came while a cartridge was in a drive says against. `changer` is the robot's device.
pub(super) fn fault(error: &TapeError, changer: &str) -> Fault {
    use TapeError::*;
    match error {
        Damaged { .. }
        | WrongBytes { .. }
        | LostEnd(_)
        | WriteProtected
        | NotLabelled
        | NotBlank
        | WrongCartridge { .. }
        | AlreadyLabelled(_)
        | WriteOnce
        | WrongGeneration { .. }
        | Incompatible { .. } => Fault::Cartridge,
        Transport { device, .. } | Link { device, .. } | Status { device, .. } | Sense { device, .. }
            if device == changer =>
        {
            Fault::Library
        }
        Sense { sense, .. } if sense.key == key::MEDIUM_ERROR || sense.key == key::BLANK_CHECK => {
            Fault::Cartridge
        }
        Sense { sense, .. } if sense.key == key::DATA_PROTECT => Fault::Cartridge,
        Transport { .. }
        | Link { .. }
        | Status { .. }
        | Sense { .. }
        | NeverReady { .. }
        | BlocksTooShort { .. }
        | Page { .. }
        | Reserved { .. }
        | NoMedium { .. }
        | PositionLost { .. } => Fault::Drive,
        _ => Fault::Library,
    }
}
