//! Another volume in the place of one that was captured, or of a folder that was: what it has isn't taken for what the other had.
//! Needs root, and says so where it isn't.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coffer_agent::capture::{Closed, Outcome, Target};
use coffer_format::entry::Consistency;
use support::volume::{Volume, in_own_mounts, unmount};
use support::{Bench, closed, noise};

const FILES: u64 = 4;

/// A computer, the folder at which things are mounted, and two disks.
struct Site {
    bench: Bench,
    at: PathBuf,
    own: Volume,
    other: Volume,
}

impl Site {
    fn new(include: &[&str]) -> Site {
        let mut bench = Bench::new();
        bench.only_includes = include.iter().map(|name| (*name).to_owned()).collect();
        let (at, folder) = (bench.path("mnt/vol"), bench.folder.path());
        fs::create_dir_all(&at).unwrap();
        let [own, other] = ["own", "other"].map(|name| Volume::disk(&folder.join(name)));
        bench.write("there/x", "x");
        let site = Site { bench, at, own, other };
        for volume in [&site.own, &site.other] {
            volume.mount(&site.at);
            fs::remove_dir(site.at.join("lost+found")).unwrap();
            unmount(&site.at);
        }
        site.other.mount(&site.at);
        site.bench.write("mnt/vol/foreign", "nobody asked for this");
        site.bench.write("mnt/vol/share/0", "nor for this");
        unmount(&site.at);
        site
    }

    fn fill(&self) {
        (0..FILES)
            .for_each(|number| self.bench.write(&format!("mnt/vol/share/{number}"), noise(5000, number)));
    }

    fn assert_kept(&self) {
        let state = self.bench.state();
        for number in 0..FILES {
            let file = state.file(&self.at.join(format!("share/{number}")));
            assert!(file == Some(noise(5000, number)), "{number}");
        }
        assert_eq!(state.find(&self.at.join("foreign")), None, "what's there now was taken");
    }

    fn noticed(&self) -> Target {
        let mut target = Target::nothing();
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        target.notice(bytes(self.at.parent().unwrap()), b"vol".to_vec());
        target.notice_all(bytes(&self.at));
        target.notice(bytes(&self.at.join("share")), b"0".to_vec());
        target
    }
}

fn assert_said(point: &Closed, path: &Path, words: &str) {
    let what = assert_told(point, path, words);
    assert!(what.contains("since 2"), "{what}");
}

fn assert_told(point: &Closed, path: &Path, words: &str) -> String {
    assert_eq!(point.consistency, Consistency::PerFile);
    let line = point.report.iter().find(|line| &line.path.0[..] == path.as_os_str().as_bytes());
    let line = line.unwrap_or_else(|| panic!("nothing is said of {}: {:?}", path.display(), point.report));
    assert!(line.what.contains(words), "{line:?}");
    line.what.clone()
}

fn is_unchanged(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unchanged { .. })
}

#[test]
fn another_volume_in_the_place_of_one_is_told_of_and_takes_nothing() {
    in_own_mounts("another_volume_in_the_place_of_one_is_told_of_and_takes_nothing", || {
        for include in ["", "mnt/vol", "mnt/vol/share"] {
            println!("include {include:?}");
            let mut site = Site::new(&[include, "there"]);
            site.own.mount(&site.at);
            site.fill();
            closed(site.bench.capture());
            let before = site.bench.received();
            unmount(&site.at);

            site.other.mount(&site.at);
            let point = closed(site.bench.try_capture(None, site.noticed()).unwrap());
            assert_said(&point, &site.at, "another volume");
            site.assert_kept();
            assert!(is_unchanged(&site.bench.capture()));
            site.assert_kept();
            unmount(&site.at);

            // Now there's none: it's the first that's missing, and the other that nobody misses.
            let point = site.bench.capture();
            site.assert_kept();
            assert!(!point.report().is_empty(), "{point:?}");
            site.own.mount(&site.at);
            assert_eq!(closed(site.bench.capture()).report, []);
            assert_eq!(site.bench.received(), before, "what came back was sent again");
            assert!(is_unchanged(&site.bench.capture()));
            unmount(&site.at);

            // Somebody sets the configuration: the other takes its place.
            site.other.mount(&site.at);
            assert_said(&closed(site.bench.capture()), &site.at, "another volume");
            site.bench.revision += 1;
            let point = closed(site.bench.capture());
            assert_eq!(point.report, []);
            let top = if include.is_empty() { site.at.clone() } else { site.bench.path(include) };
            support::tree::assert_same(&site.bench.state(), &top);
            assert!(is_unchanged(&site.bench.capture()));
            unmount(&site.at);
        }
    });
}

