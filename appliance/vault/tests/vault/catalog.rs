//! One changed bit in the catalog is found and put right by itself, whatever it says, and nothing wrong is ever restored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coffer_format::event::Place;
use coffer_format::node::NodeKind;
use coffer_format::segment::{SegmentHeader, Stream};
use coffer_format::wire::Message;
use coffer_format::{ComputerId, ConfigId, NodeId, from_bytes};
use coffer_vault::comparison::Comparison;
use coffer_vault::disk::RealDisk;
use coffer_vault::mirror::Mirror;
use coffer_vault::verify::Verdict;
use coffer_vault::{SegmentState, Vault, retention};
use jiff::tz::TimeZone;

use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, HOUR_MS, enrol};
use crate::support::restored::{check_point, everything, restore_all_there_is};

struct World {
    fixture: Fixture,
    vault: Arc<Vault>,
    computer: ComputerId,
    config: ConfigId,
    memory: Memory,
}

/// Some history: folders, moved, changed and deleted files, an expired point, segments closed and open.
fn world() -> World {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(11);
    let mut files = Vec::new();
    for folder in 0..6 {
        let folder = agent.make(NodeKind::Directory, NodeId::ROOT, &format!("folder {folder}"));
        for file in 0..25 {
            let len = [100, PAGE, 3 * PAGE + 5][file % 3];
            let bytes = random.bytes(len);
            files.push(agent.make_file(folder, &format!("file {file}"), bytes));
        }
    }
    for round in 0..5 {
        for _ in 0..8 {
            let file = files[random.below(files.len())];
            agent.overwrite(file, 0, &random.bytes(60));
        }
        let names: Vec<_> =
            agent.tree.names.keys().filter(|(parent, _)| *parent != NodeId::ROOT).cloned().collect();
        let (parent, name) = names[random.below(names.len())].clone();
        agent.rename(parent, &name, NodeId::ROOT, &format!("moved {round}"), false);
        fixture.clock.advance(30 * HOUR_MS);
        agent.close().unwrap();
        if round < 4 {
            vault.roll().unwrap();
        }
    }
    let policy = retention::Policy { all_hours: 24, hourly: 0, daily: 3, weekly: 0, monthly: 0 };
    let plan = vault.plan_retention(config, &policy, &TimeZone::UTC).unwrap();
    assert!(!plan.expire.is_empty());
    vault.apply_retention(&plan, "test").unwrap();
    plan.expire.iter().for_each(|point| drop(agent.points.remove(&coffer_format::PointSeq(*point))));
    World { fixture, vault, computer, config, memory: agent.leave() }
}

fn check_all(vault: &Arc<Vault>, config: ConfigId, memory: &Memory, case: &str) {
    for (point, model) in &memory.points {
        if let Err(error) = check_point(vault.reading(), config, *point, model) {
            panic!("{case}: point {point}: {error}");
        }
    }
}

