//! Captures against a box in memory: what a user would notice.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use coffer_agent::capture::{Outcome, Target};
use coffer_format::NodeId;
use coffer_format::entry::Consistency;
use coffer_format::manifest::Source;
use coffer_format::op::{Step, StepContent};
use support::{Bench, closed, noise};

fn names_only(steps: &[&Step]) -> bool {
    steps.iter().all(|step| {
        !matches!(step, Step::Put { content: StepContent::Whole { .. } | StepContent::Change { .. }, .. })
    })
}

fn age(path: &std::path::Path) {
    let old = SystemTime::now() - Duration::from_secs(1000);
    fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

#[test]
fn everything_arrives_and_nothing_is_sent_twice() {
    let bench = Bench::new();
    bench.write("a/small.txt", "hello");
    bench.write("a/empty", "");
    bench.write("a/b/medium.bin", noise(3_000_000, 1));
    bench.write("big.bin", noise(70 << 20, 2));
    symlink("a/small.txt", bench.path("link")).unwrap();
    let first = closed(bench.capture());
    assert_eq!(first.consistency, Consistency::Crash);
    assert!(first.report.is_empty(), "{:?}", first.report);
    bench.assert_all_there();
    let received = bench.received();
    assert!(matches!(bench.capture(), Outcome::Unchanged { .. }));
    assert_eq!(bench.received(), received);
    assert_eq!(bench.state().head, 1);
}

/// A path that the system can't open in one piece: what lies there is named, and nothing half of it is in the point.
#[test]
fn what_lies_too_deep_to_be_opened_is_named() {
    let bench = Bench::new();
    let name = "n".repeat(200);
    let deep = || {
        let mut folder = std::fs::File::open(bench.path("")).unwrap();
        for _ in 0..24 {
            use std::os::fd::AsRawFd;
            let place = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
            fs::create_dir_all(&place).unwrap();
            let next = fs::File::open(&place).unwrap();
            folder = next;
        }
        folder
    };
    let folder = deep();
    let place = |name: &str| {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())
    };
    symlink("file", place("link")).unwrap();
    fs::write(place("file"), "deep").unwrap();
    bench.write("near", "near");
    let point = closed(bench.capture());
    assert_eq!(point.consistency, Consistency::PerFile);
    for name in [&b"/link"[..], b"/file"] {
        let line = point.report.iter().find(|line| line.path.0.ends_with(name));
        let line = line.unwrap_or_else(|| panic!("nothing is said: {:?}", point.report));
        assert!(line.what.contains("longer than the system can open"), "{line:?}");
    }
    let state = bench.state();
    assert!(!state.links.keys().any(|(_, name)| name == b"link" || name == b"file"), "half of it is there");
    assert_eq!(state.file(&bench.path("near")).unwrap(), b"near");
    // The folder can't be removed by its path either.
    drop(state);
    std::process::Command::new("rm").arg("-rf").arg(bench.path(&name)).status().unwrap();
}

#[test]
fn a_changed_page_costs_a_page() {
    let bench = Bench::new();
    bench.write("base.mdf", noise(20 << 20, 3));
    bench.capture();
    let before = bench.received();
    let file = fs::File::options().write(true).open(bench.path("base.mdf")).unwrap();
    file.write_all_at(&noise(8192, 4), 8192 * 100).unwrap();
    file.write_all_at(b"x", 8192 * 2000 + 5).unwrap();
    let point = closed(bench.capture());
    assert_eq!(bench.received() - before, 2 * 8192);
    assert_eq!((point.files, point.bytes), (1, 2 * 8192));
    bench.assert_all_there();
}

#[test]
fn an_insertion_costs_an_insertion() {
    let bench = Bench::new();
    let mut bytes = noise(10 << 20, 5);
    bench.write("letters.mbox", &bytes);
    bench.capture();
    let before = bench.received();
    bytes.splice(4_000_000..4_000_000, noise(1000, 6));
    bench.write("letters.mbox", &bytes);
    bench.capture();
    let cost = bench.received() - before;
    assert!(cost < 600_000, "{cost} bytes for an insertion");
    bench.assert_all_there();
}

