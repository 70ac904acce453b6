//! Getting a cartridge ready, and letting go of it.

use coffer_format::container::BLOCK_LEN;

use super::{BlockMode, Drive, Performed, Support, Whence};
use crate::TapeError;
use crate::scsi::cdb::{self, Removal};
use crate::scsi::{
    Answer, BlockLimits, Data, ModeParameters, Patience, READY_MS, Readiness, Sense, VAGUE_MS, compression,
};

/// A drive that shows no cartridge this long after the robot brought one is told to load it.
const GRAB_MS: u64 = 10_000;
/// So is one that is still loading after this long: loading takes 12 to 17 s, LTO-9's first load up to two hours.
const LOADING_MS: u64 = 120_000;
/// After being told, a drive that still shows no cartridge is believed.
const NO_MEDIUM_MS: u64 = 60_000;

impl Drive {
    /// Waits for the cartridge, then sets the drive up for blocks of any length up to ours, and rewinds.
    pub fn prepare(&mut self) -> Result<(), TapeError> {
        self.forget_cartridge();
        self.wait_loaded()?;
        self.device.forget_new_medium();
        self.check_block_limits()?;
        self.set_blocks()?;
        self.rewind()
    }

    /// Loads the cartridge that lies in the drive, as after an unload.
    pub fn load(&mut self) -> Result<(), TapeError> {
        self.ask_to_load()?;
        self.prepare()
    }

    /// Unthreads the tape. Rewind first: winding and unloading in one go can exceed a drive's own limits.
    pub fn unload(&mut self) -> Result<(), TapeError> {
        let unloaded = self.device.done_if_known(&cdb::unload(), Data::None)?;
        if unloaded.is_none() {
            tracing::info!(drive = self.name(), "no UNLOAD: the robot takes the cartridge as it is");
        }
        self.forget_cartridge();
        Ok(())
    }

    /// Keeps a person from taking the cartridge out by the drive's button.
    pub fn lock_removal(&mut self, removal: Removal) -> Result<Performed, TapeError> {
        let known = self.device.done_if_known(&cdb::prevent_allow_removal(removal), Data::None)?;
        self.features.removal_lock = Support::of(known.is_some());
        Ok(Performed::from_known(known))
    }

    /// Whether the drive itself compresses; nothing on a drive that can't tell or be told.
    pub fn set_compression(&mut self, enabled: bool) -> Result<Performed, TapeError> {
        let parameters = self.device.mode_parameters(compression::PAGE)?;
        let page = parameters.as_ref().and_then(|found| found.page_of(compression::PAGE));
        let capable = page.and_then(compression::state).is_some_and(|(capable, _)| capable);
        self.features.compression.learn(capable);
        let Some(page) = page.filter(|_| capable) else { return Ok(Performed::Unsupported) };
        let mut parameters = vec![0, 0, 0x10, 0];
        parameters.extend(compression::with(page, enabled));
        let command = cdb::mode_select(parameters.len() as u8);
        let known = self.device.done_if_known(&command, Data::Out(&parameters))?;
        Ok(Performed::from_known(known))
    }

    /// Whether the drive compresses; `None` if it can't tell.
    pub fn compression(&mut self) -> Result<Option<bool>, TapeError> {
        let parameters = self.device.mode_parameters(compression::PAGE)?;
        let state = parameters.as_ref().and_then(|found| found.page_of(compression::PAGE));
        let state = state.and_then(compression::state);
        self.features.compression.learn(state.is_some());
        Ok(state.map(|(_, enabled)| enabled))
    }

    /// Mode parameters without regard to any page.
    pub(super) fn mode_header(&mut self) -> Result<Option<ModeParameters>, TapeError> {
        let with_page = self.device.mode_parameters(compression::PAGE)?;
        match with_page {
            Some(found) => Ok(Some(found)),
            // Page 00h, vendor specific, is answered by all that know MODE SENSE at all.
            None => self.device.mode_parameters(0),
        }
    }

    /// Waits until the cartridge the robot brought can be used. A drive that seems to wait itself is told to load.
    pub(crate) fn wait_loaded(&mut self) -> Result<(), TapeError> {
        let (mut patience, mut told_at) = (Patience::default(), None);
        loop {
            let (tell_ms, limit_ms, error) = match self.device.readiness()? {
                Readiness::Ready => return Ok(()),
                Readiness::NoMedium => (GRAB_MS, NO_MEDIUM_MS, self.no_medium()),
                Readiness::Becoming(sense) if sense.is_vaguely_not_ready() => {
                    (GRAB_MS, VAGUE_MS, self.never())
                }
                Readiness::Becoming(_) => (LOADING_MS, READY_MS, self.never()),
                Readiness::Failed(sense) => return Err(self.refusal(sense)),
            };
            if told_at.is_none() && patience.waited_ms >= tell_ms {
                told_at = Some(patience.waited_ms);
                self.ask_to_load()?;
            }
            if told_at.is_some_and(|told_at| patience.waited_ms >= told_at + limit_ms) {
                return Err(error);
            }
            self.device.pause(&mut patience);
        }
    }

