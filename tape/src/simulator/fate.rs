//! Has the plan of faults happen: stands before every command of every device.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::fault::{Carried, CutPoint, Fault, FaultDevice, FaultPlan, FaultSense, Misfortune, RaisedAlert};
use super::locked;
use super::reply::{Check, Done, reply};
use crate::TapeError;
use crate::scsi::{Data, ScsiReply};

/// Linux: the command took longer than its timeout.
const DID_TIME_OUT: u16 = 0x03;

/// A simulated device, as far as misfortune needs to know.
pub(super) trait Machine {
    fn execute(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done;
    /// Stops in the middle of a command.
    fn execute_half(&mut self, cdb: &[u8], data: &mut Data<'_>);
    /// Forgets what was written and isn't on the medium.
    fn lose_buffer(&mut self);
}

/// The plan as it stands, and whether there is power.
#[derive(Debug)]
pub(super) struct Fate {
    dir: PathBuf,
    plan: FaultPlan,
    /// Of the file the plan was read from.
    seen: Option<(SystemTime, u64)>,
    power: Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    On,
    Off,
}

impl Fate {
    pub(super) fn open(dir: &Path) -> Result<Fate, TapeError> {
        let plan = FaultPlan::read(dir)?;
        Ok(Fate { dir: dir.to_owned(), plan, seen: stamp(dir), power: Power::On })
    }

    pub(super) fn plan(&mut self) -> &FaultPlan {
        self.refresh();
        &self.plan
    }

    pub(super) fn change(&mut self, edit: impl FnOnce(&mut FaultPlan)) -> Result<(), TapeError> {
        self.refresh();
        edit(&mut self.plan);
        self.save()
    }

    pub(super) fn cut_power(&mut self) {
        self.power = Power::Off;
    }

    /// The flags a drive has raised, which are read once.
    pub(super) fn take_alerts(&mut self, drive: u16) -> Vec<u8> {
        self.refresh();
        let (taken, left): (Vec<RaisedAlert>, _) =
            self.plan.alerts.drain(..).partition(|one| one.drive == drive);
        self.plan.alerts = left;
        if !taken.is_empty() {
            self.save_quietly();
        }
        taken.into_iter().map(|one| one.flag).collect()
    }

    /// What happens to this command.
    fn strike(&mut self, device: FaultDevice, opcode: u8) -> io::Result<Option<Misfortune>> {
        const INQUIRY: u8 = 0x12;
        if self.power == Power::Off {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.refresh();
        let mut struck = None;
        for fault in &mut self.plan.faults {
            let meant = fault.opcode.map_or(opcode != INQUIRY, |wanted| wanted == opcode);
            if fault.device != device || !meant || struck.is_some() {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            if fault.times != Fault::FOREVER {
                fault.times = fault.times.saturating_sub(1);
            }
            struck = Some(fault.what);
        }
        if struck.is_some() {
            self.plan.faults.retain(|fault| fault.times > 0);
            self.save_quietly();
        }
        Ok(struck)
    }

    /// Somebody else may have replaced the plan.
    fn refresh(&mut self) {
        let stamp = stamp(&self.dir);
        if stamp == self.seen {
            return;
        }
        self.seen = stamp;
        match FaultPlan::read(&self.dir) {
            Ok(plan) => self.plan = plan,
            Err(error) => tracing::error!(%error, "the plan of faults stays as it was"),
        }
    }

    fn save(&mut self) -> Result<(), TapeError> {
        self.plan.write(&self.dir)?;
        self.seen = stamp(&self.dir);
        Ok(())
    }

    fn save_quietly(&mut self) {
        if let Err(error) = self.save() {
            tracing::error!(%error, "a fault that happened stays in the plan");
        }
    }
}

fn stamp(dir: &Path) -> Option<(SystemTime, u64)> {
    let found = fs::metadata(FaultPlan::path(dir)).ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// One command to a machine, with what fate has in store for it.
pub(super) fn execute(
    fate: &Arc<Mutex<Fate>>,
    device: FaultDevice,
    machine: &mut dyn Machine,
    cdb: &[u8],
    mut data: Data<'_>,
) -> io::Result<ScsiReply> {
    let len = data.len();
    let opcode = cdb.first().copied().unwrap_or(0);
    let struck = locked(fate).strike(device, opcode)?;
    let Some(misfortune) = struck else { return Ok(reply(machine.execute(cdb, &mut data), len)) };
    tracing::info!(?device, opcode, ?misfortune, "simulated misfortune");
    let mut carry = |carried: Carried| {
        if carried == Carried::Out {
            // What it would have answered is what goes wrong.
            let _ = machine.execute(cdb, &mut data);
        }
    };
    match misfortune {
        Misfortune::Sense { sense, carried } => {
            carry(carried);
            Ok(check(sense).reply(len))
        }
        Misfortune::StuckInHand(sense) => {
            machine.execute_half(cdb, &mut data);
            Ok(check(sense).reply(len))
        }
        Misfortune::Hang(carried) => {
            carry(carried);
            Ok(ScsiReply { host_status: DID_TIME_OUT, ..ScsiReply::default() })
        }
        Misfortune::Gone => Err(io::Error::from_raw_os_error(libc::ENXIO)),
        Misfortune::Status(status) => Ok(ScsiReply { status, ..ScsiReply::default() }),
        Misfortune::PowerCut { at, buffered } => {
            match at {
                CutPoint::Before => {}
                CutPoint::Halfway => machine.execute_half(cdb, &mut data),
                CutPoint::After => carry(Carried::Out),
            }
            if buffered == Carried::NotOut {
                machine.lose_buffer();
            }
            locked(fate).cut_power();
            Err(io::ErrorKind::NotConnected.into())
        }
    }
}

fn check(sense: FaultSense) -> Check {
    let check = Check::new(sense.key, (sense.asc, sense.ascq));
    let check = if sense.end_of_medium { check.end_of_medium() } else { check };
    if sense.deferred { check.deferred() } else { check }
}
