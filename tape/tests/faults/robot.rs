//! What robots, doors and people do.

use coffer_tape::TapeError;
use coffer_tape::simulator::{Carried, Fault, FaultDevice, FaultSense, Misfortune, ShownBarcode};

use crate::common::barcode;
use crate::world::{Case, Expect, World, run_all};

const MOVE: u8 = 0xa5;
const STATUS: u8 = 0xb8;
const TEST_UNIT_READY: u8 = 0x00;

fn at(opcode: u8, after: u32, what: Misfortune) -> Vec<Fault> {
    vec![Fault::next(FaultDevice::Changer, opcode, what).after(after)]
}

fn stuck(after: u32) -> Vec<Fault> {
    let sense = FaultSense { key: 4, asc: 0x15, ascq: 1, end_of_medium: false, deferred: false };
    at(MOVE, after, Misfortune::StuckInHand(sense))
}

#[test]
fn every_way_a_robot_fails_ends_with_each_tape_in_a_slot() {
    use Expect::*;
    let sense = Misfortune::sense;
    let case = |name, faults, expect| Case { name, faults, expect };
    run_all(&[
        case("a robot stuck before loading", at(MOVE, 0, sense(4, 0x15, 1)), Fails("robot of")),
        case("a robot stuck with the tape in its hand while loading", stuck(0), Fails("robot of")),
        case("a robot stuck before unloading", at(MOVE, 1, sense(4, 0x15, 1)), Fails("robot of")),
        case("a robot stuck with the tape in its hand while unloading", stuck(1), Fails("robot of")),
        case("a slot that is empty after all", at(MOVE, 0, sense(5, 0x3b, 0x0e)), Fails("take stock")),
        case("a drive that is full after all", at(MOVE, 0, sense(5, 0x3b, 0x0d)), Fails("take stock")),
        case("a place that isn't there", at(MOVE, 0, sense(5, 0x21, 1)), Fails("take stock")),
        case("a place that isn't there, said vaguely", at(MOVE, 0, sense(5, 0x24, 0)), Fails("take stock")),
        case("a door that is open", at(MOVE, 0, sense(2, 4, 3)), Fails("close its door")),
        case("a magazine that was taken out", at(MOVE, 0, sense(2, 0x3b, 0x12)), Fails("close its door")),
        case("a mail slot used meanwhile", at(MOVE, 0, sense(6, 0x28, 1)), Done),
        case("a changer that was reset", at(MOVE, 1, sense(6, 0x29, 0)), Done),
        case("a drive that lets go late", at(MOVE, 1, sense(5, 0x53, 2)), Done),
        case("a changer that gets ready late", at(TEST_UNIT_READY, 0, sense(2, 4, 1)), Done),
        case(
            "a move that hangs and wasn't done",
            at(MOVE, 0, Misfortune::Hang(Carried::NotOut)),
            Fails("got lost"),
        ),
        case(
            "a move that hangs and was done",
            at(MOVE, 0, Misfortune::Hang(Carried::Out)),
            Fails("got lost"),
        ),
        case(
            "a move home that hangs and was done",
            at(MOVE, 1, Misfortune::Hang(Carried::Out)),
            Fails("got lost"),
        ),
        case("an inventory that hangs", at(STATUS, 1, Misfortune::Hang(Carried::NotOut)), Fails("got lost")),
        case("a changer that is gone for a while", at(MOVE, 0, Misfortune::Gone), Fails("could not be sent")),
        case("a changer that is busy", at(MOVE, 0, Misfortune::Status(0x08)), Done),
        case("a changer another computer holds", at(MOVE, 0, Misfortune::Status(0x18)), Fails("reserved")),
    ]);
}

#[test]
fn a_full_gripper_is_told_and_emptied() {
    let mut world = World::new();
    world.simulated.leave_in_hand(&barcode(3)).unwrap();
    assert!(matches!(world.job(), Err(TapeError::GripperFull)));
    let recovered = world.recover("a full gripper");
    assert_eq!(recovered.sentences, ["tape COF003L6 was in the robot's hand and is in slot 4098 now"]);
    world.job().unwrap();
    world.check("a full gripper");
}

#[test]
fn an_open_door_stops_everything_until_its_closed() {
    let mut world = World::new();
    world.simulated.plan_faults(|plan| plan.door_open = true).unwrap();
    assert!(matches!(world.job(), Err(TapeError::DoorOpen { .. })));
    // What happens inside while it's open is seen afterwards.
    world.simulated.take_out(&barcode(4)).unwrap();
    world.mend();
    world.job().unwrap();
    let inventory = world.library.take_stock().unwrap();
    assert_eq!(inventory.find(&barcode(4)), None);
}

#[test]
fn a_barcode_that_changed_meets_the_label_inside() {
    let mut world = World::new();
    // Two labels were swapped: what looks like tape 2 is tape 1.
    world.simulated.show_barcode(&barcode(2), &ShownBarcode::Unreadable).unwrap();
    world.simulated.show_barcode(&barcode(1), &ShownBarcode::Other(barcode(2))).unwrap();
    let index = world.library.load(&barcode(2)).unwrap();
    let wanted = coffer_tape::conformance::scratch_label(&barcode(2), 2);
    let drive = world.library.drive(index).unwrap();
    let error = coffer_tape::container::ContainerWriter::open_expecting(drive, &wanted).unwrap_err();
    assert!(matches!(error, TapeError::WrongCartridge { .. }), "{error}");
    world.simulated.show_barcode(&barcode(1), &ShownBarcode::AsIs).unwrap();
    world.simulated.show_barcode(&barcode(2), &ShownBarcode::AsIs).unwrap();
    world.recover("swapped barcodes");
    world.check("swapped barcodes");
}

#[test]
fn a_mail_slot_filled_by_hand_disturbs_no_job_and_is_taken_in() {
    let mut world = World::new();
    world.simulated.take_out(&barcode(4)).unwrap();
    world.simulated.put_in(&barcode(4)).unwrap();
    world.job().unwrap();
    let imported = world.library.import_mail().unwrap();
    assert_eq!(imported[0].barcode, Some(barcode(4)));
    world.recover("mail by hand");
    world.check("mail by hand");
}

#[test]
fn with_no_free_slot_what_cant_be_put_away_is_told() {
    let mut world = World::new();
    let index = world.library.load(&barcode(1)).unwrap();
    // Somebody fills every slot meanwhile.
    for number in 5..=7 {
        let more = barcode(number);
        world.simulated.buy(&more, coffer_tape::simulator::CartridgeKind::Data).unwrap();
    }
    let fillers = (5..=7).map(barcode).chain([barcode(5)]);
    for more in fillers {
        let _ = world.simulated.put_in(&more);
    }
    world.library.import_mail().ok();
    world.simulated.put_in(&barcode(7)).ok();
    let recovered = world.library.recover().unwrap();
    let inventory = world.library.inventory().unwrap();
    let full = inventory.slots.iter().all(|slot| slot.full);
    assert_eq!(recovered.left, usize::from(full && inventory.drives[index.0].full), "{recovered:?}");
    if recovered.left == 1 {
        assert!(recovered.sentences[0].contains("take a tape out"), "{recovered:?}");
    }
}
