//! A vault's directory made from its cartridges alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use coffer_format::event::{Event, Place};
use coffer_format::wire::RefusalCode;
use coffer_format::{SegmentId, VaultId};
use coffer_tape::Barcode;
use coffer_tape::container::extract_all;
use coffer_vault::adopt::Adoption;
use coffer_vault::disk::RealDisk;
use coffer_vault::{Vault, VaultError};

use super::Source;

/// What an extraction read, and what it couldn't.
#[derive(Debug, Default)]
pub struct Extracted {
    pub segments: u64,
    pub cartridges: u64,
    /// Segments that lie on a cartridge and could be read from none.
    pub lost: Vec<Lost>,
    /// Cartridges that couldn't be used, each with the reason.
    pub failed: Vec<(String, String)>,
}

/// A segment that a cartridge holds and didn't give.
#[derive(Debug)]
pub struct Lost {
    pub segment: SegmentId,
    pub barcode: String,
    pub why: String,
}

/// Makes a vault's directory from every cartridge in a library that is of one vault.
pub fn extract_vault(source: Source, dir: &Path) -> Result<Extracted> {
    let (mut library, _simulated) = source.open()?;
    let barcodes: Vec<Barcode> =
        library.take_stock()?.barcodes().into_iter().filter(|one| !one.is_cleaning()).collect();
    let mut adoption = Adoption::begin(Arc::new(RealDisk), dir)?;
    let mut vault: Option<VaultId> = None;
    let mut done = Extracted::default();
    let mut taken: BTreeMap<SegmentId, String> = BTreeMap::new();
    let mut parted = None;
    let report = extract_all(&mut library, &barcodes, &mut |delivery| {
        if *vault.get_or_insert(delivery.label.vault) != delivery.label.vault {
            return Ok(());
        }
        let segment = delivery.entry.segment;
        let mut bytes = Vec::with_capacity(delivery.entry.bytes as usize);
        delivery.bytes.read_to_end(&mut bytes)?;
        match adoption.take(&bytes) {
            Ok(is_new) => {
                done.segments += u64::from(is_new);
                taken.entry(segment).or_insert_with(|| delivery.label.barcode.clone());
            }
            Err(VaultError::Refused { code: RefusalCode::Conflict, .. }) if taken.contains_key(&segment) => {
                parted.get_or_insert((segment, delivery.label.barcode.clone()));
            }
            Err(error @ VaultError::Io { .. }) => return Err(io::Error::other(error)),
            // Another cartridge may have it as it was.
            Err(error) => {
                let (barcode, why) = (delivery.label.barcode.clone(), error.to_string());
                done.lost.push(Lost { segment, barcode, why });
            }
        }
        Ok(())
    })?;
    if let Some((segment, barcode)) = parted {
        bail!(
            "tapes {} and {barcode} are of two histories of this vault, which both gave out number {segment}: the box was replaced or set back in between. \
             Take the tapes of one of the two out of the library, empty {}, and start again",
            taken[&segment],
            dir.display()
        );
    }
    done.lost.extend(report.lost.into_iter().map(|lost| Lost {
        segment: lost.segment,
        barcode: lost.barcode.to_string(),
        why: lost.error.to_string(),
    }));
    done.lost.retain(|lost| !taken.contains_key(&lost.segment));
    for lost in &done.lost {
        tracing::error!(segment = %lost.segment, barcode = lost.barcode, why = lost.why, "a segment can't be read from this cartridge");
    }
    done.failed = report
        .failed
        .into_iter()
        .map(|failed| (failed.barcode.to_string(), failed.error.to_string()))
        .collect();
    adoption.finish()?;
    done.cartridges = report.read.len() as u64;
    Ok(done)
}

/// Tells a vault that was made from cartridges what they didn't give: those segments are missing until another copy brings them back,
/// and the copies that can't be read count no more. Returns how many are missing; the others had been given up before.
pub fn record_lost(vault: &Vault, lost: &[Lost]) -> Result<usize> {
    let mut gone = Vec::new();
    for one in lost {
        for place in vault.reading().copies(one.segment)? {
            if matches!(&place, Place::Tape { barcode, .. } if *barcode == one.barcode) {
                gone.push(Event::CopyLost { segment: one.segment, place });
            }
        }
    }
    if !gone.is_empty() {
        vault.record(gone)?;
    }
    let segments: BTreeSet<SegmentId> = lost.iter().map(|one| one.segment).collect();
    Ok(vault.note_missing(segments)?.len())
}
