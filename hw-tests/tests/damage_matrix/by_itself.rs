//! Damage that nobody comes across is found all the same: the box reads its disk back, heals from headquarters what it finds, and
//! proves by restoring.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::fleet::{Fleet, Started};
use crate::support::{said, wait_until};

#[test]
fn a_flip_in_an_old_segment_is_found_by_itself_and_heals_from_headquarters() {
    let fleet = Fleet::prepare();
    let mut world = fleet.copy();
    let vault = world.dir.join("box/vault");
    let segment = prepare(&vault);
    let whole = fs::read(&segment).unwrap();
    flip(&segment, whole.len() as u64 / 2);
    world.start_hq().unwrap();
    world.start_box().unwrap();

    let log = world.dir.join("box.log");
    let audit = || said(&world.coffer(&["audit", "--newest", "1000"]));
    wait_until("the damage is healed", &log, || audit().contains("was healed from a copy"));
    assert!(fs::read(&segment).unwrap() == whole, "the segment isn't as it was");
    wait_until("a file was restored for a trial", &log, || {
        world.status().is_some_and(|status| status["computers"][0]["trial"]["right"].as_u64() >= Some(1))
    });
    assert!(
        audit().contains("trial restore of /") && audit().contains("it came back as it was"),
        "{}",
        audit()
    );
    let dates = || -> Vec<bool> {
        let points: serde_json::Value =
            serde_json::from_slice(&world.coffer(&["points", "alpha/files", "--json"]).stdout).unwrap();
        points.as_array().unwrap().iter().map(|point| point["read_back_ms"].is_u64()).collect()
    };
    wait_until("every point is read back", &log, || dates() == [true; 3]);
    let status = said(&world.coffer(&["status"]));
    assert!(status.contains("Last trial restore of alpha"), "{status}");
    assert!(!status.contains("damaged") && !status.contains("weren't read back"), "{status}");
}

#[test]
fn what_a_restore_meets_heals_from_headquarters_without_a_verify() {
    let fleet = Fleet::prepare();
    let mut world = fleet.copy();
    let settings = world.dir.join("box/box.toml");
    let text = fs::read_to_string(&settings).unwrap().replace("simulated = true", "simulated = false");
    fs::write(&settings, text.replace("[scrub]\nenabled = true", "[scrub]\nenabled = false")).unwrap();
    let segment = largest(&world.dir.join("box/vault/segments"));
    let whole = fs::read(&segment).unwrap();
    world.start_hq().unwrap();
    world.start_box().unwrap();
    flip(&segment, whole.len() as u64 / 2);
    let to = world.dir.join("first");
    let output = world.coffer(&["restore", "alpha/files", "--to", to.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(11), "{}", said(&output));
    let status = said(&world.coffer(&["status"]));
    assert!(status.contains("couldn't be read") || status.contains("damaged"), "{status}");
    wait_until("the damage is healed", &world.dir.join("box.log"), || {
        said(&world.coffer(&["audit", "--newest", "1000"])).contains("was healed from a copy")
    });
    assert!(fs::read(&segment).unwrap() == whole, "the segment isn't as it was");
    let to = world.dir.join("second");
    let output = world.coffer(&["restore", "alpha/files", "--to", to.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_trial_restore_that_fails_is_said_until_it_comes_right() {
    let fleet = Fleet::prepare();
    let (mut world, log) = with_failed_trial(&fleet);
    let told = said(&world.coffer(&["status"]));
    assert!(told.contains("didn't give what was stored") && told.contains("damaged"), "{told}");

    world.start_hq().unwrap();
    wait_until("the damage is healed", &log, || {
        said(&world.coffer(&["audit", "--newest", "1000"])).contains("was healed from a copy")
    });
    wait_until("the same file came right", &log, || {
        let trial = trial(&world);
        trial["why"].is_null() && trial["right"] == 1
    });
    let told = said(&world.coffer(&["status"]));
    assert!(!told.contains("didn't give what was stored"), "{told}");
}

/// What comes after it goes to HQ all the same.
#[test]
fn damage_that_no_copy_heals_in_a_segment_that_is_written_to_holds_nothing_up() {
    let fleet = Fleet::prepare();
    let mut world = fleet.copy();
    world.start_box().unwrap();
    let captured = |name: &str, seed: u64| {
        fs::write(fleet.data().join(name), crate::support::bytes(seed, 30_000)).unwrap();
        let output = world.capture_output();
        assert!(output.status.success(), "{}", said(&output));
    };
    captured("lost", 4000);
    // HQ is away, so it's only here.
    let segments = world.dir.join("box/vault/segments");
    let open = fs::read_dir(&segments).unwrap().map(|entry| entry.unwrap().path());
    let open = open.filter(|path| path.metadata().unwrap().len() > 25_000).max().unwrap();
    flip(&open, open.metadata().unwrap().len() - 9000);
    fs::remove_file(fleet.data().join("lost")).unwrap();
    let verified = world.coffer(&["verify"]);
    assert!(!verified.status.success(), "{}", said(&verified));
    world.start_hq().unwrap();
    let log = world.dir.join("box.log");
    wait_until("what comes next goes elsewhere", &log, || {
        fs::read_to_string(&log).unwrap().contains("what comes next goes to another one")
    });
    let output = {
        fs::write(fleet.data().join("later"), crate::support::bytes(4001, 30_000)).unwrap();
        world.capture_output()
    };
    assert!(output.status.success(), "{}", said(&output));
    let (to, later) = (world.dir.join("from-hq"), fleet.data().join("later"));
    wait_until("HQ gives it", &log, || {
        let words = ["restore", "alpha/files", later.to_str().unwrap(), "--to", to.to_str().unwrap()];
        world.desk(&words).status.success()
    });
    fs::remove_file(later).unwrap();
}

/// A box whose largest segment is damaged all over, after its first trial restore. One file in thirty lies elsewhere: where such a
/// one was chosen, it begins anew.
fn with_failed_trial(fleet: &Fleet) -> (Started<'_>, PathBuf) {
    for _ in 0..6 {
        let mut world = fleet.copy();
        let segment = prepare(&world.dir.join("box/vault"));
        let len = fs::metadata(&segment).unwrap().len();
        (600..len * 9 / 10).step_by(900).for_each(|at| flip(&segment, at));
        world.start_box().unwrap();
        let log = world.dir.join("box.log");
        wait_until("a trial was made", &log, || trial(&world)["tried"].is_u64());
        if trial(&world)["why"].is_string() {
            return (world, log);
        }
        world.stop();
    }
    panic!("six times a file was chosen that isn't damaged");
}

fn trial(world: &Started<'_>) -> serde_json::Value {
    world.status().map_or(serde_json::Value::Null, |status| status["computers"][0]["trial"].clone())
}

/// Has the box know of no copy but headquarters', and of nothing that was read back. Returns its largest segment.
fn prepare(vault: &Path) -> PathBuf {
    let settings = vault.with_file_name("box.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("simulated = true", "simulated = false")).unwrap();
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        fs::remove_file(vault.join(name)).ok();
    }
    largest(&vault.join("segments"))
}

fn largest(segments: &Path) -> PathBuf {
    let all = fs::read_dir(segments).unwrap().map(|entry| entry.unwrap());
    all.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().path()
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1;
    file.write_all_at(&byte, at).unwrap();
}
