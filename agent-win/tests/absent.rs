//! What's asked for by name and isn't there is no deletion.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coffer_agent::capture::{Closed, Outcome, Target};
use coffer_format::entry::Consistency;
use support::{Bench, closed, noise};

/// What a watch noticed.
fn noticed(path: &Path) -> Target {
    let mut target = Target::nothing();
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    target.notice(bytes(path.parent().unwrap()), path.file_name().unwrap().as_bytes().to_vec());
    target
}

/// A computer of which two folders are asked for by name.
fn bench_of(includes: &[&str]) -> Bench {
    let mut bench = Bench::new();
    bench.only_includes = includes.iter().map(|name| (*name).to_owned()).collect();
    bench
}

fn assert_missing(point: &Closed, path: &Path) {
    assert_eq!(point.consistency, Consistency::PerFile);
    let line = point.report.iter().find(|line| &line.path.0[..] == path.as_os_str().as_bytes());
    let line = line.unwrap_or_else(|| panic!("nothing is said of {}: {:?}", path.display(), point.report));
    assert!(line.what.contains("has been missing since 2"), "{line:?}");
}

fn unchanged(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Unchanged { report } => report.len(),
        Outcome::Closed(closed) => panic!("a point though nothing has changed: {closed:?}"),
    }
}

#[test]
fn an_include_that_is_gone_is_kept_and_costs_nothing_when_it_comes_back() {
    for (include, away) in [("shares/letters", "shares/letters"), ("way/to/letters", "way")] {
        let bench = bench_of(&[include, "there"]);
        let letter = |name: &str| bench.path(include).join(name);
        bench.write(&format!("{include}/deep/old"), noise(50_000, 1));
        bench.write(&format!("{include}/new"), noise(60_000, 2));
        bench.write("there/x", "x");
        bench.capture();
        let before = bench.received();

        fs::rename(bench.path(away), bench.path("elsewhere")).unwrap();
        let point = closed(bench.try_capture(None, noticed(&bench.path(away))).unwrap());
        assert_missing(&point, &bench.path(include));
        assert_eq!(unchanged(&bench.capture()), 1);
        // A watch goes on telling of the folder by its old name.
        let outcome = bench.try_capture(None, noticed(&letter("deep/old"))).unwrap();
        assert_eq!(unchanged(&outcome), 1);
        bench.write("there/x", "changed meanwhile");
        let point = closed(bench.try_capture(None, noticed(&bench.path("there/x"))).unwrap());
        assert_missing(&point, &bench.path(include));
        bench.write("there/x", "and again");
        let point = closed(bench.capture());
        assert_missing(&point, &bench.path(include));
        assert_eq!(bench.state().file(&letter("deep/old")).unwrap(), noise(50_000, 1));
        assert_eq!(bench.state().file(&letter("new")).unwrap(), noise(60_000, 2));

        let below = bench.path(include).strip_prefix(bench.path(away)).unwrap().to_owned();
        fs::write(bench.path("elsewhere").join(below).join("deep/came"), "while it was away").unwrap();
        fs::rename(bench.path("elsewhere"), bench.path(away)).unwrap();
        let point = closed(bench.try_capture(None, Target::nothing()).unwrap());
        assert_eq!(point.report, []);
        assert_eq!(bench.state().sent_again, 0);
        let came = ["changed meanwhile", "and again", "while it was away"].map(str::len);
        assert_eq!(bench.received() - before, came.iter().sum::<usize>() as u64);
        let point = bench.capture();
        assert_eq!(unchanged(&point), 0);
        tree_is_there(&bench, include);
    }
}

fn tree_is_there(bench: &Bench, name: &str) {
    support::tree::assert_same(&bench.state(), &bench.path(name));
}