#[test]
fn a_volume_over_a_folder_that_was_captured_is_told_of_and_takes_nothing() {
    in_own_mounts("a_volume_over_a_folder_that_was_captured_is_told_of_and_takes_nothing", || {
        for (include, is_memory) in [("", true), ("mnt/vol", true), ("", false), ("mnt/vol", false)] {
            println!("include {include:?}, memory: {is_memory}");
            let mut site = Site::new(&[include, "there"]);
            site.fill();
            closed(site.bench.capture());
            let before = site.bench.received();
            let memory = Volume::memory();
            let over = if is_memory { &memory } else { &site.other };
            over.mount(&site.at);
            fs::write(site.at.join("foreign"), "nobody asked for this").unwrap();
            for target in [site.noticed(), Target::Everything] {
                match site.bench.try_capture(None, target).unwrap() {
                    Outcome::Closed(point) => assert_said(&point, &site.at, "over this folder"),
                    Outcome::Unchanged { report } => assert!(!report.is_empty()),
                }
                site.assert_kept();
            }
            // Gone again: nobody misses it.
            unmount(&site.at);
            assert_eq!(closed(site.bench.capture()).report, []);
            assert_eq!(site.bench.received(), before);
            assert!(is_unchanged(&site.bench.capture()));
            site.assert_kept();

            if !is_memory {
                site.other.mount(&site.at);
                assert_said(&closed(site.bench.capture()), &site.at, "over this folder");
                site.bench.revision += 1;
                assert_eq!(closed(site.bench.capture()).report, []);
                support::tree::assert_same(&site.bench.state(), &site.at);
                assert!(is_unchanged(&site.bench.capture()));
                unmount(&site.at);
            }
        }
    });
}

/// A computer with nothing mounted, and the folder at which something will be.
fn bare() -> (Bench, PathBuf) {
    let mut bench = Bench::new();
    bench.only_includes = vec!["mnt/vol".to_owned(), "there".to_owned()];
    bench.write("there/x", "x");
    let at = bench.path("mnt/vol");
    fs::create_dir_all(&at).unwrap();
    (bench, at)
}

