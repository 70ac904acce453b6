//! `qualify`: finds out whether Coffer can use a tape library, and what it lacks.
//!
//! Asks the devices for what they can do; with cartridges given up to it, also does with them all that Coffer relies on
//! (`coffer_tape::conformance`). Without, nothing is moved and nothing is written.

mod devices;
mod report;
mod table;
mod trial;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use coffer_tape::conformance::Outcome;
use coffer_tape::drive::{Feature, Support};
use coffer_tape::scsi::{ElementAddress, Inquiry, ScsiTransport};
use coffer_tape::simulator::{LibraryShape, Simulated};
use coffer_tape::{Barcode, DriveIndex, Inventory, Library, NoWaiter, SystemWaiter, Waiter};
use hw_tests::traced::Traced;

use report::{DeviceReport, Report};
use verdict::{Trial, Verdict};

#[derive(Args)]
pub(crate) struct Options {
    /// The changer's device, such as /dev/sg3; without it, the only one there is.
    #[arg(long)]
    changer: Option<PathBuf>,
    /// A drive's device; without any, those found by serial number.
    #[arg(long, requires = "changer")]
    drive: Vec<PathBuf>,
    /// Try the simulated library in this directory, which is made if it isn't there.
    #[arg(long, conflicts_with_all = ["changer", "drive"])]
    simulated: Option<PathBuf>,
    /// Cartridges to load, write and read. WHAT IS ON THEM IS LOST.
    #[arg(long, num_args = 1..)]
    scratch: Vec<Barcode>,
    /// Write everything found out to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Tell every command and its answer on standard error.
    #[arg(long)]
    trace: bool,
    /// Don't wait between polls: for devices that aren't made of metal.
    #[arg(long, hide = true)]
    impatient: bool,
}