#[test]
fn what_comes_back_takes_the_claim_back_though_nothing_has_changed() {
    let bench = bench_of(&["letters", "there"]);
    bench.write("letters/a", "a");
    bench.write("there/x", "x");
    let claim = closed(bench.capture()).consistency;
    fs::rename(bench.path("letters"), bench.path("elsewhere")).unwrap();
    assert_missing(&closed(bench.capture()), &bench.path("letters"));
    fs::rename(bench.path("elsewhere"), bench.path("letters")).unwrap();
    let point = closed(bench.capture());
    assert_eq!((point.consistency, point.sent), (claim, 0));
    assert_ne!(claim, Consistency::PerFile);
    assert_eq!(unchanged(&bench.capture()), 0);
}

#[test]
fn an_included_file_that_is_gone_is_kept() {
    let bench = bench_of(&["etc/hosts", "there"]);
    bench.write("etc/hosts", "127.0.0.1");
    bench.write("there/x", "x");
    bench.capture();
    fs::remove_file(bench.path("etc/hosts")).unwrap();
    let point = closed(bench.try_capture(None, noticed(&bench.path("etc/hosts"))).unwrap());
    assert_missing(&point, &bench.path("etc/hosts"));
    assert_eq!(bench.state().file(&bench.path("etc/hosts")).unwrap(), b"127.0.0.1");
    bench.write("etc/hosts", "192.0.2.1");
    let point = closed(bench.try_capture(None, Target::nothing()).unwrap());
    assert_eq!(point.report, []);
    assert_eq!(bench.state().file(&bench.path("etc/hosts")).unwrap(), b"192.0.2.1");
}

/// A file with another name in what is gone: what's written by the one that is there isn't what the other had.
#[test]
fn what_is_gone_keeps_its_bytes_when_a_file_that_had_a_name_there_is_written() {
    for is_in_one_look in [false, true] {
        let bench = bench_of(&["there", "gone"]);
        bench.write("there/y", "one");
        fs::create_dir(bench.path("gone")).unwrap();
        fs::hard_link(bench.path("there/y"), bench.path("gone/x")).unwrap();
        bench.capture();
        fs::remove_dir_all(bench.path("gone")).unwrap();
        if !is_in_one_look {
            assert_missing(&closed(bench.capture()), &bench.path("gone"));
        }
        bench.write("there/y", "changed");
        assert_missing(&closed(bench.capture()), &bench.path("gone"));
        assert_eq!(bench.state().file(&bench.path("gone/x")).unwrap(), b"one", "{is_in_one_look}");
        assert_eq!(bench.state().file(&bench.path("there/y")).unwrap(), b"changed", "{is_in_one_look}");
        assert_eq!(unchanged(&bench.capture()), 1);
        fs::create_dir(bench.path("gone")).unwrap();
        fs::hard_link(bench.path("there/y"), bench.path("gone/x")).unwrap();
        assert_eq!(closed(bench.capture()).report, []);
        assert_eq!(bench.state().file(&bench.path("gone/x")).unwrap(), b"changed", "{is_in_one_look}");
    }
}

#[test]
fn what_is_no_longer_asked_for_is_deleted() {
    let mut bench = bench_of(&["letters", "there"]);
    bench.write("letters/a", "a");
    bench.write("there/x", "x");
    bench.capture();
    fs::remove_dir_all(bench.path("letters")).unwrap();
    assert_missing(&closed(bench.capture()), &bench.path("letters"));
    bench.only_includes = vec!["there".to_owned()];
    let point = closed(bench.capture());
    assert_eq!(point.report, []);
    assert_eq!(bench.state().find(&bench.path("letters")), None);
    assert_eq!(unchanged(&bench.capture()), 0);
}

#[test]
fn what_is_below_an_include_is_deleted_as_ever() {
    let bench = bench_of(&["letters"]);
    bench.write("letters/a/x", "x");
    bench.write("letters/b", "b");
    bench.capture();
    fs::remove_dir_all(bench.path("letters/a")).unwrap();
    let point = closed(bench.capture());
    assert_eq!(point.report, []);
    tree_is_there(&bench, "letters");
}

