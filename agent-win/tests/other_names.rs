//! A file that was changed by one of its names and lost that one: a capture that's told of names has the change by the others.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coffer_agent::capture::{CaptureError, Outcome, Target};
use support::{Bench, noise};

/// What's done, and the names that a watch tells of, by the paths that they have then.
struct Doing<'a> {
    bench: &'a Bench,
    target: Target,
}

impl Doing<'_> {
    fn notice(&mut self, name: &str) {
        let path = self.bench.path(name);
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let name = path.file_name().unwrap().as_bytes().to_vec();
        self.target.notice(bytes(path.parent().unwrap()), name);
    }

    fn write(&mut self, name: &str, bytes: &[u8]) {
        fs::write(self.bench.path(name), bytes).unwrap();
        self.notice(name);
    }

    fn chmod(&mut self, name: &str, mode: u32) {
        fs::set_permissions(self.bench.path(name), Permissions::from_mode(mode)).unwrap();
        self.notice(name);
    }

    fn remove(&mut self, name: &str) {
        fs::remove_file(self.bench.path(name)).unwrap();
        self.notice(name);
    }

    fn link(&mut self, from: &str, to: &str) {
        fs::hard_link(self.bench.path(from), self.bench.path(to)).unwrap();
        self.notice(to);
    }

    fn rename(&mut self, from: &str, to: &str) {
        fs::rename(self.bench.path(from), self.bench.path(to)).unwrap();
        [from, to].into_iter().for_each(|name| self.notice(name));
        if self.bench.path(to).is_dir() {
            self.target.notice_all(self.bench.path(to).as_os_str().as_bytes().to_vec());
        }
    }

    fn rename_out(&mut self, name: &str) {
        fs::rename(self.bench.path(name), self.bench.folder.path().join("outside")).unwrap();
        self.notice(name);
    }

    fn captured(self) -> Result<Outcome, CaptureError> {
        self.bench.try_capture(None, self.target)
    }
}

/// What's there before: `x/f`, `y/f` and `z/f` are one file, `x/deep/g` and `y/g` another.
fn filled() -> Bench {
    let bench = Bench::new();
    bench.write("x/f", "the bytes of old");
    bench.write("x/deep/g", noise(3000, 1));
    bench.write("y/other", "nobody's");
    fs::create_dir(bench.path("z")).unwrap();
    fs::hard_link(bench.path("x/f"), bench.path("y/f")).unwrap();
    fs::hard_link(bench.path("x/f"), bench.path("z/f")).unwrap();
    fs::hard_link(bench.path("x/deep/g"), bench.path("y/g")).unwrap();
    bench.capture();
    bench.assert_all_there();
    bench
}

