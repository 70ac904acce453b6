//! A box that goes on with an older copy of its vault meets cartridges that know more than it does.

use std::fs;
use std::path::Path;
use std::process::Command;

use coffer_tape::simulator::Simulated;
use coffer_vaultd::tape::{Pace, TapeJob, extract_vault};

use crate::support::agent::Agent;
use crate::support::restored::check_point;
use crate::world::{World, nobody, open_library, rules};

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(done.success());
}

/// A box writes a tape, its vault is copied, and it writes on; then the copy is put back. Gives what the agent knew then.
fn set_back(world: World) -> World {
    let mut world = world;
    world.capture("a");
    world.write_to_tape();
    let copied = tempfile::tempdir().unwrap();
    let memory = world.agent.memory.clone();
    copy(world.fixture.dir(), copied.path());
    world.capture("b");
    world.write_to_tape();
    world.capture("c");
    world.write_to_tape();
    let World { fixture, library, simulated, job, agent, vault, config, computer, random } = world;
    drop((agent, job, simulated, vault));
    fs::remove_dir_all(fixture.dir().join("segments")).unwrap();
    fixture.delete_catalog();
    copy(copied.path(), fixture.dir());
    let simulated = Simulated::open(library.path()).unwrap();
    let vault = fixture.open();
    let job = TapeJob::new(open_library(&simulated), rules());
    let agent = Agent::resume(&vault, computer, config, memory).unwrap();
    World { fixture, library, simulated, job, agent, vault, config, computer, random }
}

#[test]
fn what_it_does_not_know_on_a_tape_is_never_written_over_and_is_said() {
    let world = World::new(4);
    let mut world = set_back(world);
    let known = world.vault.reading().tape_places(0).unwrap();
    world.capture("own");
    let written = world.job.tend(&world.vault, Pace::Now, &mut |_| {}).unwrap();
    let said = written.refused.join(" ");
    assert!(said.contains("another history"), "{said}");
    let told = world.job.sentences().join(" ");
    assert!(told.contains("another history") && told.contains("coffer tape take"), "{told}");
    // It was written to another one, whole, and what was known of the first still counts.
    assert_eq!(world.vault.reading().without_copy(|_| true).unwrap().len(), 0);
    let places = world.vault.reading().tape_places(0).unwrap();
    for place in &known {
        assert!(places.iter().any(|one| one.segment == place.segment && one.barcode == place.barcode));
    }
    let first = &known[0].barcode;
    assert!(places.iter().any(|place| place.barcode != *first), "{places:?}");
    // A second run doesn't try it again.
    world.capture("more");
    world.write_to_tape();

    // The other history is whole on its tape.
    let (config, first) = (world.config, first.clone());
    let ashes = world.burn();
    let work = tempfile::tempdir().unwrap();
    let tape = ashes.read(work.path(), Some(&first), nobody());
    assert_eq!(tape.reading().points(config).unwrap().len(), 3);
    drop(tape);

    // Both together make no vault.
    let dir = tempfile::tempdir().unwrap();
    let error = extract_vault(ashes.source(), dir.path()).unwrap_err().to_string();
    assert!(error.contains("two histories") && error.contains(&first), "{error}");
}

#[test]
fn what_a_crash_kept_from_being_recorded_is_no_other_history() {
    let mut world = World::new(4);
    world.capture("a");
    world.write_to_tape();
    world.capture("b");
    world.write_to_tape();
    let memory = world.agent.memory.clone();
    let on_tape = world.vault.reading().tape_places(0).unwrap();
    let newest = on_tape.iter().map(|place| place.segment.0).max().unwrap();
    let World { fixture, library, simulated, job, agent, vault, config, computer, random } = world;
    drop((agent, job, simulated, vault));
    // What was recorded of that run is in a segment that came after those it wrote.
    let mut lost = 0;
    while fs::remove_file(fixture.segment_path(newest + 1 + lost)).is_ok() {
        lost += 1;
    }
    assert!(lost > 0);
    fixture.delete_catalog();
    let simulated = Simulated::open(library.path()).unwrap();
    let vault = fixture.open();
    let job = TapeJob::new(open_library(&simulated), rules());
    let agent = Agent::resume(&vault, computer, config, memory).unwrap();
    let mut world = World { fixture, library, simulated, job, agent, vault, config, computer, random };
    let point = world.capture("c");
    world.write_to_tape();
    assert_eq!(world.cartridges().len(), 1, "it's written on");
    check_point(world.vault.reading(), world.config, point, &world.agent.memory.points[&point]).unwrap();
}