#[test]
fn a_folder_that_was_renamed_within_what_is_asked_for_has_one_name() {
    for is_whole in [true, false] {
        let bench = bench_of(&["", "a/letters"]);
        bench.write("a/letters/deep/x", noise(10_000, 1));
        bench.capture();
        let before = bench.received();
        fs::rename(bench.path("a/letters/deep"), bench.path("deep")).unwrap();
        fs::rename(bench.path("a/letters"), bench.path("renamed")).unwrap();
        let mut target = noticed(&bench.path("a/letters"));
        for name in ["deep", "renamed"] {
            target.notice(bench.folder.path().join("data").as_os_str().as_bytes().to_vec(), name.into());
        }
        let target = if is_whole { Target::Everything } else { target };
        let point = closed(bench.try_capture(None, target).unwrap());
        assert!(point.report[0].what.contains("can't be found"), "{:?}", point.report);
        assert_eq!(bench.received(), before);
        bench.assert_all_there();
        assert_eq!(unchanged(&bench.capture()), 1);
    }
}

#[test]
fn a_journal_of_before_goes_on() {
    let bench = bench_of(&["letters", "there"]);
    bench.write("letters/a", "a");
    bench.write("there/x", "x");
    bench.capture();
    let journal = rusqlite::Connection::open(bench.state_dir.join("journal.db")).unwrap();
    journal.execute_batch("DROP TABLE mounts; DROP TABLE absent;").unwrap();
    drop(journal);
    fs::rename(bench.path("letters"), bench.path("elsewhere")).unwrap();
    assert_missing(&closed(bench.capture()), &bench.path("letters"));
    fs::rename(bench.path("elsewhere"), bench.path("letters")).unwrap();
    let point = closed(bench.capture());
    assert_eq!((point.sent, bench.state().catchups), (0, 1), "the box was asked for what the journal has");
}

#[test]
fn a_journal_that_is_lost_meanwhile_takes_nothing_along() {
    let bench = bench_of(&["letters", "there"]);
    bench.write("letters/a", "a");
    bench.write("there/x", "x");
    bench.capture();
    fs::rename(bench.path("letters"), bench.path("elsewhere")).unwrap();
    bench.capture();
    bench.forget();
    assert_missing(&closed(bench.capture()), &bench.path("letters"));
    fs::rename(bench.path("elsewhere"), bench.path("letters")).unwrap();
    let point = closed(bench.capture());
    assert_eq!((point.sent, bench.state().sent_again), (0, 0));
}

#[cfg(unix)]
#[test]
fn an_included_folder_in_the_place_of_which_is_a_link_to_nowhere_is_kept() {
    for is_whole in [true, false] {
        let bench = bench_of(&["letters", "there"]);
        bench.write("letters/deep/a", noise(10_000, 1));
        bench.write("there/x", "x");
        bench.capture();
        let (letters, before) = (bench.path("letters"), bench.received());
        fs::rename(&letters, bench.path("elsewhere")).unwrap();
        std::os::unix::fs::symlink(bench.path("nowhere"), &letters).unwrap();
        let look = || if is_whole { Target::Everything } else { noticed(&letters) };
        let point = closed(bench.try_capture(None, look()).unwrap());
        assert_missing(&point, &letters);
        let said = unchanged(&bench.try_capture(None, look()).unwrap());
        assert_eq!(said, point.report.len(), "{:?}", point.report);
        bench.write("there/x", "y");
        assert_missing(&closed(bench.try_capture(None, noticed(&bench.path("there/x"))).unwrap()), &letters);
        assert_eq!(bench.state().file(&letters.join("deep/a")).unwrap(), noise(10_000, 1));

        fs::remove_file(&letters).unwrap();
        fs::rename(bench.path("elsewhere"), &letters).unwrap();
        let point = closed(bench.capture());
        assert_eq!((point.report, bench.received() - before), (Vec::new(), 1));
        tree_is_there(&bench, "letters");
        assert_eq!(unchanged(&bench.capture()), 0);

        // A link to what's there is followed, and is the include.
        fs::rename(&letters, bench.path("elsewhere")).unwrap();
        std::os::unix::fs::symlink(bench.path("elsewhere"), &letters).unwrap();
        assert_eq!(closed(bench.capture()).report, []);
        tree_is_there(&bench, "elsewhere");
        assert_eq!(bench.received() - before, 1);
    }
}
