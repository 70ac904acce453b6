//! What the names of files that can't be read have in a point: what the last one had by them; and each of them is named.

#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use coffer_agent::capture::{Closed, Outcome, Target};
use coffer_format::entry::Consistency;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use proptest::prelude::*;
use support::{Bench, closed};

const NOBODY: u32 = 65534;

/// A computer whose agent may not do everything; `f1`, `f2` and `f3` were captured.
struct Computer {
    bench: Bench,
}

impl Computer {
    /// `None` where the test can't be somebody else, which it says.
    fn new(test: &str) -> Option<Computer> {
        if !Uid::effective().is_root() {
            eprintln!("SKIPPED: {test} must be run as root, to be somebody else");
            return None;
        }
        let bench = Bench::new();
        chown(bench.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::create_dir(bench.folder.path().join("outside")).unwrap();
        for name in ["f1", "f2", "f3"] {
            bench.write(name, name);
        }
        let computer = Computer { bench };
        computer.capture();
        Some(computer)
    }

    /// With the rights of another user: a thread's own, which those that it starts inherit.
    fn capture_of(&self, target: Target) -> Outcome {
        std::thread::scope(|threads| {
            let capturing = threads.spawn(|| {
                setfsgid(Gid::from_raw(NOBODY));
                setfsuid(Uid::from_raw(NOBODY));
                self.bench.try_capture(None, target).unwrap()
            });
            capturing.join().unwrap()
        })
    }

    fn capture(&self) -> Outcome {
        self.capture_of(Target::Everything)
    }

    /// A file that only root may read.
    fn closed_file(&self, path: &Path) {
        fs::write(path, "secret").unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.bench.path(name)
    }

    /// Puts another file, that can't be read, under a name.
    fn replace(&self, name: &str) {
        let new = self.bench.folder.path().join("outside/new");
        self.closed_file(&new);
        fs::rename(new, self.at(name)).unwrap();
    }

    /// What the newest point has, and of what it says that it can't be read.
    #[track_caller]
    fn assert_has(&self, outcome: &Outcome, files: &[(&str, &str)], unread: &[&str]) {
        let state = self.bench.state();
        let folder = state.find(&self.at("")).unwrap();
        let names = state.links.keys().filter(|(parent, _)| *parent == folder);
        let files_of = |name: &[u8]| state.file(&self.at(std::str::from_utf8(name).unwrap()));
        let there: Vec<(String, String)> = names
            .filter_map(|(_, name)| Some((name, files_of(name)?)))
            .map(|(name, bytes)| [name, &bytes].map(|text| String::from_utf8_lossy(text).into_owned()).into())
            .collect();
        let expected: Vec<(String, String)> =
            files.iter().map(|(name, bytes)| (name.to_string(), bytes.to_string())).collect();
        assert_eq!(there, expected);
        let name_of = |path: &[u8]| String::from_utf8_lossy(&path[folder_len(&self.bench)..]).into_owned();
        let named: BTreeSet<String> = outcome.report().iter().map(|line| name_of(&line.path.0)).collect();
        assert_eq!(named, unread.iter().map(|name| name.to_string()).collect(), "{:?}", outcome.report());
        if let Outcome::Closed(Closed { consistency, .. }) = outcome {
            assert_eq!(*consistency == Consistency::PerFile, !unread.is_empty());
        }
    }

    /// Now, and in the next capture, which has no other news.
    #[track_caller]
    fn assert_captured(&self, files: &[(&str, &str)], unread: &[&str]) {
        self.assert_has(&Outcome::Closed(closed(self.capture())), files, unread);
        let again = self.capture();
        assert!(matches!(again, Outcome::Unchanged { .. }), "{again:?}");
        self.assert_has(&again, files, unread);
    }
}

fn folder_len(bench: &Bench) -> usize {
    bench.path("").as_os_str().as_bytes().len()
}

const ALL: [(&str, &str); 3] = [("f1", "f1"), ("f2", "f2"), ("f3", "f3")];

#[test]
fn a_name_that_a_file_with_other_names_took_is_named_at_once() {
    let Some(computer) = Computer::new("a_name_that_a_file_with_other_names_took_is_named_at_once") else {
        return;
    };
    let outside = computer.bench.folder.path().join("outside");
    computer.closed_file(&outside.join("s"));
    fs::hard_link(outside.join("s"), outside.join("s2")).unwrap();
    fs::rename(outside.join("s"), computer.at("f1")).unwrap();
    computer.assert_captured(&ALL, &["f1"]);
}

#[test]
fn names_that_an_unreadable_file_took_keep_each_its_own_bytes() {
    let Some(computer) = Computer::new("names_that_an_unreadable_file_took_keep_each_its_own_bytes") else {
        return;
    };
    computer.replace("f1");
    fs::remove_file(computer.at("f2")).unwrap();
    fs::hard_link(computer.at("f1"), computer.at("f2")).unwrap();
    for name in ["e4", "f4", "f5"] {
        fs::hard_link(computer.at("f1"), computer.at(name)).unwrap();
    }
    computer.assert_captured(&ALL, &["e4", "f1", "f2", "f4", "f5"]);
    fs::set_permissions(computer.at("f1"), Permissions::from_mode(0o644)).unwrap();
    let now = ["e4", "f1", "f2"].map(|name| (name, "secret"));
    let now = [&now[..], &[("f3", "f3"), ("f4", "secret"), ("f5", "secret")]].concat();
    computer.assert_captured(&now, &[]);
    let state = computer.bench.state();
    assert_eq!(state.find(&computer.at("f1")), state.find(&computer.at("f5")), "one file, stored apart");
}

/// It has the number of another file by now, or that file has another name.
#[test]
fn a_name_keeps_what_it_had_whatever_became_of_the_file_that_had_it() {
    let Some(computer) = Computer::new("a_name_keeps_what_it_had_whatever_became_of_the_file_that_had_it")
    else {
        return;
    };
    // Whichever of them is met first.
    for (old, new) in [("f1", "a1"), ("f2", "z2")] {
        fs::rename(computer.at(old), computer.at(new)).unwrap();
        fs::write(computer.at(new), format!("{new}, newer")).unwrap();
        computer.replace(old);
    }
    fs::create_dir(computer.at("deep")).unwrap();
    fs::rename(computer.at("f3"), computer.at("deep/g")).unwrap();
    computer.replace("f3");
    let files = [&[("a1", "a1, newer")][..], &ALL, &[("z2", "z2, newer")]].concat();
    computer.assert_captured(&files, &["f1", "f2", "f3"]);
    assert_eq!(computer.bench.state().file(&computer.at("deep/g")).unwrap(), b"f3");
    // What moved on is known by its own name from now on.
    fs::hard_link(computer.at("a1"), computer.at("a2")).unwrap();
    fs::rename(computer.at("z2"), computer.at("z3")).unwrap();
    let files = [&[("a1", "a1, newer"), ("a2", "a1, newer")][..], &ALL, &[("z3", "z2, newer")]].concat();
    let sent = computer.bench.received();
    computer.assert_captured(&files, &["f1", "f2", "f3"]);
    assert!(computer.bench.received() <= sent + 9, "what's there was sent again");
    let state = computer.bench.state();
    assert_eq!(state.find(&computer.at("a1")), state.find(&computer.at("a2")));
}

/// As on ext4, where a number is used again at once.
#[test]
fn a_name_keeps_what_it_had_though_a_new_file_has_its_files_number() {
    use std::os::unix::fs::MetadataExt;
    let Some(computer) = Computer::new("a_name_keeps_what_it_had_though_a_new_file_has_its_files_number")
    else {
        return;
    };
    let number = fs::metadata(computer.at("f1")).unwrap().ino();
    let journal = rusqlite::Connection::open(computer.bench.state_dir.join("journal.db")).unwrap();
    computer.replace("f1");
    fs::write(computer.at("new"), "new").unwrap();
    let new = fs::metadata(computer.at("new")).unwrap().ino();
    let changed = journal.execute("UPDATE nodes SET inode = ? WHERE inode = ?", [new as i64, number as i64]);
    assert_eq!(changed.unwrap(), 1);
    drop(journal);
    computer.assert_captured(&[&ALL[..], &[("new", "new")]].concat(), &["f1"]);
}

#[test]
fn a_name_of_a_known_file_that_another_took_keeps_what_it_had_when_the_file_changes() {
    let test = "a_name_of_a_known_file_that_another_took_keeps_what_it_had_when_the_file_changes";
    let Some(computer) = Computer::new(test) else { return };
    for name in ["a1", "l1", "m1"] {
        fs::hard_link(computer.at("f1"), computer.at(name)).unwrap();
    }
    closed(computer.capture());
    computer.replace("l1");
    let with = |f1| [("a1", f1), ("f1", f1), ("f2", "f2"), ("f3", "f3"), ("l1", "f1"), ("m1", f1)];
    computer.assert_captured(&with("f1"), &["l1"]);
    fs::write(computer.at("f1"), "newer").unwrap();
    // Only that one name is noticed.
    let mut target = Target::nothing();
    target
        .notice(computer.at("").as_os_str().as_bytes().strip_suffix(b"/").unwrap().to_vec(), b"f1".to_vec());
    computer.assert_has(&computer.capture_of(target), &with("newer"), &["l1"]);
    fs::write(computer.at("f1"), "newest").unwrap();
    computer.assert_captured(&with("newest"), &["l1"]);
    let state = computer.bench.state();
    let nodes = ["a1", "f1", "m1"].map(|name| state.find(&computer.at(name)));
    assert!(nodes[0] == nodes[1] && nodes[1] == nodes[2], "one file, stored apart: {nodes:?}");
}

#[test]
fn each_name_of_a_known_file_that_may_not_be_read_any_more_is_named() {
    let Some(computer) = Computer::new("each_name_of_a_known_file_that_may_not_be_read_any_more_is_named")
    else {
        return;
    };
    fs::hard_link(computer.at("f1"), computer.at("l1")).unwrap();
    closed(computer.capture());
    fs::write(computer.at("f1"), "newer").unwrap();
    fs::set_permissions(computer.at("f1"), Permissions::from_mode(0o600)).unwrap();
    let mut target = Target::nothing();
    target
        .notice(computer.at("").as_os_str().as_bytes().strip_suffix(b"/").unwrap().to_vec(), b"l1".to_vec());
    let files = [&ALL[..], &[("l1", "f1")]].concat();
    computer.assert_has(&computer.capture_of(target), &files, &["f1", "l1"]);
    computer.assert_has(&computer.capture(), &files, &["f1", "l1"]);
}

/// Another folder is there than the one that was captured, and it can't be listed.
#[test]
fn a_folder_that_cannot_be_listed_keeps_what_another_by_its_name_had() {
    let Some(computer) = Computer::new("a_folder_that_cannot_be_listed_keeps_what_another_by_its_name_had")
    else {
        return;
    };
    for folder in ["b", "d", "y"] {
        computer.bench.write(&format!("{folder}/x"), folder);
    }
    closed(computer.capture());
    // Whichever of them is met first.
    fs::rename(computer.at("b"), computer.at("a")).unwrap();
    fs::rename(computer.at("d"), computer.bench.folder.path().join("outside/d")).unwrap();
    fs::rename(computer.at("y"), computer.at("z")).unwrap();
    for folder in ["b", "d", "y"] {
        fs::create_dir(computer.at(folder)).unwrap();
        fs::set_permissions(computer.at(folder), Permissions::from_mode(0o700)).unwrap();
        computer.bench.write(&format!("{folder}/new"), "new");
    }
    computer.assert_captured(&ALL, &["b", "d", "y"]);
    let file = |name: &str| computer.bench.state().file(&computer.at(name));
    assert_eq!(["a/x", "d/x", "z/x"].map(|name| file(name).unwrap()), ["b", "d", "y"].map(Vec::from));
    for folder in ["b", "d", "y"] {
        fs::set_permissions(computer.at(folder), Permissions::from_mode(0o755)).unwrap();
    }
    computer.assert_captured(&ALL, &[]);
    computer.bench.assert_all_there();
}

/// What happens between two captures, to names by their number.
#[derive(Debug, Clone)]
enum Edit {
    Write {
        at: usize,
        seed: u64,
        in_place: bool,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Link {
        from: usize,
        to: usize,
    },
    Remove {
        at: usize,
    },
    /// To everybody but root.
    Close {
        at: usize,
    },
    Open {
        at: usize,
    },
}

const NAMES: usize = 8;

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0..NAMES;
    prop_oneof![
        4 => (at.clone(), any::<u64>(), any::<bool>())
            .prop_map(|(at, seed, in_place)| Edit::Write { at, seed, in_place }),
        3 => (at.clone(), at.clone()).prop_map(|(from, to)| Edit::Rename { from, to }),
        2 => (at.clone(), at.clone()).prop_map(|(from, to)| Edit::Link { from, to }),
        1 => at.clone().prop_map(|at| Edit::Remove { at }),
        4 => at.clone().prop_map(|at| Edit::Close { at }),
        1 => at.prop_map(|at| Edit::Open { at }),
    ]
}

impl Computer {
    fn place(&self, name: usize) -> std::path::PathBuf {
        self.at(["even", "odd"][name % 2]).join(format!("n{name}"))
    }