#[test]
fn a_renamed_tree_costs_names_only() {
    let bench = Bench::new();
    for number in 0..50 {
        bench.write(&format!("old/deep/{number}.txt"), noise(5000, number));
    }
    bench.write("other/x", "x");
    bench.capture();
    let before = bench.received();
    fs::rename(bench.path("old/deep"), bench.path("other/moved")).unwrap();
    fs::rename(bench.path("other/x"), bench.path("old/y")).unwrap();
    bench.capture();
    assert_eq!(bench.received(), before);
    let state = bench.state();
    let steps = state.last_steps();
    assert!(names_only(&steps) && steps.len() < 12, "{steps:?}");
    drop(state);
    bench.assert_all_there();
}

#[test]
fn a_removed_tree_leaves_nothing_behind() {
    let bench = Bench::new();
    for number in 0..20 {
        bench.write(&format!("tree/d{}/{number}", number % 3), noise(100, number));
    }
    bench.write("kept", "k");
    bench.capture();
    fs::rename(bench.path("tree/d1"), bench.path("saved")).unwrap();
    fs::remove_dir_all(bench.path("tree")).unwrap();
    bench.capture();
    bench.assert_all_there();
    let state = bench.state();
    let parents: std::collections::BTreeSet<_> = state.links.values().copied().collect();
    let lost = state.links.keys().filter(|(parent, _)| parent.0 != 1 && !parents.contains(parent)).count();
    assert_eq!(lost, 0, "names in directories that nothing leads to");
}

#[test]
fn names_swapped_and_rotated_keep_their_bytes() {
    let bench = Bench::new();
    bench.write("log", noise(100_000, 1));
    bench.write("log.1", noise(90_000, 2));
    bench.capture();
    let before = bench.received();
    fs::rename(bench.path("log.1"), bench.path("log.2")).unwrap();
    fs::rename(bench.path("log"), bench.path("log.1")).unwrap();
    bench.write("log", "begun anew");
    bench.capture();
    assert_eq!(bench.received() - before, 10);
    bench.assert_all_there();
    fs::rename(bench.path("log.1"), bench.path("swap")).unwrap();
    fs::rename(bench.path("log.2"), bench.path("log.1")).unwrap();
    fs::rename(bench.path("swap"), bench.path("log.2")).unwrap();
    let before = bench.received();
    bench.capture();
    assert_eq!(bench.received(), before);
    bench.assert_all_there();
}

#[test]
fn saving_by_renaming_a_new_file_over_the_old_sends_the_change() {
    let bench = Bench::new();
    let mut bytes = noise(5 << 20, 8);
    bench.write("report.odt", &bytes);
    bench.capture();
    let before = bench.received();
    bytes[1_000_000] ^= 1;
    bench.write("report.odt.tmp", &bytes);
    fs::rename(bench.path("report.odt.tmp"), bench.path("report.odt")).unwrap();
    bench.capture();
    assert!(bench.received() - before < 600_000);
    bench.assert_all_there();
}

#[test]
fn hard_links_are_one_file() {
    let bench = Bench::new();
    bench.write("one", noise(40_000, 1));
    bench.write("big", noise(17 << 20, 2));
    fs::hard_link(bench.path("one"), bench.path("two")).unwrap();
    fs::hard_link(bench.path("big"), bench.path("also-big")).unwrap();
    bench.capture();
    assert_eq!(bench.received(), 40_000 + (17 << 20));
    fs::hard_link(bench.path("one"), bench.path("three")).unwrap();
    bench.capture();
    assert_eq!(bench.received(), 40_000 + (17 << 20));
    let state = bench.state();
    let nodes: Vec<_> = ["one", "two", "three"].map(|name| state.find(&bench.path(name)).unwrap()).into();
    assert!(nodes.iter().all(|node| *node == nodes[0]));
    drop(state);
    bench.assert_all_there();
    fs::remove_file(bench.path("one")).unwrap();
    bench.write("two", "other bytes");
    bench.capture();
    bench.assert_all_there();
}

