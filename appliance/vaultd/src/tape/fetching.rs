//! Reading back: segments that left the disk, from the cartridges they are on.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::SegmentId;
use coffer_format::event::{CartridgeState, Place};
use coffer_tape::container::ExpectedHash;
use coffer_tape::{Barcode, Library, TapeError};
use coffer_vault::{Vault, VaultError};
use serde_json::{Value, json};

use super::gathering::{Mounts, Sink, Wanted, Work, gather};
use super::labelling::give_up_stranger;
use super::mounting::Use;
use super::order::{Copy, Nearness};
use super::{TapeJob, Trouble, refused};

impl TapeJob {
    /// As [`TapeJob::fetch_what_can`]. Fails, after all that could be read was, if something is missing.
    pub fn fetch(
        &self,
        vault: &Vault,
        segments: &[SegmentId],
        working: &mut dyn FnMut(Value),
        sink: &mut Sink<'_>,
    ) -> Result<(), VaultError> {
        let lacking = self.fetch_what_can(vault, segments, working, sink)?;
        let Some((segment, why)) = lacking.segments.iter().next() else { return Ok(()) };
        let all = lacking.segments.len();
        let unread = || format!("{all} segments can't be read from tape (segment {segment}: {why})");
        Err(refused(&lacking.request().unwrap_or_else(unread)))
    }

    /// Reads segments back from the cartridges they're on, each cartridge once; hands each to `sink`. Whatever is being
    /// written comes to a clean stop first. Says what couldn't be read.
    pub(crate) fn fetch_what_can(
        &self,
        vault: &Vault,
        segments: &[SegmentId],
        working: &mut dyn FnMut(Value),
        sink: &mut Sink<'_>,
    ) -> Result<NotOnTape, VaultError> {
        let wanted = wanted(vault, segments)?;
        let mut library = self.claim_for_restore()?;
        let mut mounts = JobMounts { job: self, library: &mut library, vault };
        let gathered = gather(&mut mounts, wanted, &mut |doing| working(json!({ "doing": doing })), sink)?;
        drop(library);
        self.tell_moves(working);
        self.lose(vault, &gathered.unreadable)?;
        for barcode in gathered.strangers.iter().filter_map(|barcode| barcode.parse().ok()) {
            give_up_stranger(vault, &barcode)?;
        }
        tracing::info!(
            mounts = gathered.mounts,
            segments = gathered.segments,
            bytes = gathered.bytes,
            lost = gathered.lost.len(),
            "read back from tape"
        );
        self.ask_for(gathered.away.iter().filter_map(|barcode| barcode.parse().ok()).collect());
        Ok(NotOnTape { segments: gathered.lost, tapes: gathered.away })
    }
}

/// What tape couldn't give.
#[derive(Debug, Default)]
pub(crate) struct NotOnTape {
    /// Each with the reason.
    pub(crate) segments: BTreeMap<SegmentId, String>,
    /// Tapes that have to be put in.
    pub(crate) tapes: BTreeSet<String>,
}

impl NotOnTape {
    /// What a person is asked to do, if that helps.
    pub(crate) fn request(&self) -> Option<String> {
        let names: Vec<&str> = self.tapes.iter().map(String::as_str).collect();
        let names = names.join(" and ");
        (!names.is_empty())
            .then(|| format!("Put tape {names} in, then restore again: what is wanted lies there"))
    }
}

/// What the catalog says of the segments: their hashes, and copies on cartridges that can be used.
pub(super) fn wanted(
    vault: &Vault,
    segments: &[SegmentId],
) -> Result<BTreeMap<SegmentId, Wanted>, VaultError> {
    let reading = vault.reading();
    let cartridges = reading.cartridges()?;
    let is_gone = |barcode: &str| {
        let known = cartridges.iter().find(|one| one.barcode == barcode);
        known.is_some_and(|one| matches!(one.state, Some(CartridgeState::Lost | CartridgeState::Foreign)))
    };
    let mut wanted = BTreeMap::new();
    for state in reading.segments()?.into_iter().filter(|state| segments.contains(&state.segment)) {
        let Some(hash) = state.hash else { continue };
        let copies = reading.copies(state.segment)?.into_iter().filter_map(|place| match place {
            Place::Tape { barcode, container, block } if !is_gone(&barcode) => {
                Some(Copy { barcode, container, block })
            }
            _ => None,
        });
        let expected = ExpectedHash::BeforeTrailer(hash);
        wanted.insert(state.segment, Wanted { bytes: state.bytes, expected, copies: copies.collect() });
    }
    Ok(wanted)
}

/// The box's library, with each use counted and drives that fail put aside.
pub(super) struct JobMounts<'a> {
    pub(super) job: &'a TapeJob,
    pub(super) library: &'a mut Library,
    pub(super) vault: &'a Vault,
}

impl Mounts for JobMounts<'_> {
    fn near(&mut self) -> Result<BTreeMap<String, Nearness>, TapeError> {
        near(self.library)
    }

    fn with_loaded(&mut self, barcode: &str, work: &mut Work<'_>) -> Result<(), TapeError> {
        let outcome = self.try_with_loaded(barcode, work);
        self.job.state().unread.note(barcode, &outcome, self.vault.now_ms());
        outcome
    }
}

impl JobMounts<'_> {
    fn try_with_loaded(&mut self, barcode: &str, work: &mut Work<'_>) -> Result<(), TapeError> {
        let barcode: Barcode = barcode.parse()?;
        let mounted = self.job.mount(self.library, self.vault, &barcode).map_err(of_tape)?;
        let outcome = self.library.drive(mounted.drive).and_then(work);
        let put_away = match &outcome {
            Ok(read) => {
                let done = Use { read: *read, ..Use::default() };
                self.job.dismount(self.library, self.vault, mounted, done)
            }
            // The taker's error says nothing against the cartridge.
            Err(TapeError::Sink(_)) => self.job.dismount(self.library, self.vault, mounted, Use::default()),
            Err(error) => self.job.dismount_failed(self.library, self.vault, mounted, Use::default(), error),
        };
        outcome.map(drop).and(put_away.map_err(of_tape))
    }
}

fn of_tape(trouble: Trouble) -> TapeError {
    match trouble {
        Trouble::Tape(error) => error,
        Trouble::Vault(error) => TapeError::Sink(std::io::Error::other(error)),
    }
}

/// What is in a library's drives and slots.
pub(super) fn near(library: &mut Library) -> Result<BTreeMap<String, Nearness>, TapeError> {
    let inventory = library.inventory()?;
    let mut near: BTreeMap<String, Nearness> =
        inventory.barcodes().iter().map(|barcode| (barcode.to_string(), Nearness::InLibrary)).collect();
    for barcode in inventory.drives.iter().filter_map(|drive| drive.barcode.as_ref()) {
        near.insert(barcode.to_string(), Nearness::InDrive);
    }
    Ok(near)
}
