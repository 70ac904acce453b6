//! An older copy of the vault is put back into a box that lives, while headquarters knows more.

use std::fs;

use crate::folder::{capture, change, copy, fill};
use crate::headquarters::Headquarters;
use crate::support::{Site, contents, wait_until};

/// Three points at HQ, the box off, and its vault as it was after the first.
fn set_back() -> (Headquarters, Site, Vec<std::collections::BTreeMap<std::path::PathBuf, blake3::Hash>>) {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    let mut states = Vec::new();
    capture(&site);
    states.push(contents(&site.data()));
    site.kill_box();
    copy(&site.path("box/vault"), &site.path("older"));
    site.start_box();
    for number in 1..3 {
        change(&site, number);
        capture(&site);
        states.push(contents(&site.data()));
    }
    hq.wait_until_whole(&site, 3);
    site.kill_box();
    fs::rename(site.path("box/vault"), site.path("newer")).unwrap();
    copy(&site.path("older"), &site.path("box/vault"));
    (hq, site, states)
}

pub(crate) fn wait_until_taken_up(site: &Site) {
    wait_until("what HQ knows is taken up", &site.path("box.log"), || {
        let points = site.try_coffer(&["points", "alpha/files", "--json"]);
        let points: Option<serde_json::Value> = serde_json::from_slice(&points.stdout).ok();
        let is_back = !site.path("box/set-back").exists();
        is_back && points.and_then(|points| points.as_array().map(Vec::len)) == Some(3)
    });
}

fn check(
    site: &Site,
    hq: &Headquarters,
    states: &[std::collections::BTreeMap<std::path::PathBuf, blake3::Hash>],
) {
    for (at, state) in states.iter().enumerate() {
        assert_eq!(contents(&site.restore(&["--point", &(at + 1).to_string()])), *state, "point {}", at + 1);
    }
    capture(site);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    site.coffer(&["verify"]);
    hq.wait_until_level(site);
    change(site, 9);
    capture(site);
    let newest = site.points("alpha/files")[0]["point"].as_u64().unwrap();
    hq.wait_until_whole(site, newest);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

#[test]
fn a_box_that_was_set_back_takes_up_what_headquarters_knows() {
    let (hq, mut site, states) = set_back();
    site.start_box();
    wait_until_taken_up(&site);
    check(&site, &hq, &states);
}

#[test]
fn what_it_took_in_before_it_noticed_is_kept_apart_and_comes_again() {
    let (mut hq, mut site, states) = set_back();
    hq.stop();
    site.start_box();
    change(&site, 5);
    capture(&site);
    hq.start(site.dir.path());
    wait_until_taken_up(&site);
    let told = site.status()["sentences"].to_string();
    assert!(told.contains("set back to an older state"), "{told}");
    assert!(told.contains("vault.set-aside-"), "{told}");
    check(&site, &hq, &states);
}
