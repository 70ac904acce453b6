//! Captures that are told where files were written to: what's read, and what a wrong word costs.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use coffer_agent::capture::{Outcome, Progress, Target};
use coffer_agent::changes::{ByteRun, Hints, Written};
use coffer_agent::standstill::{Claim, Stance};
use support::{Bench, closed, noise};

const PAGE: u64 = coffer_format::limits::PAGE as u64;

/// Writes without leaving a trace in the file's times, as a program does that keeps it open on Windows.
fn write_quietly(bench: &Bench, name: &str, bytes: &[u8], at: u64) {
    let file = fs::File::options().write(true).open(bench.path(name)).unwrap();
    let times = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.set_modified(times).unwrap();
}

fn told(bench: &Bench, name: &str, runs: &[(u64, u64)]) -> (Target, Hints) {
    let mut target = Target::nothing();
    target.notice(bench.folder.path().join("data").as_os_str().as_bytes().to_vec(), name.into());
    let stat = fs::metadata(bench.path(name)).unwrap();
    let runs = runs.iter().map(|(at, end)| ByteRun { at: *at, end: *end }).collect();
    let mut hints = Hints::default();
    hints.insert(stat.dev(), stat.ino(), Written::Runs(runs));
    (target, hints)
}

/// Captures, and says how many bytes were read for it.
fn capture(bench: &Bench, (target, hints): (Target, Hints)) -> (Outcome, u64) {
    let progress = Progress::default();
    // One look alone, as at a snapshot: a second one would read the whole of what was written only just now.
    let stance = Stance { claim: Claim::Snapshot, ..Stance::default() };
    let outcome = bench.capture_told(stance, target, &hints, &progress).unwrap();
    (outcome, progress.bytes.load(Ordering::Relaxed))
}

fn settled(bench: &Bench, name: &str) {
    let old = SystemTime::now() - Duration::from_secs(1000);
    fs::File::options().write(true).open(bench.path(name)).unwrap().set_modified(old).unwrap();
    bench.capture();
}

#[test]
fn only_where_it_was_written_a_large_file_is_read() {
    let bench = Bench::new();
    bench.write("base.mdf", noise(64 << 20, 1));
    settled(&bench, "base.mdf");
    write_quietly(&bench, "base.mdf", &noise(PAGE as usize, 2), 1000 * PAGE);
    write_quietly(&bench, "base.mdf", b"x", 5000 * PAGE + 17);
    let before = bench.received();
    let runs = [(1000 * PAGE, 1001 * PAGE), (5000 * PAGE + 17, 5000 * PAGE + 18)];
    let (outcome, read) = capture(&bench, told(&bench, "base.mdf", &runs));
    closed(outcome);
    assert_eq!(bench.received() - before, 2 * PAGE);
    assert!(read <= 2 * PAGE, "{read} bytes were read for two pages");
    bench.assert_all_there();
}

#[test]
fn what_the_file_has_grown_by_is_read_though_nobody_tells_of_it() {
    let bench = Bench::new();
    bench.write("mail.pst", noise((20 << 20) + 100, 3));
    settled(&bench, "mail.pst");
    write_quietly(&bench, "mail.pst", &noise(300_000, 4), (20 << 20) + 100);
    let (outcome, read) = capture(&bench, told(&bench, "mail.pst", &[]));
    closed(outcome);
    assert!(read < 1_000_000, "{read} bytes were read for 300,000 that came");
    bench.assert_all_there();
}

#[test]
fn a_file_that_was_cut_short_is_read_whole_whatever_is_told() {
    let bench = Bench::new();
    bench.write("base.mdf", noise(20 << 20, 5));
    settled(&bench, "base.mdf");
    write_quietly(&bench, "base.mdf", &noise(5000, 6), 0);
    fs::File::options().write(true).open(bench.path("base.mdf")).unwrap().set_len(10 << 20).unwrap();
    closed(capture(&bench, told(&bench, "base.mdf", &[])).0);
    bench.assert_all_there();
}

#[test]
fn what_nobody_told_is_found_at_the_next_look_at_everything() {
    let bench = Bench::new();
    bench.write("base.mdf", noise(20 << 20, 7));
    settled(&bench, "base.mdf");
    write_quietly(&bench, "base.mdf", &noise(PAGE as usize, 8), 100 * PAGE);
    write_quietly(&bench, "base.mdf", &noise(PAGE as usize, 9), 900 * PAGE);
    // The second write goes through a mapped file, and the journal has nothing of it.
    closed(capture(&bench, told(&bench, "base.mdf", &[(100 * PAGE, 101 * PAGE)])).0);
    let has_all = || bench.state().file(&bench.path("base.mdf")) == fs::read(bench.path("base.mdf")).ok();
    assert!(!has_all(), "the file was read whole: this test shows nothing");
    closed(capture(&bench, (Target::Everything, Hints::recheck())).0);
    assert!(has_all(), "a write that nobody told of is never found");
    let again = capture(&bench, (Target::Everything, Hints::recheck()));
    assert!(matches!(again.0, Outcome::Unchanged { .. }) && again.1 < PAGE, "{again:?}");
}
