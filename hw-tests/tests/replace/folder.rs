//! From a copied vault folder and the recovery key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{Site, bytes, contents, program, said, succeed};

/// A site whose recovery key was moved off the box, as people are told to.
fn site() -> Site {
    let site = Site::start();
    fill(&site);
    fs::rename(site.path("box/recovery.key"), site.path("recovery.key")).unwrap();
    site
}

pub(crate) fn fill(site: &Site) {
    for number in 0..40 {
        let folder = site.data().join(format!("folder-{}", number % 5));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("file-{number}")), bytes(number, 900 * number as usize)).unwrap();
    }
}

pub(crate) fn capture(site: &Site) {
    let output = site.capture();
    assert!(output.status.success(), "{}", said(&output));
}

pub(crate) fn change(site: &Site, number: u64) {
    fs::write(site.data().join(format!("folder-1/new-{number}")), bytes(1000 + number, 5000)).unwrap();
    fs::write(site.data().join("folder-2/file-2"), bytes(2000 + number, 3000)).unwrap();
}

/// Files of metadata segments in a folder, oldest first: the stream that the first segment of a vault is of.
pub(crate) fn metadata_in(segments: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(segments).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let stream_of = |path: &PathBuf| fs::read(path).unwrap()[10];
    let stream = stream_of(&paths[0]);
    paths.retain(|path| stream_of(path) == stream);
    paths
}

pub(crate) fn copy(from: &Path, to: &Path) {
    succeed(std::process::Command::new("cp").arg("-a").arg(from).arg(to));
}

/// The box dies: nothing of it is left but what `vault` is a copy of.
fn lose_box(site: &mut Site, vault: &Path) {
    site.kill_box();
    if site.path("dead").exists() {
        fs::remove_dir_all(site.path("dead")).unwrap();
    }
    fs::rename(site.path("box"), site.path("dead")).unwrap();
    fs::create_dir(site.path("box")).unwrap();
    copy(&site.path("dead").join(vault), &site.path("box/vault"));
}

pub(crate) fn replace(site: &Site, words: &[&str]) -> Output {
    let mut command = program("cofferd");
    command.args(["replace", "--dir"]).arg(site.path("box"));
    command.arg("--recovery-key").arg(site.path("recovery.key")).args(words).output().unwrap()
}

fn replace_well(site: &Site) -> String {
    let output = replace(site, &[]);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[test]
fn a_dead_box_is_replaced_from_its_vault_and_no_computer_notices() {
    let mut site = site();
    capture(&site);
    let first = contents(&site.data());
    change(&site, 1);
    capture(&site);
    let second = contents(&site.data());
    lose_box(&mut site, Path::new("vault"));
    fs::remove_file(site.path("box/vault/catalog.sqlite")).unwrap();

    let told = replace_well(&site);
    assert!(told.contains("1 computers and 2 restore points"), "{told}");
    site.start_box();
    change(&site, 2);
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&["--point", "2"])), second);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    site.coffer(&["verify"]);
    // The operator of before still counts, too.
    let mut old = site.coffer_command(&["points", "alpha/files"]);
    succeed(old.env("COFFER_OPERATOR", site.path("dead/operator")));

    // It can die again.
    lose_box(&mut site, Path::new("vault"));
    replace_well(&site);
    site.start_box();
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}

#[test]
fn a_box_that_goes_on_with_an_older_copy_gets_everything_again() {
    let mut site = site();
    capture(&site);
    let first = contents(&site.data());
    site.kill_box();
    copy(&site.path("box/vault"), &site.path("older"));
    site.start_box();
    for number in 1..4 {
        change(&site, number);
        capture(&site);
    }
    fs::remove_file(site.data().join("folder-3/file-3")).unwrap();
    lose_box(&mut site, Path::new("../older"));

    replace_well(&site);
    site.start_box();
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    site.coffer(&["verify"]);
}

#[test]
fn a_run_that_broke_off_is_taken_up_again_and_a_box_is_never_overwritten() {
    let mut site = site();
    capture(&site);
    lose_box(&mut site, Path::new("vault"));
    replace_well(&site);
    // As if it had ended before its last step.
    fs::remove_file(site.path("box/box.toml")).unwrap();
    replace_well(&site);
    let again = replace(&site, &[]);
    assert!(!again.status.success());
    assert!(said(&again).contains("holds a box already"), "{}", said(&again));
    site.start_box();
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), contents(&site.data()));
}

