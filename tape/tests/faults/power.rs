//! The power goes, at each step of the robot and at each block of the tape.

use coffer_tape::simulator::{Carried, CutPoint, Fault, FaultDevice, Misfortune};

use crate::common::barcode;
use crate::world::{Case, Expect, Then, World, run};

const MOVE: u8 = 0xa5;
const WRITE: u8 = 0x0a;
const FILEMARKS: u8 = 0x10;
const POINTS: [CutPoint; 3] = [CutPoint::Before, CutPoint::Halfway, CutPoint::After];

/// The blocks of a job: two segments of three blocks, and the index twice.
const BLOCKS: u32 = 8;

#[test]
fn a_power_cut_at_each_step_of_the_robot_is_recovered_from() {
    for step in 0..2 {
        for point in POINTS {
            let name = format!("power cut {point:?} move {step}");
            let mut world = World::new();
            let fault = Fault::next(FaultDevice::Changer, MOVE, Misfortune::power_cut(point)).after(step);
            world.plan(&[fault]);
            assert!(world.job().is_err(), "{name}");
            let mut world = world.kill();
            let recovered = world.recover(&name);
            let doing = if step == 0 { "loading tape COF001L6" } else { "unloading tape COF001L6" };
            let told = &recovered.sentences[0];
            assert!(
                told.starts_with(doing) && told.contains("was interrupted; it is in slot 4096"),
                "{told}"
            );
            assert!(world.recover(&name).sentences.is_empty(), "{name}: it's told once");
            world.check(&name);
        }
    }
}

#[test]
fn a_power_cut_at_each_block_of_the_tape_loses_nothing_recorded() {
    for opcode in [WRITE, FILEMARKS] {
        let times = if opcode == WRITE { BLOCKS } else { 2 };
        for number in 0..times {
            for at in POINTS {
                for buffered in [Carried::Out, Carried::NotOut] {
                    let name = format!("power cut {at:?} {opcode:02X}h number {number}, buffer {buffered:?}");
                    let mut world = World::new();
                    let cut = Misfortune::PowerCut { at, buffered };
                    world.plan(&[Fault::next(FaultDevice::Drive(0), opcode, cut).after(number)]);
                    assert!(world.job().is_err(), "{name}");
                    let mut world = world.kill();
                    let recovered = world.recover(&name);
                    assert_eq!(recovered.put_away.len(), 1, "{name}: it was in the drive");
                    world.check(&name);
                }
            }
        }
    }
}

#[test]
fn a_power_cut_amid_an_export_leaves_the_tape_on_one_side() {
    for point in POINTS {
        let name = format!("power cut {point:?} an export");
        let mut world = World::new();
        world.plan(&[Fault::next(FaultDevice::Changer, MOVE, Misfortune::power_cut(point))]);
        assert!(world.library.export(&barcode(4)).is_err(), "{name}");
        let mut world = world.kill();
        let recovered = world.library.recover().unwrap();
        assert!(recovered.sentences[0].starts_with("moving tape COF004L6 to the mail slot was interrupted"));
        // Asked for again, it ends where it was meant to.
        let at = world.library.export(&barcode(4)).unwrap();
        let found = world.library.inventory().unwrap().find(&barcode(4));
        assert_eq!(found, Some(coffer_tape::inventory::Whereabouts::MailSlot(at)), "{name}");
        assert!(world.library.import_mail().unwrap().is_empty(), "{name}: it's on its way out");
    }
}

#[test]
fn a_power_cut_amid_cleaning_puts_the_cleaner_back() {
    let cleaner = "CLN001L1".parse().unwrap();
    for step in 0..2 {
        for point in POINTS {
            let name = format!("power cut {point:?} move {step} of cleaning");
            let mut world = World::new();
            let kind = coffer_tape::simulator::CartridgeKind::Cleaning { uses_left: 9 };
            world.simulated.buy(&cleaner, kind).unwrap();
            world.simulated.put_in(&cleaner).unwrap();
            world.library.import_mail().unwrap();
            let fault = Fault::next(FaultDevice::Changer, MOVE, Misfortune::power_cut(point)).after(step);
            world.plan(&[fault]);
            assert!(world.library.clean(coffer_tape::DriveIndex(0)).is_err(), "{name}");
            let mut world = world.kill();
            let told = world.recover(&name).sentences.remove(0);
            assert!(
                told.starts_with("cleaning drive 0 with tape CLN001L1 was interrupted"),
                "{name}: {told}"
            );
            let found = world.library.inventory().unwrap().find(&cleaner);
            assert!(matches!(found, Some(coffer_tape::inventory::Whereabouts::Slot(_))), "{name}: {found:?}");
            world.library.clean(coffer_tape::DriveIndex(0)).unwrap();
            world.check(&name);
        }
    }
}

#[test]
fn a_second_cut_while_recovering_is_recovered_from() {
    for point in POINTS {
        let name = format!("power cut {point:?} putting away");
        let mut world = World::new();
        world.plan(&[Fault::next(FaultDevice::Changer, MOVE, Misfortune::power_cut(CutPoint::Halfway))]);
        assert!(world.job().is_err());
        let mut world = world.kill();
        world.plan(&[Fault::next(FaultDevice::Changer, MOVE, Misfortune::power_cut(point))]);
        let _ = world.library.recover();
        let mut world = world.kill();
        let recovered = world.recover(&name);
        assert!(recovered.sentences[0].starts_with("loading tape COF001L6"), "{name}: {recovered:?}");
        world.check(&name);
    }
}

#[test]
fn a_cut_of_one_drive_amid_a_job_is_no_worse_for_the_next_program() {
    let cut = Fault::next(FaultDevice::Drive(0), WRITE, Misfortune::power_cut(CutPoint::After));
    let case = Case { name: "a power cut", faults: vec![cut], expect: Expect::Fails("could not be sent") };
    run(&case, Then::Killed);
}
