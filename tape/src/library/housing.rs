//! Which device is in which drive element.

use super::{Bay, Library};
use crate::TapeError;
use crate::scsi::{ElementStatus, Patience, Readiness};

/// Longest wait for a drive to show the cartridge it got: 20 minutes.
const FIND_MS: u64 = 20 * 60 * 1000;
/// After this long it may be waiting to be told to load.
const TELL_MS: u64 = 60_000;

impl Library {
    /// By the names the changer gives its drives.
    pub(super) fn house_by_name(&mut self, states: &[ElementStatus]) {
        for (index, state) in states.iter().enumerate() {
            let Some(id) = &state.device_id else { continue };
            if let Some(found) = self.homeless.iter().position(|drive| drive.is_called(id)) {
                self.house(index, found);
            }
        }
    }

    /// One place and one drive left over belong together.
    pub(super) fn house_by_elimination(&mut self) {
        let mut open = self.bays.iter().enumerate().filter(|(_, bay)| matches!(bay, Bay::Unknown));
        if let (Some((index, _)), None, 1) = (open.next(), open.next(), self.homeless.len()) {
            self.house(index, 0);
        }
    }

    /// Devices that could be the one a cartridge is about to be moved into.
    pub(super) fn empty_homeless(&mut self) -> Vec<String> {
        let mut empty = Vec::new();
        for drive in &mut self.homeless {
            // One that doesn't answer is no candidate.
            if matches!(drive.readiness(), Ok(Readiness::NoMedium)) {
                empty.push(drive.name().to_owned());
            }
        }
        empty
    }

    /// By which of `candidates` has a cartridge now and had none before. Those that may wait for it are told to load.
    pub(super) fn house_by_load(&mut self, index: usize, candidates: &[String]) -> Result<(), TapeError> {
        let (mut patience, mut told) = (Patience::default(), false);
        while patience.waited_ms < FIND_MS && !self.homeless.is_empty() {
            for at in 0..self.homeless.len() {
                let drive = &mut self.homeless[at];
                let is_candidate = candidates.iter().any(|name| name == drive.name());
                if is_candidate && drive.readiness().is_ok_and(|state| state != Readiness::NoMedium) {
                    self.house(index, at);
                    self.house_by_elimination();
                    return Ok(());
                }
            }
            if !told && patience.waited_ms >= TELL_MS {
                told = true;
                self.tell_to_load(candidates);
            }
            self.changer.device().pause(&mut patience);
        }
        Err(TapeError::UnknownDrive(self.elements[index]))
    }

    fn tell_to_load(&mut self, candidates: &[String]) {
        for drive in
            self.homeless.iter_mut().filter(|drive| candidates.iter().any(|name| name == drive.name()))
        {
            if let Err(error) = drive.ask_to_load() {
                tracing::warn!(%error, "a drive can't be told to load");
            }
        }
    }

    fn house(&mut self, index: usize, homeless: usize) {
        let drive = self.homeless.remove(homeless);
        tracing::info!(element = %self.elements[index], device = drive.name(), "drive found");
        self.bays[index] = Bay::Known(Box::new(drive));
    }
}