#[test]
fn overlays_and_images_are_volumes_like_any_other() {
    in_own_mounts("overlays_and_images_are_volumes_like_any_other", || {
        let has_images = std::process::Command::new("mksquashfs").arg("-version").output().is_ok();
        if !has_images {
            eprintln!("SKIPPED: mksquashfs isn't here, so images aren't tried");
        }
        for is_overlay in [true].into_iter().chain(has_images.then_some(false)) {
            println!("overlay: {is_overlay}");
            let (mut bench, at) = bare();
            let layers = bench.folder.path().join("layers");
            fs::create_dir(&layers).unwrap();
            Volume::memory().mount(&layers);
            let [own, other] = [("own", 0), ("other", 9)].map(|(name, first)| {
                let files = layers.join(name).join("lower");
                fs::create_dir_all(&files).unwrap();
                fs::write(files.join(format!("{first}")), noise(5000, first)).unwrap();
                match is_overlay {
                    true => Volume::overlay(&layers.join(name)),
                    false => Volume::image(&files, &layers.join(format!("{name}.img"))),
                }
            });
            own.mount(&at);
            closed(bench.capture());
            let before = bench.received();
            let is_kept = |bench: &Bench| bench.state().file(&at.join("0")) == Some(noise(5000, 0));

            unmount(&at);
            assert_said(&closed(bench.capture()), &at, "has been missing");
            assert!(is_kept(&bench));
            other.mount(&at);
            // Another reason is news.
            assert_said(&closed(bench.capture()), &at, "another volume");
            assert!(is_unchanged(&bench.capture()) && is_kept(&bench));
            assert_eq!(bench.state().find(&at.join("9")), None, "what's there now was taken");
            unmount(&at);
            own.mount(&at);
            assert_eq!(closed(bench.capture()).report, []);
            assert_eq!(bench.received(), before, "what came back was sent again");
            assert!(is_unchanged(&bench.capture()));
            unmount(&at);

            other.mount(&at);
            bench.capture();
            bench.revision += 1;
            assert_eq!(closed(bench.capture()).report, []);
            support::tree::assert_same(&bench.state(), &at);
            unmount(&at);
            unmount(&layers);
        }
    });
}

#[test]
fn memory_that_is_made_anew_is_captured_as_it_is() {
    in_own_mounts("memory_that_is_made_anew_is_captured_as_it_is", || {
        let (bench, at) = bare();
        Volume::memory().mount(&at);
        bench.write("mnt/vol/0", noise(5000, 0));
        assert_eq!(closed(bench.capture()).report, []);
        assert!(is_unchanged(&bench.capture()));

        // After a restart of the computer it's empty: that's no other volume, and what's put there is taken.
        unmount(&at);
        assert_said(&closed(bench.capture()), &at, "has been missing");
        Volume::memory().mount(&at);
        bench.write("mnt/vol/1", noise(5000, 1));
        assert_eq!(closed(bench.capture()).report, []);
        assert_eq!(bench.state().find(&at.join("0")), None);
        assert!(bench.state().file(&at.join("1")) == Some(noise(5000, 1)));
        // Another file with the old one's number there isn't the old one.
        let (before, after) = (bench.state().find(&at.join("1")), fs::metadata(at.join("1")).unwrap().ino());
        unmount(&at);
        Volume::memory().mount(&at);
        bench.write("mnt/vol/2", noise(5000, 2));
        assert_eq!(fs::metadata(at.join("2")).unwrap().ino(), after, "numbers begin anew");
        assert_eq!(closed(bench.capture()).report, []);
        assert_ne!(bench.state().find(&at.join("2")), before);
        support::tree::assert_same(&bench.state(), &at);
        unmount(&at);
    });
}

/// What's asked for by name is captured whatever it lies on, and nothing besides it that nobody asked for.
#[test]
fn what_is_included_below_the_top_of_what_is_no_disk_is_captured() {
    in_own_mounts("what_is_included_below_the_top_of_what_is_no_disk_is_captured", || {
        let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
        for (includes, has_rest, is_told) in [
            (vec!["there/memory/sub/deep"], false, false),
            (vec!["there", "there/memory/sub/deep"], false, true),
            (vec!["there/memory", "there/memory/sub/deep"], true, false),
        ] {
            println!("{includes:?}");
            let mut bench = Bench::new();
            bench.only_includes = includes.iter().map(|name| (*name).to_owned()).collect();
            let at = bench.path("there/memory");
            fs::create_dir_all(&at).unwrap();
            bench.write("there/x", "x");
            Volume::memory().mount(&at);
            for name in ["rest", "sub/rest", "sub/deep/0"] {
                bench.write(&format!("there/memory/{name}"), name);
            }
            let check = |point: &Closed, files: u32| {
                match is_told {
                    true => drop(assert_told(point, &at, "only what is included by its name is captured")),
                    false => assert_eq!(point.report, []),
                }
                let state = bench.state();
                let has = |name: &str| state.find(&at.join(name)).is_some();
                assert!((0..files).all(|number| has(&format!("sub/deep/{number}"))));
                assert_eq!((has("rest"), has("sub/rest")), (has_rest, has_rest));
            };
            check(&closed(bench.capture()), 1);
            for number in 1..3 {
                bench.write(&format!("there/memory/sub/deep/{number}"), "new");
                bench.write("there/memory/sub/rest", format!("{number}"));
                let mut target = Target::nothing();
                target.notice(path(&at.join("sub/deep")), number.to_string().into_bytes());
                target.notice(path(&at.join("sub")), b"rest".to_vec());
                target.notice(path(&at), b"rest".to_vec());
                check(&closed(bench.try_capture(None, target).unwrap()), number + 1);
            }
            unmount(&at);
            let point = closed(bench.capture());
            assert!(point.report.iter().any(|line| line.what.contains("has been missing")), "{point:?}");
            assert!(bench.state().find(&at.join("sub/deep/2")).is_some(), "the point keeps it");
        }
    });
}

