//! What may happen on one day, each by itself.

use std::sync::mpsc::channel;

use coffer_format::event::CartridgeState;
use coffer_tape::simulator::{LibraryShape, Simulated, Spot};
use coffer_tape::{Barcode, Library, NoWaiter};

use crate::branch::{Branch, shape};

fn barcode(text: &str) -> Barcode {
    text.parse().unwrap()
}

#[test]
fn with_two_drives_a_failed_one_is_gone_around() {
    let mut branch = Branch::with(LibraryShape { drives: 2, ..shape() });
    branch.power.set_drive_broken(true);
    branch.capture();
    branch.tend_now();
    assert_eq!(branch.missing_of("branch"), []);
    let told = branch.sentences();
    assert!(told.iter().any(|sentence| sentence.contains("drive 0 failed")), "{told:?}");
    let wear = branch.drive_wear();
    assert_eq!(wear.iter().map(|drive| drive.failed_in_a_row).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn somebody_elses_cartridge_is_set_aside_until_its_taken_on_order() {
    let mut branch = Branch::with(LibraryShape { cartridges: 1, ..shape() });
    let theirs = barcode("COF001L6");
    branch.between_runs(|simulated: &Simulated| {
        let mut library =
            Library::open(simulated.changer(), simulated.drives(), std::sync::Arc::new(NoWaiter)).unwrap();
        let drive = library.load(&theirs).unwrap();
        library.drive(drive).unwrap().write_block(b"somebody else's only copy").unwrap();
        library.drive(drive).unwrap().write_filemarks(1).unwrap();
        library.unload(drive).unwrap();
    });
    let before = std::fs::read(branch.simulated().cartridge_file(&theirs)).unwrap();
    branch.capture();
    branch.tend_now();
    assert_eq!(branch.state_of(&theirs), Some(CartridgeState::Foreign));
    assert_eq!(std::fs::read(branch.simulated().cartridge_file(&theirs)).unwrap(), before);
    assert_eq!(branch.request().unwrap().to_string(), "Put 2 blank LTO-6 tapes in.");

    branch.job().order_take(branch.vault(), "anna", "COF001L6").unwrap();
    branch.tend_now();
    assert_eq!(branch.state_of(&theirs), Some(CartridgeState::Filling));
    assert!(branch.audit().iter().any(|(who, what)| who == "anna" && what.contains("COF001L6")));
    let error = branch.job().order_take(branch.vault(), "anna", "COF001L6").unwrap_err();
    assert!(error.to_string().contains("is in use here"), "{error}");
}

#[test]
fn a_restore_comes_before_a_write_which_goes_on_afterwards() {
    let mut branch = Branch::with(shape());
    branch.capture();
    branch.tend_now();
    // What is wanted lies on the branch set's first cartridge alone, and much is to be written.
    let wanted = branch.take_off_the_disk();
    assert!(!wanted.is_empty());
    // More segments than the writer reads ahead.
    for _ in 0..10 {
        branch.capture();
        branch.vault().roll().unwrap();
    }
    let (writing, began) = channel();
    let (go_on, may_go_on) = channel();
    branch.power.at_next_write(move || {
        writing.send(()).unwrap();
        may_go_on.recv().unwrap();
    });
    let (told, moves) = channel();
    branch.simulated().observe(move |one| told.send((one.barcode.clone(), one.to)).unwrap());
    let fetched = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let write = scope.spawn(|| branch.tend_now());
        began.recv().unwrap();
        let restore = scope.spawn(|| {
            let vault = branch.vault();
            branch.job().fetch(vault, &wanted, &mut |_| {}, &mut |segment, bytes| {
                fetched.lock().unwrap().push(segment);
                vault.import_segment(segment, bytes)
            })
        });
        while !branch.job().is_claimed() {
            std::thread::yield_now();
        }
        go_on.send(()).unwrap();
        restore.join().unwrap().unwrap();
        write.join().unwrap();
    });
    assert_eq!(fetched.into_inner().unwrap(), wanted);
    assert_eq!(branch.missing_of("branch"), []);
    assert_eq!(branch.missing_of("offsite"), []);
    let loads = moves.try_iter().filter(|(_, to)| matches!(to, Spot::Drive(_)));
    let loads: Vec<String> = loads.map(|(barcode, _)| barcode.to_string()).collect();
    // Writing began, the restore took the drive, writing went on, then the other set's turn came.
    assert_eq!(loads, ["COF001L6", "COF001L6", "COF001L6", "COF002L6"]);
}

#[test]
fn a_lost_cartridge_that_comes_back_gives_what_is_nowhere_else() {
    let mut branch = Branch::with(shape());
    branch.without_offsite_set();
    branch.capture();
    branch.tend_now();
    let orphans = branch.take_off_the_disk();
    assert!(!orphans.is_empty());
    let only = barcode("COF001L6");
    branch.simulated().take_out(&only).unwrap();
    branch.job().order_lost(branch.vault(), "anna", only.as_str()).unwrap();
    assert!(orphans.iter().all(|segment| branch.vault().reading().copies(*segment).unwrap().is_empty()));
    branch.simulated().put_in(&only).unwrap();
    branch.tend_now();
    let on_disk = branch.vault().reading().segments().unwrap();
    assert!(orphans.iter().all(|one| on_disk.iter().any(|found| found.segment == *one && found.on_disk)));
    assert_eq!(branch.missing_of("branch"), []);
}