    /// LOAD, for drives that wait for it; what comes of it is seen by asking.
    pub(crate) fn ask_to_load(&mut self) -> Result<(), TapeError> {
        match self.device.run(&cdb::load(), Data::None)? {
            Answer::Check { sense, .. } if !sense.is_done() => {
                tracing::info!(drive = self.name(), %sense, "not loaded by being told");
            }
            _ => {}
        }
        Ok(())
    }

    /// Why a cartridge can't be used.
    pub(super) fn refusal(&self, sense: Sense) -> TapeError {
        let device = self.name().to_owned();
        match sense {
            _ if sense.is_no_medium() => TapeError::NoMedium { device },
            _ if sense.is_cleaning_cartridge() => TapeError::CleaningInDrive { device },
            _ if sense.is_write_once() => TapeError::WriteOnce,
            _ if sense.is_incompatible() => TapeError::Incompatible { device, sense },
            _ => self.device.sense_error(&cdb::test_unit_ready(), sense),
        }
    }

    fn no_medium(&self) -> TapeError {
        TapeError::NoMedium { device: self.name().to_owned() }
    }

    fn never(&self) -> TapeError {
        TapeError::NeverReady { device: self.name().to_owned() }
    }

    fn forget_cartridge(&mut self) {
        self.device.retell_deferred();
        (self.settled, self.writable) = (None, None);
        self.whence = Whence::Anywhere;
    }

    fn check_block_limits(&mut self) -> Result<(), TapeError> {
        let page = self.device.ask(&cdb::read_block_limits(), BlockLimits::LEN)?;
        self.features.block_limits = Support::of(page.is_some());
        let Some(page) = page else { return Ok(()) };
        let limits = BlockLimits::decode(&page).map_err(|source| self.page_error(source))?;
        if limits.longest != 0 && (limits.longest as usize) < BLOCK_LEN {
            return Err(TapeError::BlocksTooShort {
                device: self.name().to_owned(),
                longest: limits.longest,
                needed: BLOCK_LEN as u32,
            });
        }
        Ok(())
    }

    /// Blocks of any length; on a drive that has only fixed ones, of ours.
    fn set_blocks(&mut self) -> Result<(), TapeError> {
        if self.select_block_len(0)? == Performed::Done {
            self.features.variable_blocks = Support::Yes;
            self.blocks = BlockMode::Variable;
            return Ok(());
        }
        self.features.variable_blocks = Support::No;
        tracing::warn!(drive = self.name(), "no blocks of variable length: all are written at one length");
        match self.select_block_len(BLOCK_LEN as u32)? {
            Performed::Done => self.blocks = BlockMode::Fixed(BLOCK_LEN as u32),
            // A drive without MODE SELECT may still do as asked: each block read is checked in every byte.
            Performed::Unsupported => self.blocks = BlockMode::Variable,
        }
        Ok(())
    }

    /// Has all blocks be of one length in bytes, until the next cartridge; 0 is any length.
    pub fn set_block_len(&mut self, block_len: u32) -> Result<Performed, TapeError> {
        let performed = self.select_block_len(block_len)?;
        if performed == Performed::Done {
            self.blocks = if block_len == 0 { BlockMode::Variable } else { BlockMode::Fixed(block_len) };
        }
        Ok(performed)
    }

    fn select_block_len(&mut self, block_len: u32) -> Result<Performed, TapeError> {
        // Header (4): buffered mode 1. Block descriptor (8): default density, block length
        // (SPC-4 7.5.6, SSC-4 8.3.1).
        let [_, a, b, c] = block_len.to_be_bytes();
        let six = [0, 0, 0x10, 8, 0, 0, 0, 0, 0, a, b, c];
        let done = self.device.done_if_known(&cdb::mode_select(six.len() as u8), Data::Out(&six))?;
        if done.is_some() {
            return Ok(Performed::Done);
        }
        let ten = [0, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0, 0, 0, a, b, c];
        let done = self.device.done_if_known(&cdb::mode_select_10(ten.len() as u16), Data::Out(&ten))?;
        Ok(Performed::from_known(done))
    }
}
