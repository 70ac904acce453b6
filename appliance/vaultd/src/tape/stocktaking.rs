//! What there is: the catalog's cartridges and copies, and where the robot sees each cartridge now.

use std::collections::BTreeMap;

use coffer_format::event::{Event, Place, Whereabouts};
use coffer_tape::inventory::{Inventory, Whereabouts as Found};
use coffer_tape::{Barcode, Library};
use coffer_vault::Vault;
use coffer_vault::copies::{Cartridge, Copied};

use super::media::{Segment, Spot, Stock, Tape};
use super::{TapeJob, Trouble};

/// What is written in so many days says how fast cartridges fill.
const RATE_DAYS: u64 = 14;
const DAY_MS: u64 = 24 * 3_600_000;

/// A stock, and how fast it is used up.
pub(super) struct Taken {
    pub(super) stock: Stock,
    pub(super) bytes_per_day: u64,
}

impl TapeJob {
    /// Looks at the library, records which cartridges came and went, and puts that together with the catalog.
    pub(super) fn take_stock(&self, library: &mut Library, vault: &Vault) -> Result<Taken, Trouble> {
        let inventory = library.inventory()?;
        let outgoing: Vec<Barcode> = library.outgoing()?.into_iter().filter_map(|one| one.barcode).collect();
        if self.is_simulated {
            vault.note_simulated(&inventory.barcodes().iter().map(ToString::to_string).collect())?;
        }
        let known = vault.reading().cartridges()?;
        let moved = moves(&inventory, &outgoing, &known);
        if !moved.is_empty() {
            vault.record(moved)?;
            return self.put_together(&inventory, vault.reading().cartridges()?, vault);
        }
        self.put_together(&inventory, known, vault)
    }

    fn put_together(
        &self,
        inventory: &Inventory,
        known: Vec<Cartridge>,
        vault: &Vault,
    ) -> Result<Taken, Trouble> {
        let reading = vault.reading();
        let benched = self.benched();
        let in_drives = inventory.drives.iter().filter(|drive| drive.full).count();
        let free =
            |places: &[coffer_tape::inventory::Place]| places.iter().filter(|place| !place.full).count();
        let usable = inventory
            .drives
            .iter()
            .filter(|drive| drive.device.is_some() && !benched.contains(&drive.drive))
            .count();
        let mut stock = Stock {
            now_ms: vault.now_ms(),
            is_clock_in_doubt: self.clock.as_ref().is_some_and(|clock| clock.is_in_doubt(vault.now_ms())),
            // The place that a cartridge in a drive goes back to is taken.
            free_slots: free(&inventory.slots).saturating_sub(in_drives),
            mail_slots: inventory.mail_slots.len(),
            free_mail_slots: free(&inventory.mail_slots),
            drives: usable,
            to_clean: self.state().to_clean(inventory, &benched),
            ..Stock::default()
        };
        for cartridge in known {
            let Ok(barcode) = cartridge.barcode.parse() else { continue };
            let spot = spot_of(inventory, &benched, &barcode, cartridge.whereabouts);
            stock.tapes.insert(barcode, tape_of(cartridge, spot));
        }
        for barcode in inventory.barcodes().into_iter().filter(|barcode| !barcode.is_cleaning()) {
            let spot = spot_of(inventory, &benched, &barcode, None);
            stock.tapes.entry(barcode).or_insert_with(|| Tape::unknown(spot));
        }
        let needed = self.state().needed.clone();
        // What is damaged on disk counts as not being there: its copies are what there is of it.
        let unsound = reading.unsound()?;
        for segment in reading.segments()?.into_iter().filter(|segment| segment.closed) {
            let (bytes, on_disk) = (segment.bytes, segment.on_disk && !unsound.contains(&segment.segment));
            let needed_bytes = needed.get(&segment.segment).copied().unwrap_or(bytes);
            stock.segments.insert(segment.segment, Segment { bytes, needed_bytes, on_disk, at_hq: false });
        }
        for barcode in &self.state().worn {
            if let Some(tape) = stock.tapes.get_mut(barcode) {
                tape.is_worn = true;
            }
        }
        let copies = reading.all_copies()?;
        let bytes_per_day = rate(&stock, &copies);
        add_copies(&mut stock, copies);
        Ok(Taken { stock, bytes_per_day })
    }
}

