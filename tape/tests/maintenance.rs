//! What keeps a library going: what a cartridge is, cleaning, the mail slot, health, encryption and reservations.
#![allow(clippy::unwrap_used, reason = "all of this runs in tests")]

mod common;

use std::sync::Arc;

use coffer_tape::container::{LabelPolicy, label_cartridge};
use coffer_tape::drive::{Holders, Performed, Reservation};
use coffer_tape::inventory::Whereabouts;
use coffer_tape::scsi::{EncryptionKey, ReservationKey, TapeAlert};
use coffer_tape::simulator::{
    Carried, CartridgeKind, Fault, FaultDevice, FaultSense, LibraryShape, Misfortune, Protection, Quirks,
    RaisedAlert, Reader, ShownBarcode, Simulated,
};
use coffer_tape::{
    Barcode, CleaningNeed, Generation, Library, MediumKind, NoWaiter, TapeError, WriteProtection,
};
use common::{append, barcode, labelled, library, shape, simulated};

fn cleaner(number: u32) -> Barcode {
    format!("CLN{number:03}L1").parse().unwrap()
}

/// A cleaning cartridge in a slot.
fn stock_cleaner(simulated: &Simulated, number: u32, kind: CartridgeKind) {
    simulated.buy(&cleaner(number), kind).unwrap();
    // The mail slot comes first: take it in from there.
    simulated.put_in(&cleaner(number)).unwrap();
    assert_eq!(library(simulated).import_mail().unwrap().len(), 1);
}

#[test]
fn a_data_cartridge_is_known_by_generation_serial_and_capacity() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = library.load(&barcode(1)).unwrap();
    let medium = library.drive(index).unwrap().medium().unwrap();
    assert_eq!((medium.kind, medium.protection), (MediumKind::Data, WriteProtection::Off));
    assert_eq!(medium.generation, Some(Generation::Lto(6)));
    assert_eq!(medium.drive_generation, Some(Generation::Lto(6)));
    assert_eq!(medium.serial.as_deref(), Some("SNCOF001L6"));
    assert_eq!((medium.remaining_mib, medium.maximum_mib, medium.loads), (Some(64), Some(64), Some(1)));
    let json = serde_json::to_value(&medium).unwrap();
    assert_eq!((&json["kind"], &json["generation"]), (&"data".into(), &"LTO-6".into()));
}

/// Each kind of cartridge that mustn't be written is refused in a sentence of its own, and nothing is written to it.
#[test]
fn what_mustnt_be_written_is_refused_in_a_sentence_of_its_own() {
    type Prepare = fn(&Simulated);
    let cases: [(Prepare, &str); 5] = [
        (|s| s.set_kind(&barcode(1), CartridgeKind::Worm).unwrap(), "can only be written once (WORM)"),
        (|s| s.set_write_protected(&barcode(1), Protection::Protected).unwrap(), "is write protected"),
        (|s| s.set_generation(&barcode(1), "L4").unwrap(), "is LTO-4 and"),
        (|s| s.set_generation(&barcode(1), "L8").unwrap(), "can't use the cartridge in it"),
        (
            |s| s.set_kind(&barcode(1), CartridgeKind::Cleaning { uses_left: 9 }).unwrap(),
            "cleaning cartridge is in",
        ),
    ];
    for (prepare, sentence) in cases {
        let dir = tempfile::tempdir().unwrap();
        let simulated = simulated(dir.path());
        prepare(&simulated);
        let mut library = library(&simulated);
        let label = coffer_tape::conformance::scratch_label(&barcode(1), 1);
        // What the changer tells a cleaner by is taken from it here.
        simulated.show_barcode(&barcode(1), &ShownBarcode::AsIs).unwrap();
        let error = library
            .load(&barcode(1))
            .and_then(|index| label_cartridge(library.drive(index).unwrap(), &label, LabelPolicy::Overwrite))
            .unwrap_err();
        assert!(error.to_string().contains(sentence), "{sentence}: {error}");
        assert_eq!(std::fs::metadata(simulated.cartridge_file(&barcode(1))).unwrap().len(), 0, "{sentence}");
        library.recover().unwrap();
        let found = library.inventory().unwrap().find(&barcode(1));
        assert!(matches!(found, Some(Whereabouts::Slot(_))), "{sentence}: {found:?}");
    }
}

#[test]
fn a_cleaner_by_its_barcode_is_never_loaded_for_data() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    stock_cleaner(&simulated, 1, CartridgeKind::Cleaning { uses_left: 5 });
    let mut library = library(&simulated);
    assert!(matches!(library.load(&cleaner(1)), Err(TapeError::Cleaning(_))));
    let place = library.inventory().unwrap().cleaners().next().unwrap().element;
    assert!(matches!(library.load_place(place), Err(TapeError::Cleaning(_))));
}