/// Only what has holes can be so large.
#[test]
fn a_file_that_is_larger_than_a_version_can_be_is_named_and_all_else_is_captured() {
    in_own_mounts("a_file_that_is_larger_than_a_version_can_be_is_named_and_all_else_is_captured", || {
        let (bench, at) = bare();
        Volume::memory().mount(&at);
        bench.write("mnt/vol/small", "small");
        let size = coffer_format::limits::FILE_SIZE_MAX;
        for (name, size) in [("large", size), ("too-large", size + 1)] {
            fs::File::create(at.join(name)).unwrap().set_len(size).unwrap();
        }
        assert_told(&closed(bench.capture()), &at.join("too-large"), "more than 64 PiB");
        let state = bench.state();
        assert!(state.file(&at.join("small")).is_some() && state.find(&at.join("too-large")).is_none());
        let large = state.nodes[&state.find(&at.join("large")).unwrap()].map.clone().unwrap();
        assert_eq!((large.size, large.ranges.len()), (size, 1));
        drop(state);
        unmount(&at);
    });
}

/// Whether everything is looked at or what was noticed.
#[test]
fn what_is_mounted_and_is_no_disk_is_told_of_by_every_look() {
    in_own_mounts("what_is_mounted_and_is_no_disk_is_told_of_by_every_look", || {
        let mut bench = Bench::new();
        bench.only_includes = vec!["there".to_owned()];
        let at = bench.path("there/memory");
        fs::create_dir_all(&at).unwrap();
        bench.write("there/x", "x");
        Volume::memory().mount(&at);
        bench.write("there/memory/sub/before", "nobody asked for this");
        let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let told = |report: &[coffer_format::entry::Remark]| {
            let of_it: Vec<_> =
                report.iter().map(|line| (line.path.0.to_vec(), line.what.to_string())).collect();
            assert!(
                of_it.len() == 1 && of_it[0].0 == path(&at) && of_it[0].1.contains("no disk"),
                "{of_it:?}"
            );
        };
        told(&closed(bench.capture()).report);
        for number in 0..3 {
            bench.write(&format!("there/memory/sub/{number}"), "nor for this");
            bench.write("there/x", format!("{number}"));
            let mut target = Target::nothing();
            target.notice(path(&at), b"sub".to_vec());
            target.notice(path(&at.join("sub")), number.to_string().into_bytes());
            target.notice_all(path(&at.join("sub")));
            target.notice(path(at.parent().unwrap()), b"x".to_vec());
            told(&closed(bench.try_capture(None, target).unwrap()).report);
            assert_eq!(bench.state().find(&at.join("sub")), None);
            assert_eq!(bench.state().file(&bench.path("there/x")), Some(number.to_string().into_bytes()));
        }
        told(bench.capture().report());
        unmount(&at);
        assert_eq!(closed(bench.capture()).report, []);
    });
}
