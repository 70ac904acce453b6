//! How fast containers are written and read, against bare blocks on the same simulated drive in the same run: as fast as
//! it goes, and with the drive held to the speeds of real ones.
//!
//! `cargo run --release -p coffer-tape --example container_speed -- DIR [MIB]`; DIR on a RAM disk (/dev/shm) shows the
//! most. Ends with failure if a container is slower than 95 % of bare blocks on a drive of real speed; on a machine that
//! is busy otherwise, put `chrt -f 10` before the program.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use coffer_format::SegmentId;
use coffer_format::container::BLOCK_LEN;
use coffer_tape::conformance::{planned, scratch_label, scratch_segment};
use coffer_tape::container::{
    ContainerReceipt, ContainerWriter, LabelPolicy, PlannedSegment, label_cartridge, read_segment,
};
use coffer_tape::drive::ReadOutcome;
use coffer_tape::scsi::{Data, ScsiReply, ScsiTransport};
use coffer_tape::simulator::{LibraryShape, Simulated};
use coffer_tape::{Barcode, Drive, Library, NoWaiter};

const SEGMENT_LEN: usize = 64 << 20;
const MIB: u64 = 1 << 20;
/// Native MB/s of LTO-6, 7 and 9.
const REAL_SPEEDS: [u64; 3] = [160, 300, 400];
const RATIO_MIN: f64 = 0.95;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().context("usage: container_speed DIR [MIB]")?;
    let mib: u64 = args.next().map_or(Ok(1024), |mib| mib.parse()).context("MIB is a number of mebibytes")?;
    let segment = Arc::<[u8]>::from(scratch_segment(SegmentId(1), SEGMENT_LEN));
    let mut slowest = f64::INFINITY;
    println!(
        "{:<16} {:>10} {:>10} {:>6}   {:>10} {:>10} {:>6}",
        "MB/s", "bare", "container", "", "bare", "container", ""
    );
    println!("{:<16} {:>28}   {:>28}", "drive", "written", "read");
    for native in [None].into_iter().chain(REAL_SPEEDS.map(Some)) {
        let speeds = measure(Path::new(&dir), mib, native, &segment)?;
        let name = native.map_or("unbounded".to_owned(), |rate| format!("{rate} MB/s"));
        let [bare_written, written, bare_read, read] = speeds;
        let ratios = [written / bare_written, read / bare_read];
        println!(
            "{name:<16} {bare_written:>10.0} {written:>10.0} {:>6.3}   {bare_read:>10.0} {read:>10.0} {:>6.3}",
            ratios[0], ratios[1]
        );
        if native.is_some() {
            slowest = ratios.into_iter().fold(slowest, f64::min);
        }
    }
    println!("slowest against bare blocks on a drive of real speed: {slowest:.3}");
    ensure!(slowest >= RATIO_MIN, "that is less than {RATIO_MIN}");
    Ok(())
}

/// MB/s: bare blocks written, a container written, bare blocks read, a container read.
fn measure(dir: &Path, mib: u64, native: Option<u64>, segment: &Arc<[u8]>) -> Result<[f64; 4]> {
    let scratch = dir.join("container-speed");
    let simulated = Simulated::create(&scratch, LibraryShape { cartridges: 2, ..LibraryShape::default() })?;
    let drives = simulated.drives().into_iter().map(|inner| Paced::wrap(inner, native)).collect();
    let mut library = Library::open(simulated.changer(), drives, Arc::new(NoWaiter))?;
    let speeds = measure_library(&mut library, mib, segment);
    drop((library, simulated));
    std::fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    speeds
}

fn measure_library(library: &mut Library, mib: u64, segment: &Arc<[u8]>) -> Result<[f64; 4]> {
    let barcodes: [Barcode; 2] = ["COF001L6".parse()?, "COF002L6".parse()?];
    let index = library.load(&barcodes[0])?;
    let drive = library.drive(index)?;
    let total = mib * MIB / SEGMENT_LEN as u64 * SEGMENT_LEN as u64;
    let blocks = total / BLOCK_LEN as u64;
    let bare_written = rate(total, || write_blocks(drive, segment, blocks))?;
    let bare_read = rate(total, || read_blocks(drive, blocks))?;

    let index = library.load(&barcodes[1])?;
    let drive = library.drive(index)?;
    let label = scratch_label(&barcodes[1], 1);
    label_cartridge(drive, &label, LabelPolicy::OnlyBlank)?;
    let line = planned(SegmentId(1), segment);
    let plan: Vec<PlannedSegment> = (1..=total / SEGMENT_LEN as u64)
        .map(|number| PlannedSegment { segment: SegmentId(number), ..line })
        .collect();
    let mut receipt = None;
    let written = rate(total, || {
        receipt = Some(write_container(drive, &plan, segment)?);
        Ok(())
    })?;
    let receipt = receipt.context("nothing was written")?;
    let read = rate(total, || {
        for recorded in &receipt.recorded {
            read_segment(drive, &label, &receipt.place(recorded), &mut io::sink())?;
        }
        Ok(())
    })?;
    Ok([bare_written, written, bare_read, read])
}

fn write_container(
    drive: &mut Drive,
    plan: &[PlannedSegment],
    bytes: &Arc<[u8]>,
) -> Result<ContainerReceipt> {
    let mut writer = ContainerWriter::open(drive)?;
    let open = &mut |_| Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>);
    let receipt = writer.write(plan, open)?;
    ensure!(
        receipt.recorded.len() == plan.len(),
        "only {} of {} segments were recorded",
        receipt.recorded.len(),
        plan.len()
    );
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

/// MB/s.
fn rate(bytes: u64, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(bytes as f64 / 1e6 / started.elapsed().as_secs_f64())
}

/// A drive held to a speed. As a real one it has a buffer, though a small one: who comes late by less than
/// [`Paced::BUFFER`] loses nothing.
struct Paced {
    inner: Box<dyn ScsiTransport + Send>,
    bytes_per_s: f64,
    /// When the medium will have taken, or given, all so far.
    free: Instant,
}

impl Paced {
    const BUFFER: f64 = 1e6;

    fn wrap(inner: Box<dyn ScsiTransport + Send>, mb_per_s: Option<u64>) -> Box<dyn ScsiTransport + Send> {
        match mb_per_s {
            None => inner,
            Some(rate) => Box::new(Paced { inner, bytes_per_s: rate as f64 * 1e6, free: Instant::now() }),
        }
    }

    fn pace(&mut self, bytes: usize) {
        let span = |bytes: f64| Duration::from_secs_f64(bytes / self.bytes_per_s);
        let now = Instant::now();
        let earliest = now.checked_sub(span(Paced::BUFFER)).unwrap_or(now);
        self.free = self.free.max(earliest) + span(bytes as f64);
        std::thread::sleep(self.free.saturating_duration_since(now));
    }
}

impl ScsiTransport for Paced {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn execute(&mut self, cdb: &[u8], data: Data<'_>, timeout_ms: u32) -> io::Result<ScsiReply> {
        let len = data.len();
        let reply = self.inner.execute(cdb, data, timeout_ms)?;
        if matches!(cdb.first(), Some(0x08 | 0x0a)) {
            self.pace(len);
        }
        Ok(reply)
    }
}
