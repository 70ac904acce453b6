//! The library as a whole: moves, two drives, exports, restarts, rebuilding from cartridges.

mod common;

use std::io;
use std::sync::{Arc, Mutex};

use coffer_tape::container::{ContainerWriter, extract_all, scan_cartridge};
use coffer_tape::inventory::Whereabouts;
use coffer_tape::simulator::{Fault, FaultDevice, Misfortune, RobotMove, Simulated, Spot};
use coffer_tape::{Library, NoWaiter, TapeError};
use common::{append, barcode, flip, labelled, library, listed, plan, segment, simulated, source};

#[test]
fn two_drives_work_at_once_and_tapes_go_back_where_they_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let moves = Arc::new(Mutex::new(Vec::new()));
    let seen = moves.clone();
    simulated.observe(move |moved: &RobotMove| seen.lock().unwrap().push(moved.clone()));
    let mut library = library(&simulated);
    let (first, second) = (labelled(&mut library, 2), labelled(&mut library, 3));
    assert_ne!(first, second);
    assert!(matches!(library.load(&barcode(1)), Err(TapeError::NoFreeDrive(_))));
    assert_eq!(library.load(&barcode(2)).unwrap(), first);

    let drives = [first, second].map(|index| library.lend_drive(index).unwrap());
    assert!(matches!(library.unload(first), Err(TapeError::DriveLent(_))));
    let jobs = drives.into_iter().zip([1..=4, 5..=8]).map(|(mut drive, numbers)| {
        std::thread::spawn(move || {
            ContainerWriter::open(&mut drive).unwrap().write(&plan(numbers), &mut source).unwrap();
            drive
        })
    });
    let done: Vec<_> = jobs.collect::<Vec<_>>().into_iter().map(|job| job.join().unwrap()).collect();
    done.into_iter().for_each(|drive| library.give_back(drive));

    assert_eq!(listed(&scan_cartridge(library.drive(first).unwrap()).unwrap()), [1, 2, 3, 4]);
    assert_eq!(listed(&scan_cartridge(library.drive(second).unwrap()).unwrap()), [5, 6, 7, 8]);
    library.unload(first).unwrap();
    library.unload(second).unwrap();
    let inventory = library.inventory().unwrap();
    assert_eq!(inventory.slots[1].barcode, Some(barcode(2)));
    assert_eq!(inventory.slots[2].barcode, Some(barcode(3)));
    assert!(inventory.drives.iter().all(|drive| !drive.full && drive.serial.is_some()));
    let moves = moves.lock().unwrap();
    assert_eq!(moves.len(), 4);
    assert_eq!((&moves[0].barcode, moves[0].from), (&barcode(2), Spot::Slot(1)));
}

#[test]
fn a_missing_tape_is_asked_for_and_can_be_put_in() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    assert_eq!(library.drive(index).unwrap().tape_alerts().unwrap(), Some(vec![]));
    // From the drive to the mail slot, out, asked for, in again.
    library.export(&barcode(1)).unwrap();
    assert!(matches!(library.inventory().unwrap().find(&barcode(1)), Some(Whereabouts::MailSlot(_))));
    assert!(matches!(library.export(&barcode(2)), Err(TapeError::MailSlotFull(_))));
    simulated.take_out(&barcode(1)).unwrap();
    let error = library.load(&barcode(1)).unwrap_err();
    assert!(error.to_string().ends_with("Put tape COF001L6 in"));
    simulated.put_in(&barcode(1)).unwrap();
    let index = library.load(&barcode(1)).unwrap();
    library.unload(index).unwrap();
    assert!(matches!(library.take_stock().unwrap().find(&barcode(1)), Some(Whereabouts::Slot(_))));
}

#[test]
fn an_inventory_is_json() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let inventory = library(&simulated).inventory().unwrap();
    let json = serde_json::to_value(&inventory).unwrap();
    assert_eq!(
        json["slots"][0],
        serde_json::json!({"element": 4096, "full": true, "barcode": "COF001L6", "medium": "data"})
    );
    assert_eq!(json["drives"][1]["serial"], "CFDRV00001");
    assert_eq!(inventory.barcodes().len(), 4);
}