/// The segment with the escrow is gone, and everything else is there.
#[test]
fn without_its_escrow_a_vault_goes_on_under_a_new_authority() {
    let mut site = site();
    capture(&site);
    // Starting anew closes what was open.
    site.kill_box();
    site.start_box();
    change(&site, 1);
    capture(&site);
    lose_box(&mut site, Path::new("vault"));
    let first = metadata_in(&site.path("box/vault/segments")).remove(0);
    fs::remove_file(first).unwrap();
    let refused = replace(&site, &[]);
    assert!(!refused.status.success() && said(&refused).contains("--new-authority"), "{}", said(&refused));
    let output = replace(&site, &["--new-authority"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("! "), "what is missing is told: {}", said(&output));
    site.start_box();
    assert!(!site.try_coffer(&["verify"]).status.success());
}

#[test]
fn the_wrong_key_changes_nothing() {
    let mut site = site();
    capture(&site);
    lose_box(&mut site, Path::new("vault"));
    let right = fs::read(site.path("recovery.key")).unwrap();
    fs::write(site.path("recovery.key"), format!("{}\n", "5".repeat(64))).unwrap();
    let output = replace(&site, &[]);
    assert!(!output.status.success());
    assert!(said(&output).contains("this key doesn't open this vault"), "{}", said(&output));
    assert!(!site.path("box/keys").exists());
    fs::write(site.path("recovery.key"), right).unwrap();
    replace_well(&site);
}

#[test]
fn a_box_of_before_escrows_says_so_and_is_helped() {
    let mut site = site();
    // As a version without escrows would have left it: its first records are older than any.
    site.kill_box();
    for name in ["box/keys/recovery.pub", "box/spare/keys/recovery.pub"] {
        fs::remove_file(site.path(name)).unwrap();
    }
    site.start_box();
    let told = site.status()["sentences"].to_string();
    assert!(told.contains("cofferd escrow"), "{told}");
    site.kill_box();
    let mut escrow = program("cofferd");
    escrow.args(["escrow", "--dir"]).arg(site.path("box"));
    succeed(escrow.arg("--recovery-key").arg(site.path("recovery.key")));
    site.start_box();
    let told = site.status()["sentences"].to_string();
    assert!(!told.contains("escrow"), "{told}");
}

#[test]
fn a_vault_without_an_escrow_is_taken_over_only_when_that_is_asked_for() {
    let mut site = site();
    capture(&site);
    site.kill_box();
    // A box that never ran has kept none yet, as one of a version without escrows.
    fs::remove_dir_all(site.path("box")).unwrap();
    let mut init = program("cofferd");
    succeed(init.args(["init", "--name", "bare", "--dir"]).arg(site.path("box")));
    fs::rename(site.path("box/recovery.key"), site.path("recovery.key")).unwrap();
    lose_box(&mut site, Path::new("vault"));
    let output = replace(&site, &[]);
    assert!(!output.status.success());
    assert!(said(&output).contains("--new-authority"), "{}", said(&output));
    let output = replace(&site, &["--new-authority"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("enrol each again"), "{}", said(&output));
}

#[test]
fn a_box_is_replaced_from_its_tapes() {
    let mut site = Site::start_with("[tape]\nsimulated = true\n");
    fill(&site);
    fs::rename(site.path("box/recovery.key"), site.path("recovery.key")).unwrap();
    capture(&site);
    let first = contents(&site.data());
    site.coffer(&["tape", "run"]);
    change(&site, 1);
    capture(&site);
    site.kill_box();
    fs::rename(site.path("box"), site.path("dead")).unwrap();
    fs::create_dir(site.path("box")).unwrap();
    let mut rebuild = program("coffer");
    rebuild.args(["rebuild-from-tape", "--vault"]).arg(site.path("box/vault"));
    rebuild.arg("--simulated").arg(site.path("dead/simulated-library"));
    succeed(rebuild.arg("--recovery-key").arg(site.path("recovery.key")));
    copy(&site.path("dead/simulated-library"), &site.path("box/simulated-library"));

    replace_well(&site);
    site.start_box();
    capture(&site);
    assert_eq!(contents(&site.restore(&["--point", "1"])), first);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    // Its tapes are its own: they're written on. What the box notes of that is in a segment that is open.
    site.coffer(&["tape", "run"]);
    let status = site.status();
    assert_eq!(status["not_on_tape"], 1, "{status}");
}

#[test]
fn an_older_copy_and_the_tapes_in_the_library_give_what_the_tapes_know() {
    let mut site = Site::start_with("[tape]\nsimulated = true\n");
    fill(&site);
    fs::rename(site.path("box/recovery.key"), site.path("recovery.key")).unwrap();
    capture(&site);
    let first = contents(&site.data());
    site.kill_box();
    copy(&site.path("box/vault"), &site.path("older"));
    site.start_box();
    let mut states = vec![first];
    for number in 1..3 {
        change(&site, number);
        capture(&site);
        states.push(contents(&site.data()));
        site.coffer(&["tape", "run"]);
    }
    site.kill_box();
    fs::rename(site.path("box"), site.path("dead")).unwrap();
    fs::create_dir(site.path("box")).unwrap();
    copy(&site.path("older"), &site.path("box/vault"));
    copy(&site.path("dead/simulated-library"), &site.path("box/simulated-library"));

    let told = replace_well(&site);
    assert!(told.contains("1 computers and 3 restore points"), "{told}");
    assert!(told.contains("came from the tapes in the library"), "{told}");
    assert!(told.contains("Newest point of alpha/files: 3,"), "{told}");
    site.start_box();
    for (at, state) in states.iter().enumerate() {
        assert_eq!(contents(&site.restore(&["--point", &(at + 1).to_string()])), *state, "point {}", at + 1);
    }
    change(&site, 5);
    capture(&site);
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
    site.coffer(&["verify"]);
    site.coffer(&["tape", "run"]);
    assert_eq!(site.status()["sentences"].to_string().matches("another history").count(), 0);
}

#[test]
fn tapes_of_another_history_than_the_copys_stop_a_replacement() {
    let mut site = Site::start_with("[tape]\nsimulated = true\n");
    fill(&site);
    fs::rename(site.path("box/recovery.key"), site.path("recovery.key")).unwrap();
    capture(&site);
    site.kill_box();
    copy(&site.path("box/vault"), &site.path("older"));
    site.start_box();
    change(&site, 1);
    capture(&site);
    site.coffer(&["tape", "run"]);
    site.kill_box();
    // The older copy ran on for a while, without the library.
    fs::rename(site.path("box/vault"), site.path("newer")).unwrap();
    fs::rename(site.path("box/simulated-library"), site.path("library")).unwrap();
    copy(&site.path("older"), &site.path("box/vault"));
    site.start_box();
    change(&site, 2);
    capture(&site);
    lose_box(&mut site, Path::new("vault"));
    fs::rename(site.path("library"), site.path("box/simulated-library")).unwrap();

    let output = replace(&site, &[]);
    assert!(!output.status.success());
    assert!(said(&output).contains("gone different ways"), "{}", said(&output));
    assert!(!site.path("box/keys").exists());
    let output = replace(&site, &["--incomplete"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_recovery_key_that_rotted_on_the_box_is_put_right_before_anything_is_sealed_for_it() {
    let mut site = site();
    capture(&site);
    site.kill_box();
    let path = site.path("box/keys/recovery.pub");
    let mut bytes = fs::read(&path).unwrap();
    bytes[7] ^= 1;
    fs::write(&path, bytes).unwrap();
    // Something that the escrow is made anew for.
    let settings = fs::read_to_string(site.path("box/box.toml")).unwrap();
    fs::write(site.path("box/box.toml"), settings.replace("reserve_mib = 16", "reserve_mib = 17")).unwrap();
    site.start_box();
    let told = site.status()["sentences"].to_string();
    assert!(told.contains("recovery.pub"), "{told}");
    change(&site, 1);
    capture(&site);
    lose_box(&mut site, Path::new("vault"));
    replace_well(&site);
    site.start_box();
    let settings = fs::read_to_string(site.path("box/box.toml")).unwrap();
    assert!(settings.contains("reserve_mib = 17"), "the newest escrow isn't the one in use");
    assert_eq!(contents(&site.restore(&[])), contents(&site.data()));
}
