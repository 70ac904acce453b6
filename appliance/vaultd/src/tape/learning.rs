//! What cartridges tell of the vault they're of: outlines of all segments, and where each lies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use coffer_format::container::Label;
use coffer_format::event::{CartridgeState, Event};
use coffer_format::set_catalog::{CatalogItem, OutlinePiece};
use coffer_format::{SegmentId, VaultId};
use coffer_tape::container::{CartridgeContents, read_catalog, read_outline, scan_cartridge};
use coffer_tape::{Drive, TapeError};
use coffer_vault::adopt::Adoption;
use coffer_vault::disk::RealDisk;

use super::by_hand::Tapes;
use super::gathering::Mounts;
use super::offline::holds;
use super::order::Copy;

/// Where segments lie, as the cartridges tell it.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// What the newest cartridge says of each: number and state.
    cartridges: BTreeMap<String, (u32, CartridgeState)>,
    /// Copies, each with the number that its cartridge had.
    copies: BTreeMap<SegmentId, Vec<(Copy, u32)>>,
    /// Those that were looked at, each as what is recorded of one that is in use.
    looked_at: Vec<Event>,
}

impl Learned {
    /// Copies on cartridges that haven't been used anew since.
    pub(super) fn copies_of(&self, segment: SegmentId) -> Vec<Copy> {
        let counts = |barcode: &str, number: u32| {
            self.cartridges.get(barcode).is_none_or(|(newest, state)| *newest == number && holds(*state))
        };
        let copies = self.copies.get(&segment).into_iter().flatten();
        copies.filter(|(copy, number)| counts(&copy.barcode, *number)).map(|(copy, _)| copy.clone()).collect()
    }

    /// Whether what was on a cartridge is known to count no more.
    pub(super) fn is_gone(&self, barcode: &str) -> bool {
        self.cartridges.get(barcode).is_some_and(|(_, state)| !holds(*state))
    }

    /// Those that were looked at.
    pub(super) fn looked_at(&self) -> impl Iterator<Item = &Event> {
        self.looked_at.iter()
    }

    /// Their names.
    pub(super) fn barcodes(&self) -> Vec<String> {
        let named = |event: &Event| match event {
            Event::CartridgeSet { barcode, .. } => Some(barcode.clone()),
            _ => None,
        };
        self.looked_at.iter().filter_map(named).collect()
    }

    fn add(&mut self, segment: SegmentId, copy: Copy, number: u32) {
        let copies = self.copies.entry(segment).or_default();
        if !copies.iter().any(|(known, _)| known.barcode == copy.barcode) {
            copies.push((copy, number));
        }
    }
}

/// Learning under way.
struct Learner {
    adoption: Adoption,
    learned: Learned,
    /// The outline whose pieces are coming.
    outline: Option<(OutlinePiece, Vec<u8>)>,
    vault: Option<VaultId>,
    looked_at: BTreeSet<String>,
    /// Everything from before one of these cartridges was told.
    complete: bool,
}

/// Makes the outline of a vault in `work` from the newest cartridge, and from those that may have been written later than it.
pub(super) fn learn(
    tapes: &mut Tapes,
    newest: Option<&str>,
    work: &Path,
    tell: &mut dyn FnMut(String),
) -> Result<Learned> {
    let mut learner = Learner::begin(work)?;
    match newest {
        Some(newest) => learner.look(tapes, newest, tell)?,
        None if tapes.is_by_hand() => {
            let sentence = "Put the tape that was written last into the drive";
            let looked = tapes.any(sentence, &mut |drive| learner.take_cartridge(drive).map(|()| 0))?;
            looked.context("no tape was put in: start again with the one that was written last")?;
        }
        None => {
            let labels: Vec<Label> = tapes.labels(tell)?.into_iter().filter_map(|(_, label)| label).collect();
            let vaults: BTreeSet<VaultId> = labels.iter().map(|label| label.vault).collect();
            if vaults.len() > 1 {
                bail!(
                    "the library holds tapes of {} vaults: name the newest of the right one with --newest",
                    vaults.len()
                );
            }
            if labels.is_empty() {
                bail!("no tape in the library is one of Coffer's: put some in");
            }
            learner.look_from_newest(tapes, labels, tell)?;
        }
    }
    learner.look_at_filling(tapes, tell)?;
    if !learner.complete {
        tell("This tape doesn't tell everything: older versions may be missing. Give an older tape with --newest for those".into());
    }
    learner.adoption.finish()?;
    Ok(learner.learned)
}

/// The same of the cartridges in a library that have these labels, of one vault. `None`: they hold nothing.
pub(super) fn learn_of(
    tapes: &mut Tapes,
    labels: Vec<Label>,
    work: &Path,
    tell: &mut dyn FnMut(String),
) -> Result<Option<Learned>> {
    if labels.is_empty() {
        return Ok(None);
    }
    let mut learner = Learner::begin(work)?;
    learner.look_from_newest(tapes, labels, tell)?;
    learner.look_at_filling(tapes, tell)?;
    if learner.is_empty() {
        return Ok(None);
    }
    learner.adoption.finish()?;
    Ok(Some(learner.learned))
}

impl Learner {
    fn begin(work: &Path) -> Result<Learner> {
        Ok(Learner {
            adoption: Adoption::begin(Arc::new(RealDisk), work)?,
            learned: Learned::default(),
            outline: None,
            vault: None,
            looked_at: BTreeSet::new(),
            complete: false,
        })
    }

