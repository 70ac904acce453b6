//! Cartridges of a simulated library: files on the box's own disk. What lies on them protects nothing, and isn't even within reach
//! once the library that they were in isn't used any more.

use std::collections::BTreeSet;

use coffer_format::event::{CartridgeState, Event};

use crate::Result;
use crate::reading::Reading;
use crate::vault::Vault;

impl Reading {
    /// Cartridges that were last labelled in a simulated library.
    pub fn simulated_cartridges(&self) -> Result<BTreeSet<String>> {
        self.barcodes("SELECT barcode FROM simulated WHERE is_current = 1")
    }

    /// Whether it was ever noted that a cartridge is a simulated one.
    pub fn knows_simulated(&self) -> Result<bool> {
        Ok(!self.barcodes("SELECT barcode FROM simulated LIMIT 1")?.is_empty())
    }

    fn barcodes(&self, query: &str) -> Result<BTreeSet<String>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(query)?;
            Ok(query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
        })
    }
}

impl Vault {
    /// Notes that those of these cartridges which the vault knows are a simulated library's.
    pub fn note_simulated(&self, barcodes: &BTreeSet<String>) -> Result<()> {
        let noted = self.reading.simulated_cartridges()?;
        let known = self.reading.cartridges()?.into_iter().map(|cartridge| cartridge.barcode);
        let events: Vec<_> = known
            .filter(|barcode| barcodes.contains(barcode) && !noted.contains(barcode))
            .map(|barcode| Event::CartridgeSimulated { barcode })
            .collect();
        if events.is_empty() { Ok(()) } else { self.record(events) }
    }

    /// Makes the copies on all simulated cartridges count no more: their library isn't used now. As with lost cartridges, what
    /// lay on them alone is read again if it's. Returns which they are.
    pub fn give_up_simulated(&self) -> Result<Vec<String>> {
        use CartridgeState::{Damaged, Emptying, Filling, Full};
        let simulated = self.reading.simulated_cartridges()?;
        let mut given_up = self.reading.cartridges()?;
        given_up.retain(|one| {
            simulated.contains(&one.barcode) && matches!(one.state, Some(Filling | Full | Emptying | Damaged))
        });
        let barcodes: Vec<String> = given_up.iter().map(|one| one.barcode.clone()).collect();
        if barcodes.is_empty() {
            return Ok(barcodes);
        }
        let what = format!(
            "copies on the simulated library's tapes ({}) count no more: that library isn't used now",
            barcodes.join(", ")
        );
        self.transact(move |batch| {
            batch.audit("box", &what)?;
            for one in given_up {
                batch.write_event(Event::CopiesGone { barcode: one.barcode.clone() })?;
                batch.write_event(Event::CartridgeSet {
                    barcode: one.barcode,
                    state: CartridgeState::Lost,
                    set: one.set,
                    number: one.number,
                    containers: one.containers,
                    written: one.written,
                })?;
            }
            Ok(())
        })?;
        // What left the disk for such a tape is nowhere else.
        if let Some(told) = self.note_lost()? {
            tracing::warn!(told, "without the simulated library's copies");
        }
        Ok(barcodes)
    }
}
