//! Damage that nobody comes across is found all the same: the box reads its disk back, heals from headquarters what it finds, and
//! proves by restoring.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::fleet::Fleet;
use crate::support::{said, wait_until};

#[test]
fn a_flip_in_an_old_segment_is_found_by_itself_and_heals_from_headquarters() {
    let fleet = Fleet::prepare();
    let mut world = fleet.copy();
    let vault = world.dir.join("box/vault");
    // Headquarters alone has copies, and the box has read nothing back yet.
    let settings = world.dir.join("box/box.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("simulated = true", "simulated = false")).unwrap();
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        fs::remove_file(vault.join(name)).ok();
    }
    let segment = largest(&vault.join("segments"));
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
