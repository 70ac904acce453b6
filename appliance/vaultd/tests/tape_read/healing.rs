//! What depends on one cartridge, what comes back when it's lost, and how few mounts a restore takes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;

use coffer_format::event::CartridgeState;
use coffer_format::segment::Stream;
use coffer_tape::simulator::RobotMove;
use coffer_vault::outline::TapePlace;
use coffer_vault::verify::Verdict;

use coffer_vaultd::tape::Pace;

use crate::support::fixture::HOUR_MS;
use crate::world::{World, barcode};

#[test]
fn what_depends_on_a_cartridge_alone_is_named_with_its_times() {
    let mut world = World::new(12);
    let first = world.capture("kept");
    world.write_to_tape();
    for number in 0..8 {
        world.capture(&format!("file-{number}"));
        world.write_to_tape();
    }
    world.change("kept");
    world.write_to_tape();
    let reading = world.vault.reading().clone();
    let oldest = world.cartridges()[0].clone();
    // Everything is on disk: nothing depends on tape.
    assert_eq!(reading.only_on_cartridge(&oldest).unwrap(), BTreeSet::new());
    world.evict();
    let only = reading.only_on_cartridge(&oldest).unwrap();
    let impact = reading.impact(&only, 1).unwrap();
    assert!(impact.versions >= 2 && impact.segments >= 2, "{impact:?}");
    assert_eq!(impact.first.len(), 1);
    let impact = reading.impact(&only, 100).unwrap();
    let kept = impact.first.iter().find(|one| one.path == "/kept").unwrap();
    let points = reading.points(world.config).unwrap();
    let closed = |point: u64| points.iter().find(|one| one.point == point).unwrap().closed_ms;
    assert_eq!((kept.computer.as_str(), kept.config.as_str()), ("desk", "all"));
    assert_eq!(kept.from_ms, closed(first.0));
    assert_eq!(kept.until_ms, Some(closed(first.0 + 9)));
    assert_eq!(reading.impact(&reading.only_on_cartridge("NOSUCHL6").unwrap(), 9).unwrap().versions, 0);
}

#[test]
fn a_restore_on_the_box_loads_each_cartridge_once_and_nothing_else() {
    let mut world = World::new(12);
    let mut last = world.capture("file-0");
    for number in 1..16 {
        last = world.capture(&format!("file-{number}"));
        world.write_to_tape();
    }
    world.evict();
    let cartridges = world.cartridges();
    let loads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = loads.clone();
    world.simulated.observe(move |one: &RobotMove| {
        if format!("{:?}", one.to).starts_with("Drive") {
            seen.lock().unwrap().push(one.barcode.to_string());
        }
    });
    let wanted = crate::support::restored::everything(world.config, last);
    let missing = world.vault.reading().missing_for(&wanted).unwrap();
    assert!(missing.len() >= 10);
    world.fetch(&missing).unwrap();
    assert_eq!(world.vault.reading().missing_for(&wanted).unwrap(), []);
    let loads = loads.lock().unwrap().clone();
    let once: BTreeSet<_> = loads.iter().collect();
    assert_eq!((loads.len(), once.len()), (cartridges.len(), cartridges.len()), "{loads:?}");

    // A tape that is out of the house is asked for in one sentence, after all else was read.
    world.evict();
    world.simulated.take_out(&barcode(&cartridges[0])).unwrap();
    let error = world.fetch(&missing).unwrap_err().to_string();
    assert!(error.contains(&format!("Put tape {} in", cartridges[0])), "{error}");
    let still = world.vault.reading().missing_for(&wanted).unwrap();
    assert!(!still.is_empty() && still.len() < missing.len());
}

/// A data segment, with its place on tape.
fn on_tape(world: &World) -> TapePlace {
    let states = world.vault.segments().unwrap();
    let is_data =
        |segment| states.iter().any(|state| state.segment == segment && state.stream != Stream::Meta);
    let places = world.vault.reading().tape_places(0).unwrap();
    places.into_iter().find(|place| is_data(place.segment) && place.block > 0).unwrap()
}

