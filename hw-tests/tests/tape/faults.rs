//! What drives and robots do to a job, and what becomes of it.

use coffer_tape::conformance::scratch_label;
use coffer_tape::container::{
    ContainerReceipt, ContainerWriter, LabelPolicy, label_cartridge, scan_cartridge,
};
use coffer_tape::drive::ReadOutcome;
use coffer_tape::simulator::{Carried, Fault, FaultDevice, Misfortune, Protection};
use coffer_tape::{ErrorClass, TapeError};

use crate::site::{Site, append, barcode, labelled, read_back, recorded};

const TEST_UNIT_READY: u8 = 0x00;
const WRITE: u8 = 0x0a;
const WRITE_FILEMARKS: u8 = 0x10;
const MOVE_MEDIUM: u8 = 0xa5;

fn drive(opcode: u8, what: Misfortune) -> Fault {
    Fault::next(FaultDevice::Drive(0), opcode, what)
}

#[test]
fn a_drive_that_takes_long_to_get_ready_is_waited_for() {
    let site = Site::start(64);
    site.plan(drive(TEST_UNIT_READY, Misfortune::sense(2, 0x04, 0x01)).times(40));
    labelled(&mut site.library(), 1);
}

#[test]
fn a_cartridge_without_early_warning_is_full_all_the_same() {
    let site = Site::start(64);
    let mut library = site.library();
    let index = labelled(&mut library, 1);
    let tape = library.drive(index).unwrap();
    let first = append(tape, 1..=2).unwrap();
    site.plan(drive(WRITE, Misfortune::sense(0xd, 0x00, 0x02)).after(2));
    assert!(matches!(append(tape, 3..=4), Err(TapeError::CartridgeFull)));
    read_back(tape, 1, &first).unwrap();
}

#[test]
fn a_block_that_cant_be_read_costs_its_own_segment_only() {
    let site = Site::start(64);
    let mut library = site.library();
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    let receipt = append(drive, 1..=3).unwrap();
    let bad = receipt.recorded[1].start.unwrap().0;
    site.simulated().set_bad_blocks(&barcode(1), &[bad]).unwrap();
    let mut one = |number: usize| {
        let recorded = vec![receipt.recorded[number].clone()];
        read_back(drive, 1, &ContainerReceipt { recorded, ..receipt.clone() })
    };
    one(0).unwrap();
    let error = one(1).unwrap_err();
    assert!(error.is_damage() && error.class() == ErrorClass::Corrupt, "{error}");
    one(2).unwrap();
}

#[test]
fn a_write_error_stops_the_job_and_costs_nothing_that_was_recorded() {
    let site = Site::start(64);
    let mut library = site.library();
    let index = labelled(&mut library, 1);
    let tape = library.drive(index).unwrap();
    let first = append(tape, 1..=2).unwrap();
    site.plan(drive(WRITE, Misfortune::sense(3, 0x0c, 0x00)).after(3));
    let error = append(tape, 3..=5).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
    let again = append(tape, 3..=5).unwrap();
    assert_eq!(recorded(&again), [3, 4, 5]);
    read_back(tape, 1, &first).unwrap();
    read_back(tape, 1, &again).unwrap();
}

#[test]
fn an_error_told_late_keeps_a_container_from_counting() {
    let site = Site::start(64);
    let mut library = site.library();
    let index = labelled(&mut library, 1);
    let tape = library.drive(index).unwrap();
    site.plan(drive(WRITE_FILEMARKS, Misfortune::deferred(3, 0x0c, 0x00)));
    append(tape, 1..=2).unwrap_err();
    let receipt = append(tape, 1..=2).unwrap();
    read_back(tape, 1, &receipt).unwrap();
}

#[test]
fn a_reset_amid_a_job_ends_it_and_the_next_one_finds_the_end_of_data() {
    let site = Site::start(64);
    let mut library = site.library();
    let index = labelled(&mut library, 1);
    let tape = library.drive(index).unwrap();
    site.plan(drive(WRITE, Misfortune::sense(6, 0x29, 0x00)).after(2));
    append(tape, 1..=2).unwrap_err();
    let receipt = append(tape, 1..=2).unwrap();
    read_back(tape, 1, &receipt).unwrap();
}

#[test]
fn a_command_that_is_lost_is_never_success() {
    for carried in [Carried::Out, Carried::NotOut] {
        let site = Site::start(64);
        let mut library = site.library();
        let index = labelled(&mut library, 1);
        let tape = library.drive(index).unwrap();
        site.plan(drive(WRITE, Misfortune::Hang(carried)).after(2));
        append(tape, 1..=2).unwrap_err();
        let receipt = append(tape, 1..=2).unwrap();
        read_back(tape, 1, &receipt).unwrap();
    }
}

#[test]
fn a_write_protected_cartridge_is_said_to_be_one() {
    let site = Site::start(64);
    site.simulated().set_write_protected(&barcode(1), Protection::Protected).unwrap();
    let mut library = site.library();
    let index = library.load(&barcode(1)).unwrap();
    let label = scratch_label(&barcode(1), 1);
    let error = label_cartridge(library.drive(index).unwrap(), &label, LabelPolicy::OnlyBlank).unwrap_err();
    assert!(matches!(error, TapeError::WriteProtected), "{error}");
}

#[test]
fn a_robot_that_stands_still_is_an_error_and_nothing_has_moved() {
    let site = Site::start(64);
    let mut library = site.library();
    let before = library.inventory().unwrap();
    site.plan(Fault::next(FaultDevice::Changer, MOVE_MEDIUM, Misfortune::sense(4, 0x15, 0x01)));
    library.load(&barcode(1)).unwrap_err();
    assert_eq!(library.inventory().unwrap(), before);
    labelled(&mut library, 1);
}

#[test]
fn a_drive_that_is_gone_is_an_error_and_the_other_one_goes_on() {
    let site = Site::start(64);
    let mut library = site.library();
    let first = labelled(&mut library, 1);
    let second = labelled(&mut library, 2);
    append(library.drive(first).unwrap(), 1..=2).unwrap();
    site.unplug_drive(first.0);
    let error = append(library.drive(first).unwrap(), 3..=4).unwrap_err();
    assert!(error.to_string().contains("check"), "a person is told what to look at: {error}");
    let receipt = append(library.drive(second).unwrap(), 3..=4).unwrap();
    read_back(library.drive(second).unwrap(), 2, &receipt).unwrap();
    library.unload(second).unwrap();
    assert!(library.unload(first).is_err());
}

#[test]
fn blocks_of_another_length_are_told_apart() {
    let site = Site::start(64);
    let mut library = site.library();
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    drive.rewind().unwrap();
    drive.write_block(&[7; 1000]).unwrap();
    drive.write_block(&vec![8; 300_000]).unwrap();
    drive.write_filemarks(1).unwrap();
    drive.rewind().unwrap();
    let mut block = vec![0; 256 << 10];
    assert_eq!(drive.read_block(&mut block).unwrap(), ReadOutcome::Block(1000));
    assert!(block[..1000].iter().all(|byte| *byte == 7));
    assert_eq!(drive.read_block(&mut block).unwrap(), ReadOutcome::TooLong);
    assert_eq!(drive.read_block(&mut block).unwrap(), ReadOutcome::Filemark);
    assert_eq!(drive.read_block(&mut block).unwrap(), ReadOutcome::EndOfData);
    assert!(scan_cartridge(drive).is_err(), "that is no cartridge of ours any more");
    assert!(ContainerWriter::open(drive).is_err());
}
