//! A vault on a disk that takes no writes: what verifying finds there can't be recorded, and counts all the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coffer_format::event::Place;
use coffer_format::{ConfigId, NodeId, SegmentId};
use coffer_vault::disk::CrashDisk;
use coffer_vault::query::{Query, Which};
use coffer_vault::verify::Verdict;
use coffer_vault::{Opener, Options, Rescued, Vault};

use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::check_point;

const ROOT: NodeId = NodeId::ROOT;

/// Three points of two files. The last segments are open, as a power cut leaves them, unless all are to be closed.
fn fill(fixture: &Fixture, closed: bool) -> (ConfigId, Memory) {
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(3);
    agent.make_file(ROOT, "one", random.bytes(3 * PAGE));
    let two = agent.make_file(ROOT, "two", random.bytes(PAGE));
    agent.close().unwrap();
    agent.overwrite(two, 0, &random.bytes(50));
    agent.close().unwrap();
    agent.make_file(ROOT, "three", random.bytes(PAGE));
    agent.close().unwrap();
    if closed {
        vault.roll().unwrap();
    }
    (config, agent.leave())
}

fn open_read_only(fixture: &Fixture, scratch: &Path) -> Arc<Vault> {
    let (opener, options) = (Opener::Box(fixture.box_key.clone()), Options { reserve_bytes: 0 });
    Arc::new(Vault::open_read_only(fixture.dir(), opener, fixture.clock.clone(), options, scratch).unwrap())
}

/// The largest segment: the one with the files' bytes.
fn largest(vault: &Vault) -> u64 {
    let states = vault.segments().unwrap().into_iter();
    states.max_by_key(|state| state.bytes).unwrap().segment.0
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn check_all(vault: &Arc<Vault>, config: ConfigId, memory: &Memory) {
    for (point, model) in &memory.points {
        check_point(vault.reading(), config, *point, model).unwrap();
    }
}

/// How many files of its points are told to be lost.
fn told_lost(vault: &Arc<Vault>, config: ConfigId) -> u64 {
    let points = vault.reading().answer_marked(&Query::Points { config: Which::Number(config.0) }).unwrap();
    points.as_array().unwrap().iter().map(|point| point["lost"].as_u64().unwrap()).sum()
}

#[test]
fn what_is_found_where_nothing_can_be_recorded_is_told_to_all_until_it_is_gone() {
    let (fixture, scratch) = (Fixture::real(), tempfile::tempdir().unwrap());
    let (config, _) = fill(&fixture, true);
    let vault = open_read_only(&fixture, scratch.path());
    let path = fixture.segment_path(largest(&vault));
    assert_eq!(vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole);
    assert_eq!((vault.reading().known_damage().unwrap().len(), told_lost(&vault, config)), (0, 0));
    flip(&path, 900);
    for _ in 0..2 {
        let report = vault.verify(&mut |_| {}).unwrap();
        assert_eq!(report.verdict, Verdict::Lost, "{report:?}");
        let (touched, count) = vault.reading().touched_by_damage(10).unwrap();
        assert!(touched[0].is_lost);
        assert_eq!(count, report.touched_count);
        assert_eq!(vault.reading().known_damage().unwrap().len(), report.damage.len());
        assert!(told_lost(&vault, config) > 0);
        assert!(vault.reading().harm_to_newest().unwrap()[&config].lost > 0);
        assert_eq!(vault.reading().prove().unwrap().verdict, Verdict::Lost);
    }
    // It was a cable.
    flip(&path, 900);
    assert_eq!(vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole);
    assert_eq!((vault.reading().known_damage().unwrap().len(), told_lost(&vault, config)), (0, 0));
}

#[test]
fn damage_that_was_recorded_and_is_gone_is_told_no_more_though_nothing_can_be_recorded() {
    let (fixture, scratch) = (Fixture::real(), tempfile::tempdir().unwrap());
    let (config, memory) = fill(&fixture, true);
    let vault = fixture.open();
    let path = fixture.segment_path(largest(&vault));
    flip(&path, 900);
    vault.verify(&mut |_| {}).unwrap();
    drop(vault);
    let vault = open_read_only(&fixture, scratch.path());
    assert!(told_lost(&vault, config) > 0);
    flip(&path, 900);
    assert_eq!(vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole);
    assert_eq!(told_lost(&vault, config), 0);
    check_all(&vault, config, &memory);
}

#[test]
fn what_is_found_while_the_disk_is_full_is_told_and_recorded_once_there_is_room() {
    let disk = CrashDisk::new();
    let fixture = Fixture::on(Arc::new(disk.clone()));
    let (config, _) = fill(&fixture, true);
    let vault = fixture.open();
    disk.flip_bit(&fixture.segment_path(largest(&vault)), 900);
    disk.set_free(Some(0));
    let report = vault.verify(&mut |_| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Lost);
    vault.audit_answer("reader", "verified").unwrap();
    assert_eq!(vault.reading().touched_by_damage(10).unwrap().1, report.touched_count);
    let told = told_lost(&vault, config);
    assert!(told > 0);
    disk.set_free(None);
    vault.verify(&mut |_| {}).unwrap();
    assert_eq!(told_lost(&vault, config), told);
    drop(vault);
    assert_eq!(told_lost(&fixture.open(), config), told);
}

fn change(path: &Path, how: &str) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    match how {
        "flipped" => bytes[middle] ^= 1,
        "cut" => bytes.truncate(middle),
        "without a header" => bytes[..600].fill(0),
        _ => return fs::remove_file(path).unwrap(),
    }
    fs::write(path, bytes).unwrap();
}

