//! A volume that's mounted in the bare folder of one that's gone. Needs root, and says so where it isn't.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coffer_agent::capture::{Closed, Outcome, Target};
use support::volume::{Volume, in_own_mounts, unmount};
use support::{Bench, closed, noise};

const FILES: u64 = 5;

/// A computer, a volume that's mounted and captured, and another one for a folder in its bare folder.
struct Site {
    bench: Bench,
    at: PathBuf,
    inner_at: PathBuf,
    outer: Volume,
    inner: Volume,
}

impl Site {
    fn new(include: &str, outer: Volume, inner: Volume, bench: Bench) -> Site {
        let mut bench = bench;
        bench.only_includes = vec![include.to_owned(), "there".to_owned()];
        let (at, inner_at) = (bench.path("mnt/vol"), bench.path("mnt/vol/new"));
        fs::create_dir_all(&at).unwrap();
        bench.write("there/x", "x");
        let site = Site { bench, at, inner_at, outer, inner };
        site.outer.mount(&site.at);
        for number in 0..FILES {
            site.bench.write(&format!("mnt/vol/share/{number}"), noise(5000, number));
        }
        closed(site.bench.capture());
        unmount(&site.at);
        site
    }

    fn look(&self, is_whole: bool) -> Target {
        if is_whole {
            return Target::Everything;
        }
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let mut target = Target::nothing();
        for path in [&self.at, &self.inner_at] {
            target.notice(bytes(path.parent().unwrap()), bytes(path.file_name().unwrap().as_ref()));
            target.notice_all(bytes(path));
        }
        target
    }

    fn fill_inner(&self) {
        for number in 0..FILES {
            self.bench.write(&format!("mnt/vol/new/{number}"), noise(6000, 100 + number));
        }
    }

    fn assert_kept(&self, has_inner: bool) {
        let state = self.bench.state();
        for number in 0..FILES {
            let file = state.file(&self.at.join(format!("share/{number}")));
            assert!(file == Some(noise(5000, number)), "share/{number}");
            let file = state.file(&self.inner_at.join(number.to_string()));
            assert!(!has_inner || file == Some(noise(6000, 100 + number)), "new/{number}");
        }
    }
}

fn assert_missing(report: &[coffer_format::entry::Remark], paths: &[&Path]) {
    for path in paths {
        let line = report.iter().find(|line| &line.path.0[..] == path.as_os_str().as_bytes());
        let line = line.unwrap_or_else(|| panic!("nothing is said of {}: {report:?}", path.display()));
        assert!(line.what.contains("has been missing since 2"), "{line:?}");
    }
    assert_eq!(report.len(), paths.len(), "{report:?}");
}

fn is_unchanged(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unchanged { .. })
}

/// Two disks that were made in the same second and get the same device one after the other: their tops look like one folder.
fn twins(bench: &Bench) -> [Volume; 2] {
    ["outer", "inner"].map(|name| Volume::disk_of_second(&bench.folder.path().join(name), 1_700_000_000))
}

fn folders(bench: &Bench) -> [Volume; 2] {
    ["outer", "inner"].map(|name| Volume::folder(&bench.folder.path().join(name)))
}

fn mixed(bench: &Bench) -> [Volume; 2] {
    let [outer, _] = twins(bench);
    [outer, Volume::folder(&bench.folder.path().join("bound"))]
}

#[test]
fn a_volume_in_the_bare_folder_of_one_that_is_gone_is_captured_and_kept() {
    in_own_mounts("a_volume_in_the_bare_folder_of_one_that_is_gone_is_captured_and_kept", || {
        let kinds: [fn(&Bench) -> [Volume; 2]; 3] = [twins, folders, mixed];
        for (number, kind) in kinds.into_iter().enumerate() {
            for (include, is_whole) in [("", true), ("mnt/vol", true), ("", false), ("mnt/vol", false)] {
                println!("kind {number}, include {include:?}, whole looks: {is_whole}");
                let bench = Bench::new();
                let [outer, inner] = kind(&bench);
                comes_and_goes(&Site::new(include, outer, inner, bench), is_whole);
            }
        }
    });
}

fn comes_and_goes(site: &Site, is_whole: bool) {
    let capture = || site.bench.try_capture(None, site.look(is_whole)).unwrap();
    let point = |is_whole| -> Closed { closed(site.bench.try_capture(None, site.look(is_whole)).unwrap()) };
    assert_missing(&point(is_whole).report, &[&site.at]);

    fs::create_dir(&site.inner_at).unwrap();
    site.inner.mount(&site.inner_at);
    fs::remove_dir(site.inner_at.join("lost+found")).ok();
    site.fill_inner();
    assert_missing(&point(is_whole).report, &[&site.at]);
    site.assert_kept(true);
    assert!(is_unchanged(&capture()));

    // It's a volume like any other: what's replaced or removed there is so in the point.
    site.bench.write("mnt/vol/new/more", "one");
    point(is_whole);
    fs::remove_file(site.inner_at.join("more")).unwrap();
    site.bench.write("mnt/vol/new/other", "another");
    fs::rename(site.inner_at.join("other"), site.inner_at.join("0")).unwrap();
    assert_missing(&point(is_whole).report, &[&site.at]);
    support::tree::assert_same(&site.bench.state(), &site.inner_at);
    assert_eq!(site.bench.state().find(&site.inner_at.join("more")), None);
    site.fill_inner();
    point(is_whole);
    site.assert_kept(true);
    let before = site.bench.received();

    unmount(&site.inner_at);
    assert_missing(&point(is_whole).report, &[&site.at, &site.inner_at]);
    site.assert_kept(true);
    assert!(is_unchanged(&capture()));

    site.outer.mount(&site.at);
    assert_missing(&point(is_whole).report, &[&site.inner_at]);
    site.assert_kept(true);
    assert!(is_unchanged(&site.bench.capture()));

    unmount(&site.at);
    assert_missing(&point(is_whole).report, &[&site.at, &site.inner_at]);
    site.inner.mount(&site.inner_at);
    assert_missing(&point(is_whole).report, &[&site.at]);
    site.assert_kept(true);
    assert_eq!(site.bench.received(), before, "what came back was sent again");
    unmount(&site.inner_at);
}
