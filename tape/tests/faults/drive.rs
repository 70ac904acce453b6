//! What drives and cartridges do.

use coffer_tape::TapeError;
use coffer_tape::container::{read_segment, scan_cartridge};
use coffer_tape::simulator::{Carried, CutPoint, Fault, FaultDevice, FaultSense, Misfortune};

use crate::common::{append, barcode, segment};
use crate::world::{Case, Expect, Then, World, run, run_all};

const TEST_UNIT_READY: u8 = 0x00;
const REWIND: u8 = 0x01;
const READ: u8 = 0x08;
const WRITE: u8 = 0x0a;
const FILEMARKS: u8 = 0x10;
const SPACE: u8 = 0x11;
const UNLOAD: u8 = 0x1b;
const POSITION: u8 = 0x34;

fn at(opcode: u8, after: u32, what: Misfortune) -> Vec<Fault> {
    vec![Fault::next(FaultDevice::Drive(0), opcode, what).after(after)]
}

fn case(name: &'static str, faults: Vec<Fault>, expect: Expect) -> Case {
    Case { name, faults, expect }
}

/// Sense after the command was carried out.
fn remark(key: u8, asc: u8, ascq: u8, end_of_medium: bool) -> Misfortune {
    let sense = FaultSense { key, asc, ascq, end_of_medium, deferred: false };
    Misfortune::Sense { sense, carried: Carried::Out }
}

#[test]
fn every_sense_of_the_field_ends_a_job_in_good_order() {
    use Expect::*;
    let sense = Misfortune::sense;
    run_all(&[
        case("a drive that loads for a while is waited for", at(TEST_UNIT_READY, 0, sense(2, 4, 1)), Done),
        case(
            "a drive that says only that it isn't ready is waited for",
            at(TEST_UNIT_READY, 1, sense(2, 4, 0)),
            Done,
        ),
        case(
            "a cartridge that isn't seen at first is waited for",
            at(TEST_UNIT_READY, 1, sense(2, 0x3a, 0)),
            Done,
        ),
        case(
            "a cleaning cartridge in the drive is put back",
            at(TEST_UNIT_READY, 1, sense(2, 0x30, 3)),
            Fails("cleaning cartridge is in"),
        ),
        case(
            "a cartridge the drive can't use is put back",
            at(TEST_UNIT_READY, 1, sense(2, 0x30, 0)),
            Fails("can't use the cartridge"),
        ),
        case(
            "a reset before a write loses the position",
            at(WRITE, 1, sense(6, 0x29, 0)),
            Fails("was reset"),
        ),
        case(
            "a changed medium before a write loses the position",
            at(WRITE, 1, sense(6, 0x28, 0)),
            Fails("changed"),
        ),
        case("a reset before a rewind is absorbed", at(REWIND, 0, sense(6, 0x29, 0)), Done),
        case("write protection is told", at(WRITE, 0, sense(7, 0x27, 0)), Fails("is write protected")),
        case(
            "what is written once is told",
            at(WRITE, 0, sense(7, 0x30, 0x0c)),
            Fails("can only be written once"),
        ),
        case(
            "a format that can't be written is told",
            at(WRITE, 0, sense(7, 0x30, 5)),
            Fails("can't use the cartridge"),
        ),
        case("a block that can't be read is told", at(READ, 0, sense(3, 0x11, 0)), Anything),
        case(
            "a block that can't be written ends the job",
            at(WRITE, 2, sense(3, 0x0c, 0)),
            Fails("write error"),
        ),
        case(
            "a filemark that can't be written ends the job",
            at(FILEMARKS, 0, sense(3, 0x0c, 0)),
            Fails("write error"),
        ),
        case("early warning closes the container", at(WRITE, 1, remark(0, 0, 2, true)), Done),
        case("early warning without a code closes the container", at(WRITE, 1, remark(0, 0, 0, true)), Done),
        case("an overflow ends the job", at(WRITE, 3, sense(0xd, 0, 2)), Fails("is full")),
        case("hardware that fails is told", at(WRITE, 1, sense(4, 0x44, 0)), Fails("hardware error")),
        case("a lost end of data is told", at(SPACE, 0, sense(3, 0x14, 0)), Fails("medium error")),
        case(
            "a position that can't be read is told",
            at(POSITION, 0, sense(4, 0x44, 0)),
            Fails("hardware error"),
        ),
        case("an aborted write ends the job", at(WRITE, 2, sense(0xb, 0x47, 0)), Fails("check the cable")),
    ]);
}

#[test]
fn errors_told_late_are_reported_at_the_next_synchronize() {
    use Expect::*;
    let late = Misfortune::deferred;
    run_all(&[
        case(
            "a late write error at the next write",
            at(WRITE, 3, late(3, 0x0c, 0)),
            Fails("an earlier command failed"),
        ),
        case(
            "a late write error at the filemark",
            at(FILEMARKS, 0, late(3, 0x0c, 0)),
            Fails("an earlier command failed"),
        ),
        case(
            "a late write error at the synchronize",
            at(FILEMARKS, 1, late(3, 0x0c, 0)),
            Fails("an earlier command failed"),
        ),
        // Told on a question between two writes: kept until the next write or synchronize.
        case(
            "a late write error at a question",
            at(TEST_UNIT_READY, 3, late(4, 0x44, 0)),
            Fails("an earlier command failed"),
        ),
    ]);
}

