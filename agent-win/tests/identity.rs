//! No file takes another's place, whatever numbers a file system gives, and whatever is renamed or replaced.

#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use coffer_agent::capture::Outcome;
use proptest::prelude::*;
use support::renumbered::Renumbered;
use support::{Bench, closed, noise};

fn date(path: &Path, seconds_ago: u64) {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - seconds_ago);
    fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

/// What the files are kept in, beside the place where they're shown.
fn backing(bench: &Bench) -> PathBuf {
    let folder = bench.folder.path().join("backing");
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn files_that_are_numbered_anew_at_each_mount_keep_their_bytes() {
    if !Renumbered::is_possible("files_that_are_numbered_anew_at_each_mount_keep_their_bytes") {
        return;
    }
    let bench = Bench::new();
    let folder = backing(&bench);
    for number in 0..30 {
        let path = folder.join(format!("rec{number}"));
        fs::write(&path, noise(900, number)).unwrap();
        date(&path, 5);
    }
    let mut before = 0;
    for mount in 0..4 {
        let mounted = Renumbered::mount(&folder, &bench.path(""), mount);
        let outcome = bench.capture();
        bench.assert_all_there();
        mounted.unmount();
        assert_eq!(matches!(outcome, Outcome::Unchanged { .. }), mount > 0, "{outcome:?}");
        assert!(mount == 0 || bench.received() == before, "what's there already was sent again");
        before = bench.received();
    }
}

/// Where nothing of a file tells that its bytes are another's by now.
#[test]
fn files_that_look_alike_and_are_swapped_keep_their_bytes_where_there_are_no_change_times() {
    let name = "files_that_look_alike_and_are_swapped_keep_their_bytes_where_there_are_no_change_times";
    if !Renumbered::is_possible(name) {
        return;
    }
    let bench = Bench::new();
    let folder = backing(&bench);
    let place = |of: &str| folder.join("deep").join(of);
    fs::create_dir(folder.join("deep")).unwrap();
    for (number, of) in ["a", "b", "c"].into_iter().enumerate() {
        fs::write(place(of), noise(5000, number as u64)).unwrap();
        date(&place(of), 5);
    }
    let captured = |seed| {
        let mounted = Renumbered::without_change_times(&folder, &bench.path(""), seed);
        let outcome = bench.capture();
        bench.assert_all_there();
        mounted.unmount();
        outcome
    };
    captured(0);
    fs::rename(place("a"), place("aside")).unwrap();
    fs::rename(place("b"), place("a")).unwrap();
    fs::rename(place("aside"), place("b")).unwrap();
    captured(1);
    assert!(matches!(captured(2), Outcome::Unchanged { .. }));
}

/// A watch tells of a file, whatever its times say.
#[test]
fn what_a_watch_tells_of_is_read_where_there_are_no_change_times() {
    let name = "what_a_watch_tells_of_is_read_where_there_are_no_change_times";
    if !Renumbered::is_possible(name) {
        return;
    }
    let bench = Bench::new();
    let folder = backing(&bench);
    fs::write(folder.join("a"), noise(5000, 1)).unwrap();
    date(&folder.join("a"), 5);
    let mounted = Renumbered::without_change_times(&folder, &bench.path(""), 0);
    bench.capture();
    fs::write(folder.join("a"), noise(5000, 2)).unwrap();
    date(&folder.join("a"), 5);
    let mut told = coffer_agent::capture::Target::nothing();
    told.notice(coffer_agent_path(&bench.path("")), b"a".to_vec());
    closed(bench.try_capture(None, told).unwrap());
    bench.assert_all_there();
    mounted.unmount();
}

/// Without any sign it's found all the same, within the days that the agent's README says.
#[test]
fn what_nothing_tells_of_is_read_from_time_to_time_where_there_are_no_change_times() {
    let name = "what_nothing_tells_of_is_read_from_time_to_time_where_there_are_no_change_times";
    if !Renumbered::is_possible(name) {
        return;
    }
    let bench = Bench::new();
    let folder = backing(&bench);
    for number in 0..40 {
        fs::write(folder.join(format!("f{number}")), noise(5000, number)).unwrap();
        date(&folder.join(format!("f{number}")), 5);
    }
    let mounted = Renumbered::without_change_times(&folder, &bench.path(""), 0);
    closed(bench.capture());
    for number in 0..40 {
        fs::write(folder.join(format!("f{number}")), noise(5000, 100 + number)).unwrap();
        date(&folder.join(format!("f{number}")), 5);
    }
    assert!(matches!(bench.capture(), Outcome::Unchanged { .. }), "the test shows nothing");
    let days_ago = |days: u64| {
        let journal = rusqlite::Connection::open(bench.state_dir.join("journal.db")).unwrap();
        assert_eq!(journal.execute("UPDATE reread SET day = day - ?", [days]).unwrap(), 1);
    };
    days_ago(1);
    let point = closed(bench.capture());
    assert!((1..=3).contains(&point.files), "a thirtieth each day: {point:?}");
    days_ago(30);
    closed(bench.capture());
    bench.assert_all_there();
    assert!(matches!(bench.capture(), Outcome::Unchanged { .. }));
    mounted.unmount();
}

fn coffer_agent_path(path: &Path) -> Vec<u8> {
    path.as_os_str()
        .as_encoded_bytes()
        .strip_suffix(b"/")
        .unwrap_or(path.as_os_str().as_encoded_bytes())
        .to_vec()
}

#[test]
fn names_of_one_file_without_lasting_numbers_are_stored_apart() {
    if !Renumbered::is_possible("names_of_one_file_without_lasting_numbers_are_stored_apart") {
        return;
    }
    let bench = Bench::new();
    let folder = backing(&bench);
    fs::write(folder.join("a"), noise(5000, 1)).unwrap();
    fs::write(folder.join("x"), noise(5000, 2)).unwrap();
    fs::hard_link(folder.join("a"), folder.join("b")).unwrap();
    fs::hard_link(folder.join("x"), folder.join("y")).unwrap();
    for mount in 0..3 {
        let mounted = Renumbered::mount(&folder, &bench.path(""), mount);
        bench.capture();
        bench.assert_all_there();
        mounted.unmount();
    }
    let state = bench.state();
    let found: std::collections::BTreeSet<_> =
        ["a", "b", "x", "y"].iter().map(|name| state.find(&bench.path(name))).collect();
    assert_eq!(found.len(), 4, "{found:?}");
}

/// What happens to a tree between two captures. Names are a number each; `to` and `from` may be the same or gone.
#[derive(Debug, Clone)]
enum Edit {
    /// Sizes and times are few, so that most files look alike.
    Write {
        at: usize,
        size: usize,
        seed: u64,
        dated: Option<u64>,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Swap {
        one: usize,
        other: usize,
    },
    Link {
        from: usize,
        to: usize,
    },
    Remove {
        at: usize,
    },
    RenameFolder {
        from: usize,
        to: usize,
    },
}

const FOLDERS: usize = 4;
const NAMES: usize = 24;

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0..NAMES;
    prop_oneof![
        4 => (at.clone(), 1..3usize, any::<u64>(), prop::option::of(0..2u64))
            .prop_map(|(at, size, seed, dated)| Edit::Write { at, size: size * 700, seed, dated }),
        3 => (at.clone(), at.clone()).prop_map(|(from, to)| Edit::Rename { from, to }),
        2 => (at.clone(), at.clone()).prop_map(|(one, other)| Edit::Swap { one, other }),
        1 => (at.clone(), at.clone()).prop_map(|(from, to)| Edit::Link { from, to }),
        2 => at.prop_map(|at| Edit::Remove { at }),
        1 => (0..FOLDERS, 0..FOLDERS).prop_map(|(from, to)| Edit::RenameFolder { from, to }),
    ]
}

fn place(folder: &Path, name: usize) -> PathBuf {
    folder.join(format!("d{}", name % FOLDERS)).join(format!("f{}", name / FOLDERS))
}

/// Does an edit where it's possible; what isn't there can't be renamed.
fn apply(folder: &Path, edit: &Edit) {
    let ready = |name: usize| {
        let path = place(folder, name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let is_there = |name: usize| place(folder, name).exists();
    match *edit {
        Edit::Write { at, size, seed, dated } => {
            let path = ready(at);
            // Written anew, as most programs do: not into what other names share.
            let beside = folder.join("new");
            fs::write(&beside, noise(size, seed)).unwrap();
            dated.into_iter().for_each(|ago| date(&beside, ago));
            fs::rename(beside, path).unwrap();
        }
        Edit::Rename { from, to } if is_there(from) => fs::rename(place(folder, from), ready(to)).unwrap(),
        Edit::Swap { one, other } if is_there(one) && is_there(other) => {
            let aside = folder.join("aside");
            fs::rename(place(folder, one), &aside).unwrap();
            // One may be the other.
            if is_there(other) {
                fs::rename(place(folder, other), place(folder, one)).unwrap();
            }
            fs::rename(aside, place(folder, other)).unwrap();
        }
        Edit::Link { from, to } if is_there(from) && !is_there(to) => {
            fs::hard_link(place(folder, from), ready(to)).unwrap();
        }
        Edit::Remove { at } if is_there(at) => fs::remove_file(place(folder, at)).unwrap(),
        Edit::RenameFolder { from, to } => {
            let [from, to] = [from, to].map(|number| folder.join(format!("d{number}")));
            if from.exists() && !to.exists() {
                fs::rename(from, to).unwrap();
            }
        }
        _ => {}
    }
}

/// Captures, each after some edits; what the box has must be what's there, each time.
fn run(rounds: &[(Vec<Edit>, bool)], is_renumbered: bool) {
    let bench = Bench::new();
    let folder = if is_renumbered { backing(&bench) } else { bench.path("") };
    for (number, (edits, forgets)) in rounds.iter().enumerate() {
        edits.iter().for_each(|edit| apply(&folder, edit));
        if *forgets && bench.state_dir.exists() {
            bench.forget();
        }
        let mounted = is_renumbered.then(|| Renumbered::mount(&folder, &bench.path(""), number as u64));
        bench.capture();
        bench.assert_all_there();
        if let Some(mounted) = mounted {
            mounted.unmount();
        }
    }
}

fn rounds() -> impl Strategy<Value = Vec<(Vec<Edit>, bool)>> {
    prop::collection::vec((prop::collection::vec(edit(), 1..12), prop::bool::weighted(0.15)), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_the_box_has_is_what_was_on_the_disk(rounds in rounds()) {
        run(&rounds, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_the_box_has_is_what_was_on_a_disk_that_numbers_anew(rounds in rounds()) {
        if Renumbered::is_possible("what_the_box_has_is_what_was_on_a_disk_that_numbers_anew") {
            run(&rounds, true);
        }
    }
}

/// The same file system at two places: each file is seen twice, with one number and one name in each.
#[test]
fn a_file_with_one_name_that_is_seen_at_a_second_place_is_another() {
    let bench = Bench::new();
    bench.write("one/a", noise(900, 1));
    closed(bench.capture());
    fs::create_dir(bench.path("two")).unwrap();
    let (one, two) = (bench.path("one"), bench.path("two"));
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    if let Err(error) = mount(Some(&one), &two, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
        eprintln!(
            "SKIPPED: a_file_with_one_name_that_is_seen_at_a_second_place_is_another can't mount ({error})"
        );
        return;
    }
    let captured = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        closed(bench.capture());
        bench.assert_all_there();
        let state = bench.state();
        assert_ne!(state.find(&one.join("a")), state.find(&two.join("a")), "two places, one node");
    }));
    umount2(&two, MntFlags::MNT_DETACH).unwrap();
    captured.unwrap();
}

#[test]
fn a_folder_that_is_known_by_a_name_in_itself_loses_that_name() {
    for is_there in [false, true] {
        let bench = Bench::new();
        bench.write("letters/deep/a", "a");
        bench.capture();
        let letters = bench.state().find(&bench.path("letters")).unwrap();
        bench.state().links.insert((letters, b"new".to_vec()), letters);
        let journal = rusqlite::Connection::open(bench.state_dir.join("journal.db")).unwrap();
        let row = (letters.0 as i64, b"new".to_vec(), letters.0 as i64);
        journal.execute("INSERT INTO links VALUES (?, ?, ?)", row).unwrap();
        drop(journal);
        if is_there {
            bench.write("letters/new/b", "b");
        }
        assert_eq!(bench.capture().report(), []);
        bench.assert_all_there();
        let new = bench.state().find(&bench.path("letters/new"));
        assert!(new != Some(letters) && new.is_some() == is_there, "{new:?}");
    }
}

/// In whatever order they're met, and whichever of them is new.
#[test]
fn names_of_one_file_are_one_file_whatever_they_were_before() {
    type Change = fn(&dyn Fn(&str) -> PathBuf);
    let changes: [(&str, Change); 5] = [
        ("replaced, then linked after it", |at| {
            fs::rename(at("new"), at("m")).unwrap();
            fs::hard_link(at("m"), at("z")).unwrap();
        }),
        ("replaced, then linked before it", |at| {
            fs::rename(at("new"), at("m")).unwrap();
            fs::hard_link(at("m"), at("a")).unwrap();
        }),
        ("linked in another folder", |at| {
            fs::rename(at("new"), at("m")).unwrap();
            fs::hard_link(at("m"), at("folder/link")).unwrap();
        }),
        ("two replaced", |at| {
            fs::rename(at("new"), at("m")).unwrap();
            fs::remove_file(at("n")).unwrap();
            fs::hard_link(at("m"), at("n")).unwrap();
        }),
        ("a new pair, one of it exchanged with a known one", |at| {
            fs::hard_link(at("new"), at("z")).unwrap();
            fs::rename(at("m"), at("other")).unwrap();
            fs::rename(at("new"), at("m")).unwrap();
            fs::rename(at("other"), at("new")).unwrap();
        }),
    ];
    let bench = Bench::new();
    let all = || (0..changes.len()).map(|number| format!("{number}"));
    for folder in all() {
        fs::create_dir_all(bench.path(&format!("{folder}/folder"))).unwrap();
        for name in ["m", "n"] {
            bench.write(&format!("{folder}/{name}"), format!("{name} as it was"));
        }
    }
    bench.capture();
    for (folder, (_, change)) in all().zip(&changes) {
        bench.write(&format!("{folder}/new"), "new");
        change(&|name| bench.path(&format!("{folder}/{name}")));
    }
    bench.capture();
    for (folder, (what, _)) in all().zip(&changes) {
        assert_same_links(&bench, &bench.path(&folder), what);
    }
    bench.assert_all_there();
}

/// A file moves on and is written to, and a copy that's exactly as it was gets its old name: in whatever order they're met.
#[test]
fn a_copy_under_the_old_name_of_a_file_that_moved_on_is_another_file() {
    let bench = Bench::new();
    let pairs =
        || (0..40).map(|number| if number % 2 == 0 { (number, "b", "c") } else { (number, "c", "b") });
    let at = |number: u64, name: &str| bench.path(&format!("{number}/{name}"));
    for (number, ..) in pairs() {
        fs::create_dir_all(at(number, "b")).unwrap();
        fs::create_dir_all(at(number, "c")).unwrap();
    }
    for (number, from, _) in pairs() {
        fs::write(at(number, from).join("f"), "old").unwrap();
        date(&at(number, from).join("f"), number);
    }
    bench.capture();
    for (number, from, to) in pairs() {
        let (old, copy, new) =
            (at(number, from).join("f"), at(number, from).join("n"), at(number, to).join("f.log"));
        let copied = std::process::Command::new("cp").arg("-p").args([&old, &copy]).status().unwrap();
        assert!(copied.success());
        fs::rename(&old, &new).unwrap();
        fs::rename(&copy, &old).unwrap();
        match number % 4 {
            0 | 1 => fs::write(&new, "old\nand one line more").unwrap(),
            _ => fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap(),
        }
    }
    for _ in 0..2 {
        bench.capture();
        bench.assert_all_there();
    }
}

/// Names are of one node where they're of one file.
fn assert_same_links(bench: &Bench, folder: &Path, what: &str) {
    let mut nodes = std::collections::BTreeMap::new();
    let files = ["a", "m", "n", "new", "z", "folder/link"].map(|name| folder.join(name));
    for path in files.iter().filter(|path| path.exists()) {
        let node = bench.state().find(path).unwrap();
        let first = *nodes.entry(fs::metadata(path).unwrap().ino()).or_insert(node);
        assert_eq!(node, first, "{what}: {}", path.display());
    }
}