#[test]
fn a_restart_finds_everything_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    {
        let simulated = simulated(dir.path());
        let mut library = library(&simulated);
        let index = labelled(&mut library, 3);
        append(library.drive(index).unwrap(), 1..=2).unwrap();
        assert!(Simulated::open(dir.path()).is_err(), "held by one program at a time");
    }
    let simulated = Simulated::open(dir.path()).unwrap();
    let mut library = library(&simulated);
    let Some(Whereabouts::Drive(drive)) = library.inventory().unwrap().find(&barcode(3)) else {
        panic!("the tape left its drive")
    };
    let index = library.load(&barcode(3)).unwrap();
    assert_eq!(index.0, drive);
    assert_eq!(listed(&scan_cartridge(library.drive(index).unwrap()).unwrap()), [1, 2]);
    library.unload(index).unwrap();
    assert_eq!(library.inventory().unwrap().slots[2].barcode, Some(barcode(3)));
}

#[test]
fn drives_are_found_by_serial_number_whatever_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut drives = simulated.drives();
    drives.reverse();
    let mut library = Library::open(simulated.changer(), drives, Arc::new(NoWaiter)).unwrap();
    let index = labelled(&mut library, 1);
    append(library.drive(index).unwrap(), 1..=1).unwrap();
    let names: Vec<_> =
        library.inventory().unwrap().drives.into_iter().map(|drive| drive.device.unwrap()).collect();
    assert!(names[0].ends_with("drive0") && names[1].ends_with("drive1"), "{names:?}");
}

#[test]
fn a_vault_is_extracted_from_its_cartridges_past_damage_and_absence() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    for (number, segments) in [(1, 1..=3), (2, 4..=6), (3, 7..=9)] {
        let index = labelled(&mut library, number);
        append(library.drive(index).unwrap(), segments).unwrap();
        library.unload(index).unwrap();
    }
    flip(&simulated.cartridge_file(&barcode(1)), &segment(2)[300_000..300_032]);
    simulated.take_out(&barcode(2)).unwrap();

    let mut whole = Vec::new();
    let report = extract_all(&mut library, &[1, 2, 3].map(barcode), &mut |delivery| {
        if delivery.entry.segment.0 == 8 {
            return Ok(());
        }
        let mut bytes = Vec::new();
        delivery.bytes.read_to_end(&mut bytes)?;
        assert_eq!(bytes, segment(delivery.entry.segment.0));
        whole.push(delivery.entry.segment.0);
        Ok(())
    })
    .unwrap();
    assert_eq!(whole, [1, 3, 7, 9]);
    assert_eq!(report.segments, 4);
    assert_eq!(report.lost.iter().map(|lost| lost.segment.0).collect::<Vec<_>>(), [2]);
    assert!(matches!(report.failed[0].error, TapeError::NotInLibrary(_)));
    assert!(library.inventory().unwrap().drives.iter().all(|drive| !drive.full), "every tape went back");

    let stopped = extract_all(&mut library, &[barcode(1)], &mut |_| Err(io::ErrorKind::StorageFull.into()));
    assert!(matches!(stopped, Err(TapeError::Sink(_))));
}

#[test]
fn a_drive_that_is_dead_at_the_start_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let dead = |number| {
        let inquiry = Fault::next(FaultDevice::Drive(number), 0x12, Misfortune::Gone).times(Fault::FOREVER);
        simulated.plan_faults(|plan| plan.faults.push(inquiry)).unwrap();
    };
    dead(0);
    let mut library = library(&simulated);
    assert!(library.silent_drives()[0].0.ends_with("drive0"));
    let index = labelled(&mut library, 1);
    assert_eq!(index.0, 1);
    library.unload(index).unwrap();
    dead(1);
    let error = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap_err();
    assert!(matches!(error, TapeError::Transport { .. }), "{error}");
}
