//! What is to go wrong in a simulated library: a plan kept in its directory as `faults.json`, so that a library which
//! another program serves as kernel devices obeys it too.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::TapeError;

/// Which device something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultDevice {
    Changer,
    /// By number, from 0.
    Drive(u16),
}

/// When, in the course of a command, the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutPoint {
    Before,
    /// A block half written, a cartridge in the robot's hand.
    Halfway,
    /// Done, and not answered.
    After,
}

/// Whether a command was carried out before its answer went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carried {
    NotOut,
    Out,
}

/// Sense to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSense {
    pub key: u8,
    pub asc: u8,
    pub ascq: u8,
    /// With the end-of-medium bit.
    #[serde(default)]
    pub end_of_medium: bool,
    /// As about an earlier command.
    #[serde(default)]
    pub deferred: bool,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfortune {
    Sense {
        sense: FaultSense,
        carried: Carried,
    },
    /// Sense after the robot took the cartridge, which stays in its hand.
    StuckInHand(FaultSense),
    /// No answer until the timeout: host status 3 over a status that looks good.
    Hang(Carried),
    /// The device isn't there any more.
    Gone,
    /// Another SCSI status than good, such as busy (08h) or reservation conflict (18h).
    Status(u8),
    /// All devices fall silent until the library is opened again.
    PowerCut {
        at: CutPoint,
        /// Whether blocks written since the last synchronize are on the medium.
        buffered: Carried,
    },
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub device: FaultDevice,
    /// The operation code it waits for; `None` is any but INQUIRY.
    pub opcode: Option<u8>,
    /// So many such commands go well before.
    pub after: u32,
    /// So many such commands meet it; [`Fault::FOREVER`] is all.
    pub times: u32,
    pub what: Misfortune,
}

impl Fault {
    pub const FOREVER: u32 = u32::MAX;

    /// Meets the next command with this operation code, once.
    pub fn next(device: FaultDevice, opcode: u8, what: Misfortune) -> Fault {
        Fault { device, opcode: Some(opcode), after: 0, times: 1, what }
    }

    pub fn after(self, after: u32) -> Fault {
        Fault { after, ..self }
    }

    pub fn times(self, times: u32) -> Fault {
        Fault { times, ..self }
    }
}

impl Misfortune {
    /// The command isn't carried out and answered with this sense.
    pub fn sense(key: u8, asc: u8, ascq: u8) -> Misfortune {
        let sense = FaultSense { key, asc, ascq, end_of_medium: false, deferred: false };
        Misfortune::Sense { sense, carried: Carried::NotOut }
    }

    /// As [`Misfortune::sense`], about an earlier command.
    pub fn deferred(key: u8, asc: u8, ascq: u8) -> Misfortune {
        let sense = FaultSense { key, asc, ascq, end_of_medium: false, deferred: true };
        Misfortune::Sense { sense, carried: Carried::NotOut }
    }

    pub fn power_cut(at: CutPoint) -> Misfortune {
        Misfortune::PowerCut { at, buffered: Carried::Out }
    }
}

/// A TapeAlert flag a drive raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaisedAlert {
    pub drive: u16,
    /// 1 to 64.
    pub flag: u8,
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultPlan {
    pub faults: Vec<Fault>,
    /// Until they're read.
    pub alerts: Vec<RaisedAlert>,
    /// The robot stands still until it's closed.
    pub door_open: bool,
}

impl FaultPlan {
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("faults.json")
    }

    /// The plan of the library in `dir`; an empty one if there is none.
    pub fn read(dir: &Path) -> Result<FaultPlan, TapeError> {
        let path = FaultPlan::path(dir);
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(FaultPlan::default()),
            Err(error) => Err(TapeError::simulator("read", &path)(error)),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                TapeError::Shape(format!(
                    "{} is no plan of faults ({error}): correct or delete it",
                    path.display()
                ))
            }),
        }
    }

    /// Replaces the plan of the library in `dir`, whoever serves it.
    pub fn write(&self, dir: &Path) -> Result<(), TapeError> {
        let path = FaultPlan::path(dir);
        let new = dir.join("faults.json.new");
        let write = || -> std::io::Result<()> {
            fs::write(&new, serde_json::to_vec_pretty(self)?)?;
            fs::rename(&new, &path)
        };
        write().map_err(TapeError::simulator("replace", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_kept_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(FaultPlan::read(dir.path()).unwrap(), FaultPlan::default());
        let cut = Misfortune::PowerCut { at: CutPoint::Halfway, buffered: Carried::NotOut };
        let plan = FaultPlan {
            faults: vec![
                Fault::next(FaultDevice::Drive(1), 0x0a, cut).after(7),
                Fault::next(FaultDevice::Changer, 0xa5, Misfortune::sense(4, 0x15, 1)).times(Fault::FOREVER),
            ],
            alerts: vec![RaisedAlert { drive: 0, flag: 0x14 }],
            door_open: true,
        };
        plan.write(dir.path()).unwrap();
        assert_eq!(FaultPlan::read(dir.path()).unwrap(), plan);
        fs::write(FaultPlan::path(dir.path()), "{\"fault\":[]}").unwrap();
        assert!(FaultPlan::read(dir.path()).is_err());
    }
}