#[test]
fn a_drive_that_asks_is_cleaned_on_request_and_the_cleaner_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    stock_cleaner(&simulated, 1, CartridgeKind::Cleaning { uses_left: 2 });
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let alert = RaisedAlert { drive: index.0 as u16, flag: TapeAlert::CleanNow.number() };
    simulated.plan_faults(|plan| plan.alerts.push(alert)).unwrap();
    let health = library.drive(index).unwrap().health().unwrap();
    assert_eq!(
        (health.alerts.as_slice(), health.cleaning),
        (&[TapeAlert::CleanNow][..], CleaningNeed::Required)
    );
    assert!(health.sentences()[0].ends_with("clean now (TapeAlert 14h): clean the drive"));
    assert!(matches!(library.clean(index), Err(TapeError::DriveNotEmpty(_))));
    library.unload(index).unwrap();
    let home = library.inventory().unwrap().find(&cleaner(1));
    let cleaned = library.clean(index).unwrap();
    assert_eq!((&cleaned.cleaner, cleaned.alerts.len()), (&cleaner(1), 0));
    assert_eq!(library.inventory().unwrap().find(&cleaner(1)), home);
    assert_eq!(library.drive(index).unwrap().health().unwrap().cleaning, CleaningNeed::NotAsked);
}

#[test]
fn a_cleaner_that_is_used_up_is_named_and_the_next_one_taken() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    stock_cleaner(&simulated, 1, CartridgeKind::Cleaning { uses_left: 0 });
    let mut one = library(&simulated);
    let index = coffer_tape::DriveIndex(0);
    assert!(matches!(one.clean(index), Err(TapeError::CleanerExpired(name)) if name == "CLN001L1"));
    drop(one);
    stock_cleaner(&simulated, 2, CartridgeKind::Cleaning { uses_left: 1 });
    let mut library = library(&simulated);
    let cleaned = library.clean(index).unwrap();
    assert_eq!((cleaned.cleaner, cleaned.refused), (cleaner(2), vec![cleaner(1)]));
    assert!(matches!(library.clean(index), Err(TapeError::CleanerExpired(_))), "its last use is over");
    simulated.set_kind(&cleaner(1), CartridgeKind::WrongCleaning).unwrap();
    simulated.take_out(&cleaner(2)).unwrap();
    assert!(matches!(library.clean(index), Err(TapeError::CleanerInvalid(_))));
    simulated.take_out(&cleaner(1)).unwrap();
    assert!(matches!(library.clean(index), Err(TapeError::NoCleaner)));
}

#[test]
fn what_people_put_into_the_mail_slot_is_taken_in_and_what_leaves_stays_out() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = Simulated::create(dir.path(), LibraryShape { mail_slots: 2, ..shape() }).unwrap();
    let journal = dir.path().join("robot.json");
    let open = |simulated: &Simulated| {
        let mut library = library(simulated);
        library.keep_journal(&journal).unwrap();
        library
    };
    let mut library = open(&simulated);
    library.export(&barcode(1)).unwrap();
    simulated.take_out(&barcode(2)).unwrap();
    simulated.put_in(&barcode(2)).unwrap();
    // Also after a restart the tape on its way out isn't taken in again.
    drop(library);
    let mut library = open(&simulated);
    let imported = library.import_mail().unwrap();
    assert_eq!(imported.iter().map(|one| one.barcode.clone()).collect::<Vec<_>>(), [Some(barcode(2))]);
    assert_eq!(library.outgoing().unwrap().len(), 1);
    // It was taken home and comes back.
    simulated.take_out(&barcode(1)).unwrap();
    simulated.put_in(&barcode(1)).unwrap();
    let imported = library.import_mail().unwrap();
    assert_eq!(imported[0].barcode, Some(barcode(1)));
    assert!(library.outgoing().unwrap().is_empty());
}

#[test]
fn a_changer_that_takes_all_mail_for_a_persons_isnt_believed() {
    let dir = tempfile::tempdir().unwrap();
    let quirks = Quirks { marks_all_mail: true, ..Quirks::default() };
    let simulated = Simulated::create(dir.path(), LibraryShape { quirks, ..shape() }).unwrap();
    let mut library = library(&simulated);
    library.export(&barcode(1)).unwrap();
    assert!(library.import_mail().unwrap().is_empty(), "it's on its way out");
    simulated.take_out(&barcode(1)).unwrap();
    assert!(library.outgoing().unwrap().is_empty());
    simulated.put_in(&barcode(1)).unwrap();
    assert_eq!(library.import_mail().unwrap().len(), 1);
}

