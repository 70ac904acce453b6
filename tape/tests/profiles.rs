//! The conformance suite on libraries of many kinds: what one lacks is gone around and said.
#![allow(clippy::unwrap_used, reason = "all of this runs in tests")]

mod common;

use std::sync::Arc;

use coffer_tape::conformance::{self, Outcome, Report};
use coffer_tape::simulator::{
    Blocks, DriveNames, EndWarning, LibraryShape, Loading, Quirks, Reader, Simulated,
};
use coffer_tape::{Barcode, Library, NoWaiter};
use common::{barcode, shape};

fn run(shape: LibraryShape, scratch: &[Barcode]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let simulated = Simulated::create(dir.path(), shape).unwrap();
    let before = simulated.cartridges();
    let mut library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap();
    let report = conformance::run(&mut library, scratch);
    assert!(report.is_conforming(), "{report}");
    assert_eq!(simulated.cartridges(), before, "every tape is back in its place\n{report}");
    report
}

fn quirky(quirks: Quirks) -> LibraryShape {
    LibraryShape { quirks, ..shape() }
}

fn unsupported(report: &Report) -> Vec<&'static str> {
    let steps = report.steps.iter().filter(|step| matches!(step.outcome, Outcome::Unsupported { .. }));
    let mut names: Vec<_> = steps.map(|step| step.name).collect();
    names.dedup();
    names
}

#[test]
fn the_simulator_does_everything() {
    let report = run(shape(), &[barcode(1), barcode(2)]);
    assert_eq!(unsupported(&report), [""; 0], "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["steps"][0]["outcome"], "passed");
    assert_eq!(json["features"]["changer"]["exchange"], "yes");
}

#[test]
fn without_scratch_nothing_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = Simulated::create(dir.path(), shape()).unwrap();
    simulated.observe(|moved| panic!("{moved:?}"));
    let mut library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap();
    let report = conformance::run(&mut library, &[]);
    assert!(report.is_conforming(), "{report}");
}

#[test]
fn libraries_of_other_makes_conform() {
    run(quirky(Quirks::round()), &[barcode(1), barcode(2)]);
    run(quirky(Quirks::close()), &[barcode(1), barcode(2)]);
}

#[test]
fn the_poorest_library_conforms_and_each_lack_is_said() {
    let report = run(quirky(Quirks::poorest()), &[barcode(1), barcode(2)]);
    let names = unsupported(&report);
    for lack in
        ["addresses follow the tape", "swap for another", "health", "the mail slot is locked and freed"]
    {
        assert!(names.contains(&lack), "{lack}: {report}");
    }
}

#[test]
fn one_drive_and_no_mail_slot_are_enough() {
    let report = run(LibraryShape { drives: 1, mail_slots: 0, ..shape() }, &[barcode(1)]);
    assert_eq!(unsupported(&report), ["out to the mail slot and in again"]);
}

#[test]
fn without_barcodes_tapes_are_named_by_their_place() {
    for reader in [Reader::Absent, Reader::Refuses] {
        let scratch = ["@4096", "@4097"].map(|place| place.parse().unwrap());
        let report = run(quirky(Quirks { reader, ..Quirks::default() }), &scratch);
        assert!(unsupported(&report).contains(&"barcodes are read"), "{report}");
    }
}

#[test]
fn drives_that_wait_for_load_or_have_fixed_blocks_only_conform() {
    for quirks in [
        Quirks { loading: Loading::WhenTold, ..Quirks::default() },
        Quirks { blocks: Blocks::FixedOnly, ..Quirks::default() },
        Quirks { end_warning: EndWarning::None, drive_names: DriveNames::Apart, ..Quirks::default() },
        // LOCATE only in its long form, MODE SELECT and MODE SENSE only in theirs.
        Quirks { drives_without: vec![0x2b, 0x15, 0x1a], ..Quirks::default() },
        // No short SPACE, no short filemarks.
        Quirks { drives_without: vec![0x11, 0x10, 0xa3], ..Quirks::default() },
    ] {
        run(quirky(quirks), &[barcode(1), barcode(2)]);
    }
}

#[test]
fn a_step_that_fails_doesnt_end_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = Simulated::create(dir.path(), shape()).unwrap();
    simulated.set_bad_blocks(&barcode(1), &[3]).unwrap();
    let mut library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap();
    let report = conformance::run(&mut library, &[barcode(1), barcode(2)]);
    let failed: Vec<_> = report.failures().map(|step| (step.subject.as_str(), step.name)).collect();
    assert!(failed.contains(&("COF001L6", "first container")), "{report}");
    assert!(failed.iter().all(|(subject, _)| *subject == "COF001L6"), "{report}");
    assert!(report.passed("swap for another"), "{report}");
}
