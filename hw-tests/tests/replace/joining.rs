//! A box that was made without a headquarters joins one later, with all that it has.

use std::fs;

use std::path::Path;
use std::process::Output;

use crate::folder::{capture, change, copy, fill, replace};
use crate::headquarters::{Headquarters, code};
use crate::set_back::wait_until_taken_up;
use crate::support::{Site, contents, program, said};

fn join(hq: &Headquarters, site: &Site, code: &str) -> Output {
    let mut join = program("cofferd");
    join.args(["join", "--hq", &hq.address, "--code", code, "--dir"]).arg(site.path("box"));
    join.output().unwrap()
}

/// Everything in a folder but the lock and the catalog, which opening a vault touches.
fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false if name == "lock" || name.starts_with("catalog.sqlite") => {}
                false => found.push((entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_code_for_another_boxes_branch_changes_nothing_here_or_there() {
    let (hq, mut owner) = Headquarters::with_site("");
    fill(&owner);
    capture(&owner);
    hq.wait_until_whole(&owner, 1);
    let mut site = Site::start();
    fill(&site);
    capture(&site);
    site.kill_box();
    // Closes what was open.
    site.start_box();
    site.kill_box();
    let before = files(&site.path("box"));

    let code = code(owner.dir.path(), &["--replace"]);
    let output = join(&hq, &site, &code);
    assert!(!output.status.success());
    assert!(said(&output).contains("another box's"), "{}", said(&output));
    assert!(before == files(&site.path("box")), "something was changed");
    // The one that it is has its place, and the code is as good as before.
    change(&owner, 1);
    capture(&owner);
    hq.wait_until_whole(&owner, 2);
    owner.kill_box();
    let joined = join(&hq, &owner, &code);
    assert!(joined.status.success(), "{}", said(&joined));
    owner.start_box();
    change(&owner, 2);
    capture(&owner);
    hq.wait_until_whole(&owner, 3);
}

#[test]
fn two_histories_of_a_vault_are_kept_apart_from_the_moment_of_joining() {
    let (hq, mut site) = Headquarters::with_site("");
    fill(&site);
    capture(&site);
    site.kill_box();
    copy(&site.path("box/vault"), &site.path("older"));
    site.start_box();
    let mut states = vec![contents(&site.data())];
    for number in 1..3 {
        change(&site, number);
        capture(&site);
        states.push(contents(&site.data()));
    }
    hq.wait_until_whole(&site, 3);
    site.kill_box();
    fs::rename(site.path("box"), site.path("dead")).unwrap();
    fs::create_dir(site.path("box")).unwrap();
    copy(&site.path("older"), &site.path("box/vault"));
    let output = replace(&site, &[]);
    assert!(output.status.success(), "{}", said(&output));
    // Its own way, further than HQ's.
    for number in 5..9 {
        site.start_box();
        change(&site, number);
        capture(&site);
        site.kill_box();
    }

    let joined = join(&hq, &site, &code(site.dir.path(), &["--replace"]));
    assert!(joined.status.success(), "{}", said(&joined));
    assert!(said(&joined).contains("another history"), "{}", said(&joined));
    site.start_box();
    wait_until_taken_up(&site);
    for (at, state) in states.iter().enumerate() {
        assert_eq!(contents(&site.restore(&["--point", &(at + 1).to_string()])), *state, "point {}", at + 1);
    }
    let told = site.status()["sentences"].to_string();
    assert!(told.contains("vault.set-aside-"), "{told}");
    capture(&site);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    site.coffer(&["verify"]);
    hq.wait_until_level(&site);
}

#[test]
fn a_box_made_alone_joins_headquarters_and_can_be_replaced_from_there() {
    let (hq, dir) = Headquarters::alone();
    let mut site = Site::start_in(dir, "", &[]);
    fill(&site);
    capture(&site);
    let first = contents(&site.data());
    let running = join(&hq, &site, &code(site.dir.path(), &[]));
    assert!(!running.status.success());
    assert!(said(&running).contains("must not be running"), "{}", said(&running));
    site.kill_box();
    let joined = join(&hq, &site, &code(site.dir.path(), &[]));
    let told = said(&joined);
    assert!(joined.status.success(), "{told}");
    assert!(told.contains("HQ's recovery key opens its vault from now on"), "{told}");
    site.start_box();
    change(&site, 1);
    capture(&site);
    let second = contents(&site.data());
    hq.wait_until_whole(&site, 2);

    site.kill_box();
    fs::remove_dir_all(site.path("box")).unwrap();
    fs::create_dir(site.path("box")).unwrap();
    let code = code(site.dir.path(), &["--replace"]);
    let output = replace(&site, &["--hq", &hq.address, "--code", &code]);
    assert!(output.status.success(), "{}", said(&output));
    site.start_box();
    change(&site, 2);
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&["--point", "2"])), second);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    hq.wait_until_whole(&site, 3);
}
