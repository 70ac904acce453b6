//! Trying a library out: the whole suite, and again on each further drive.

use std::slice;

use coffer_tape::conformance::{self, Outcome, Step};
use coffer_tape::inventory::Whereabouts;
use coffer_tape::{Barcode, DriveIndex, Library};

/// Runs the suite. With several cartridges also on as many drives. Without any, nothing is moved.
pub(super) fn run(library: &mut Library, scratch: &[Barcode]) -> Vec<Step> {
    let mut steps = conformance::run(library, scratch).steps;
    let Some((first, others)) = scratch.split_first() else { return steps };
    for number in 1..drives_tried(library, scratch) {
        steps.extend(on_drive(library, number, first, &others[..number]));
    }
    steps
}

/// How many of the drives a trial with these cartridges comes to.
pub(super) fn drives_tried(library: &Library, scratch: &[Barcode]) -> usize {
    library.drive_count().min(scratch.len())
}

/// With the drives before it occupied, a cartridge is loaded into this one.
fn on_drive(library: &mut Library, number: usize, tape: &Barcode, occupants: &[Barcode]) -> Vec<Step> {
    let about = |name, subject: &Barcode, outcome| Step {
        name,
        subject: format!("{subject}, drive {number}"),
        outcome,
    };
    let mut steps = Vec::new();
    for barcode in occupants {
        if let Err(error) = library.load(barcode) {
            steps.push(about("load", barcode, Outcome::Failed { why: error.to_string() }));
        }
    }
    if steps.is_empty() {
        let tried = conformance::run(library, slice::from_ref(tape)).steps;
        let of_tape = tried.into_iter().filter(|step| step.subject == tape.as_str());
        steps.extend(of_tape.map(|step| about(step.name, tape, step.outcome)));
    }
    for barcode in occupants {
        if let Err(error) = put_away(library, barcode) {
            steps.push(about("unload", barcode, Outcome::Failed { why: error.to_string() }));
        }
    }
    steps
}

fn put_away(library: &mut Library, barcode: &Barcode) -> Result<(), coffer_tape::TapeError> {
    match library.inventory()?.find(barcode) {
        Some(Whereabouts::Drive(drive)) => library.unload(DriveIndex(drive)).map(drop),
        _ => Ok(()),
    }
}
