//! Metadata of a box is damaged and its catalog gone while headquarters is away: nothing is taken in over what may come back.

use std::fs;

use crate::folder::{capture, change, fill, metadata_in};
use crate::headquarters::Headquarters;
use crate::support::{contents, said, wait_until};

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
    for ending in ["", "-wal", "-shm"] {
        let path = site.path(&format!("box/vault/catalog.sqlite{ending}"));
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }

    site.start_box();
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
