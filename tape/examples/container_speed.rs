//! How fast containers are written and read, against bare blocks on the same simulated drive in the same run.
//!
//! `cargo run --release -p coffer-tape --example container_speed -- DIR [MIB]`

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use coffer_format::SegmentId;
use coffer_format::container::BLOCK_LEN;
use coffer_tape::conformance::{planned, scratch_label, scratch_segment};
use coffer_tape::container::{
    ContainerReceipt, ContainerWriter, LabelPolicy, PlannedSegment, label_cartridge, read_segment,
};
use coffer_tape::drive::ReadOutcome;
use coffer_tape::simulator::{LibraryShape, Simulated};
use coffer_tape::{Barcode, Drive, Library, NoWaiter};

const SEGMENT_LEN: usize = 64 << 20;
const MIB: u64 = 1 << 20;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().context("usage: container_speed DIR [MIB]")?;
    let mib: u64 = args.next().map_or(Ok(2048), |mib| mib.parse()).context("MIB is a number of mebibytes")?;
    let scratch = Path::new(&dir).join("container-speed");
    let simulated = Simulated::create(&scratch, LibraryShape { cartridges: 2, ..LibraryShape::default() })?;
    let mut library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter))?;
    let result = measure(&mut library, mib);
    drop((library, simulated));
    std::fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    result
}

fn measure(library: &mut Library, mib: u64) -> Result<()> {
    let bytes = scratch_segment(SegmentId(1), SEGMENT_LEN);
    let barcodes: [Barcode; 2] = ["COF001L6".parse()?, "COF002L6".parse()?];
    let index = library.load(&barcodes[0])?;
    let drive = library.drive(index)?;
    let blocks = mib * MIB / BLOCK_LEN as u64;
    let raw_write =
        timed("bare blocks, written", blocks * BLOCK_LEN as u64, || write_blocks(drive, &bytes, blocks))?;
    let raw_read = timed("bare blocks, read", blocks * BLOCK_LEN as u64, || read_blocks(drive, blocks))?;

    let index = library.load(&barcodes[1])?;
    let drive = library.drive(index)?;
    let label = scratch_label(&barcodes[1], 1);
    label_cartridge(drive, &label, LabelPolicy::OnlyBlank)?;
    let line = planned(SegmentId(1), &bytes);
    let plan: Vec<PlannedSegment> = (1..=mib * MIB / SEGMENT_LEN as u64)
        .map(|number| PlannedSegment { segment: SegmentId(number), ..line })
        .collect();
    let total = plan.len() as u64 * SEGMENT_LEN as u64;
    let shared: Arc<[u8]> = bytes.into();
    let mut receipt = None;
    let write = timed("a container, written", total, || {
        receipt = Some(write_container(drive, &plan, &shared)?);
        Ok(())
    })?;
    let receipt = receipt.context("nothing was written")?;
    let read = timed("a container, read", total, || {
        for recorded in &receipt.recorded {
            read_segment(drive, &label, &receipt.place(recorded), &mut io::sink())?;
        }
        Ok(())
    })?;
    println!(
        "a container against bare blocks: {:.2} written, {:.2} read",
        write / raw_write,
        read / raw_read
    );
    Ok(())
}

fn write_container(
    drive: &mut Drive,
    plan: &[PlannedSegment],
    bytes: &Arc<[u8]>,
) -> Result<ContainerReceipt> {
    let mut writer = ContainerWriter::open(drive)?;
    let open = &mut |_| Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>);
    let receipt = writer.write(plan, open)?;
    if receipt.recorded.len() != plan.len() {
        bail!("only {} of {} segments were recorded", receipt.recorded.len(), plan.len());
    }
    Ok(receipt)
}

fn write_blocks(drive: &mut Drive, bytes: &[u8], count: u64) -> Result<()> {
    for block in bytes.chunks_exact(BLOCK_LEN).cycle().take(count as usize) {
        drive.write_block(block)?;
    }
    drive.write_filemarks(1)?;
    Ok(())
}

fn read_blocks(drive: &mut Drive, count: u64) -> Result<()> {
    drive.rewind()?;
    let mut block = vec![0; BLOCK_LEN];
    for _ in 0..count {
        if drive.read_block(&mut block)? != ReadOutcome::Block(BLOCK_LEN) {
            bail!("a block is missing");
        }
    }
    Ok(())
}

/// Runs and prints MB/s, which it returns.
fn timed(what: &str, bytes: u64, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    let rate = bytes as f64 / 1e6 / started.elapsed().as_secs_f64();
    println!("{what:<22} {:>6} MiB {rate:>8.0} MB/s", bytes / MIB);
    Ok(rate)
}