type Work = fn(&mut Doing<'_>);

const KINDS: [(&str, Work); 16] = [
    ("written and removed", |doing| {
        doing.write("x/f", b"new");
        doing.remove("x/f");
    }),
    ("given other rights and removed", |doing| {
        doing.chmod("x/f", 0o4755);
        doing.remove("x/f");
    }),
    ("changed, and all names but one removed", |doing| {
        doing.write("x/f", b"new");
        doing.chmod("x/f", 0o600);
        doing.remove("x/f");
        doing.remove("z/f");
    }),
    ("written and another file put in its place", |doing| {
        doing.write("x/f", b"new");
        doing.write("x/saved", b"another file");
        doing.rename("x/saved", "x/f");
    }),
    ("written, removed and made anew", |doing| {
        doing.write("x/f", b"new");
        doing.remove("x/f");
        doing.write("x/f", b"another file");
    }),
    ("written, and a folder put in its place", |doing| {
        doing.write("x/f", b"new");
        doing.remove("x/f");
        fs::create_dir(doing.bench.path("x/f")).unwrap();
        doing.notice("x/f");
    }),
    ("written and renamed over another name", |doing| {
        doing.write("x/f", b"new");
        doing.rename("x/f", "y/other");
    }),
    ("written, renamed and removed", |doing| {
        doing.write("x/f", b"new");
        doing.rename("x/f", "x/renamed");
        doing.remove("x/renamed");
    }),
    ("renamed, written and removed", |doing| {
        doing.rename("x/f", "z/renamed");
        doing.write("z/renamed", b"new");
        doing.remove("z/renamed");
    }),
    ("written and moved out", |doing| {
        doing.write("x/f", b"new");
        doing.rename_out("x/f");
    }),
    ("given another name, written by that one, both removed", |doing| {
        doing.link("x/f", "y/fourth");
        doing.write("y/fourth", b"new");
        doing.remove("x/f");
        doing.remove("y/fourth");
    }),
    ("given another name, the old ones removed", |doing| {
        doing.write("x/f", b"new");
        doing.link("x/f", "y/fourth");
        ["x/f", "y/f", "z/f"].into_iter().for_each(|name| doing.remove(name));
    }),
    ("written in a folder that's removed", |doing| {
        doing.write("x/deep/g", b"new");
        doing.write("x/f", b"new");
        fs::remove_dir_all(doing.bench.path("x")).unwrap();
        ["x/deep/g", "x/f", "x/deep", "x"].into_iter().for_each(|name| doing.notice(name));
    }),
    ("written in a folder that's moved out", |doing| {
        doing.write("x/deep/g", b"new");
        doing.rename_out("x");
    }),
    ("moved in its folder, written and removed there", |doing| {
        doing.rename("x", "y/x");
        doing.write("y/x/deep/g", b"new");
        doing.remove("y/x/deep/g");
    }),
    ("moved in its folder and written there, and another folder put in its place", |doing| {
        doing.rename("x", "y/x");
        doing.write("y/x/f", b"new");
        doing.remove("y/x/f");
        fs::create_dir(doing.bench.path("x")).unwrap();
        doing.write("x/f", b"another file");
        doing.notice("x");
    }),
];

#[test]
fn what_lost_the_name_that_it_was_changed_by_is_captured_by_its_others() {
    let mut failed = Vec::new();
    for (kind, work) in KINDS {
        let outcome = std::panic::catch_unwind(|| {
            let bench = filled();
            let mut doing = Doing { bench: &bench, target: Target::nothing() };
            work(&mut doing);
            let Outcome::Closed(closed) = doing.captured().unwrap() else { panic!("there's no new point") };
            assert_eq!(closed.report, []);
            bench.assert_all_there();
        });
        if outcome.is_err() {
            failed.push(kind);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn where_nothing_has_another_name_nothing_else_is_looked_at() {
    let bench = filled();
    bench.write("y/quiet", "as it was");
    bench.capture();
    // Nobody tells of it.
    bench.write("y/quiet", "changed");
    let mut doing = Doing { bench: &bench, target: Target::nothing() };
    doing.remove("y/other");
    doing.captured().unwrap();
    assert_eq!(bench.state().file(&bench.path("y/quiet")).unwrap(), b"as it was");
}

/// Whatever is done by whatever name, each capture has all of it.
#[test]
fn many_changes_of_files_with_many_names_are_all_captured() {
    const SEEDS: u64 = 40;
    const CAPTURES: usize = 6;
    let names: Vec<String> = ["x", "y", "z", "x/deep"]
        .iter()
        .flat_map(|folder| ["a", "b", "c"].map(|name| format!("{folder}/{name}")))
        .collect();
    for seed in 0..SEEDS {
        let bench = filled();
        let mut random = noise(1 << 16, seed).into_iter().map(usize::from);
        let mut dice = |sides: usize| random.next().unwrap() % sides;
        for capture in 0..CAPTURES {
            let mut doing = Doing { bench: &bench, target: Target::nothing() };
            let mut done = Vec::new();
            for step in 0..1 + dice(8) {
                let (one, two) = (&names[dice(names.len())], &names[dice(names.len())]);
                let is_there = bench.path(one).exists();
                let is_free = !bench.path(two).exists();
                let what = dice(8);
                done.push((what, is_there, one, two));
                match what {
                    0 | 1 if is_there && is_free => {
                        // A name that comes, is written by and goes between two captures tells nobody whose it was; only a look at
                        // everything finds that. So the file is told by a name that it had.
                        doing.chmod(one, 0o644);
                        doing.link(one, two);
                    }
                    2 | 3 if is_there => doing.remove(one),
                    4 if is_there => doing.rename(one, two),
                    5 if is_there => doing.chmod(one, 0o600 + dice(64) as u32),
                    _ => doing.write(one, format!("{seed} {capture} {step}").as_bytes()),
                }
            }
            let outcome = doing.captured().unwrap();
            assert_eq!(outcome.report(), [], "seed {seed}");
            let same = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.assert_all_there()));
            assert!(same.is_ok(), "seed {seed}, capture {capture}: {done:?}");
        }
    }
}