#[test]
fn holes_are_not_sent() {
    let bench = Bench::new();
    let mut file = fs::File::create(bench.path("disk.img")).unwrap();
    file.set_len(300 << 20).unwrap();
    file.write_all(&noise(10_000, 1)).unwrap();
    file.seek(SeekFrom::Start((200 << 20) + 77)).unwrap();
    file.write_all(&noise(10_000, 2)).unwrap();
    bench.capture();
    assert!(bench.received() <= 6 * 8192, "{}", bench.received());
    bench.assert_all_there();
    file.set_len(100 << 20).unwrap();
    file.write_all_at(&noise(100, 3), 50 << 20).unwrap();
    let before = bench.received();
    bench.capture();
    assert_eq!(bench.received() - before, 8192);
    bench.assert_all_there();
}

/// Whoever copies a folder in which a restore was broken off has such names, and what a restore is at work on has them for a while.
#[test]
fn what_is_called_like_a_restores_own_files_is_captured_unless_a_restore_is_at_work_on_it() {
    let bench = Bench::new();
    let name = |end: &str| format!(".coffer-restoring-7b1f0c5e2a94d863-{end}");
    let theirs = ["1", "12-3", "x", "folder/inside"].map(name);
    theirs.iter().for_each(|name| bench.write(name, name));
    bench.write(&format!("{}/inside", name("4-5")), "in a folder");
    bench.write("sub/kept", "kept");
    bench.write(&format!("sub/{}", name("folder")), "");
    bench.write(&name("77-7"), "half of it");
    let at_work = fs::File::open(bench.path(&name("77-7"))).unwrap();
    at_work.lock().unwrap();
    assert_eq!(closed(bench.capture()).report, []);
    let state = bench.state();
    for name in theirs.iter().chain([&format!("{}/inside", name("4-5"))]) {
        assert_eq!(state.file(&bench.path(name)), Some(fs::read(bench.path(name)).unwrap()), "{name}");
    }
    assert_eq!(state.find(&bench.path(&name("77-7"))), None);
    assert_eq!(state.find(&bench.path(&format!("sub/{}", name("folder")))), None, "it's the restore's mark");
    drop(state);

    drop(at_work);
    bench.write(&format!("sub/{}", name("folder")), "no mark of ours");
    let point = closed(bench.capture());
    assert!(bench.state().find(&bench.path(&name("77-7"))).is_some());
    assert_eq!(point.report.len(), 1, "{:?}", point.report);
    assert!(point.report[0].what.contains("isn't captured; rename it"), "{:?}", point.report);
}