/// What was open is read in when the vault is opened: what the disk still has of it is what is left once it's closed.
#[test]
fn what_the_disk_loses_of_what_was_read_in_is_damage_and_is_put_back_where_it_can_be() {
    for how in ["flipped", "cut", "without a header", "removed"] {
        for puts_back in [true, false] {
            let fixture = Fixture::real();
            let (config, memory) = fill(&fixture, false);
            let scratch = tempfile::tempdir().unwrap();
            let vault = open_read_only(&fixture, scratch.path());
            let segments: Vec<u64> = vault.segments().unwrap().iter().map(|state| state.segment.0).collect();
            assert!(segments.len() > 1);
            for segment in segments {
                let path = fixture.segment_path(segment);
                let before = fs::read(&path).unwrap();
                let what = format!("segment {segment} {how}");
                let whole = vault.verify(&mut |_| {}).unwrap();
                assert_eq!((whole.verdict, whole.until_stopped), (Verdict::Whole, 0), "{what}");
                change(&path, how);
                assert_eq!(vault.reading().places_until_closed().unwrap(), 0, "{what}");
                assert_eq!(vault.look_below().unwrap(), 1, "{what}");
                assert!(vault.reading().places_until_closed().unwrap() > 0, "{what}");
                let report = vault.verify(&mut |_| {}).unwrap();
                assert_eq!(report.verdict, Verdict::Lost, "{what}: {report:?}");
                assert!(report.until_stopped > 0 && report.sentence().contains("before the box is stopped"));
                assert!(vault.reading().places_until_closed().unwrap() > 0, "{what}");
                // Not every record of metadata is of a version.
                assert!(told_lost(&vault, config) > 0 || segment != largest(&vault), "{what}");
                check_all(&vault, config, &memory);
                match puts_back {
                    true => assert_eq!(vault.put_back_below().unwrap(), 1, "{what}"),
                    false => fs::write(&path, before).unwrap(),
                }
            }
            assert_eq!(vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole, "{how}");
            assert_eq!(vault.put_back_below().unwrap(), 0, "{how}");
            drop(vault);
            let vault = fixture.open();
            assert_eq!(vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole, "{how}");
            check_all(&vault, config, &memory);
        }
    }
}

/// Copies of all closed segments, as headquarters has them.
fn copy_all(fixture: &Fixture) -> BTreeMap<SegmentId, Vec<u8>> {
    let vault = fixture.open();
    let closed: Vec<_> = vault.segments().unwrap().into_iter().filter(|state| state.closed).collect();
    let place = Place::Hq { name: "leeds".into() };
    vault
        .record_copies(closed.iter().map(|one| (one.segment, one.hash.unwrap(), place.clone())).collect())
        .unwrap();
    vault.roll().unwrap();
    closed.iter().map(|one| (one.segment, fixture.segment_bytes(one.segment.0))).collect()
}

fn rescue(vault: &Arc<Vault>, copies: BTreeMap<SegmentId, Vec<u8>>) {
    let weak = Arc::downgrade(vault);
    vault.reading().rescue_by(Box::new(move |segment| {
        let (Some(vault), Some(bytes)) = (weak.upgrade(), copies.get(&segment)) else {
            return Rescued::NotThere;
        };
        vault.import_segment(segment, bytes).map_or(Rescued::NotThere, |()| Rescued::Brought)
    }));
}

/// A restore goes on without it.
#[test]
fn a_copy_that_cannot_be_reached_is_not_asked_for_again_and_again() {
    let (fixture, scratch) = (Fixture::real(), tempfile::tempdir().unwrap());
    let (config, memory) = fill(&fixture, true);
    copy_all(&fixture);
    let vault = open_read_only(&fixture, scratch.path());
    change(&fixture.segment_path(largest(&vault)), "without a header");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    vault.reading().rescue_by(Box::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Rescued::NotReached
    }));
    for (point, model) in &memory.points {
        assert!(check_point(vault.reading(), config, *point, model).is_err());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn what_a_restore_cannot_read_is_read_from_a_copy_where_the_disk_takes_no_writes() {
    for how in ["flipped", "cut", "without a header", "removed"] {
        let fixture = Fixture::real();
        let (config, memory) = fill(&fixture, true);
        let copies = copy_all(&fixture);
        let scratch = tempfile::tempdir().unwrap();
        let vault = open_read_only(&fixture, scratch.path());
        let path = fixture.segment_path(largest(&vault));
        let good = fs::read(&path).unwrap();
        change(&path, how);
        let bad = fs::read(&path).ok();
        vault.verify(&mut |_| {}).unwrap();
        let last = *memory.points.keys().next_back().unwrap();
        assert!(check_point(vault.reading(), config, last, &memory.points[&last]).is_err(), "{how}");
        rescue(&vault, copies);
        check_all(&vault, config, &memory);
        for _ in 0..2 {
            // The disk is as it was: that is what counts.
            let report = vault.verify(&mut |_| {}).unwrap();
            assert_eq!((report.verdict, report.until_stopped), (Verdict::Heals, 0), "{how}: {report:?}");
            assert_eq!(vault.reading().touched_by_damage(10).unwrap().1, report.touched_count);
            assert_eq!(vault.reading().places_until_closed().unwrap(), 0, "{how}");
            assert!(vault.reading().suspected().unwrap().is_empty(), "{how}");
        }
        assert_eq!(fs::read(&path).ok(), bad, "{how}");
        assert_eq!(vault.put_back_below().unwrap(), 1, "{how}");
        assert_eq!(fs::read(&path).unwrap(), good, "{how}");
        assert_eq!(vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole, "{how}");
    }
}