/// The folder as it is now, to come back to.
fn files_of(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for dir in [dir.to_owned(), dir.join("segments")] {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                files.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn put_back(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in files_of(dir).keys() {
        std::fs::remove_file(path).unwrap();
    }
    files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
}

/// Changes one bit, more often than not where there is something.
fn flip(path: &Path, random: &mut Random) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let mut at = random.below(bytes.len());
    while bytes[at] == 0 && random.below(8) != 0 {
        at = random.below(bytes.len());
    }
    let bit = random.below(8);
    bytes[at] ^= 1 << bit;
    // In place: whoever has it open has this file open.
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let changed = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    // A medium that forgets tells nobody.
    file.set_modified(changed).unwrap();
    format!("byte {at} (page {}), bit {bit}", at / 4096 + 1)
}

fn cases() -> usize {
    std::env::var("CATALOG_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// After a comparison all is right, and a second one finds nothing.
fn is_mended(vault: &Arc<Vault>, config: ConfigId, memory: &Memory, case: &str) -> bool {
    let report = vault.verify(&mut |_| {}).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(report.catalog.not_compared, None, "{case}");
    assert_eq!((report.damage.len(), report.touched_count), (0, 0), "{case}: {report:?}");
    check_all(vault, config, memory, case);
    let again = vault.compare_catalog(&mut |_| true).unwrap().unwrap();
    assert_eq!(again, Comparison::default(), "{case}: {:?}", report.catalog);
    report.catalog.sentence().is_some()
}

#[test]
fn a_bit_that_changes_while_the_vault_is_closed_is_put_right() {
    let World { fixture, vault, config, memory, .. } = world();
    drop(vault);
    let sound = files_of(fixture.dir());
    let mut random = Random::new(3);
    let (mut mended, mut told_at_open) = (0, 0);
    for case in 0..cases() {
        put_back(fixture.dir(), &sound);
        let case = format!("case {case}: {}", flip(&fixture.dir().join("catalog.sqlite"), &mut random));
        let vault = fixture.open();
        let told = vault.reading().audit_log(1).unwrap();
        told_at_open += usize::from(told.iter().any(|entry| entry.what.contains("the catalog was damaged")));
        mended += usize::from(is_mended(&vault, config, &memory, &case));
    }
    eprintln!("{} flips: {told_at_open} made anew at open, {mended} mended by a comparison", cases());
    assert!(mended > cases() / 10, "{mended}");
}

#[test]
fn a_bit_that_changes_while_the_vault_is_open_is_put_right() {
    let World { fixture, vault, config, memory, .. } = world();
    drop(vault);
    let sound = files_of(fixture.dir());
    let mut random = Random::new(4);
    let mut mended = 0;
    for case in 0..cases() {
        put_back(fixture.dir(), &sound);
        let vault = fixture.open();
        vault.audit("test", "something to write").unwrap();
        let journal = fixture.dir().join("catalog.sqlite-wal");
        let has_journal = std::fs::metadata(&journal).is_ok_and(|meta| meta.len() > 0);
        let path = if has_journal && case % 4 == 0 { journal } else { fixture.dir().join("catalog.sqlite") };
        let case = format!("case {case}: {}", flip(&path, &mut random));
        mended += usize::from(is_mended(&vault, config, &memory, &case));
        vault.audit("test", "the vault goes on").unwrap();
        drop(vault);
        let vault = fixture.open();
        check_all(&vault, config, &memory, &case);
    }
    eprintln!("{} flips: {mended} mended by a comparison", cases());
    assert!(mended > cases() / 10, "{mended}");
}

/// What comes of a restore before anything was compared: all of it as it was. Returns what is missing without a word.
fn nothing_wrong_comes(vault: &Arc<Vault>, config: ConfigId, memory: &Memory, case: &str) -> usize {
    let mut silent = 0;
    for (point, model) in &memory.points {
        // One that fails altogether has said so.
        let Ok((found, left_out)) = restore_all_there_is(vault.reading(), &everything(config, *point)) else {
            continue;
        };
        for (path, one) in &found {
            let shown = String::from_utf8_lossy(path);
            if left_out.contains_key(path) {
                continue;
            }
            let Some((_, object)) = model.get(path) else {
                panic!("{case}: {shown} came at point {point} and wasn't there")
            };
            assert_eq!(
                (one.kind, one.mtime_ns),
                (object.kind, object.mtime_ns),
                "{case}: {shown} at point {point}"
            );
            assert!(one.bytes == *object.bytes, "{case}: bytes of {shown} at point {point}");
        }
        let all_came = model.keys().all(|path| found.contains_key(path));
        if !all_came && left_out.is_empty() {
            silent += 1;
            eprintln!("{case}: something is missing at point {point} without a word");
        }
    }
    silent
}

#[test]
fn a_restore_from_a_catalog_with_a_changed_bit_writes_nothing_wrong() {
    let World { fixture, vault, config, memory, .. } = world();
    drop(vault);
    let sound = files_of(fixture.dir());
    let mut random = Random::new(6);
    let (mut doubted, mut silent) = (0, 0);
    for case in 0..cases() {
        put_back(fixture.dir(), &sound);
        let vault = fixture.open();
        let case = format!("case {case}: {}", flip(&fixture.dir().join("catalog.sqlite"), &mut random));
        vault.reading().forget_what_was_read().unwrap();
        silent += usize::from(nothing_wrong_comes(&vault, config, &memory, &case) > 0);
        doubted += usize::from(vault.reading().doubts_catalog().unwrap());
        is_mended(&vault, config, &memory, &case);
    }
    eprintln!(
        "{} flips: {doubted} made a restore ask for a comparison, {silent} hid something without a word",
        cases()
    );
    assert!(doubted > cases() / 20, "{doubted}");
    assert!(silent <= cases() / 20, "{silent}");
}

#[test]
fn a_bit_that_changes_in_a_mirrors_catalog_is_put_right() {
    let World { fixture, vault, config, memory, .. } = world();
    vault.roll().unwrap();
    let folder = tempfile::tempdir_in(fixture.dir().parent().unwrap()).unwrap();
    let open = |first: Option<&SegmentHeader>| {
        Mirror::open(Arc::new(RealDisk), folder.path(), fixture.recovery.0.clone(), first).unwrap()
    };
    let mut mirror = None;
    for state in vault.segments().unwrap() {
        let bytes = fixture.segment_bytes(state.segment.0);
        let first: SegmentHeader = from_bytes(&bytes[..SegmentHeader::LEN]).unwrap();
        let mirror = mirror.get_or_insert_with(|| open(Some(&first)));
        mirror.append(state.segment, 0, bytes.len() as u64, &bytes).unwrap();
    }
    let mirror = mirror.unwrap();
    mirror.refresh().unwrap();
    assert_eq!(mirror.compare_catalog(&mut |_| true).unwrap().unwrap(), Comparison::default());
    drop(mirror);
    let sound = files_of(folder.path());
    let mut random = Random::new(8);
    let mut mended = 0;
    for case in 0..cases() {
        put_back(folder.path(), &sound);
        let is_open = case % 2 == 0;
        let before = is_open.then(|| open(None));
        let case = format!("case {case}: {}", flip(&folder.path().join("catalog.sqlite"), &mut random));
        let mirror = before.unwrap_or_else(|| open(None));
        let found =
            mirror.compare_catalog(&mut |_| true).unwrap_or_else(|error| panic!("{case}: {error}")).unwrap();
        mended += usize::from(found.sentence().is_some());
        for (point, model) in &memory.points {
            if let Err(error) = check_point(mirror.reading(), config, *point, model) {
                panic!("{case}: point {point}: {error}; {found:?}");
            }
        }
        let again = mirror.compare_catalog(&mut |_| true).unwrap().unwrap();
        assert_eq!(again, Comparison::default(), "{case}: {found:?}");
    }
    eprintln!("{} flips: {mended} mended by a comparison", cases());
    assert!(mended > cases() / 10, "{mended}");
}

#[test]
fn a_catalog_whose_pages_are_gone_is_made_anew_while_the_vault_is_open() {
    let World { fixture, vault, computer, config, memory } = world();
    let path = fixture.dir().join("catalog.sqlite");
    for round in 0..4 {
        // Pages that can't be pages: the next statement that needs one fails.
        let mut bytes = std::fs::read(&path).unwrap();
        let first = if round == 3 { 0 } else { 1 };
        for page in first..bytes.len() / 4096 {
            bytes[page * 4096] ^= 0x55;
        }
        std::fs::write(&path, bytes).unwrap();
        vault.reading().points(config).map_or_else(|error| eprintln!("{error}"), drop);
        if let Err(error) = vault.audit("test", "while it's broken") {
            assert!(error.to_string().contains("try again"), "{error}");
        }
        vault.audit("test", "the next one is taken in").unwrap();
        vault.compare_catalog(&mut |_| true).unwrap().unwrap();
        assert!(!vault.is_read_only() && !vault.reading().doubts_catalog().unwrap());
        check_all(&vault, config, &memory, &format!("round {round}"));
    }
    let told = vault.reading().audit_log(50).unwrap();
    assert!(told.iter().any(|entry| entry.what.contains("made again from the segments")), "{told:?}");
    let mut agent = Agent::resume(&vault, computer, config, memory).unwrap();
    agent.make_file(NodeId::ROOT, "afterwards", vec![5; PAGE]);
    agent.close().unwrap();
    agent.check_all().unwrap();
    let memory = agent.leave();
    drop(vault);
    let vault = fixture.open();
    check_all(&vault, config, &memory, "opened again");
    assert_eq!(vault.compare_catalog(&mut |_| true).unwrap().unwrap(), Comparison::default());
}

/// What lies in the place of the journal or of its index, which is only a cache, says nothing of the catalog, which may know what no segment
/// has any more.
#[test]
fn what_lies_in_the_place_of_the_journal_does_not_cost_the_catalog() {
    for name in ["catalog.sqlite-shm", "catalog.sqlite-wal"] {
        for what in ["folder", "pipe", "link"] {
            let case = format!("a {what} for {name}");
            let World { fixture, vault, config, .. } = world();
            vault.roll().unwrap();
            let points = |vault: &Vault| {
                let points = vault.reading().points(config).unwrap();
                points.iter().map(|point| point.point).collect::<Vec<_>>()
            };
            let before = points(&vault);
            let last = vault.segments().unwrap().into_iter().rfind(|state| state.stream == Stream::Meta);
            drop(vault);
            std::fs::remove_file(fixture.segment_path(last.unwrap().segment.0)).unwrap();
            let path = fixture.dir().join(name);
            let _ = std::fs::remove_file(&path);
            match what {
                "folder" => std::fs::create_dir(&path).unwrap(),
                "pipe" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                _ => std::os::unix::fs::symlink("/nowhere/x", &path).unwrap(),
            }
            let vault = fixture.open();
            assert_eq!(points(&vault), before, "{case}");
            assert!(path.with_extension(format!("{what}1")).symlink_metadata().is_ok(), "{case}");
            assert_ne!(vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole, "{case}");
        }
    }
}

#[test]
fn a_catalog_that_was_removed_is_made_anew_while_the_vault_is_open() {
    let World { fixture, vault, config, memory, .. } = world();
    fixture.delete_catalog();
    vault.compare_catalog(&mut |_| true).unwrap().unwrap();
    assert!(fixture.dir().join("catalog.sqlite").exists());
    check_all(&vault, config, &memory, "removed");
    vault.audit("test", "the vault goes on").unwrap();
    drop(vault);
    check_all(&fixture.open(), config, &memory, "opened again");
}

/// `CATALOG_FILES` says how many files; what it took goes to standard error.
#[test]
fn the_vault_goes_on_while_its_catalog_is_compared() {
    let files = std::env::var("CATALOG_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(4000);
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut folder = NodeId::ROOT;
    for file in 0..files {
        if file % 200 == 0 {
            folder = agent.make(NodeKind::Directory, NodeId::ROOT, &format!("folder {file}"));
        }
        agent.make_file(folder, &format!("a file of that number: {file}"), file.to_string().into_bytes());
        if file % 2000 == 1999 {
            agent.commit(false).unwrap();
        }
    }
    let point = agent.close().unwrap();
    drop(agent);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let goes_on = scope.spawn(|| {
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !done.load(Ordering::SeqCst) {
                let began = Instant::now();
                vault.audit("test", "meanwhile").unwrap();
                (count, longest) = (count + 1, longest.max(began.elapsed()));
            }
            (count, longest)
        });
        let mut read = 0;
        let began = Instant::now();
        let found = vault.compare_catalog(&mut |bytes| {
            read += bytes;
            true
        });
        let took = began.elapsed();
        done.store(true, Ordering::SeqCst);
        let (count, longest) = goes_on.join().unwrap();
        assert_eq!(found.unwrap().unwrap(), Comparison::default());
        assert!(count > 0);
        eprintln!(
            "{files} files: compared in {took:?}, {read} bytes of records; {count} commits meanwhile, the longest {longest:?}"
        );
    });
    let began = Instant::now();
    let mut nodes = 0;
    let wanted = everything(config, point);
    vault
        .reading()
        .restore(&wanted, &mut |message| {
            if let Message::RestoreNodes { nodes: more } = message {
                nodes += more.len();
            }
            Ok(())
        })
        .unwrap();
    eprintln!("{nodes} nodes sent in {:?}", began.elapsed());
}

/// Makes the last closed data segment, with a file that has those bytes.
fn make_segment(vault: &Arc<Vault>, world: (ComputerId, ConfigId), memory: Memory, bytes: Vec<u8>) -> Memory {
    let mut agent = Agent::resume(vault, world.0, world.1, memory).unwrap();
    agent.make_file(NodeId::ROOT, "the last", bytes);
    agent.close().unwrap();
    vault.roll().unwrap();
    agent.leave()
}

fn last_data_segment(vault: &Arc<Vault>) -> SegmentState {
    let states = vault.segments().unwrap();
    *states.iter().rev().find(|state| state.closed && state.stream != Stream::Meta).unwrap()
}

/// Whatever becomes of a closed segment's file: its rows stay, it's damaged, and a copy brings all of it back.
#[test]
fn a_closed_segment_that_cannot_be_read_keeps_its_rows_and_heals() {
    let World { fixture, vault, computer, config, memory } = world();
    drop(vault);
    let mut random = Random::new(12);
    let before = files_of(fixture.dir());
    let vault = fixture.open();
    make_segment(&vault, (computer, config), memory.clone(), random.bytes(7 * PAGE));
    let another_history = fixture.segment_bytes(last_data_segment(&vault).segment.0);
    drop(vault);
    put_back(fixture.dir(), &before);
    let vault = fixture.open();
    let memory = make_segment(&vault, (computer, config), memory, random.bytes(9 * PAGE));
    let state = last_data_segment(&vault);
    let SegmentState { segment, bytes: len, .. } = state;
    let place = Place::Hq { name: "main office".into() };
    vault.record_copies(vec![(segment, state.hash.unwrap(), place)]).unwrap();
    let copy = fixture.segment_bytes(segment.0);
    let len = len as usize;
    assert_eq!(copy.len(), len);
    let another = vault.segments().unwrap()[1];
    let another = fixture.segment_bytes(another.segment.0);
    let flipped = |at: usize| {
        let mut bytes = copy.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut cases: Vec<(String, Vec<u8>)> =
        [0, 1, SegmentHeader::LEN, len / 3, len / 2, len - 200, len - 60, len - 1]
            .into_iter()
            .map(|to| (format!("cut at {to}"), copy[..to].to_vec()))
            .collect();
    cases.extend([3, 15, len - 90, len - 30, len - 1].map(|at| (format!("bit at {at}"), flipped(at))));
    cases.push(("bytes behind it".into(), [&copy[..], &[7; 5000]].concat()));
    cases.push(("bytes of itself behind it".into(), [&copy[..], &copy[..]].concat()));
    cases.push(("another segment".into(), another));
    cases.push(("its number in another history".into(), another_history));
    let path = fixture.segment_path(segment.0);
    for (case, bytes) in
        cases.into_iter().map(|(case, bytes)| (case, Some(bytes))).chain([("a folder".into(), None)])
    {
        match bytes {
            // In place: whoever has it open has this file open.
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => {
                std::fs::remove_file(&path).unwrap();
                std::fs::create_dir(&path).unwrap();
            }
        }
        let found =
            vault.compare_catalog(&mut |_| true).unwrap_or_else(|error| panic!("{case}: {error}")).unwrap();
        assert_eq!(found, Comparison::default(), "{case}");
        let needs = vault.reading().to_heal().unwrap();
        let need =
            needs.iter().find(|need| need.segment == segment).unwrap_or_else(|| panic!("{case}: {needs:?}"));
        assert!(need.by_copy && need.copies.len() == 1, "{case}: {need:?}");
        let report = vault.verify(&mut |_| {}).unwrap();
        assert_eq!((report.lost_count, report.catalog), (0, Comparison::default()), "{case}");
        assert!(!vault.reading().known_damage().unwrap().is_empty(), "{case}");
        vault.import_segment(segment, &copy).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(is_whole(&vault, config, &memory, &case), "{case}");
    }
}

fn is_whole(vault: &Arc<Vault>, config: ConfigId, memory: &Memory, case: &str) -> bool {
    let is_mended = is_mended(vault, config, memory, case);
    !is_mended && vault.reading().to_heal().unwrap().is_empty()
}
