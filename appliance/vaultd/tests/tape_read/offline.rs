//! Without the box.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use coffer_format::PointSeq;
use coffer_tape::simulator::Simulated;
use coffer_tape::{DriveIndex, NoWaiter};
use coffer_vaultd::tape::{Pace, TapeJob, TapeVault, Tapes, extract_vault};

use crate::support::restored::check_point;
use crate::world::{World, barcode, nobody, open_library, restore_to, rules};

/// Eighteen points on several cartridges, the first file changed in the middle.
pub(crate) fn written() -> (World, Vec<PointSeq>) {
    let mut world = World::new(12);
    let mut points = Vec::new();
    for number in 0..18 {
        points.push(if number == 9 {
            world.change("file-0")
        } else {
            world.capture(&format!("file-{number}"))
        });
        if number % 2 == 1 {
            world.write_to_tape();
        }
    }
    world.write_to_tape();
    assert!(world.cartridges().len() >= 4, "{:?}", world.cartridges());
    (world, points)
}

#[test]
fn the_newest_cartridge_says_which_others_a_file_at_a_time_needs_and_only_those_are_read() {
    let (world, points) = written();
    let newest = world.cartridges().last().unwrap().clone();
    let ashes = world.burn();
    let work = tempfile::tempdir().unwrap();
    let mut vault = ashes.read(work.path(), Some(&newest), nobody());
    assert_eq!(vault.reading().points(ashes.config).unwrap().len(), points.len());

    let old = ashes.wanted(points[0], &["file-0"]);
    let needed = vault.needed(&old).unwrap();
    assert_eq!(needed.len(), 1, "{needed:?}");
    assert!(!needed[0].away);
    let target = tempfile::tempdir().unwrap();
    let (outcome, done) = restore_to(&mut vault, &old, target.path());
    assert_eq!((outcome.files, done.mounts), (1, 1), "{done:?}");
    assert!(outcome.failed.is_empty() && done.missing.files.is_empty());
    assert!(ashes.is_right(target.path(), points[0], "file-0"));

    let last = *points.last().unwrap();
    let target = tempfile::tempdir().unwrap();
    let (outcome, done) = restore_to(&mut vault, &ashes.wanted(last, &[]), target.path());
    assert!(outcome.failed.is_empty() && done.missing.files.is_empty(), "{outcome:?} {done:?}");
    for name in ashes.points[&last].keys() {
        assert!(ashes.is_right(target.path(), last, std::str::from_utf8(name).unwrap()));
    }
}

#[test]
fn without_being_told_the_newest_tape_is_found_by_the_labels() {
    let (world, points) = written();
    let ashes = world.burn();
    let work = tempfile::tempdir().unwrap();
    let mut vault = ashes.read(work.path(), None, nobody());
    assert_eq!(vault.reading().points(ashes.config).unwrap().len(), points.len());
    let target = tempfile::tempdir().unwrap();
    let (_, done) = restore_to(&mut vault, &ashes.wanted(points[17], &["file-17"]), target.path());
    assert_eq!(done.mounts, 1);
    assert!(ashes.is_right(target.path(), points[17], "file-17"));
}

#[test]
fn a_damaged_cartridge_costs_only_what_was_on_it_and_names_it() {
    let (world, points) = written();
    let (last, cartridges) = (*points.last().unwrap(), world.cartridges());
    let lost = barcode(&cartridges[1]);
    let on_it: Vec<String> = {
        let only = world.vault.reading().tape_places(0).unwrap();
        let segments =
            only.iter().filter(|one| one.barcode == lost.as_str()).map(|one| one.segment).collect();
        let impact = world.vault.reading().impact(&segments, 100).unwrap();
        impact.first.iter().filter(|one| one.until_ms.is_none()).map(|one| one.path.clone()).collect()
    };
    assert!(!on_it.is_empty());
    let file = world.simulated.cartridge_file(&lost);
    let ashes = world.burn();
    // Each block's payload is random here: one byte of each is changed.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.iter_mut().skip(700_000).step_by(100_000).for_each(|byte| *byte ^= 0xff);
    std::fs::write(&file, bytes).unwrap();

    let work = tempfile::tempdir().unwrap();
    let mut vault = ashes.read(work.path(), cartridges.last().map(String::as_str), nobody());
    let target = tempfile::tempdir().unwrap();
    let (outcome, done) = restore_to(&mut vault, &ashes.wanted(last, &[]), target.path());
    assert!(outcome.failed.is_empty(), "{outcome:?}");
    let mut missing: Vec<String> = done.missing.files.iter().map(|path| format!("/{path}")).collect();
    missing.sort();
    let mut expected = on_it.clone();
    expected.sort();
    assert_eq!(missing, expected);
    assert!(done.missing.segments.values().all(|why| why.contains(lost.as_str())), "{:?}", done.missing);
    for name in ashes.points[&last].keys() {
        let name = std::str::from_utf8(name).unwrap();
        let is_lost = on_it.contains(&format!("/{name}"));
        assert_eq!(ashes.is_right(target.path(), last, name), !is_lost, "{name}");
        assert_eq!(target.path().join(name).exists(), !is_lost, "{name}");
    }
}

