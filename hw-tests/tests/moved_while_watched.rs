//! Files and folders that are moved from folder to folder while a real agent watches: each point has each of them, or says of which it doesn't know.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Site, bytes, contents};

const FOLDERS: u64 = 12;
const FILES: u64 = 40;
const POINTS: usize = 12;
const BETWEEN_MOVES: Duration = Duration::from_millis(25);

/// Every other one is a folder with the file in it.
fn file_of(place: &Path, number: u64) -> PathBuf {
    if number.is_multiple_of(2) { place.to_owned() } else { place.join("inside/file") }
}

/// Moves one file or folder after another, until it's over.
fn move_about(data: &Path, is_over: &AtomicBool) {
    let mut places: Vec<u64> = (0..FILES).map(|number| number % FOLDERS).collect();
    let mut random = bytes(3, 1 << 20).into_iter().map(u64::from).cycle();
    while !is_over.load(Ordering::Relaxed) {
        let number = random.next().unwrap() % FILES;
        let to = random.next().unwrap() % FOLDERS;
        let place = |folder: u64| data.join(format!("d{folder}/f{number}"));
        let from = std::mem::replace(&mut places[number as usize], to);
        fs::rename(place(from), place(to)).unwrap();
        // A file that comes and goes doesn't hold up that others are taken for removed.
        let passing = data.join(format!("d{from}/passing"));
        fs::write(&passing, "x").unwrap();
        fs::remove_file(&passing).unwrap();
        std::thread::sleep(BETWEEN_MOVES);
    }
}

#[test]
fn no_point_lacks_a_file_without_a_word() {
    let site = Site::start();
    for number in 0..FILES {
        let file = file_of(&site.data().join(format!("d{}/f{number}", number % FOLDERS)), number);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes(number, 3000)).unwrap();
    }
    fs::write(site.data().join("removed"), "soon").unwrap();
    let all: HashSet<_> = (0..FILES).map(|number| blake3::hash(&bytes(number, 3000))).collect();
    site.configure(&format!("include = [{:?}]\nwhen = \"continuous\"\nsettle_seconds = 0\n", site.data()));
    let agent = site.start_agent();
    let points = || site.points("alpha/files");
    site.wait_until("everything is captured", || points().iter().any(|point| point["files"] == FILES + 1));
    let first = points().len();

    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| move_about(&site.data(), &is_over));
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            site.wait_until("some points are made while files move", || points().len() >= first + POINTS / 2);
            fs::remove_file(site.data().join("removed")).unwrap();
            site.wait_until("more points are made", || points().len() >= first + POINTS);
        }));
        is_over.store(true, Ordering::Relaxed);
        waited.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let newest = |what: &str| contents(&site.restore(&[])).keys().any(|path| path.ends_with(what));
    site.wait_until("what was removed is", || !newest("removed"));
    let mut silent = 0;
    for point in points() {
        let number = point["point"].to_string();
        let restored = site.restore(&["--point", &number]);
        let there: HashSet<_> = contents(&restored).into_values().collect();
        let is_told = point["report_lines"] != 0;
        silent += usize::from(!is_told);
        let lacking = all.difference(&there).count();
        assert!(
            lacking == 0 || is_told,
            "point {number} lacks {lacking} files and says nothing of it: {point}"
        );
    }
    assert!(silent > 0, "each point has something to say: this test shows nothing");
    site.wait_until("the newest point is as the disk", || {
        contents(&site.restore(&[])) == contents(&site.data())
    });
    agent.kill();
}

/// What's done in a folder while it has another name for a moment.
fn work_elsewhere(folder: &Path, kind: u64) {
    let append = |file: &Path| {
        let mut bytes = fs::read(file).unwrap();
        bytes.extend(b"more");
        fs::write(file, bytes).unwrap();
    };
    match kind {
        0 => fs::write(folder.join("new"), "new").unwrap(),
        1 => append(&folder.join("old")),
        2 => {
            fs::write(folder.join("temporary"), "saved anew").unwrap();
            fs::rename(folder.join("temporary"), folder.join("old")).unwrap();
        }
        3 => fs::remove_file(folder.join("old")).unwrap(),
        4 => {
            fs::create_dir_all(folder.join("deep/er")).unwrap();
            fs::write(folder.join("deep/er/file"), "in").unwrap();
        }
        _ => append(&folder.join("inside/file")),
    }
}

/// A folder that has its place again by the time that it's looked at is the one that the box knows, and all that happened elsewhere happened
/// to another path.
#[test]
fn what_is_done_in_a_folder_that_is_moved_away_and_back_is_captured() {
    const KINDS: u64 = 6;
    let site = Site::start();
    let (data, outside) = (site.data(), site.path("outside"));
    for folder in (0..KINDS).map(|kind| data.join(format!("f{kind}"))).chain([data.join("else/where")]) {
        fs::create_dir_all(folder.join("inside")).unwrap();
        fs::write(folder.join("old"), "old content").unwrap();
        fs::write(folder.join("inside/file"), "inside").unwrap();
    }
    fs::create_dir(&outside).unwrap();
    site.configure(&format!("include = [{data:?}]\nwhen = \"continuous\"\nsettle_seconds = 0\n"));
    let agent = site.start_agent();
    let is_on_the_box = || contents(&site.restore(&[])) == contents(&data);
    let has_points = || !site.points("alpha/files").is_empty();
    site.wait_until("everything is captured", || has_points() && is_on_the_box());
    for (round, away) in
        [data.join("else/where/away"), data.join("away"), outside.join("away")].iter().enumerate()
    {
        for kind in 0..KINDS {
            let folder = data.join(format!("f{kind}"));
            if kind == 3 {
                fs::write(folder.join("old"), format!("again {round}")).unwrap();
            }
            fs::rename(&folder, away).unwrap();
            work_elsewhere(away, kind);
            fs::rename(away, &folder).unwrap();
        }
        site.wait_until("what was done elsewhere is on the box", is_on_the_box);
    }
    agent.kill();
}
