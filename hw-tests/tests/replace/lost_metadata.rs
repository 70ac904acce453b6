//! Metadata of a box is damaged and its catalog gone while headquarters is away: nothing is taken in over what may come back.

use std::fs;

use crate::folder::{capture, change, fill, metadata_in};
use crate::headquarters::Headquarters;
use crate::support::{Site, contents, said, wait_until};

#[test]
fn captures_wait_for_metadata_that_headquarters_has_and_give_no_number_twice() {
    let (mut hq, mut site) = Headquarters::with_site("");
    fill(&site);
    let mut states = Vec::new();
    for number in 0..2 {
        change(&site, number);
        capture(&site);
        states.push(contents(&site.data()));
        // Starting anew closes what was open.
        site.kill_box();
        site.start_box();
    }
    hq.wait_until_whole(&site, 2);
    hq.wait_until_level(&site);
    site.kill_box();
    hq.stop();
    // The newest metadata segment with a part in it: a bit of its middle.
    let damaged = &metadata_in(&site.path("box/vault/segments"))[1];
    let mut bytes = fs::read(damaged).unwrap();
    let record = bytes.windows(4).position(|four| four == b"CREC").unwrap();
    bytes[record + 60] ^= 1;
    fs::write(damaged, bytes).unwrap();
    remove_catalog(&site);

    site.start_box();
    let status = site.status();
    assert!(status["not_at_hq"].is_null() && status["hq"]["behind_bytes"].is_null(), "{status}");
    change(&site, 7);
    fs::write(site.data().join("came"), "while metadata was missing").unwrap();
    let output = site.agent("capture").args(["--server", &site.server]).output().unwrap();
    assert!(!output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("metadata of this computer's points is missing on the box"),
        "{}",
        said(&output)
    );
    // What isn't known now may come back, and would be there twice.
    let config = site.path("new.toml");
    fs::write(&config, format!("include = [{:?}]\n", site.data())).unwrap();
    let new_configuration = ["config", "set", "alpha", "new", config.to_str().unwrap()];
    for words in [&new_configuration[..], &["computer", "code", "beta"]] {
        let refused = site.try_coffer(words);
        assert!(
            !refused.status.success() && said(&refused).contains("may be in it already"),
            "{}",
            said(&refused)
        );
    }
    site.coffer(&["computer", "code", "alpha"]);
    hq.start(site.dir.path());
    wait_until("captures go on", &site.path("box.log"), || {
        site.agent("capture").args(["--server", &site.server]).output().unwrap().status.success()
    });
    site.coffer(&["computer", "code", "beta"]);
    for (at, state) in states.iter().enumerate() {
        assert_eq!(contents(&site.restore(&["--point", &(at + 1).to_string()])), *state, "point {}", at + 1);
    }
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    let verify = site.try_coffer(&["verify"]);
    assert!(verify.status.success(), "{}", said(&verify));
}

fn remove_catalog(site: &Site) {
    for ending in ["", "-wal", "-shm"] {
        let path = site.path(&format!("box/vault/catalog.sqlite{ending}"));
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Nothing of the only metadata can be read, and the box goes on: what headquarters has of it still has its numbers when it comes back.
#[test]
fn metadata_of_which_nothing_can_be_read_comes_back_with_all_its_records() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    let first = contents(&site.data());
    change(&site, 1);
    capture(&site);
    hq.wait_until_whole(&site, 2);
    hq.wait_until_level(&site);
    site.kill_box();
    let metadata = &metadata_in(&site.path("box/vault/segments"))[0];
    let mut bytes = fs::read(metadata).unwrap();
    bytes[300..320].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(metadata, bytes).unwrap();
    remove_catalog(&site);

    site.start_box();
    let log = site.path("box.log");
    wait_until("captures go on", &log, || {
        site.agent("capture").args(["--server", &site.server]).output().unwrap().status.success()
    });
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&["--point", "2"])), contents(&site.data()));
    change(&site, 2);
    capture(&site);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    wait_until("all is well again", &log, || site.try_coffer(&["verify"]).status.success());
    hq.wait_until_whole(&site, 3);
}

/// Another segment's file lies in the place of one, put there while the box was off: headquarters' copy puts it right.
#[test]
fn another_segments_file_in_a_place_is_put_right_from_headquarters() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    for number in 0..3 {
        change(&site, number);
        capture(&site);
    }
    let third = contents(&site.data());
    hq.wait_until_whole(&site, 3);
    hq.wait_until_level(&site);
    site.kill_box();
    let segments = site.path("box/vault/segments");
    let metadata = metadata_in(&segments);
    let mut data: Vec<_> = fs::read_dir(&segments).unwrap().map(|file| file.unwrap().path()).collect();
    data.retain(|path| !metadata.contains(path));
    data.sort();
    assert!(data.len() >= 2, "{data:?}");
    fs::copy(&data[1], &data[0]).unwrap();

    site.start_box();
    let log = site.path("box.log");
    wait_until("it's healed", &log, || site.try_coffer(&["verify"]).status.success());
    assert_eq!(contents(&site.restore(&["--point", "3"])), third);
    change(&site, 4);
    capture(&site);
    hq.wait_until_whole(&site, 4);
}