    fn apply(&self, edit: &Edit) {
        let mode = |at: usize, mode| {
            if self.place(at).exists() {
                fs::set_permissions(self.place(at), Permissions::from_mode(mode)).unwrap();
            }
        };
        match *edit {
            Edit::Write { at, seed, in_place: true } => fs::write(self.place(at), format!("{seed}")).unwrap(),
            Edit::Write { at, seed, in_place: false } => {
                let beside = self.at("beside");
                fs::write(&beside, format!("{seed}")).unwrap();
                fs::rename(beside, self.place(at)).unwrap();
            }
            Edit::Rename { from, to } if self.place(from).exists() => {
                fs::rename(self.place(from), self.place(to)).unwrap();
            }
            Edit::Link { from, to } if self.place(from).exists() && !self.place(to).exists() => {
                fs::hard_link(self.place(from), self.place(to)).unwrap();
            }
            Edit::Remove { at } if self.place(at).exists() => fs::remove_file(self.place(at)).unwrap(),
            Edit::Close { at } => mode(at, 0o600),
            Edit::Open { at } => mode(at, 0o644),
            _ => {}
        }
    }

    /// What a watch tells of edits.
    fn told(&self, edits: &[Edit]) -> Target {
        let mut target = Target::nothing();
        let names = edits.iter().flat_map(|edit| match *edit {
            Edit::Rename { from, to } => vec![from, to],
            Edit::Link { to, .. } => vec![to],
            Edit::Write { at, .. } | Edit::Remove { at } | Edit::Close { at } | Edit::Open { at } => vec![at],
        });
        for name in names {
            let path = self.place(name);
            let folder = path.parent().unwrap().as_os_str().as_bytes().to_vec();
            target.notice(folder, path.file_name().unwrap().as_bytes().to_vec());
        }
        target
    }