#[test]
fn a_copy_that_cannot_be_read_counts_no_more_and_is_written_again() {
    let mut world = World::new(4);
    world.capture("one");
    world.write_to_tape();
    let place = on_tape(&world);
    world.simulated.set_bad_blocks(&barcode(&place.barcode), &[place.block]).unwrap();
    let errors = |world: &World| {
        let all = world.vault.reading().cartridges().unwrap();
        all.iter().find(|one| one.barcode == place.barcode).unwrap().errors
    };
    let before = errors(&world);
    world.fetch(&[place.segment]).unwrap_err();
    assert_eq!(world.vault.reading().copies(place.segment).unwrap(), [], "it can't be read");
    assert_eq!(errors(&world), before + 1);
    let told = world.job.sentences().join("\n");
    assert!(told.contains(&format!("A copy on tape {} couldn't be read", place.barcode)), "{told}");
    let audited = world.vault.reading().audit_log(9).unwrap();
    assert!(audited.iter().any(|entry| entry.what.contains("counts no more")), "{audited:?}");
    // It's on disk still, so nothing is lost.
    assert_eq!(world.vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole);

    world.write_to_tape();
    let copies = world.vault.reading().copies(place.segment).unwrap();
    assert_eq!(copies.len(), 1, "it's written again");
    assert!(!world.job.sentences().join("\n").contains("couldn't be read"), "{:?}", world.job.sentences());
    world.fetch(&[place.segment]).unwrap();
}

#[test]
fn the_last_copy_that_cannot_be_read_is_named_and_its_tape_is_kept() {
    let mut world = World::new(4);
    let point = world.capture("one");
    world.write_to_tape();
    let place = on_tape(&world);
    world.evict();
    world.simulated.set_bad_blocks(&barcode(&place.barcode), &[place.block]).unwrap();
    assert_eq!(world.vault.reading().prove().unwrap().verdict, Verdict::Whole);
    world.fetch(&[place.segment]).unwrap_err();
    let report = world.vault.reading().prove().unwrap();
    assert_eq!(report.verdict, Verdict::Lost, "{report:?}");
    assert!(report.touched.iter().any(|one| one.path == "/one" && one.is_lost), "{report:?}");
    let wanted = crate::support::restored::everything(world.config, point);
    assert!(!world.vault.reading().missing_for(&wanted).unwrap().is_empty());
    world.capture("two");
    world.write_to_tape();
    let all = world.vault.reading().cartridges().unwrap();
    let state = all.iter().find(|one| one.barcode == place.barcode).unwrap().state;
    assert!(
        matches!(state, Some(CartridgeState::Damaged | CartridgeState::Retired)),
        "somebody may be able to read it: {state:?}"
    );
}

#[test]
fn a_tape_that_cannot_be_read_when_it_is_needed_is_told_until_it_can_be() {
    let mut world = World::new(3);
    world.capture("kept");
    world.write_to_tape();
    world.evict();
    let tape = world.cartridges()[0].clone();
    let only = world.vault.reading().only_on_cartridge(&tape).unwrap();
    let only: Vec<_> = only.into_iter().collect();
    assert!(!only.is_empty());
    world.simulated.set_generation(&barcode(&tape), "L8").unwrap();
    world.fetch(&only).unwrap_err();
    let told = |world: &World| {
        let told = world.job.sentences().join("\n");
        told.contains(&format!("Tape {tape} couldn't be read when it was needed, since 20"))
    };
    assert!(told(&world), "{:?}", world.job.sentences());
    let look = |world: &World| {
        world.fixture.clock.advance(2 * HOUR_MS);
        world.job.tend(&world.vault, Pace::AsDue, &mut |_| {}).unwrap();
    };
    look(&world);
    assert!(told(&world), "it's tried again, and still can't be read: {:?}", world.job.sentences());
    world.simulated.set_generation(&barcode(&tape), "L6").unwrap();
    look(&world);
    assert!(!told(&world), "{:?}", world.job.sentences());
    world.fetch(&only).unwrap();
}
