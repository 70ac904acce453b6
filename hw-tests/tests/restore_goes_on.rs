//! One flipped bit on the box's disk: every way to restore brings all that's whole, names what isn't, and says so by its exit
//! code.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod restore_site;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use restore_site::{connected_agent, fill};
use support::{Site, contents, said};

type Contents = BTreeMap<PathBuf, blake3::Hash>;

/// A bit in the middle of the largest segment, which holds the large files.
fn flip_a_bit(site: &Site) {
    let segments = fs::read_dir(site.path("box/vault/segments")).unwrap().map(|entry| entry.unwrap().path());
    let largest = segments.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(largest, bytes).unwrap();
}

/// All but a few are there and as they were; those aren't there at all, and each is named.
fn assert_rest(back: &Contents, before: &Contents, told: &str) {
    let lost: BTreeSet<&PathBuf> = before.keys().filter(|path| !back.contains_key(*path)).collect();
    assert!(!lost.is_empty() && lost.len() <= 2, "{lost:?}: {told}");
    for path in lost {
        let line = told.lines().filter(|line| line.contains(&path.display().to_string()));
        assert_eq!(line.count(), 1, "{} isn't named once: {told}", path.display());
    }
    for (path, hash) in back {
        assert_eq!(before.get(path), Some(hash), "{} is half-written", path.display());
    }
    assert!(told.contains("damaged"), "{told}");
}

fn below(site: &Site, to: &Path) -> Contents {
    contents(&to.join(site.data().strip_prefix("/").unwrap()))
}

fn unpacked(site: &Site, archive: &Output, to: &Path) -> Contents {
    fs::create_dir(to).unwrap();
    let file = to.with_extension("tar");
    fs::write(&file, &archive.stdout).unwrap();
    let status = Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(to).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
    below(site, to)
}

#[test]
fn every_way_to_restore_brings_what_is_whole_and_names_the_rest() {
    let site = Site::start();
    fill(&site, 40, 24);
    let before = contents(&site.data());
    let config = "alpha/files";
    flip_a_bit(&site);

    let to = site.path("back");
    let output = site.try_coffer(&["restore", config, "--to", to.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(11), "{}", said(&output));
    assert_rest(&below(&site, &to), &before, &said(&output));

    let output = site.try_coffer(&["restore", config, "--tar"]);
    assert_eq!(output.status.code(), Some(11));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_rest(&unpacked(&site, &output, &site.path("unpacked")), &before, &told);

    let to = site.path("by-agent");
    let mut agent = site.agent("restore");
    let output =
        agent.args(["--config", "files", "--server", &site.server, "--to"]).arg(&to).output().unwrap();
    assert_eq!(output.status.code(), Some(15), "{}", said(&output));
    assert_rest(&below(&site, &to), &before, &said(&output));

    // The source is gone as well: nothing can heal it.
    fs::remove_dir_all(site.data()).unwrap();
    let _agent = connected_agent(&site);
    let to = site.path("by-desk");
    let words = ["restore", config, "--point", "1", "--on", "alpha", "--to", to.to_str().unwrap()];
    let output = site.try_coffer(&words);
    assert_eq!(output.status.code(), Some(11), "{}", said(&output));
    assert_rest(&below(&site, &to), &before, &said(&output));
}

#[test]
fn a_path_that_is_not_there_is_named_and_the_others_come() {
    let site = Site::start();
    fill(&site, 10, 1);
    let there = site.data().join("folder-1");
    let nowhere = site.data().join("nowhere");
    let to = site.path("back");
    let paths = [there.to_str().unwrap(), nowhere.to_str().unwrap()];
    let words = ["restore", "alpha/files", "--to", to.to_str().unwrap()];
    let output = site.try_coffer(&[&words[..], &paths].concat());
    assert_eq!(output.status.code(), Some(11), "{}", said(&output));
    assert!(said(&output).contains("nowhere isn't there at that point"), "{}", said(&output));
    assert_eq!(contents(&to.join(there.strip_prefix("/").unwrap())), contents(&there));
}

#[test]
fn a_restore_without_a_place_says_which_there_are() {
    let site = Site::start();
    let output = site.try_coffer(&["restore", "alpha/files"]);
    assert_eq!(output.status.code(), Some(2));
    for way in ["--to", "--in-place", "--tar", "--on"] {
        assert!(said(&output).contains(way), "{}", said(&output));
    }
}
