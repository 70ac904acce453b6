//! Writing: pulls segments without a verified copy from the vault and puts them on cartridges.
//!
//! Nothing is queued. What is to be written is derived from the catalog at every run, so a restart, a lost tape or a new
//! set needs no special case.

use std::sync::Arc;

use coffer_format::container::Label;
use coffer_format::event::{CartridgeState, Event, Place};
use coffer_tape::container::{
    ContainerWriter, ExpectedHash, LabelPolicy, LabelState, PlannedSegment, label_cartridge, read_label,
};
use coffer_tape::{Barcode, DriveIndex, Library, TapeError};
use coffer_vault::copies::Cartridge;
use coffer_vault::{Reading, SegmentState, Vault, VaultError};
use serde::Serialize;
use serde_json::Value;

use super::segment_stream::SegmentStream;
use super::{TapeJob, failed, refused};

/// What a run wrote.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Written {
    pub segments: u64,
    pub bytes: u64,
    pub cartridges: Vec<String>,
    /// What couldn't be written, in sentences.
    pub refused: Vec<String>,
}
impl TapeJob {
    /// Writes everything that has no copy on tape, closing open segments first.
    pub(crate) fn run(
        &self,
        vault: &Arc<Vault>,
        working: &mut dyn FnMut(Value),
    ) -> Result<Written, VaultError> {
        let mut library = self.library()?;
        vault.roll()?;
        let mut written = Written::default();
        let mut tried = Vec::new();
        loop {
            let plan = waiting(vault.reading())?;
            if plan.is_empty() {
                return Ok(written);
            }
            let (barcode, drive) = self.next_cartridge(&mut library, vault, &tried)?;
            self.tell_moves(working);
            tried.push(barcode.clone());
            let before = written.refused.len();
            self.write_one(&mut library, drive, vault, &plan, &mut written)?;
            library.unload(drive).map_err(failed)?;
            self.tell_moves(working);
            written.cartridges.push(barcode.to_string());
            if written.refused.len() > before {
                return Ok(written);
            }
        }
    }

    /// Loads the cartridge to go on with: the one being filled, or a blank one that gets a label.
    fn next_cartridge(
        &self,
        library: &mut Library,
        vault: &Arc<Vault>,
        tried: &[Barcode],
    ) -> Result<(Barcode, DriveIndex), VaultError> {
        let known = vault.reading().cartridges()?;
        let inventory = library.inventory().map_err(failed)?;
        let state_of = |barcode: &Barcode| {
            known.iter().find(|one| one.barcode == barcode.as_str()).and_then(|one| one.state)
        };
        let mut candidates: Vec<Barcode> = inventory.barcodes();
        candidates.retain(|barcode| !barcode.is_cleaning() && !tried.contains(barcode));
        candidates.retain(|barcode| matches!(state_of(barcode), None | Some(CartridgeState::Filling)));
        candidates.sort_by_key(|barcode| (state_of(barcode).is_none(), barcode.clone()));
        for barcode in candidates {
            let drive = library.load(&barcode).map_err(failed)?;
            if self.is_usable(library, drive, vault, &barcode, &known)? {
                return Ok((barcode, drive));
            }
            library.unload(drive).map_err(failed)?;
        }
        Err(refused("no cartridge in the library can take more: put a blank tape in"))
    }

    /// Whether the loaded cartridge is ours to write on; a blank one becomes so.
    fn is_usable(
        &self,
        library: &mut Library,
        drive: DriveIndex,
        vault: &Arc<Vault>,
        barcode: &Barcode,
        known: &[Cartridge],
    ) -> Result<bool, VaultError> {
        let drive = library.drive(drive).map_err(failed)?;
        match read_label(drive).map_err(failed)? {
            LabelState::Ours(label) => Ok(label.vault == vault.id() && label.barcode == barcode.as_str()),
            LabelState::Foreign => Ok(false),
            LabelState::Blank => {
                let number = known.iter().map(|one| one.number).max().unwrap_or(0) + 1;
                let label = self.label(vault, barcode, number)?;
                label_cartridge(drive, &label, LabelPolicy::OnlyBlank).map_err(failed)?;
                vault.record(vec![self.cartridge_event(barcode, CartridgeState::Filling, number, 0, 0)])?;
                Ok(true)
            }
        }
    }

