//! A vault's directory made from its cartridges alone.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use coffer_format::VaultId;
use coffer_tape::Barcode;
use coffer_tape::container::extract_all;
use coffer_vault::adopt::Adoption;
use coffer_vault::disk::RealDisk;

use super::Source;

/// What an extraction read.
#[derive(Debug, Clone, Copy)]
pub struct Extracted {
    pub segments: u64,
    pub cartridges: u64,
}
/// Makes a vault's directory from every cartridge in a library that is of one vault.
pub fn extract_vault(source: Source, dir: &Path) -> Result<Extracted> {
    let (mut library, _simulated) = source.open()?;
    let barcodes: Vec<Barcode> =
        library.take_stock()?.barcodes().into_iter().filter(|one| !one.is_cleaning()).collect();
    let mut adoption = Adoption::begin(Arc::new(RealDisk), dir)?;
    let mut vault: Option<VaultId> = None;
    let mut segments = 0;
    let report = extract_all(&mut library, &barcodes, &mut |delivery| {
        if *vault.get_or_insert(delivery.label.vault) != delivery.label.vault {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(delivery.entry.bytes as usize);
        delivery.bytes.read_to_end(&mut bytes)?;
        segments += u64::from(adoption.take(&bytes).map_err(io::Error::other)?);
        Ok(())
    })?;
    for lost in &report.lost {
        tracing::error!(segment = %lost.segment, barcode = %lost.barcode, error = %lost.error, "a segment can't be read from this cartridge");
    }
    adoption.finish()?;
    Ok(Extracted { segments, cartridges: report.read.len() as u64 })
}