fn tape_of(cartridge: Cartridge, spot: Spot) -> Tape {
    Tape {
        state: cartridge.state,
        set: cartridge.set,
        number: cartridge.number,
        containers: cartridge.containers,
        written: cartridge.written,
        labelled_ms: cartridge.labelled_ms,
        moved_ms: cartridge.moved_ms,
        loads: cartridge.loads,
        failed_in_a_row: cartridge.failed_in_a_row,
        ..Tape::unknown(spot)
    }
}

fn spot_of(inventory: &Inventory, benched: &[usize], barcode: &Barcode, last: Option<Whereabouts>) -> Spot {
    match inventory.find(barcode) {
        None => Spot::Away,
        Some(Found::Drive(drive)) if benched.contains(&drive) => Spot::Stuck,
        Some(Found::Slot(_) | Found::Drive(_)) => Spot::Library,
        Some(Found::Hand(_)) => Spot::Stuck,
        Some(Found::MailSlot(_)) if last == Some(Whereabouts::Leaving) => Spot::Leaving,
        Some(Found::MailSlot(_)) => Spot::Arrived,
    }
}

/// Cartridges that aren't where they were last seen. One in the mail slot has arrived, unless the robot put it there: then
/// it's `outgoing`.
fn moves(inventory: &Inventory, outgoing: &[Barcode], known: &[Cartridge]) -> Vec<Event> {
    let moved = known.iter().filter_map(|cartridge| {
        let barcode: Barcode = cartridge.barcode.parse().ok()?;
        let now = match inventory.find(&barcode) {
            None => Whereabouts::Away,
            Some(Found::Slot(_) | Found::Drive(_)) => Whereabouts::Library,
            Some(Found::MailSlot(_)) if outgoing.contains(&barcode) => Whereabouts::Leaving,
            Some(Found::MailSlot(_) | Found::Hand(_)) => return None,
        };
        let is_news = cartridge.whereabouts != Some(now);
        is_news.then(|| Event::CartridgeMoved { barcode: cartridge.barcode.clone(), whereabouts: now })
    });
    moved.collect()
}

fn add_copies(stock: &mut Stock, copies: Vec<Copied>) {
    for copy in copies {
        match copy.place {
            Place::Hq { .. } => {
                if let Some(segment) = stock.segments.get_mut(&copy.segment) {
                    segment.at_hq = true;
                }
            }
            Place::Tape { barcode, .. } => {
                let barcode = barcode.parse::<Barcode>().ok();
                if let Some(tape) = barcode.and_then(|barcode| stock.tapes.get_mut(&barcode)) {
                    tape.holds.insert(copy.segment);
                }
            }
        }
    }
}

/// Bytes written to tape a day, of late.
fn rate(stock: &Stock, copies: &[Copied]) -> u64 {
    let from = stock.now_ms.saturating_sub(RATE_DAYS * DAY_MS);
    let recent = || {
        let on_tape = copies.iter().filter(|copy| matches!(copy.place, Place::Tape { .. }));
        on_tape.filter(|copy| copy.recorded_ms >= from)
    };
    let sizes: BTreeMap<_, _> =
        stock.segments.iter().map(|(segment, state)| (*segment, state.bytes)).collect();
    let bytes: u64 = recent().filter_map(|copy| sizes.get(&copy.segment)).sum();
    let first = recent().map(|copy| copy.recorded_ms).min().unwrap_or(stock.now_ms);
    let days = (stock.now_ms - first.min(stock.now_ms)).div_ceil(DAY_MS).max(1);
    bytes / days
}
