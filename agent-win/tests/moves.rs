//! Whatever is moved while a capture goes on, each point has each file once, or says of which it doesn't know.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use coffer_agent::capture::{Closed, Outcome, Target};
use coffer_format::entry::{Consistency, Remark};
use support::{Bench, closed, noise};

const FOLDERS: u64 = 40;
const FILES: u64 = 120;
const MOVERS: u64 = 3;

/// What's moved: files, or folders with a file in each.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Files,
    Folders,
}

fn file_of(number: u64, what: What) -> String {
    match what {
        What::Files => format!("f{number}"),
        What::Folders => format!("f{number}/inside/file"),
    }
}

fn filled(what: What) -> Bench {
    let bench = Bench::new();
    for number in 0..FILES {
        let folder = number % FOLDERS;
        bench.write(&format!("d{folder}/{}", file_of(number, what)), noise(700, number));
    }
    bench
}

/// Moves things from folder to folder, until it's stopped: each mover its own, one in so long a time.
fn move_about(root: &Path, mover: u64, pause: Duration, is_over: &AtomicBool, moves: &AtomicU64) {
    let mut places: BTreeMap<u64, u64> = (0..FILES)
        .filter(|number| number % MOVERS == mover)
        .map(|number| (number, number % FOLDERS))
        .collect();
    let mut random = noise(1 << 20, mover).into_iter().cycle();
    let mut dice = |sides: u64| u64::from(random.next().unwrap()) * 251 % sides;
    let own: Vec<u64> = places.keys().copied().collect();
    while !is_over.load(Ordering::Relaxed) {
        let number = own[dice(own.len() as u64) as usize];
        let (from, to) = (places[&number], dice(FOLDERS));
        let place = |folder: u64| root.join(format!("d{folder}/f{number}"));
        fs::rename(place(from), place(to)).unwrap();
        places.insert(number, to);
        moves.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(pause);
    }
}

/// Where the box has each file.
fn places(bench: &Bench, what: What) -> BTreeMap<u64, Vec<PathBuf>> {
    let state = bench.state();
    let all = |number: u64| {
        let folders = (0..FOLDERS).map(|folder| bench.path(&format!("d{folder}/{}", file_of(number, what))));
        let is_whole = |path: &PathBuf| state.file(path).is_some_and(|bytes| bytes == noise(700, number));
        folders.filter(is_whole).collect::<Vec<_>>()
    };
    (0..FILES).map(|number| (number, all(number))).collect()
}

/// Captures while files are moved; each point with what it has of them.
fn captures_while_moving(
    bench: &Bench,
    what: What,
    pause: Duration,
    captures: usize,
) -> Vec<(Closed, BTreeMap<u64, Vec<PathBuf>>)> {
    let (is_over, moves, root) = (AtomicBool::new(false), AtomicU64::new(0), bench.path(""));
    std::thread::scope(|threads| {
        for mover in 0..MOVERS {
            let (is_over, moves, root) = (&is_over, &moves, &root);
            threads.spawn(move || move_about(root, mover, pause, is_over, moves));
        }
        let captured = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut points = Vec::new();
            while points.len() < captures {
                let before = moves.load(Ordering::Relaxed);
                if let Outcome::Closed(closed) = bench.try_capture(None, Target::Everything).unwrap() {
                    points.push((closed, places(bench, what)));
                }
                assert!(moves.load(Ordering::Relaxed) >= before);
            }
            points
        }));
        is_over.store(true, Ordering::Relaxed);
        captured.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Each file once; where that isn't so, a line of the report says it.
fn assert_each_once_or_said(point: usize, closed: &Closed, places: &BTreeMap<u64, Vec<PathBuf>>) {
    for (number, found) in places.iter().filter(|(_, found)| found.len() != 1) {
        assert!(
            !closed.report.is_empty() && closed.consistency == Consistency::PerFile,
            "point {point} has file {number} at {found:?}, and says nothing of it: {:?} {:?}",
            closed.consistency,
            closed.report
        );
    }
}

fn stress(what: What) {
    let bench = filled(what);
    let points = captures_while_moving(&bench, what, Duration::from_millis(33), 12);
    for (number, (closed, places)) in points.iter().enumerate() {
        assert_each_once_or_said(number, closed, places);
    }
    let reports: Vec<&Vec<Remark>> = points.iter().map(|(closed, _)| &closed.report).collect();
    let silent = reports.iter().filter(|report| report.is_empty()).count();
    assert!(silent >= 3, "at such a rate most points are settled: {reports:?}");
    bench.capture();
    bench.assert_all_there();
}

#[test]
fn files_that_are_moved_from_folder_to_folder_are_in_each_point_once() {
    stress(What::Files);
}

#[test]
fn folders_that_are_moved_from_folder_to_folder_are_in_each_point_once() {
    stress(What::Folders);
}

/// At any rate: where it's too fast for a point to be settled, the point says so.
#[test]
fn no_rate_of_moves_loses_a_file_without_a_word() {
    for pause_ms in [5, 10] {
        let bench = filled(What::Files);
        let points = captures_while_moving(&bench, What::Files, Duration::from_millis(pause_ms), 2);
        for (number, (closed, places)) in points.iter().enumerate() {
            assert_each_once_or_said(number, closed, places);
        }
    }
}

#[test]
fn files_that_are_moved_faster_than_they_can_be_listed_are_told_of() {
    let bench = filled(What::Files);
    let points = captures_while_moving(&bench, What::Files, Duration::ZERO, 1);
    for (number, (closed, places)) in points.iter().enumerate() {
        assert_eq!(closed.consistency, Consistency::PerFile, "point {number}");
        assert_each_once_or_said(number, closed, places);
    }
    closed(bench.capture());
    bench.assert_all_there();
}

/// Temporary files that come and go in one folder are no move: nothing is to be said of them.
#[test]
fn files_that_come_and_go_in_one_folder_hide_nothing() {
    let bench = filled(What::Files);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let path = bench.path("d3/coming-and-going.tmp");
            while !is_over.load(Ordering::Relaxed) {
                fs::write(&path, "x").unwrap();
                fs::remove_file(&path).unwrap();
            }
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let closed = closed(bench.capture());
            let unwanted = |line: &&Remark| !line.path.0.ends_with(b"coming-and-going.tmp");
            let lines: Vec<_> = closed.report.iter().filter(unwanted).collect();
            assert!(lines.is_empty(), "{lines:?}");
            assert!(places(&bench, What::Files).values().all(|found| found.len() == 1));
        }));
        is_over.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
