//! File systems that say of a file or folder what isn't so: nothing of it is taken for what it isn't, and nothing of it is gone.

#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use support::renumbered::Renumbered;
use support::{Bench, closed, noise};

/// A computer and the folder that's shown on it.
fn site() -> (Bench, std::path::PathBuf) {
    let bench = Bench::new();
    let folder = bench.folder.path().join("backing");
    fs::create_dir_all(&folder).unwrap();
    (bench, folder)
}

fn assert_said(bench: &Bench, point: &coffer_agent::capture::Closed, names: &[&str]) {
    for name in names {
        let path = bench.path(name);
        let said = point.report.iter().any(|line| line.path.0[..] == *path.as_os_str().as_bytes());
        assert!(said, "{name}: {:?}", point.report);
    }
    assert_eq!(point.report.len(), names.len(), "{:?}", point.report);
}

#[test]
fn a_file_that_ends_before_its_size_is_none_that_was_read() {
    if !Renumbered::is_possible("a_file_that_ends_before_its_size_is_none_that_was_read") {
        return;
    }
    let (bench, folder) = site();
    let files =
        [("short-small", 9000), ("short-cut", 900_000), ("short-pages.db", 3 << 20), ("sizeless", 60)];
    for (name, len) in files {
        fs::write(folder.join(name), noise(len, 1)).unwrap();
    }
    fs::write(folder.join("empty"), "").unwrap();
    let names = files.map(|(name, _)| name);

    let odd = Renumbered::odd(&folder, &bench.path(""));
    let point = closed(bench.capture());
    assert_said(&bench, &point, &names);
    for name in names {
        assert_eq!(bench.state().find(&bench.path(name)), None, "{name} is a file that it isn't");
    }
    odd.unmount();

    // Nothing about them is different but what they give.
    let right = Renumbered::mount(&folder, &bench.path(""), 0);
    assert_eq!(closed(bench.capture()).report, []);
    bench.assert_all_there();
    right.unmount();

    let odd = Renumbered::odd(&folder, &bench.path(""));
    for (name, len) in files {
        fs::write(folder.join(name), noise(len, 2)).unwrap();
    }
    assert_said(&bench, &closed(bench.capture()), &names);
    let is_old = |(name, len): &(&str, usize)| bench.state().file(&bench.path(name)) == Some(noise(*len, 1));
    assert!(files.iter().all(is_old), "the point keeps what it had");
    odd.unmount();
}

#[test]
fn what_is_listed_and_cannot_be_opened_is_not_gone() {
    if !Renumbered::is_possible("what_is_listed_and_cannot_be_opened_is_not_gone") {
        return;
    }
    let (bench, folder) = site();
    let inside = |name: &str| Path::new("closed-folder").join(name);
    fs::create_dir_all(folder.join("closed-folder/deep")).unwrap();
    fs::create_dir(folder.join("unlisted-folder")).unwrap();
    let files = [inside("a"), inside("deep/b"), "closed-file".into(), "unlisted-folder/c".into()];
    for (number, path) in files.iter().enumerate() {
        fs::write(folder.join(path), noise(7000, number as u64)).unwrap();
    }
    fs::write(folder.join("fine"), "fine").unwrap();
    let right = Renumbered::mount(&folder, &bench.path(""), 0);
    assert_eq!(closed(bench.capture()).report, []);
    right.unmount();

    fs::write(folder.join("closed-file"), noise(8000, 9)).unwrap();
    let odd = Renumbered::odd(&folder, &bench.path(""));
    assert_said(&bench, &closed(bench.capture()), &["closed-file", "closed-folder", "unlisted-folder"]);
    assert!(bench.state().file(&bench.path("unlisted-folder/c")) == Some(noise(7000, 3)));
    assert!(bench.state().file(&bench.path("closed-folder/deep/b")) == Some(noise(7000, 1)));
    assert!(bench.state().file(&bench.path("closed-file")) == Some(noise(7000, 2)));
    odd.unmount();

    let right = Renumbered::mount(&folder, &bench.path(""), 0);
    assert_eq!(closed(bench.capture()).report, []);
    bench.assert_all_there();
    right.unmount();
}