#[test]
fn drives_that_hang_or_go_away_end_a_job_in_good_order() {
    use Expect::*;
    let hang = |carried| Misfortune::Hang(carried);
    let gone = |opcode, after| {
        vec![
            Fault::next(FaultDevice::Drive(0), opcode, Misfortune::Gone).after(after),
            Fault { opcode: None, ..Fault::next(FaultDevice::Drive(0), 0, Misfortune::Gone) }
                .after(u32::MAX - 1)
                .times(Fault::FOREVER),
        ]
    };
    run_all(&[
        case(
            "a write that hangs and wasn't done",
            at(WRITE, 1, hang(Carried::NotOut)),
            Fails("got lost on the way"),
        ),
        case(
            "a write that hangs and was done",
            at(WRITE, 1, hang(Carried::Out)),
            Fails("got lost on the way"),
        ),
        case(
            "a filemark that hangs and was done",
            at(FILEMARKS, 0, hang(Carried::Out)),
            Fails("got lost on the way"),
        ),
        case(
            "a synchronize that hangs",
            at(FILEMARKS, 1, hang(Carried::NotOut)),
            Fails("got lost on the way"),
        ),
        case(
            "a load that hangs",
            at(TEST_UNIT_READY, 1, hang(Carried::NotOut)),
            Fails("got lost on the way"),
        ),
        case("an unload that hangs is gone around", at(UNLOAD, 0, hang(Carried::Out)), Anything),
        case("a drive that goes away amid writing", gone(WRITE, 1), Fails("could not be sent")),
        case("a drive that goes away amid winding", gone(SPACE, 0), Fails("could not be sent")),
        case("a drive that is busy is asked again", at(WRITE, 1, Misfortune::Status(0x08)), Done),
        case(
            "a drive that another computer holds",
            at(WRITE, 1, Misfortune::Status(0x18)),
            Fails("reserved by another"),
        ),
    ]);
}

/// Many commands in a row meet the same trouble, until it's over.
#[test]
fn trouble_that_lasts_is_outlived() {
    for (name, what) in [
        ("a drive that hangs at everything", Misfortune::Hang(Carried::NotOut)),
        ("a drive that is gone", Misfortune::Gone),
        ("a drive whose hardware failed", Misfortune::sense(4, 0x44, 0)),
    ] {
        let fault = Fault { opcode: None, ..Fault::next(FaultDevice::Drive(0), 0, what) };
        for then in [Then::GoesOn, Then::Killed] {
            let lasting = Case { name, faults: vec![fault.times(Fault::FOREVER)], expect: Expect::Anything };
            run(&lasting, then);
        }
    }
}

#[test]
fn a_question_that_absorbs_a_reset_amid_a_job_keeps_the_label_from_being_overwritten() {
    const LOG_SENSE: u8 = 0x4d;
    let name = "a reset told to LOG SENSE between two writes";
    let mut world = World::new();
    let index = world.library.load(&barcode(1)).unwrap();
    let drive = world.library.drive(index).unwrap();
    drive.space_end().unwrap();
    world.plan(&at(LOG_SENSE, 0, Misfortune::sense(6, 0x29, 0)));
    let drive = world.library.drive(index).unwrap();
    let health = drive.health().unwrap();
    assert!(health.remarks[0].starts_with("the device was reset"), "{health:?}");
    // The drive has rewound: a write now would lie on the label.
    let error = drive.write_block(&segment(5)[..1000]).unwrap_err();
    assert!(error.to_string().contains("lost its place on the tape"), "{error}");
    world.recover(name);
    world.check(name);
}

#[test]
fn a_bad_block_costs_the_job_and_nothing_that_was_there() {
    let mut world = World::new();
    let end = {
        let index = world.library.load(&barcode(1)).unwrap();
        let drive = world.library.drive(index).unwrap();
        drive.space_end().unwrap();
        let end = drive.position().unwrap().unwrap();
        world.library.unload(index).unwrap();
        end
    };
    world.simulated.set_bad_blocks(&barcode(1), &[end.0 + 2]).unwrap();
    let error = world.job().unwrap_err();
    assert!(error.to_string().contains("write error"), "{error}");
    world.simulated.set_bad_blocks(&barcode(1), &[]).unwrap();
    world.recover("a bad block");
    world.check("a bad block");
}

#[test]
fn a_block_that_cant_be_read_costs_only_its_segment() {
    let mut world = World::new();
    // Label, filemark, three blocks of segment 1, then those of segment 2.
    world.simulated.set_bad_blocks(&barcode(1), &[6]).unwrap();
    let index = world.library.load(&barcode(1)).unwrap();
    let drive = world.library.drive(index).unwrap();
    let contents = scan_cartridge(drive).unwrap();
    let read = |place| {
        let mut bytes = Vec::new();
        read_segment(drive, &contents.label, &place, &mut bytes).map(|()| bytes)
    };
    let results: Vec<_> = contents.places().map(read).collect();
    assert_eq!(results[0].as_ref().unwrap(), &segment(1));
    assert!(results[1].as_ref().is_err_and(TapeError::is_damage), "{:?}", results[1]);
    world.simulated.set_bad_blocks(&barcode(1), &[]).unwrap();
    world.recover("a block that can't be read");
    world.check("a block that can't be read");
}

#[test]
fn a_plan_written_by_another_program_is_obeyed() {
    let mut world = World::new();
    let plan = coffer_tape::simulator::FaultPlan {
        faults: at(WRITE, 0, Misfortune::power_cut(CutPoint::Before)),
        ..Default::default()
    };
    plan.write(world.simulated.cartridge_file(&barcode(1)).parent().unwrap()).unwrap();
    assert!(world.job().is_err());
    let mut world = world.kill();
    assert!(world.simulated.faults().faults.is_empty(), "it happens once");
    world.recover("a plan of another program");
    let index = world.library.load(&barcode(1)).unwrap();
    append(world.library.drive(index).unwrap(), 3..=3).unwrap();
}