    /// Whether the cartridges hold no segment: they were labelled, and no more.
    fn is_empty(&self) -> bool {
        self.adoption.is_empty()
    }

    /// By the labels: the newest first, older ones until all is told.
    fn look_from_newest(
        &mut self,
        tapes: &mut Tapes,
        mut labels: Vec<Label>,
        tell: &mut dyn FnMut(String),
    ) -> Result<()> {
        labels.sort_by_key(|label| std::cmp::Reverse((label.created_ms, label.number)));
        for label in labels {
            if self.complete {
                break;
            }
            if let Err(error) = self.look(tapes, &label.barcode, tell) {
                tell(format!("{error:#}"));
            }
        }
        match self.looked_at.is_empty() {
            true => bail!("none of the tapes in the library could be read"),
            false => Ok(()),
        }
    }

    /// Those that were still being filled may have been written on since.
    fn look_at_filling(&mut self, tapes: &mut Tapes, tell: &mut dyn FnMut(String)) -> Result<()> {
        loop {
            let near = tapes.near()?;
            let filling = self.learned.cartridges.iter().find(|(barcode, (_, state))| {
                *state == CartridgeState::Filling
                    && !self.looked_at.contains(*barcode)
                    && (near.contains_key(*barcode) || tapes.is_by_hand())
            });
            let Some(barcode) = filling.map(|(barcode, _)| barcode.clone()) else { return Ok(()) };
            tell(format!("Tape {barcode} may have been written last"));
            self.looked_at.insert(barcode.clone());
            if let Err(error) = self.look(tapes, &barcode, tell) {
                tell(format!("{error:#}"));
            }
        }
    }

    fn look(&mut self, tapes: &mut Tapes, barcode: &str, tell: &mut dyn FnMut(String)) -> Result<()> {
        tell(format!("reading the catalog on tape {barcode}"));
        tapes
            .with_loaded(barcode, &mut |drive| self.take_cartridge(drive).map(|()| 0))
            .with_context(|| format!("tape {barcode} couldn't be used"))
    }

    fn take_cartridge(&mut self, drive: &mut Drive) -> Result<(), TapeError> {
        let contents = scan_cartridge(drive)?;
        let label = contents.label.clone();
        if *self.vault.get_or_insert(label.vault) != label.vault {
            return Err(TapeError::WrongCartridge {
                wanted: "of the same vault".into(),
                found: label.barcode,
            });
        }
        self.looked_at.insert(label.barcode.clone());
        self.learned.looked_at.push(Event::CartridgeSet {
            barcode: label.barcode.clone(),
            state: CartridgeState::Filling,
            set: label.set.clone(),
            number: label.number,
            containers: contents.containers.len() as u32,
            written: contents.places().map(|place| place.entry.bytes).sum(),
        });
        for place in contents.places() {
            let block = place.start.map_or(0, |start| start.0);
            let copy = Copy { barcode: label.barcode.clone(), container: place.container, block };
            self.learned.add(place.entry.segment, copy, label.number);
        }
        let reach = read_catalog(drive, &contents, &mut |item| self.take_item(&label, item))?;
        self.complete |= reach.from_the_beginning;
        for container in reach.undescribed {
            self.take_container(drive, &contents, container)?;
        }
        Ok(())
    }

    /// A container that no catalog describes: its segments speak for themselves.
    fn take_container(
        &mut self,
        drive: &mut Drive,
        contents: &CartridgeContents,
        container: u32,
    ) -> Result<(), TapeError> {
        for place in contents.places().filter(|place| place.container == container) {
            match read_outline(drive, &contents.label, &place) {
                Ok(outline) => self.take_outline(outline.segment, &outline.bytes),
                Err(error) if error.is_damage() => {
                    tracing::error!(segment = %place.entry.segment, %error, "a segment's outline is lost on this tape");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take_item(&mut self, label: &Label, item: CatalogItem) {
        match item {
            CatalogItem::Cartridge { barcode, number, state, .. } => {
                // The newest says it first; of itself a cartridge only knows what was before.
                let entry = self.learned.cartridges.entry(barcode).or_insert((number, state));
                if number > entry.0 {
                    *entry = (number, state);
                }
            }
            CatalogItem::Copies { barcode, number, copies } if barcode != label.barcode => {
                for copy in copies {
                    let at = Copy { barcode: barcode.clone(), container: copy.container, block: copy.block };
                    self.learned.add(copy.segment, at, number);
                }
            }
            CatalogItem::Outline { piece } => self.take_piece(piece),
            CatalogItem::Copies { .. } | CatalogItem::Begin { .. } | CatalogItem::End => {}
        }
    }

    /// Pieces of one outline come one after another; one that lacks a piece is left out.
    fn take_piece(&mut self, piece: OutlinePiece) {
        if piece.offset == 0 {
            self.outline = Some((OutlinePiece { bytes: Vec::new().into(), ..piece.clone() }, Vec::new()));
        }
        let Some((of, bytes)) = &mut self.outline else { return };
        if of.segment != piece.segment || bytes.len() as u64 != piece.offset {
            self.outline = None;
            return;
        }
        bytes.extend_from_slice(&piece.bytes);
        if bytes.len() as u64 == piece.total
            && let Some((of, bytes)) = self.outline.take()
        {
            self.take_outline(of.segment, &bytes);
        }
    }

    fn take_outline(&mut self, segment: SegmentId, bytes: &[u8]) {
        if let Err(error) = self.adoption.take_outline(bytes) {
            tracing::error!(%segment, %error, "an outline on tape can't be used");
        }
    }
}