    fn label(&self, vault: &Vault, barcode: &Barcode, number: u32) -> Result<Label, VaultError> {
        Ok(Label {
            cartridge: coffer_vault::random()?,
            barcode: barcode.to_string(),
            vault: vault.id(),
            org: vault.org(),
            set: self.set.clone(),
            number,
            created_ms: vault.now_ms(),
        })
    }

    fn cartridge_event(
        &self,
        barcode: &Barcode,
        state: CartridgeState,
        number: u32,
        containers: u32,
        written: u64,
    ) -> Event {
        Event::CartridgeSet {
            barcode: barcode.to_string(),
            state,
            set: self.set.clone(),
            number,
            containers,
            written,
        }
    }

    fn write_one(
        &self,
        library: &mut Library,
        drive: DriveIndex,
        vault: &Arc<Vault>,
        plan: &[SegmentState],
        written: &mut Written,
    ) -> Result<(), VaultError> {
        let mut writer = ContainerWriter::open(library.drive(drive).map_err(failed)?).map_err(failed)?;
        let label = writer.label().clone();
        let mut left: Vec<PlannedSegment> = plan.iter().filter_map(planned).collect();
        while !left.is_empty() {
            let receipt =
                match writer.write(&left, &mut |segment| Ok(Box::new(SegmentStream::new(vault, segment)))) {
                    Ok(receipt) => receipt,
                    Err(TapeError::CartridgeFull) => {
                        return self.set_full(vault, &label, writer.next_container() - 1);
                    }
                    Err(error) => return Err(failed(error)),
                };
            let barcode: Barcode =
                label.barcode.parse().map_err(|_| refused("a label has no barcode: take that tape out"))?;
            let mut bytes = 0;
            let mut copies = Vec::new();
            for recorded in &receipt.recorded {
                let segment = recorded.entry.segment;
                let Some(hash) = plan.iter().find(|one| one.segment == segment).and_then(|one| one.hash)
                else {
                    continue;
                };
                let block = recorded.start.map_or(0, |start| start.0);
                copies.push((
                    segment,
                    hash,
                    Place::Tape { barcode: label.barcode.clone(), container: receipt.container, block },
                ));
                bytes += recorded.entry.bytes;
            }
            written.segments += copies.len() as u64;
            written.bytes += bytes;
            vault.record_copies(copies)?;
            let before = vault
                .reading()
                .cartridges()?
                .iter()
                .find(|one| one.barcode == label.barcode)
                .map_or(0, |one| one.written);
            let state = if receipt.full { CartridgeState::Full } else { CartridgeState::Filling };
            vault.record(vec![self.cartridge_event(
                &barcode,
                state,
                label.number,
                receipt.container,
                before + bytes,
            )])?;
            written.refused.extend(receipt.refused.iter().map(|one| one.why.clone()));
            if receipt.full {
                return Ok(());
            }
            left.retain(|one| receipt.not_written.contains(&one.segment));
        }
        Ok(())
    }

    fn set_full(&self, vault: &Vault, label: &Label, containers: u32) -> Result<(), VaultError> {
        let before = vault
            .reading()
            .cartridges()?
            .into_iter()
            .find(|one| one.barcode == label.barcode)
            .map_or(0, |one| one.written);
        let barcode =
            label.barcode.parse().map_err(|_| refused("a label has no barcode: take that tape out"))?;
        vault.record(vec![self.cartridge_event(
            &barcode,
            CartridgeState::Full,
            label.number,
            containers,
            before,
        )])
    }
}

pub(super) fn waiting(reading: &Reading) -> Result<Vec<SegmentState>, VaultError> {
    reading.without_copy(|place| matches!(place, Place::Tape { .. }))
}

fn planned(state: &SegmentState) -> Option<PlannedSegment> {
    Some(PlannedSegment {
        segment: state.segment,
        bytes: state.bytes,
        expected: ExpectedHash::BeforeTrailer(state.hash?),
    })
}
