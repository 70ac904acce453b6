//! The borders between crates, and what comes in from outside: checked, not trusted.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each may use. A crate that isn't here, or an arrow that isn't, fails the build.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("coffer-format", &[]),
    ("coffer-link", &["coffer-format"]),
    ("coffer-vault", &["coffer-format"]),
    ("coffer-tape", &["coffer-format"]),
    ("coffer-agent", &["coffer-format", "coffer-link"]),
    ("coffer-replicator", &["coffer-format", "coffer-link", "coffer-vault"]),
    ("coffer-hq", &["coffer-format", "coffer-link", "coffer-vault", "coffer-tape", "coffer-replicator"]),
    (
        "coffer-vaultd",
        &["coffer-format", "coffer-link", "coffer-vault", "coffer-tape", "coffer-agent", "coffer-replicator"],
    ),
    (
        "hw-tests",
        &[
            "coffer-format",
            "coffer-link",
            "coffer-vault",
            "coffer-tape",
            "coffer-agent",
            "coffer-replicator",
            "coffer-hq",
            "coffer-vaultd",
        ],
    ),
];

/// What the pure crate may use from outside: no I/O, no clock, no async.
const PURE: [&str; 2] = ["blake3", "thiserror"];

/// Licences that may come in with a dependency.
const LICENCES: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unlicense",
    "Unicode-3.0",
    "CC0-1.0",
    "BSL-1.0",
];

/// Top-level names of the repository.
const TOP: [&str; 18] = [
    ".cargo",
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "agent-win",
    "appliance",
    "clippy.toml",
    "hw-tests",
    "image",
    "replicator",
    "rustfmt.toml",
    "tape",
    "target",
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Our own packages, by the workspace's word.
fn ours(metadata: &Value) -> Vec<&Value> {
    let members: BTreeSet<&str> =
        list(metadata, "workspace_members").iter().filter_map(Value::as_str).collect();
    list(metadata, "packages").iter().filter(|package| members.contains(text(package, "id"))).collect()
}

#[test]
fn crates_use_only_what_lies_below_them() {
    let metadata = metadata();
    let may: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    let packages = ours(&metadata);
    let names: BTreeSet<&str> = packages.iter().map(|package| text(package, "name")).collect();
    assert_eq!(
        names,
        may.keys().copied().collect(),
        "a crate was added or removed: say here what it may use"
    );
    for package in &packages {
        let name = text(package, "name");
        for dependency in list(package, "dependencies").iter().filter(|one| one["kind"] != "dev") {
            let used = text(dependency, "name");
            if names.contains(used) {
                assert!(may[name].contains(&used), "{name} may not use {used}");
            } else if name == "coffer-format" {
                assert!(PURE.contains(&used), "{name} is pure and may not use {used}");
            }
        }
    }
}

#[test]
fn every_dependency_is_listed_with_its_reason() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
    let listed: BTreeSet<&str> =
        manifest.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim()).collect();
    for package in ours(&metadata()) {
        for dependency in list(package, "dependencies") {
            let used = text(dependency, "name");
            assert!(
                listed.contains(used),
                "{} uses {used}, which the workspace doesn't list",
                text(package, "name")
            );
        }
    }
}

#[test]
fn licences_allow_shipping() {
    for package in list(&metadata(), "packages").iter().filter(|package| !package["source"].is_null()) {
        let licence = text(package, "license").replace('/', " OR ");
        let acceptable = licence.split(" OR ").any(|one| {
            one.trim_matches(['(', ')'])
                .split(" AND ")
                .all(|part| LICENCES.contains(&part.trim().trim_matches(['(', ')'])))
        });
        assert!(acceptable, "{} is under {licence:?}", text(package, "name"));
    }
}

/// Two versions of one crate are twice the code to trust. Each pair that can't be helped is named.
#[test]
fn no_crate_comes_in_two_versions_unnoticed() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in list(&metadata, "packages") {
        versions.entry(text(package, "name")).or_default().insert(text(package, "version"));
    }
    let known: BTreeSet<&str> =
        include_str!("known-duplicates.txt").lines().filter(|line| !line.is_empty()).collect();
    let double: BTreeSet<&str> =
        versions.iter().filter(|(_, all)| all.len() > 1).map(|(name, _)| *name).collect();
    let new: Vec<_> = double.difference(&known).collect();
    assert!(
        new.is_empty(),
        "in two versions now: {new:?}; find out why, then name them in known-duplicates.txt"
    );
    let gone: Vec<_> = known.difference(&double).collect();
    assert!(gone.is_empty(), "no longer in two versions, take them off known-duplicates.txt: {gone:?}");
}

#[test]
fn the_top_of_the_repository_is_what_the_design_says() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output =
        Command::new("git").args(["ls-tree", "--name-only", "HEAD"]).current_dir(root).output().unwrap();
    assert!(output.status.success(), "this test reads the repository with git");
    let listing = String::from_utf8(output.stdout).unwrap();
    for name in listing.lines() {
        assert!(TOP.contains(&name), "{name} has no place at the top level");
    }
}

#[test]
fn unsafe_code_is_only_where_the_style_allows_it() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let folders = ["appliance", "tape", "replicator", "agent-win", "hw-tests"];
    let mut waiting: Vec<_> = folders.iter().map(|name| root.join(name)).collect();
    let allow = concat!("allow(un", "safe_code");
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let allowed = path.ends_with("scsi/sg_io.rs")
                    || path.ends_with("tcmu/ring.rs")
                    || path.components().any(|part| part.as_os_str() == "windows");
                assert!(allowed || !source.contains(allow), "{} allows unsafe code", path.display());
                if allowed && source.contains(allow) {
                    assert!(source.contains("SAFETY"), "{}: say why it's safe", path.display());
                }
            }
        }
    }
}
