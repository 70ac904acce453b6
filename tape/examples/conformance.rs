//! Runs the conformance suite on real devices through SG_IO. What is on the cartridges named is lost; without any,
//! nothing is moved.
//!
//! `cargo run -p coffer-tape --example conformance -- /dev/sgCHANGER /dev/sgDRIVE... -- BARCODE...`

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use coffer_tape::scsi::{ScsiTransport, SgIo};
use coffer_tape::{Barcode, Library, SystemWaiter, conformance};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut parts = args.split(|arg| arg == "--");
    let (Some([changer, drives @ ..]), barcodes) = (parts.next(), parts.next().unwrap_or_default()) else {
        bail!("usage: conformance CHANGER DRIVE... [-- BARCODE...]")
    };
    let open = |path: &String| -> Result<Box<dyn ScsiTransport + Send>> {
        Ok(Box::new(SgIo::open(path).with_context(|| format!("open {path}"))?))
    };
    let drives = drives.iter().map(open).collect::<Result<Vec<_>>>()?;
    let mut library = Library::open(open(changer)?, drives, Arc::new(SystemWaiter))?;
    println!("{}", serde_json::to_string_pretty(&library.inventory()?)?);
    let scratch = barcodes.iter().map(|barcode| barcode.parse()).collect::<Result<Vec<Barcode>, _>>()?;
    let report = conformance::run(&mut library, &scratch);
    println!("{report}");
    ensure!(report.is_conforming(), "the library doesn't do all that is needed");
    Ok(())
}
