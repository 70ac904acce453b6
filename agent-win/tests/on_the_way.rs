//! Folders on the way to what's included: what comes and goes in them makes no point, but each point that's made has them as they are.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use coffer_agent::capture::Outcome;
use support::{Bench, closed};

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.only_includes = vec!["way/a".to_owned(), "way/b".to_owned()];
    for name in ["way/a/f", "way/b/f", "way/rest/f"] {
        bench.write(name, name);
    }
    closed(bench.capture());
    bench
}

/// Whether the box has a folder's times as they are.
fn is_as_it_is(bench: &Bench, folder: &str) -> bool {
    let path = bench.path(folder);
    let now = fs::metadata(&path).unwrap();
    let state = bench.state();
    let meta = state.nodes[&state.find(&path).unwrap()].meta.clone().unwrap();
    meta.mtime_ns == now.mtime() * 1_000_000_000 + now.mtime_nsec()
}

#[test]
fn a_folder_on_the_way_that_becomes_included_is_captured_as_it_is() {
    let mut bench = bench();
    fs::create_dir(bench.path("way/new")).unwrap();
    for _ in 0..2 {
        assert!(matches!(bench.capture(), Outcome::Unchanged { .. }));
    }
    bench.only_includes = vec!["way".to_owned()];
    closed(bench.capture());
    assert!(is_as_it_is(&bench, "way"));
    assert!(matches!(bench.capture(), Outcome::Unchanged { .. }));
}

#[test]
fn a_point_has_the_folders_on_the_way_as_they_are() {
    let bench = bench();
    fs::create_dir(bench.path("way/new")).unwrap();
    assert!(matches!(bench.capture(), Outcome::Unchanged { .. }));
    bench.write("way/a/f", "newer");
    closed(bench.capture());
    assert!(is_as_it_is(&bench, "way"));
    assert!(matches!(bench.capture(), Outcome::Unchanged { .. }));
}