/// Neither the agent nor what it tells or remembers knows how long a hole is by anything but a number.
#[test]
fn a_hole_costs_nothing_however_long_it_is() {
    const SIZE: u64 = 1 << 40;
    let bench = Bench::new();
    let file = fs::File::create(bench.path("thin")).unwrap();
    file.set_len(SIZE).unwrap();
    let mut places = vec![(0, 100), (SIZE / 2 + 5000, 10_000), (SIZE - 9000, 9000)];
    let write = |places: &[(u64, usize)]| {
        places.iter().for_each(|(at, len)| file.write_all_at(&noise(*len, *at), *at).unwrap());
    };
    let captured = |bench: &Bench, places: &[(u64, usize)], size: u64| {
        let before = bench.received();
        assert_eq!(closed(bench.capture()).report, []);
        assert_pieces(bench, "thin", places, size);
        let kept: u64 = fs::read_dir(bench.state_dir.join("pages"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().blocks() * 512)
            .sum();
        assert!(kept <= 64 << 10, "{kept} bytes are kept of so little");
        bench.received() - before
    };
    write(&places);
    captured(&bench, &places, SIZE);
    places.push((SIZE / 4, 300));
    write(&places[3..]);
    assert_eq!(captured(&bench, &places, SIZE), 8192);

    // Shorter and longer again, each time by less than a page, and into the hole.
    for size in [SIZE - 3000, SIZE - 1000, SIZE / 2 + 77, SIZE / 2 + 90, SIZE / 2 + 90_000, SIZE] {
        file.set_len(size).unwrap();
        places.retain_mut(|(at, len)| {
            *len = (*len).min(size.saturating_sub(*at) as usize);
            *len > 0
        });
        captured(&bench, &places, size);
    }
    // What lay there once counts no more where it's written again.
    places.push((SIZE / 2 + 5000, 200));
    write(&places[2..]);
    captured(&bench, &places, SIZE);

    // Nobody asks for the signatures of so many pages of zeros.
    bench.forget();
    places.push((SIZE / 8 * 7, 1));
    write(&places[3..]);
    captured(&bench, &places, SIZE);
    assert_eq!(bench.state().signatures_asked, 0);
}

/// The box has these pieces of a file, and zeros everywhere else.
fn assert_pieces(bench: &Bench, name: &str, pieces: &[(u64, usize)], size: u64) {
    let state = bench.state();
    let map = state.nodes[&state.find(&bench.path(name)).unwrap()].map.clone().unwrap();
    map.check_full().unwrap();
    assert_eq!(map.size, size);
    assert!(map.ranges.len() < 30, "{} ranges", map.ranges.len());
    let mut data = 0;
    for range in &map.ranges {
        let Source::Chunk { chunk, offset } = range.source else { continue };
        let bytes = &state.chunks[&map.chunks[chunk as usize]][offset as usize..][..range.len as usize];
        let mut expected = vec![0; bytes.len()];
        for (at, len) in pieces {
            let piece = noise(*len, *at);
            for (from, byte) in (*at..).zip(piece) {
                if (range.at..range.end()).contains(&from) {
                    expected[(from - range.at) as usize] = byte;
                    data += 1;
                }
            }
        }
        assert_eq!(bytes, expected, "at {}", range.at);
    }
    assert_eq!(data, pieces.iter().map(|(_, len)| len).sum::<usize>(), "a piece is missing");
}

/// Zeros that are read where a hole was are bytes, and a restore would write them.
#[test]
fn holes_that_a_file_gets_later_are_holes() {
    let bench = Bench::new();
    bench.write("thinned", noise(1 << 20, 1));
    bench.capture();
    let before = bench.received();
    let file = fs::File::options().write(true).open(bench.path("thinned")).unwrap();
    file.set_len(0).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(&noise(100, 2), 5 << 20).unwrap();
    bench.capture();
    assert!(bench.received() - before <= 2 * 8192, "{}", bench.received() - before);
    bench.assert_all_there();
}

#[test]
fn a_touch_sends_no_bytes() {
    let bench = Bench::new();
    bench.write("small", noise(100, 1));
    bench.write("medium", noise(1 << 20, 2));
    bench.write("base.db", noise(1 << 20, 3));
    bench.capture();
    let before = bench.received();
    for name in ["small", "medium", "base.db"] {
        age(&bench.path(name));
    }
    fs::set_permissions(bench.path("small"), fs::Permissions::from_mode(0o600)).unwrap();
    bench.capture();
    assert_eq!(bench.received(), before);
    let same = bench
        .state()
        .last_steps()
        .iter()
        .filter(|step| matches!(step, Step::Put { content: StepContent::Same, .. }))
        .count();
    assert_eq!(same, 3);
    bench.assert_all_there();
}

#[test]
fn a_lost_journal_is_recalled_and_nothing_is_sent_again() {
    let bench = Bench::new();
    bench.write("a/medium", noise(2 << 20, 1));
    bench.write("base.mdf", noise(9 << 20, 2));
    bench.write("a/small", "small");
    bench.capture();
    bench.write("a/small", "other");
    fs::remove_file(bench.path("a/medium")).unwrap();
    bench.write("a/second", noise(2 << 20, 7));
    bench.capture();
    let before = bench.received();
    bench.forget();
    let outcome = bench.capture();
    assert!(matches!(outcome, Outcome::Unchanged { .. }), "{:?}", bench.state().last_steps());
    assert_eq!(bench.received(), before);
    assert_eq!(bench.state().catchups, 2, "one for the first capture, one for the loss");
    bench.forget();
    let file = fs::File::options().write(true).open(bench.path("base.mdf")).unwrap();
    file.write_all_at(b"changed", 8192 * 7).unwrap();
    let file = fs::File::options().write(true).open(bench.path("a/second")).unwrap();
    file.write_all_at(b"changed", 1_000_000).unwrap();
    bench.capture();
    assert!(bench.received() - before < 400_000, "{}", bench.received() - before);
    assert_eq!(bench.state().signatures_asked, 2);
    bench.assert_all_there();
}

#[test]
fn a_box_set_back_to_an_older_state_is_followed() {
    let bench = Bench::new();
    bench.write("one", "1");
    bench.capture();
    let old = {
        let state = bench.state();
        (state.nodes.clone(), state.links.clone(), state.parts.clone())
    };
    bench.write("two", "2");
    bench.capture();
    {
        let mut state = bench.state();
        (state.nodes, state.links, state.parts) = old;
        state.head = 1;
    }
    bench.capture();
    bench.assert_all_there();
}

#[test]
fn a_line_cut_anywhere_costs_only_what_was_not_committed() {
    let bench = Bench::new();
    bench.write("huge.bin", noise(600 << 20, 1));
    for number in 0..20 {
        bench.write(&format!("s/{number}"), noise(20_000, 100 + number));
    }
    let mut cuts = 0;
    for step in 0.. {
        match bench.try_capture(Some(40 + step * 97), Target::Everything) {
            Ok(outcome) => {
                closed(outcome);
                break;
            }
            Err(_) => cuts += 1,
        }
    }
    assert!(cuts > 3, "{cuts}");
    assert_eq!(bench.state().sent_again, 0);
    bench.assert_all_there();
}

#[test]
fn a_cut_during_changes_heals() {
    let bench = Bench::new();
    for number in 0..30 {
        bench.write(&format!("d{}/f{number}", number % 4), noise(3000 * number as usize, number));
    }
    bench.write("base.db", noise(2 << 20, 99));
    bench.capture();
    for cut in 1..12 {
        bench.write(&format!("d1/new{cut}"), noise(70_000, cut));
        bench.write("d2/f2", noise(500, cut));
        let file = fs::File::options().write(true).open(bench.path("base.db")).unwrap();
        file.write_all_at(&noise(10, cut), cut * 10_000).unwrap();
        fs::rename(bench.path(&format!("d3/f{}", 3 + 4 * (cut % 6))), bench.path(&format!("d0/r{cut}"))).ok();
        let _cut = bench.try_capture(Some(cut), Target::Everything);
        if cut % 3 == 0 {
            bench.forget();
        }
        match bench.try_capture(None, Target::Everything) {
            Ok(_) => bench.assert_all_there(),
            Err(error) => panic!("cut after {cut}: {error:?}"),
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_and_stops_nothing() {
    let bench = Bench::new();
    bench.write("good", "good");
    let name = "n".repeat(200);
    bench.write(&name, "fine");
    let bench = Bench { more_includes: vec!["/nowhere/at/all".to_owned()], ..bench };
    let point = closed(bench.capture());
    assert!(point.report.iter().any(|line| &line.path.0[..] == b"/nowhere/at/all"), "{:?}", point.report);
    assert_eq!(bench.state().file(&bench.path("good")).unwrap(), b"good");
}

#[test]
fn only_what_was_noticed_is_looked_at() {
    let bench = Bench::new();
    bench.write("a/x", "1");
    bench.write("b/y", "1");
    bench.capture();
    bench.write("a/x", "22");
    bench.write("b/y", "22");
    bench.write("c/new/deep/file", "33");
    let mut target = Target::nothing();
    let bytes = |name: &str| bench.path(name).into_os_string().into_encoded_bytes();
    target.notice(bytes("a"), b"x".to_vec());
    target.notice(bytes("c/new"), b"deep".to_vec());
    bench.try_capture(None, target).unwrap();
    let state = bench.state();
    assert_eq!(state.file(&bench.path("a/x")).unwrap(), b"22");
    assert_eq!(state.file(&bench.path("b/y")).unwrap(), b"1");
    assert_eq!(state.file(&bench.path("c/new/deep/file")).unwrap(), b"33");
}

#[test]
fn what_lies_below_a_folder_that_is_looked_at_whole_is_looked_at_once() {
    let bench = Bench::new();
    bench.write("a/b/x", "1");
    bench.capture();
    let mut target = Target::nothing();
    let bytes = |name: &str| bench.path(name).into_os_string().into_encoded_bytes();
    // So many that it isn't worth the while to name them.
    for number in 0..1500 {
        bench.write(&format!("a/{number}"), "new");
        target.notice(bytes("a"), number.to_string().into_bytes());
    }
    bench.write("a/b/y", "22");
    target.notice(bytes("a/b"), b"y".to_vec());
    bench.try_capture(None, target).unwrap();
    bench.assert_all_there();
}

/// What a watch tells when something happened to these.
fn noticed(bench: &Bench, names: &[&str]) -> Target {
    let mut target = Target::nothing();
    let bytes = |path: &std::path::Path| path.as_os_str().as_encoded_bytes().to_vec();
    for name in names {
        let path = bench.path(name);
        target.notice(bytes(path.parent().unwrap()), bytes(path.file_name().unwrap().as_ref()));
    }
    target
}

#[test]
fn a_folder_that_took_another_ones_name_is_not_taken_for_it() {
    let bench = Bench::new();
    bench.write("old/x", "x");
    bench.capture();
    fs::rename(bench.path("old"), bench.path("kept")).unwrap();
    bench.write("old/y", "y");
    bench.write("old/deep/z", "z");
    bench.try_capture(None, noticed(&bench, &["old", "kept", "old/y", "old/deep"])).unwrap();
    bench.assert_all_there();
}

#[test]
fn a_folder_that_moved_into_one_that_took_its_parents_name_is_looked_at_once() {
    let bench = Bench::new();
    bench.write("old/deep/deeper/x", "x");
    bench.capture();
    fs::rename(bench.path("old"), bench.path("kept")).unwrap();
    fs::create_dir(bench.path("old")).unwrap();
    fs::rename(bench.path("kept/deep"), bench.path("old/deep")).unwrap();
    bench.write("old/deep/new", "y");
    bench.write("old/deep/deeper/new", "z");
    let told = ["old", "kept", "kept/deep", "old/deep", "old/deep/new", "old/deep/deeper/new"];
    bench.try_capture(None, noticed(&bench, &told)).unwrap();
    bench.assert_all_there();
}

#[test]
fn a_file_in_a_folders_place_is_captured_as_it_is() {
    let bench = Bench::new();
    (0..20).for_each(|number| bench.write(&format!("folder/{number}"), format!("{number}")));
    bench.capture();
    fs::remove_dir_all(bench.path("folder")).unwrap();
    bench.write("folder", "a file by now");
    let mut target = noticed(&bench, &["folder"]);
    target.notice_all(bench.path("folder").as_os_str().as_bytes().to_vec());
    let point = closed(bench.try_capture(None, target).unwrap());
    assert_eq!(point.report, []);
    bench.assert_all_there();
}

#[test]
fn exclusions_hold_and_leave_when_they_come_later() {
    let mut bench = Bench::new();
    bench.write("keep.txt", "k");
    bench.write("drop.tmp", "d");
    bench.write("sub/drop.tmp", "d");
    bench.capture();
    bench.toml_more = "exclude = [\"**/*.tmp\"]\n".to_owned();
    bench.capture();
    let state = bench.state();
    assert!(state.find(&bench.path("keep.txt")).is_some());
    assert!(
        state.find(&bench.path("drop.tmp")).is_none() && state.find(&bench.path("sub/drop.tmp")).is_none()
    );
}

#[test]
fn a_folder_with_the_name_of_files_that_are_left_out_is_captured() {
    let bench = Bench::new();
    bench.write("notes.db-shm", "an index");
    bench.write("archive-shm/letter.txt", "kept");
    bench.write("archive-shm/letter.db-shm", "an index");
    bench.capture();
    let is_there = |name: &str| bench.state().find(&bench.path(name)).is_some();
    assert!(!is_there("notes.db-shm") && !is_there("archive-shm/letter.db-shm"));
    assert_eq!(bench.state().file(&bench.path("archive-shm/letter.txt")).unwrap(), b"kept");

    // One that takes the place of the other.
    fs::remove_file(bench.path("notes.db-shm")).unwrap();
    bench.write("notes.db-shm/letter.txt", "new");
    fs::remove_dir_all(bench.path("archive-shm")).unwrap();
    bench.write("archive-shm", "an index");
    let mut target = Target::nothing();
    let root = bench.path("").to_str().unwrap().trim_end_matches('/').as_bytes().to_vec();
    for name in ["notes.db-shm", "archive-shm"] {
        target.notice(root.clone(), name.as_bytes().to_vec());
    }
    bench.try_capture(None, target).unwrap();
    assert_eq!(bench.state().file(&bench.path("notes.db-shm/letter.txt")).unwrap(), b"new");
    assert!(!is_there("archive-shm"));
}

#[test]
fn an_included_link_and_one_on_the_way_lead_to_what_is_meant() {
    for include in ["home", "home/", "way/home"] {
        let mut bench = Bench::new();
        bench.write("real/home/letter.txt", "dear");
        symlink("real/home", bench.path("home")).unwrap();
        symlink("real", bench.path("way")).unwrap();
        bench.only_includes = vec![include.to_owned()];
        let point = closed(bench.capture());
        assert!(point.report.is_empty(), "{include}: {:?}", point.report);
        let letter = bench.path("real/home/letter.txt");
        assert_eq!(bench.state().file(&letter).unwrap(), b"dear", "{include}");
    }
}

#[test]
fn an_include_that_yields_nothing_takes_the_claim() {
    for include in ["gone", "dangling", "there/file/below"] {
        let mut bench = Bench::new();
        bench.write("there/file", "x");
        symlink("nowhere", bench.path("dangling")).unwrap();
        bench.only_includes = vec!["there".to_owned(), include.to_owned()];
        let point = closed(bench.capture());
        assert_eq!(point.consistency, Consistency::PerFile, "{include}");
        assert_eq!(point.report.len(), 1, "{include}: {:?}", point.report);
        assert!(point.report[0].what.contains("can't be found"), "{include}: {:?}", point.report);
    }
}

/// Whatever else changed meanwhile, and explains the change time.
#[test]
fn bytes_that_changed_under_the_old_times_are_read() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 7] = [
        ("nothing", |_| {}),
        ("mode", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap()),
        ("owner", |path| std::os::unix::fs::chown(path, None, Some(12)).unwrap()),
        ("attribute", |path| {
            assert!(
                Command::new("setfattr")
                    .args(["-n", "user.a", "-v", "b"])
                    .arg(path)
                    .status()
                    .unwrap()
                    .success()
            )
        }),
        ("name", |path| fs::rename(path, path.with_extension("new")).unwrap()),
        ("link", |path| fs::hard_link(path, path.with_extension("link")).unwrap()),
        ("unlink", |path| fs::remove_file(path.with_extension("second")).unwrap()),
    ];
    let bench = Bench::new();
    let place = |name: &str, order: &str| bench.path(&format!("{name}-{order}"));
    let orders = ["before", "after"];
    for (name, order) in changes.iter().flat_map(|(name, _)| orders.map(|order| (name, order))) {
        let path = place(name, order);
        fs::write(&path, "AAAA").unwrap();
        fs::hard_link(&path, path.with_extension("second")).unwrap();
        age(&path);
    }
    bench.capture();
    // What was changed moments ago would be read again in any case.
    assert!(matches!(bench.capture(), Outcome::Unchanged { .. }));
    for ((name, change), order) in changes.iter().flat_map(|one| orders.map(|order| (one, order))) {
        let path = place(name, order);
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        if order == "after" {
            change(&path);
        }
        file.write_all(b"BBBB").unwrap();
        file.set_modified(written).unwrap();
        if order == "before" {
            change(&path);
        }
    }
    bench.capture();
    bench.assert_all_there();
}

/// A damaged record takes all that it says of a node with it: also of what has no bytes, and where nothing has changed here.
#[test]
fn what_the_box_has_lost_is_said_again_folders_on_the_way_and_links_too() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("deep/er")).unwrap();
    fs::write(bench.path("deep/er/file"), noise(9000, 1)).unwrap();
    fs::write(bench.path("deep/empty"), b"").unwrap();
    symlink("er/file", bench.path("deep/link")).unwrap();
    bench.capture();
    let all: BTreeSet<NodeId> = bench.fake.state.lock().unwrap().nodes.keys().copied().collect();
    assert!(bench.fake.state.lock().unwrap().find(&bench.path("deep/er")).is_some());
    bench.fake.state.lock().unwrap().resend = all.iter().copied().collect();
    bench.capture();
    let state = bench.fake.state.lock().unwrap();
    let said: BTreeSet<NodeId> = state
        .last_steps()
        .into_iter()
        .filter_map(|step| match step {
            Step::Put { node, .. } => Some(*node),
            _ => None,
        })
        .collect();
    assert_eq!(said, all, "from the top down to the last link");
    drop(state);
    bench.assert_all_there();
    assert!(matches!(bench.capture(), Outcome::Unchanged { .. }));
}