#[test]
fn a_full_library_takes_nothing_in_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = Simulated::create(dir.path(), LibraryShape { slots: 3, ..shape() }).unwrap();
    simulated.put_in(&barcode(4)).unwrap();
    let mut library = library(&simulated);
    assert!(matches!(library.import_mail(), Err(TapeError::NoFreeSlot)));
    assert!(matches!(library.inventory().unwrap().find(&barcode(4)), Some(Whereabouts::MailSlot(_))));
}

#[test]
fn a_tape_without_a_barcode_keeps_the_name_its_label_gave_it() {
    let dir = tempfile::tempdir().unwrap();
    let quirks = Quirks { reader: Reader::Absent, ..Quirks::default() };
    let simulated = Simulated::create(dir.path(), LibraryShape { quirks, ..shape() }).unwrap();
    let mut library = library(&simulated);
    let place = library.inventory().unwrap().nameless().next().unwrap().element;
    let index = library.load_place(place).unwrap();
    library.identify_loaded(index, barcode(1)).unwrap();
    assert_eq!(library.load(&barcode(1)).unwrap(), index);
    library.unload(index).unwrap();
    assert_eq!(library.inventory().unwrap().find(&barcode(1)), Some(Whereabouts::Slot(place)));
    // Somebody takes it out: the place is nobody's.
    simulated.take_out(&barcode(1)).unwrap();
    assert_eq!(library.inventory().unwrap().find(&barcode(1)), None);
}

#[test]
fn a_barcode_that_cant_be_read_any_more_is_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    simulated.show_barcode(&barcode(2), &ShownBarcode::Unreadable).unwrap();
    assert!(matches!(library.load(&barcode(2)), Err(TapeError::NotInLibrary(_))));
    let name = library.inventory().unwrap().nameless().next().unwrap().name();
    let index = library.load(&name).unwrap();
    library.unload(index).unwrap();
    assert_eq!(library.inventory().unwrap().nameless().count(), 1);
}

#[test]
fn an_alert_is_told_once_whoever_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let alert = RaisedAlert { drive: index.0 as u16, flag: TapeAlert::Media.number() };
    simulated.plan_faults(|plan| plan.alerts.push(alert)).unwrap();
    // Unloading reads the flags, which clears them in the drive.
    library.unload(index).unwrap();
    let health = library.drive(index).unwrap().health().unwrap();
    assert_eq!(health.against_cartridge(), [TapeAlert::Media]);
    assert!(library.drive(index).unwrap().health().unwrap().alerts.is_empty());
}

#[test]
fn a_wish_to_be_cleaned_in_any_answer_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let sense = FaultSense { key: 1, asc: 0, ascq: 0x17, end_of_medium: false, deferred: false };
    let what = Misfortune::Sense { sense, carried: Carried::Out };
    let fault = Fault::next(FaultDevice::Drive(index.0 as u16), 0x01, what);
    simulated.plan_faults(|plan| plan.faults.push(fault)).unwrap();
    append(library.drive(index).unwrap(), 1..=1).unwrap();
    assert_eq!(library.drive(index).unwrap().health().unwrap().cleaning, CleaningNeed::Requested);
}

#[test]
fn keys_and_reservations_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let drive = library.drive(coffer_tape::DriveIndex(0)).unwrap();
    assert_eq!(drive.set_encryption_key(&EncryptionKey::new([1; 32])).unwrap(), Performed::Done);
    assert!(drive.encryption().unwrap().unwrap().encrypts);
    drive.clear_encryption_key().unwrap();
    assert!(!drive.encryption().unwrap().unwrap().encrypts);
    let key = ReservationKey(7);
    assert_eq!(drive.reserve(key).unwrap(), Reservation::Persistent(key));
    let held = Holders { holder: Some(key), registered: vec![key] };
    assert_eq!(drive.holders().unwrap(), Some(held));
    drive.release().unwrap();
    assert_eq!(drive.holders().unwrap(), Some(Holders { holder: None, registered: vec![] }));

    let poor = tempfile::tempdir().unwrap();
    let quirks = Quirks { drives_without: vec![0x5f, 0xa2], ..Quirks::default() };
    let simulated = Simulated::create(poor.path(), LibraryShape { quirks, ..shape() }).unwrap();
    let mut library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap();
    let drive = library.drive(coffer_tape::DriveIndex(0)).unwrap();
    assert_eq!(drive.reserve(key).unwrap(), Reservation::Classic);
    assert_eq!(drive.set_encryption_key(&EncryptionKey::new([1; 32])).unwrap(), Performed::Unsupported);
}