#[test]
fn a_tape_that_is_not_there_is_asked_for_by_name() {
    let (world, points) = written();
    let cartridges = world.cartridges();
    world.simulated.take_out(&barcode(&cartridges[0])).unwrap();
    let ashes = world.burn();
    let work = tempfile::tempdir().unwrap();
    let asked = Rc::new(RefCell::new(Vec::new()));
    let heard = asked.clone();
    let ask = Box::new(move |sentence: &str| {
        heard.borrow_mut().push(sentence.to_owned());
        false
    });
    let mut vault = ashes.read(work.path(), cartridges.last().map(String::as_str), ask);
    let wanted = ashes.wanted(points[0], &["file-0"]);
    let needed = vault.needed(&wanted).unwrap();
    assert_eq!(
        needed.iter().map(|one| (one.barcode.as_str(), one.away)).collect::<Vec<_>>(),
        [(&*cartridges[0], true)]
    );
    let target = tempfile::tempdir().unwrap();
    let (_, done) = restore_to(&mut vault, &wanted, target.path());
    assert_eq!(*asked.borrow(), [format!("Put tape {} into the library", cartridges[0])]);
    assert_eq!(done.missing.files, ["file-0"]);
    assert_eq!(done.missing.tapes, [cartridges[0].clone()].into());
}

/// A person feeds one drive; the first time they take the wrong tape.
#[test]
fn one_drive_fed_by_hand_is_enough() {
    let (world, points) = written();
    let cartridges = world.cartridges();
    let newest = cartridges.last().unwrap().clone();
    let ashes = world.burn();
    let simulated = Rc::new(Simulated::open(ashes.library.path()).unwrap());
    let drive = simulated.drive(0).unwrap();
    let asked = Rc::new(RefCell::new(Vec::<String>::new()));
    let (person, heard, wrong) = (simulated.clone(), asked.clone(), cartridges[1].clone());
    let ask = Box::new(move |sentence: &str| {
        let mut robot = open_library(&person);
        if robot.inventory().unwrap().drives[0].full {
            robot.unload(DriveIndex(0)).unwrap();
        }
        let named = sentence.split_whitespace().rev().find_map(|word| word.strip_suffix("L6").map(|_| word));
        let take = match (named, heard.borrow().len()) {
            (None, _) => newest.clone(),
            (Some(_), 1) => wrong.clone(),
            (Some(named), _) => named.to_owned(),
        };
        heard.borrow_mut().push(sentence.to_owned());
        robot.load(&barcode(&take)).unwrap();
        true
    });
    let tapes = Tapes::of_transport(drive, Arc::new(NoWaiter), ask).unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut vault = TapeVault::open(tapes, None, work.path(), ashes.opener(), &mut |_| {}).unwrap();
    let target = tempfile::tempdir().unwrap();
    let (_, done) = restore_to(&mut vault, &ashes.wanted(points[0], &["file-0"]), target.path());
    assert!(ashes.is_right(target.path(), points[0], "file-0"), "{done:?}");
    assert_eq!(
        *asked.borrow(),
        [
            "Put the tape that was written last into the drive".to_owned(),
            format!("Put tape {} into the drive", cartridges[0]),
            format!("That is tape {}. Put tape {} into the drive", cartridges[1], cartridges[0]),
        ]
    );
}

#[test]
fn a_new_box_made_from_the_cartridges_goes_on_writing() {
    let (world, _) = written();
    let ashes = world.burn();
    let dir = tempfile::tempdir().unwrap();
    let done = extract_vault(ashes.source(), dir.path()).unwrap();
    assert!(done.cartridges >= 4);
    let vault = coffer_vault::Vault::open(
        ashes.fixture.disk.clone(),
        dir.path(),
        ashes.opener(),
        ashes.fixture.clock.clone(),
        coffer_vault::Options { reserve_bytes: 0 },
    );
    let vault = Arc::new(vault.unwrap());
    for (point, model) in &ashes.points {
        check_point(vault.reading(), ashes.config, *point, model).unwrap();
    }
    let simulated = Simulated::open(ashes.library.path()).unwrap();
    let job = TapeJob::new(open_library(&simulated), rules());
    let before = vault.reading().tape_places(0).unwrap().len();
    vault.audit("test", "the new box begins").unwrap();
    let written = job.tend(&vault, Pace::Now, &mut |_| {}).unwrap();
    assert!(written.segments > 0 && written.refused.is_empty(), "{written:?}");
    assert!(vault.reading().tape_places(0).unwrap().len() > before);
    for state in vault.segments().unwrap().iter().filter(|state| state.closed) {
        let copies = vault.reading().copies(state.segment).unwrap();
        assert!(!copies.is_empty(), "segment {} isn't on tape", state.segment);
    }
}
