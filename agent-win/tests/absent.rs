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

/// What's kept of an include goes along with the folder that it was in, however often that's renamed, until it's back.
#[test]
fn what_is_missing_stays_in_a_folder_that_gets_another_name() {
    for (is_whole, is_kept_before) in [(true, true), (true, false), (false, true), (false, false)] {
        let bench = bench_of(&["", "b/letters", "b/note", "c/sub/deep"]);
        bench.write("b/letters/x", noise(10_000, 1));
        bench.write("b/note", noise(9_000, 2));
        bench.write("c/sub/deep/y", noise(8_000, 3));
        bench.write("b/stays", "it");
        bench.capture();
        let before = bench.received();
        let look_at = |names: &[&str]| {
            let mut target = noticed(&bench.path(names[0]));
            for name in names {
                let path = bench.path(name);
                let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
                target.notice(bytes(path.parent().unwrap()), path.file_name().unwrap().as_bytes().to_vec());
            }
            let target = if is_whole { Target::Everything } else { target };
            bench.try_capture(None, target).unwrap()
        };
        let away = bench.folder.path().join("away");
        fs::create_dir(&away).unwrap();
        let moves = [("b/letters", "letters"), ("b/note", "note"), ("c/sub/deep", "deep")];
        for (from, to) in moves {
            fs::rename(bench.path(from), away.join(to)).unwrap();
        }
        if is_kept_before {
            closed(look_at(&["b/letters", "b/note", "c/sub/deep"]));
        }
        fs::create_dir(bench.path("a")).unwrap();
        fs::rename(bench.path("b"), bench.path("a/b2")).unwrap();
        fs::rename(bench.path("c/sub"), bench.path("c/sub2")).unwrap();
        fs::rename(bench.path("c"), bench.path("c2")).unwrap();
        let point = closed(look_at(&["b", "a", "a/b2", "c", "c2", "c2/sub2", "c2/sub"]));
        let are_kept = |at: [&str; 3]| {
            let state = bench.state();
            for (path, (len, seed)) in at.iter().zip([(10_000, 1), (9_000, 2), (8_000, 3)]) {
                let found = state.file(&bench.path(path));
                assert!(
                    found.is_some_and(|bytes| bytes == noise(len, seed)),
                    "{path} {is_whole} {is_kept_before}"
                );
            }
        };
        are_kept(["a/b2/letters/x", "a/b2/note", "c2/sub2/deep/y"]);
        for (include, kept) in
            [("b/letters", "a/b2/letters"), ("b/note", "a/b2/note"), ("c/sub/deep", "c2/sub2/deep")]
        {
            assert_missing(&point, &bench.path(include));
            let line =
                point.report.iter().find(|line| line.path.0 == bench.path(include).as_os_str().as_bytes());
            assert!(line.unwrap().what.contains(&*bench.path(kept).to_string_lossy()), "{line:?}");
        }
        assert_eq!(unchanged(&bench.capture()), 3);
        are_kept(["a/b2/letters/x", "a/b2/note", "c2/sub2/deep/y"]);
        fs::rename(bench.path("a/b2"), bench.path("a/b3")).unwrap();
        closed(look_at(&["a/b2", "a/b3"]));
        are_kept(["a/b3/letters/x", "a/b3/note", "c2/sub2/deep/y"]);

        // Back where it's asked for: nothing is sent again, and nothing stays behind.
        fs::create_dir_all(bench.path("c/sub")).unwrap();
        fs::create_dir(bench.path("b")).unwrap();
        for (back, from) in moves {
            fs::rename(away.join(from), bench.path(back)).unwrap();
        }
        let point = closed(look_at(&["b", "b/letters", "b/note", "c", "c/sub", "c/sub/deep"]));
        assert_eq!(point.report, []);
        assert_eq!(bench.received(), before);
        bench.assert_all_there();
        assert_eq!(unchanged(&bench.capture()), 0);
    }
}

/// Two folders change places, one of which an include is missing from.
#[test]
fn what_is_missing_is_kept_where_folders_change_places() {
    for (one, other) in [("p", "w"), ("w", "p"), ("p", "deep/w"), ("deep/p", "w")] {
        for is_kept_before in [true, false] {
            let bench = bench_of(&["", &format!("{one}/letters")]);
            bench.write(&format!("{one}/letters/x"), noise(10_000, 1));
            bench.write(&format!("{one}/stays"), "with it");
            bench.write(&format!("{other}/own"), "of another");
            bench.capture();
            fs::rename(bench.path(&format!("{one}/letters")), bench.folder.path().join("away")).unwrap();
            if is_kept_before {
                bench.capture();
            }
            let beside = bench.path("beside");
            for (from, to) in [
                (bench.path(one), beside.clone()),
                (bench.path(other), bench.path(one)),
                (beside, bench.path(other)),
            ] {
                fs::rename(from, to).unwrap();
            }
            for _ in 0..2 {
                bench.capture();
                let state = bench.state();
                let places =
                    [one, other].map(|folder| state.file(&bench.path(&format!("{folder}/letters/x"))));
                assert!(places.contains(&Some(noise(10_000, 1))), "{one} {other} {is_kept_before}");
                for (name, bytes) in
                    [(format!("{other}/stays"), "with it"), (format!("{one}/own"), "of another")]
                {
                    assert_eq!(state.file(&bench.path(&name)).unwrap(), bytes.as_bytes(), "{name}");
                }
            }
        }
    }
}

#[test]
fn what_took_the_name_of_what_is_kept_is_told() {
    let bench = bench_of(&["", "p/letters"]);
    bench.write("p/letters/x", noise(10_000, 1));
    bench.capture();
    fs::remove_dir_all(bench.path("p/letters")).unwrap();
    bench.capture();
    fs::rename(bench.path("p"), bench.path("n")).unwrap();
    bench.write("n/letters/new", "something else");
    let point = closed(bench.capture());
    assert_missing(&point, &bench.path("p/letters"));
    assert!(point.report[0].what.contains("something else is now"), "{:?}", point.report);
    bench.assert_all_there();
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
