//! What a cartridge is told of the whole set while it's written: see `FORMAT.md`, catalog page.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use coffer_format::event::CartridgeState;
use coffer_format::set_catalog::{COPIES_MAX, CatalogItem, CopyAt, OutlinePiece, PIECE_MAX};
use coffer_format::{Blob, SegmentId};
use coffer_tape::container::{CatalogItems, CatalogMoment};
use coffer_vault::copies::Cartridge;
use coffer_vault::outline::TapePlace;
use coffer_vault::{Reading, Vault, VaultError};

/// The share of a cartridge that the catalog of all before may take: one in so many.
const SHARE: u64 = 8;

/// The catalog for one cartridge.
pub(super) struct SetCatalog {
    vault: Arc<Vault>,
    barcode: String,
}

impl SetCatalog {
    pub(super) fn new(vault: &Arc<Vault>, barcode: &str) -> SetCatalog {
        SetCatalog { vault: vault.clone(), barcode: barcode.to_owned() }
    }

    /// What the writer puts on tape. Where the vault's catalog can't be read, there's none.
    pub(super) fn items(&mut self, moment: CatalogMoment<'_>) -> CatalogItems {
        let items = match moment {
            CatalogMoment::Beginning => self.beginning(),
            CatalogMoment::Closing { after, recorded, .. } => {
                self.closing(after, recorded.iter().map(|one| one.entry.segment).collect())
            }
        };
        items.unwrap_or_else(|error| Box::new([Err(io::Error::other(error))].into_iter()))
    }

    /// Everything that is on tape so far.
    fn beginning(&self) -> Result<CatalogItems, VaultError> {
        let places = self.vault.reading().tape_places(0)?;
        let segments = places.iter().map(|place| place.segment).collect();
        let cartridges = self.vault.reading().cartridges()?;
        let full = cartridges.iter().filter(|one| one.state == Some(CartridgeState::Full));
        let room = full.map(|one| one.written / SHARE).max();
        Ok(self.told(0, &cartridges, &places, segments, room))
    }

    /// What came after container `after` of this cartridge, the segments that were just written included.
    fn closing(&self, after: u32, mut segments: BTreeSet<SegmentId>) -> Result<CatalogItems, VaultError> {
        let reading = self.vault.reading();
        let cartridges = reading.cartridges()?;
        let here = |place: &&TapePlace| place.barcode == self.barcode;
        let mut places = reading.tape_places(0)?;
        let until = places.iter().filter(here).filter(|place| place.container <= after);
        let labelled =
            cartridges.iter().find(|one| one.barcode == self.barcode).map_or(0, |one| one.labelled_ms);
        let since_ms = until.map(|place| place.recorded_ms).max().unwrap_or(labelled);
        places.retain(|place| match place.barcode == self.barcode {
            true => place.container > after,
            false => place.recorded_ms >= since_ms,
        });
        segments.extend(places.iter().map(|place| place.segment));
        Ok(self.told(after, &cartridges, &places, segments, None))
    }

    fn told(
        &self,
        after: u32,
        cartridges: &[Cartridge],
        places: &[TapePlace],
        segments: BTreeSet<SegmentId>,
        room: Option<u64>,
    ) -> CatalogItems {
        let begin = CatalogItem::Begin { vault: self.vault.id(), at_ms: self.vault.now_ms(), after };
        let mut head = vec![begin];
        head.extend(cartridges.iter().filter_map(cartridge_item));
        head.extend(self.copies(cartridges, places));
        let outlines = outlines(self.vault.reading().clone(), segments, room);
        Box::new(head.into_iter().map(Ok).chain(outlines).chain([Ok(CatalogItem::End)]))
    }

    /// Copies on other cartridges: those on this one are in its indexes.
    fn copies(&self, cartridges: &[Cartridge], places: &[TapePlace]) -> Vec<CatalogItem> {
        let mut by_cartridge: BTreeMap<&str, Vec<CopyAt>> = BTreeMap::new();
        for place in places.iter().filter(|place| place.barcode != self.barcode) {
            let copy = CopyAt { segment: place.segment, container: place.container, block: place.block };
            by_cartridge.entry(&place.barcode).or_default().push(copy);
        }
        let mut items = Vec::new();
        for (barcode, copies) in by_cartridge {
            let number = cartridges.iter().find(|one| one.barcode == barcode).map_or(0, |one| one.number);
            items.extend(copies.chunks(COPIES_MAX).map(|copies| CatalogItem::Copies {
                barcode: barcode.to_owned(),
                number,
                copies: copies.to_vec(),
            }));
        }
        items
    }
}

fn cartridge_item(one: &Cartridge) -> Option<CatalogItem> {
    Some(CatalogItem::Cartridge {
        barcode: one.barcode.clone(),
        set: one.set.clone(),
        number: one.number,
        state: one.state?,
    })
}

/// Outlines of segments, newest first, one segment at a time in memory. Beyond `room` bytes they end with an error, so that the
/// catalog doesn't claim to be whole.
fn outlines(
    reading: Arc<Reading>,
    segments: BTreeSet<SegmentId>,
    room: Option<u64>,
) -> impl Iterator<Item = io::Result<CatalogItem>> {
    let mut used = 0;
    segments.into_iter().rev().flat_map(move |segment| {
        let (stream, bytes) = match reading.outline(segment) {
            Ok(outline) => outline,
            // Reclaim dropped it meanwhile.
            Err(VaultError::NotOnDisk(_)) => return Vec::new(),
            Err(error) => {
                tracing::error!(%segment, %error, "the catalog on tape goes without this segment's outline");
                return Vec::new();
            }
        };
        used += bytes.len() as u64;
        if room.is_some_and(|room| used > room) {
            let why =
                "what is known of all segments takes too much of a cartridge; older cartridges have the rest";
            return vec![Err(io::Error::other(why))];
        }
        let total = bytes.len() as u64;
        let piece = |(at, bytes): (usize, &[u8])| {
            let offset = (at * PIECE_MAX) as u64;
            Ok(CatalogItem::Outline {
                piece: OutlinePiece { segment, stream, total, offset, bytes: Blob(bytes.to_vec()) },
            })
        };
        bytes.chunks(PIECE_MAX).enumerate().map(piece).collect()
    })
}