/// An idle source has no capture that looks at everything; one that looks at something else, or at nothing, gets them there.
#[test]
fn what_the_box_has_lost_is_sent_again_whatever_the_capture_looks_at() {
    let bench = Bench::new();
    let data = bench.folder.path().join("data");
    fs::create_dir_all(bench.path("deep/er")).unwrap();
    bench.write("deep/er/file", noise(9000, 1));
    bench.write("other", b"one");
    bench.capture();
    let lost = bench.state().find(&bench.path("deep/er/file")).unwrap();
    let lose = || {
        let mut state = bench.state();
        state.chunks.clear();
        state.committed.clear();
        state.resend = vec![lost];
    };
    lose();
    let before = bench.received();
    closed(bench.try_capture(None, Target::nothing()).unwrap());
    assert_eq!(bench.received() - before, 9000);

    lose();
    bench.write("other", b"another");
    let mut target = Target::nothing();
    target.notice(data.as_os_str().as_bytes().to_vec(), b"other".to_vec());
    let before = bench.received();
    closed(bench.try_capture(None, target).unwrap());
    assert_eq!(bench.received() - before, 9000 + "another".len() as u64);
    bench.assert_all_there();
    assert!(matches!(bench.try_capture(None, Target::nothing()), Ok(Outcome::Unchanged { .. })));
}

/// What changed or went since nobody has any more: the point is as things are now.
#[test]
fn what_the_box_has_lost_is_captured_as_it_is_now() {
    let bench = Bench::new();
    bench.write("changed", noise(9000, 1));
    bench.write("gone", noise(9000, 2));
    bench.capture();
    let find = |name| bench.state().find(&bench.path(name)).unwrap();
    let lost = vec![find("changed"), find("gone")];
    bench.write("changed", noise(8000, 3));
    fs::remove_file(bench.path("gone")).unwrap();
    bench.state().resend = lost;
    closed(bench.try_capture(None, Target::nothing()).unwrap());
    bench.assert_all_there();
}