    /// What the newest point has by each name.
    fn has(&self) -> BTreeMap<usize, Vec<u8>> {
        let state = self.bench.state();
        (0..NAMES).filter_map(|name| Some((name, state.file(&self.place(name))?))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Each readable name is as it is, each other one as the last point had it and named, and what's gone is gone.
    #[test]
    fn what_a_point_has_by_a_name_is_the_file_or_what_the_last_one_had(
        rounds in prop::collection::vec((prop::collection::vec(edit(), 1..10), any::<bool>()), 1..6),
    ) {
        let Some(computer) = Computer::new("what_a_point_has_by_a_name_is_the_file_or_what_the_last_one_had") else {
            return Ok(());
        };
        ["even", "odd"].iter().for_each(|folder| fs::create_dir(computer.at(folder)).unwrap());
        let mut before = BTreeMap::new();
        closed(computer.capture());
        for (edits, is_told) in rounds {
            edits.iter().for_each(|edit| computer.apply(edit));
            let target = if is_told { computer.told(&edits) } else { Target::Everything };
            let report = computer.capture_of(target).report().to_vec();
            let has = computer.has();
            for name in 0..NAMES {
                let path = computer.place(name);
                let Ok(metadata) = fs::metadata(&path) else {
                    prop_assert_eq!(has.get(&name), None);
                    continue;
                };
                let is_closed = metadata.permissions().mode() & 0o004 == 0;
                let is_named = report.iter().any(|line| &line.path.0[..] == path.as_os_str().as_bytes());
                prop_assert_eq!(is_closed, is_named, "{}: {:?}", name, report);
                if !is_closed {
                    prop_assert_eq!(has.get(&name), Some(&fs::read(&path).unwrap()), "{}", name);
                } else if before.contains_key(&name) {
                    prop_assert_eq!(has.get(&name), before.get(&name), "{}", name);
                }
            }
            before = has;
        }
    }
}