/// Ends with 0 if the library can be used, with 1 if not.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut library = open(options)?;
    let inventory = library.inventory()?;
    let known = inventory.barcodes();
    for barcode in &options.scratch {
        ensure!(
            known.contains(barcode),
            "tape {barcode} is not in the library: put it in, or name one that is"
        );
    }
    print_library(&library, &inventory);
    if !options.scratch.is_empty() {
        println!("\nTrying it; each tape takes some minutes ...");
    }
    let report = examine(&mut library, &inventory, &options.scratch);
    print_findings(&report);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(match report.verdict {
        Verdict::No { .. } => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn open(options: &Options) -> Result<Library> {
    let (changer, drives) = match &options.simulated {
        Some(dir) => simulated(dir)?,
        None => real(options)?,
    };
    let traced = |device| if options.trace { Traced::wrap(device) } else { device };
    let patient = options.simulated.is_none() && !options.impatient;
    let waiter: Arc<dyn Waiter> = if patient { Arc::new(SystemWaiter) } else { Arc::new(NoWaiter) };
    Ok(Library::open(traced(changer), drives.into_iter().map(traced).collect(), waiter)?)
}

type Device = Box<dyn ScsiTransport + Send>;

fn simulated(dir: &Path) -> Result<(Device, Vec<Device>)> {
    let simulated = Simulated::open_or_create(dir, LibraryShape::default())?;
    Ok((simulated.changer(), simulated.drives()))
}

fn real(options: &Options) -> Result<(Device, Vec<Device>)> {
    let changer = match &options.changer {
        Some(path) => path.clone(),
        None => devices::only_changer()?,
    };
    let drives = match options.drive.is_empty() {
        true => devices::drives_of(&changer)?,
        false => options.drive.clone(),
    };
    let drives = drives.iter().map(|path| devices::open(path)).collect::<Result<_>>()?;
    Ok((devices::open(&changer)?, drives))
}

/// Asks, and tries as far as there are cartridges for it.
fn examine(library: &mut Library, inventory: &Inventory, scratch: &[Barcode]) -> Report {
    let steps = trial::run(library, scratch);
    let how_far = match scratch {
        [] => Trial::Asked,
        _ => {
            let left_out = (trial::drives_tried(library, scratch)..library.drive_count()).collect();
            Trial::WithCartridges { left_out }
        }
    };
    let changer = library.changer();
    let serial = changer.serial().map(str::to_owned);
    let changer = describe(changer.name(), changer.inquiry(), serial, changer.features().lines());
    let mut drives = Vec::new();
    for number in 0..library.drive_count() {
        if let Ok(drive) = library.drive(DriveIndex(number)) {
            let serial = drive.serial().map(str::to_owned);
            drives.push(describe(drive.name(), drive.inquiry(), serial, drive.features().lines()));
        }
    }
    let unknown = unknown_drives(library);
    let devices: Vec<&DeviceReport> = [&changer].into_iter().chain(&drives).collect();
    let verdict = Verdict::of(&devices, &unknown, &steps, &how_far);
    Report {
        changer,
        drives,
        unknown_drives: unknown,
        slots: inventory.slots.len(),
        mail_slots: inventory.mail_slots.len(),
        cartridges: inventory.barcodes().iter().map(ToString::to_string).collect(),
        steps,
        verdict,
    }
}

/// What can't be asked now isn't known.
fn unknown_drives(library: &mut Library) -> Vec<ElementAddress> {
    let inventory = library.inventory().map(|inventory| inventory.drives).unwrap_or_default();
    inventory.into_iter().filter(|place| place.device.is_none()).map(|place| place.element).collect()
}

fn describe(device: &str, inquiry: &Inquiry, serial: Option<String>, features: Vec<Feature>) -> DeviceReport {
    DeviceReport {
        device: device.to_owned(),
        vendor: inquiry.vendor.clone(),
        product: inquiry.product.clone(),
        revision: inquiry.revision.clone(),
        serial,
        features,
    }
}

fn print_library(library: &Library, inventory: &Inventory) {
    let changer = library.changer();
    let inquiry = changer.inquiry();
    println!("{} {} {} ({})", inquiry.vendor, inquiry.product, inquiry.revision, changer.name());
    let full = inventory.slots.iter().filter(|place| place.full).count();
    println!(
        "slots: {} ({full} full), mail slots: {}, drives: {}",
        inventory.slots.len(),
        inventory.mail_slots.len(),
        inventory.drives.len()
    );
    let unknown = || "?".to_owned();
    let drives = inventory.drives.iter().map(|place| {
        vec![
            format!("drive {}", place.drive),
            format!("element {}", place.element),
            place.device.clone().unwrap_or_else(|| "not known before a load".to_owned()),
            format!("serial {}", place.serial.clone().unwrap_or_else(unknown)),
            place.barcode.as_ref().map_or_else(String::new, ToString::to_string),
        ]
    });
    table::print("Drives", &drives.collect::<Vec<_>>());
    let slots = inventory.slots.iter().chain(&inventory.mail_slots).filter(|place| place.full).map(|place| {
        let barcode = place.barcode.as_ref().map_or_else(unknown, ToString::to_string);
        vec![format!("element {}", place.element), barcode]
    });
    table::print("Cartridges", &slots.collect::<Vec<_>>());
}

fn print_findings(report: &Report) {
    for device in [&report.changer].into_iter().chain(&report.drives) {
        let title = format!("{} {} {} can", device.device, device.vendor, device.product);
        let rows = device.features.iter().map(|feature| {
            let (word, cost) = match feature.support {
                Support::Yes => ("yes", ""),
                Support::No => ("no", feature.without),
                Support::Unknown => ("not tried", ""),
            };
            vec![feature.name.to_owned(), word.to_owned(), cost.to_owned()]
        });
        table::print(&title, &rows.collect::<Vec<_>>());
    }
    let rows = report.steps.iter().map(|step| {
        let (word, what) = match &step.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Unsupported { word } => ("unsupported", word.as_str()),
            Outcome::Failed { why } => ("FAILED", why.as_str()),
        };
        vec![step.name.to_owned(), step.subject.clone(), word.to_owned(), what.to_owned()]
    });
    table::print("What Coffer needs of any library", &rows.collect::<Vec<_>>());
    println!();
    report.verdict.sentences().iter().for_each(|sentence| println!("{sentence}"));
}
