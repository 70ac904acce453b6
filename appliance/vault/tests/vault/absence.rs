//! What was acknowledged and isn't there any more is never emptiness: flips and cuts below the durable end of open segments,
//! files that are gone, records that are missing in between. Each is said, and stays said after another start.

use std::collections::BTreeSet;
use std::sync::Arc;

use coffer_format::event::{Event, Place};
use coffer_format::segment::{SegmentHeader, Stream};
use coffer_format::{ComputerId, ConfigId, NodeId, PointSeq, SegmentId, from_bytes};
use coffer_vault::disk::{CrashDisk, Disk, RealDisk};
use coffer_vault::mirror::Mirror;
use coffer_vault::verify::{Report, Verdict};
use coffer_vault::{Vault, VaultError, reclaim};

use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::{check_point, everything, read, restore_all_there_is};

const ROOT: NodeId = NodeId::ROOT;

pub(crate) struct Stopped {
    disk: CrashDisk,
    pub(crate) fixture: Fixture,
    pub(crate) config: ConfigId,
    memory: Memory,
    /// Segments that were open, with the bytes that were durable.
    pub(crate) open: Vec<(SegmentId, Stream, u64)>,
}

/// Four acknowledged points in three open segments, and the box is off.
pub(crate) fn stopped() -> Stopped {
    let disk = CrashDisk::new();
    let fixture = Fixture::on(Arc::new(disk.clone()));
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(1);
    agent.stream = Stream::Bulk;
    let big = agent.make_file(ROOT, "big", random.bytes(3 * PAGE));
    agent.close().unwrap();
    agent.stream = Stream::Fresh;
    let small = agent.make_file(ROOT, "small", random.bytes(300));
    agent.close().unwrap();
    agent.insert(small, 5, &random.bytes(100));
    agent.close().unwrap();
    agent.stream = Stream::Bulk;
    agent.overwrite(big, PAGE, &random.bytes(PAGE));
    agent.close().unwrap();
    let open: Vec<_> = vault
        .segments()
        .unwrap()
        .iter()
        .map(|state| {
            assert!(!state.closed);
            (state.segment, state.stream, state.bytes)
        })
        .collect();
    assert_eq!(open.len(), 3);
    Stopped { disk, fixture, config, memory: agent.leave(), open }
}

impl Stopped {
    /// Opens what is on a disk with that change made to it.
    pub(crate) fn open_with(
        &mut self,
        keeps_catalog: bool,
        change: impl FnOnce(&CrashDisk, &Fixture),
    ) -> Option<Arc<Vault>> {
        let disk = self.disk.reboot();
        self.fixture.disk = Arc::new(disk.clone());
        if !keeps_catalog {
            self.fixture.delete_catalog();
        }
        change(&disk, &self.fixture);
        self.fixture.try_open().ok()
    }

    /// Whether every file of every point is there as it was.
    pub(crate) fn is_whole(&self, vault: &Arc<Vault>) -> bool {
        let kept: BTreeSet<_> =
            vault.reading().points(self.config).unwrap_or_default().iter().map(|point| point.point).collect();
        self.memory.points.iter().all(|(point, model)| {
            kept.contains(&point.0)
                && model.values().all(|(node, object)| {
                    match read(vault.reading(), self.config, *point, *node) {
                        Ok(bytes) => {
                            assert!(bytes == *object.bytes, "wrong bytes came back");
                            true
                        }
                        Err(_) => false,
                    }
                })
        })
    }
}

pub(crate) fn verify(vault: &Vault) -> Report {
    vault.verify(&mut |_| {}).unwrap()
}

/// The catalog as it was at the stop, to start each trial from.
pub(crate) fn saved(fixture: &Fixture) -> Vec<(String, Vec<u8>)> {
    ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"]
        .iter()
        .filter_map(|name| Some((name.to_string(), std::fs::read(fixture.dir().join(name)).ok()?)))
        .collect()
}

pub(crate) fn put_back(fixture: &Fixture, files: &[(String, Vec<u8>)]) {
    fixture.delete_catalog();
    for (name, bytes) in files {
        std::fs::write(fixture.dir().join(name), bytes).unwrap();
    }
}

#[test]
fn no_flip_below_the_durable_end_of_an_open_segment_is_silent() {
    let mut stopped = stopped();
    let catalog = saved(&stopped.fixture);
    let mut random = Random::new(9);
    for trial in 0..60 {
        let (segment, _, durable) = stopped.open[trial % 3];
        let at = 512 + random.below(durable as usize - 512) as u64;
        put_back(&stopped.fixture, &catalog);
        let flip = |disk: &CrashDisk, fixture: &Fixture| disk.flip_bit(&fixture.segment_path(segment.0), at);
        let vault = stopped.open_with(true, flip).unwrap();
        let place = format!("segment {segment}, byte {at} of {durable}");
        let report = verify(&vault);
        let names = |one: &coffer_vault::verify::Damage| {
            one.segment == segment && one.offset <= at && at < one.offset + one.len
        };
        assert!(report.damage.iter().any(names), "{place}: {report:?}");
        assert_eq!(report.verdict, Verdict::Lost, "{place}: {report:?}");
        assert!(report.touched.iter().all(|one| one.is_lost && one.from.is_empty()), "{place}: {report:?}");
        assert!(!vault.reading().known_damage().unwrap().is_empty(), "{place}");
        assert_eq!(stopped.is_whole(&vault), report.touched.is_empty(), "{place}: {report:?}");

        // Another start, and a catalog made anew, say the same: closing the segment hid nothing.
        drop(vault);
        for keeps_catalog in [true, false] {
            if !keeps_catalog {
                stopped.fixture.delete_catalog();
            }
            let vault = stopped.fixture.open();
            let again = verify(&vault);
            assert!(again.damage.iter().any(names), "{place}, catalog kept: {keeps_catalog}: {again:?}");
            assert_eq!(again.verdict, Verdict::Lost, "{place}, catalog kept: {keeps_catalog}: {again:?}");
            // A copy of it counts for what is whole in it, and for nothing else.
            let hash = vault.segments().unwrap().iter().find(|one| one.segment == segment).unwrap().hash;
            let place_at_hq = Place::Hq { name: "branch".into() };
            vault.record_copies(vec![(segment, hash.unwrap(), place_at_hq)]).unwrap();
            assert_eq!(verify(&vault).verdict, Verdict::Lost, "{place}");
        }
    }
}

#[test]
fn an_open_segment_that_is_cut_or_gone_is_never_silent() {
    let mut stopped = stopped();
    let catalog = saved(&stopped.fixture);
    for (segment, stream, durable) in stopped.open.clone() {
        for len in [None, Some(0), Some(100), Some(512), Some(600), Some(durable - 1)] {
            put_back(&stopped.fixture, &catalog);
            let cut = |disk: &CrashDisk, fixture: &Fixture| {
                use coffer_vault::disk::Disk;
                let path = fixture.segment_path(segment.0);
                match len {
                    None => disk.remove(&path).unwrap(),
                    Some(len) => disk.open(&path).unwrap().truncate(len).unwrap(),
                }
            };
            let vault = stopped.open_with(true, cut).unwrap();
            let report = verify(&vault);
            let what = format!("{stream:?}, {len:?} of {durable} bytes: {report:?}");
            assert_eq!(report.verdict, Verdict::Lost, "{what}");
            assert!(report.damage.iter().any(|one| one.segment == segment), "{what}");
            assert!(!vault.reading().known_damage().unwrap().is_empty(), "{what}");
            // It goes on taking new work, and nothing of it is dropped.
            vault.audit("test", "still here").unwrap();
            let plan = vault.plan_reclaim(reclaim::Policy::default()).unwrap();
            assert!(plan.steps.is_empty(), "{what}: {plan:?}");
            assert!(vault.segments().unwrap().iter().any(|one| one.segment == segment), "{what}");
            assert_eq!(verify(&vault).verdict, Verdict::Lost, "{what}");
        }
    }
}

/// With the catalog gone too, nobody knows how far an open segment was durable, but for what the metadata names.
#[test]
fn without_the_catalog_what_is_lost_is_said_too() {
    let mut stopped = stopped();
    let mut random = Random::new(11);
    for trial in 0..40 {
        let (segment, _, durable) = stopped.open[trial % 3];
        let at = random.below(durable as usize) as u64;
        let flip = |disk: &CrashDisk, fixture: &Fixture| disk.flip_bit(&fixture.segment_path(segment.0), at);
        let place = format!("segment {segment}, byte {at} of {durable}");
        let vault = stopped.open_with(false, flip).unwrap();
        let report = verify(&vault);
        let told = vault.reading().audit_log(5).unwrap();
        let said = told.iter().any(|entry| entry.what.contains("can't be read"));
        assert!(
            stopped.is_whole(&vault) || said || report.verdict == Verdict::Lost,
            "{place}: {report:?} {told:?}"
        );
        if segment != stopped.open[0].0 && !stopped.is_whole(&vault) {
            assert_eq!(report.verdict, Verdict::Lost, "{place}: {report:?}");
        }
    }
}

/// A vault in several closed segments.
pub(crate) fn closed() -> (Fixture, Arc<Vault>, ConfigId, Memory) {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(2);
    let file = agent.make_file(ROOT, "file", random.bytes(4 * PAGE));
    for _ in 0..3 {
        agent.overwrite(file, 0, &random.bytes(PAGE));
        agent.close().unwrap();
        vault.roll().unwrap();
    }
    (fixture, vault, config, agent.leave())
}

/// Closed metadata segments.
pub(crate) fn metadata_of(vault: &Vault) -> Vec<SegmentId> {
    let states = vault.segments().unwrap();
    states.iter().filter(|one| one.closed && one.stream == Stream::Meta).map(|one| one.segment).collect()
}

/// Where the records of a closed segment begin; the last one in the file is the index.
pub(crate) fn records_in(bytes: &[u8]) -> Vec<usize> {
    let records = bytes.windows(4).enumerate().filter(|(_, bytes)| bytes == b"CREC");
    let mut at: Vec<_> = records.map(|(at, _)| at).collect();
    at.pop();
    at
}

fn record_at_hq(vault: &Vault) {
    let place = || Place::Hq { name: "branch".into() };
    let closed = vault.segments().unwrap().into_iter().filter(|one| one.closed);
    vault.record_copies(closed.map(|one| (one.segment, one.hash.unwrap(), place())).collect()).unwrap();
}

#[test]
fn a_missing_file_is_damage_and_heals_when_it_is_brought_back() {
    let (fixture, vault, config, memory) = closed();
    record_at_hq(&vault);
    let states: Vec<_> = vault.segments().unwrap().into_iter().filter(|one| one.closed).collect();
    drop(vault);
    for state in states {
        let copy = fixture.segment_bytes(state.segment.0);
        std::fs::remove_file(fixture.segment_path(state.segment.0)).unwrap();
        let vault = fixture.open();
        assert!(vault.reading().unsound().unwrap().contains(&state.segment));
        let report = verify(&vault);
        assert_eq!(report.verdict, Verdict::Heals, "{report:?}");
        assert!(report.touched.iter().all(|one| one.from == ["HQ (branch)"] && !one.is_lost), "{report:?}");
        let needs = vault.reading().to_heal().unwrap();
        assert_eq!(needs.iter().map(|need| need.segment).collect::<Vec<_>>(), [state.segment]);
        assert!(needs[0].by_copy && needs[0].copies.len() == 1);
        vault.import_segment(state.segment, &copy).unwrap();
        assert_eq!(verify(&vault).verdict, Verdict::Whole);
        assert_eq!(vault.reading().to_heal().unwrap(), []);
        for (point, model) in &memory.points {
            check_point(vault.reading(), config, *point, model).unwrap();
        }
    }
}

#[test]
fn a_segment_that_only_its_copies_speak_of_is_missed_and_can_come_back() {
    let (fixture, vault, config, memory) = closed();
    record_at_hq(&vault);
    let states: Vec<_> = vault.segments().unwrap().into_iter().filter(|one| one.closed).collect();
    drop(vault);
    for state in states {
        let copy = fixture.segment_bytes(state.segment.0);
        std::fs::remove_file(fixture.segment_path(state.segment.0)).unwrap();
        fixture.delete_catalog();
        let vault = fixture.open();
        let report = verify(&vault);
        assert_ne!(report.verdict, Verdict::Whole, "{report:?}");
        let all = reclaim::Policy { compact_below_percent: 100, ..reclaim::Policy::default() };
        if state.stream == Stream::Meta {
            // Nobody knows what the missing records need.
            assert!(vault.plan_reclaim(all).unwrap().steps.is_empty());
        }
        assert!(vault.reading().to_heal().unwrap().iter().any(|need| need.segment == state.segment));
        if state.stream == Stream::Meta {
            assert!(!report.gaps.is_empty(), "{report:?}");
        }
        vault.import_segment(state.segment, &copy).unwrap();
        drop(vault);
        let vault = fixture.open();
        assert_eq!(verify(&vault).verdict, Verdict::Whole);
        for (point, model) in &memory.points {
            check_point(vault.reading(), config, *point, model).unwrap();
        }
    }
}

#[test]
fn what_is_damaged_and_needed_is_never_dropped() {
    let all = reclaim::Policy { copies_before_eviction: 1, free_target_bytes: 0, compact_below_percent: 100 };
    for number in 0..3 {
        let (fixture, vault, config, memory) = closed();
        record_at_hq(&vault);
        let data =
            vault.segments().unwrap().into_iter().filter(|one| one.stream != Stream::Meta && one.closed);
        let state = data.collect::<Vec<_>>()[number];
        let path = fixture.segment_path(state.segment.0);
        let copy = std::fs::read(&path).unwrap();
        let mut broken = copy.clone();
        broken[700] ^= 1;
        std::fs::write(&path, &broken).unwrap();
        let report = verify(&vault);
        assert_eq!(report.verdict, Verdict::Heals, "{report:?}");
        let needed = vault.needed_bytes().unwrap();
        assert!(needed.get(&state.segment).is_some_and(|bytes| *bytes > 0), "{needed:?}");
        vault.apply_reclaim(&vault.plan_reclaim(all).unwrap(), "test").unwrap();
        assert_eq!(verify(&vault).verdict, Verdict::Heals);
        // Its last good copy isn't given up either, and it isn't copied as it is.
        let (set, gone) = (String::new(), coffer_format::event::CartridgeState::Scratch);
        let next = coffer_format::event::Event::CartridgeSet {
            barcode: "COF001L6".into(),
            state: gone,
            set,
            number: 0,
            containers: 0,
            written: 0,
        };
        let on_tape = Place::Tape { barcode: "COF001L6".into(), container: 1, block: 0 };
        vault.record_copies(vec![(state.segment, state.hash.unwrap(), on_tape)]).unwrap();
        assert!(!vault.give_up_copies("COF001L6", 2, next, "for the test").unwrap());
        let left = vault.reading().without_copy(|_| false).unwrap();
        assert!(left.iter().all(|one| one.segment != state.segment));
        vault.import_segment(state.segment, &copy).unwrap();
        assert_eq!(verify(&vault).verdict, Verdict::Whole);
        for (point, model) in &memory.points {
            check_point(vault.reading(), config, *point, model).unwrap();
        }
    }
}

#[test]
fn bytes_that_hq_has_of_an_open_segment_heal_its_damaged_end() {
    let mut stopped = stopped();
    let (segment, _, durable) = stopped.open[1];
    let before = stopped.fixture.segment_bytes(segment.0);
    let flip = |disk: &CrashDisk, fixture: &Fixture| {
        disk.flip_bit(&fixture.segment_path(segment.0), durable - 10);
    };
    let vault = stopped.open_with(true, flip).unwrap();
    assert_eq!(verify(&vault).verdict, Verdict::Lost);
    let needs = vault.reading().to_heal().unwrap();
    assert_eq!((needs.len(), needs[0].segment, needs[0].by_copy), (1, segment, false));
    assert!(matches!(vault.store_anew(segment, &before[..100]), Err(VaultError::Refused { .. })));
    assert!(vault.store_anew(segment, &before[..durable as usize]).unwrap() > 0);
    let report = verify(&vault);
    assert_eq!(report.verdict, Verdict::Whole, "{report:?}");
    assert!(stopped.is_whole(&vault));
    assert_eq!(vault.reading().to_heal().unwrap(), []);
}

/// Where the catalog was made without a record, no later point is given as if nothing were wrong.
#[test]
fn points_after_a_metadata_record_that_cannot_be_read_are_doubted_until_it_comes_back() {
    let (fixture, vault, config, memory) = closed();
    let second = metadata_of(&vault)[1];
    drop(vault);
    let path = fixture.segment_path(second.0);
    let copy = std::fs::read(&path).unwrap();
    for at in records_in(&copy) {
        let mut broken = copy.clone();
        broken[at + 40] ^= 1;
        std::fs::write(&path, &broken).unwrap();
        fixture.delete_catalog();
        let vault = fixture.open();
        let report = verify(&vault);
        assert_eq!(report.verdict, Verdict::Lost, "{at}: {report:?}");
        assert_eq!(report.gaps.len(), 1, "{at}: {report:?}");
        let shown = vault.reading().points(config).unwrap();
        assert!(shown.len() >= 2, "{at}: {shown:?}");
        for (point, model) in &memory.points {
            let is_shown = shown.iter().any(|one| one.point == point.0);
            if point.0 == 1 {
                check_point(vault.reading(), config, *point, model).unwrap();
            } else if is_shown && vault.reading().is_doubtful(config, *point).unwrap() {
                let (_, left_out) =
                    restore_all_there_is(vault.reading(), &everything(config, *point)).unwrap();
                assert!(left_out.values().any(|one| one.what.contains("may be older")), "{at}: {left_out:?}");
            } else if is_shown {
                // The record is of what came after it.
                check_point(vault.reading(), config, *point, model).unwrap();
            }
        }
        let newest = *memory.points.keys().next_back().unwrap();
        assert!(vault.reading().is_doubtful(config, newest).unwrap(), "{at}");
        vault.import_segment(second, &copy).unwrap();
        assert!(vault.compare_catalog(&mut |_| true).unwrap().unwrap().made_anew.is_some(), "{at}");
        assert_eq!(verify(&vault).verdict, Verdict::Whole, "{at}");
        for (point, model) in &memory.points {
            check_point(vault.reading(), config, *point, model).unwrap();
        }
    }
}

/// Once the computers have compared everything with what's left, their points are whole again.
#[test]
fn lost_metadata_that_no_copy_has_is_done_without() {
    let (fixture, vault, config, memory) = closed();
    let second = metadata_of(&vault)[1];
    drop(vault);
    let path = fixture.segment_path(second.0);
    let copy = std::fs::read(&path).unwrap();
    let mut broken = copy.clone();
    broken[records_in(&copy)[0] + 40] ^= 1;
    std::fs::write(&path, &broken).unwrap();
    fixture.delete_catalog();

    let vault = fixture.open();
    let reading = vault.reading();
    let newest = *memory.points.keys().next_back().unwrap();
    assert!(reading.is_doubtful(config, newest).unwrap());
    let make_point = |name| {
        let mut agent = Agent::resume(&vault, ComputerId(1), config, Memory::default()).unwrap();
        agent.make_file(ROOT, name, b"bytes".to_vec());
        agent.close().unwrap();
        reading.points(config).unwrap().iter().map(|point| point.point).max().map(PointSeq).unwrap()
    };
    // A computer goes on with what it knows; then it's asked once.
    let before = make_point("before");
    assert!(reading.is_doubtful(config, before).unwrap());
    assert!(vault.go_on_without_lost_metadata().unwrap());
    assert!(!vault.go_on_without_lost_metadata().unwrap());
    assert!(reading.must_recall(config).unwrap());
    vault.note_recalled(config).unwrap();
    assert!(!reading.must_recall(config).unwrap());
    assert!(!vault.go_on_without_lost_metadata().unwrap());
    let after = make_point("after");
    assert!(!reading.is_doubtful(config, after).unwrap() && reading.is_doubtful(config, before).unwrap());
    let report = verify(&vault);
    assert!(report.verdict == Verdict::Lost && report.doubtful > 0, "{report:?}");

    // Neither does it matter once no kept point is as old.
    let old = reading.points(config).unwrap().into_iter().map(|point| PointSeq(point.point));
    let points = old.filter(|point| *point != after).collect();
    vault.record(vec![Event::PointsExpired { config, points }]).unwrap();
    let report = verify(&vault);
    assert_eq!((report.gaps.len(), report.doubtful, report.verdict), (0, 0, Verdict::Whole), "{report:?}");
    assert_eq!(reading.to_heal().unwrap(), []);

    // It comes back after all: what the computer sent goes by something else.
    vault.import_segment(second, &copy).unwrap();
    assert!(vault.compare_catalog(&mut |_| true).unwrap().unwrap().made_anew.is_some());
    assert!(reading.is_doubtful(config, after).unwrap());
    assert_eq!(verify(&vault).verdict, Verdict::Lost);
    assert!(vault.go_on_without_lost_metadata().unwrap());
    vault.note_recalled(config).unwrap();
    let last = make_point("last");
    assert!(!reading.is_doubtful(config, last).unwrap());
}

/// Whatever record comes back after the computers have gone on without it, it finds its numbers free: the points of before are as they were.
#[test]
fn what_is_taken_in_without_lost_metadata_overwrites_nothing_once_it_comes_back() {
    let (fixture, vault, _, _) = closed();
    let segments = metadata_of(&vault);
    let counts: Vec<usize> =
        segments.iter().map(|one| records_in(&fixture.segment_bytes(one.0)).len()).collect();
    drop(vault);
    for (which, count) in counts.into_iter().enumerate().skip(1) {
        for record in 0..count {
            let (fixture, vault, config, memory) = closed();
            let segment = metadata_of(&vault)[which];
            drop(vault);
            let path = fixture.segment_path(segment.0);
            let copy = std::fs::read(&path).unwrap();
            let mut broken = copy.clone();
            broken[records_in(&copy)[record] + 40] ^= 1;
            std::fs::write(&path, &broken).unwrap();
            fixture.delete_catalog();
            let vault = fixture.open();
            let at = format!("record {record} of {segment}");
            if !vault.reading().goes_by_others(config).unwrap() {
                continue;
            }
            assert!(vault.go_on_without_lost_metadata().unwrap(), "{at}");
            vault.note_recalled(config).unwrap();
            for name in ["one", "two"] {
                let mut agent = Agent::resume(&vault, ComputerId(1), config, Memory::default()).unwrap();
                assert!(!memory.points.contains_key(&agent.point), "{at}: {} is given again", agent.point);
                agent.make_file(ROOT, name, name.as_bytes().to_vec());
                agent.close().unwrap();
                assert!(!vault.reading().is_doubtful(config, agent.point).unwrap(), "{at}");
            }
            vault.import_segment(segment, &copy).unwrap();
            assert!(vault.reading().doubts_catalog().unwrap(), "{at}: nobody looks at what came back");
            assert!(vault.compare_catalog(&mut |_| true).unwrap().unwrap().made_anew.is_some(), "{at}");
            assert_eq!(vault.reading().missing_records().unwrap(), [], "{at}");
            for (point, model) in &memory.points {
                check_point(vault.reading(), config, *point, model)
                    .unwrap_or_else(|error| panic!("{at}: {error}"));
                assert!(!vault.reading().is_doubtful(config, *point).unwrap(), "{at}");
            }
        }
    }
}

/// The end of the metadata is lost here and was never copied: there's a way on, for the box and for headquarters.
#[test]
fn the_newest_metadata_lost_everywhere_can_be_done_without_and_headquarters_goes_on() {
    let mut stopped = stopped();
    let (segment, _, durable) = *stopped.open.iter().find(|(_, stream, _)| *stream == Stream::Meta).unwrap();
    let cut = |disk: &CrashDisk, fixture: &Fixture| {
        disk.open(&fixture.segment_path(segment.0)).unwrap().truncate(durable - 200).unwrap();
    };
    let vault = stopped.open_with(true, cut).unwrap();
    let report = verify(&vault);
    assert!(report.verdict == Verdict::Lost && report.known_by_catalog > 0, "{report:?}");
    assert!(report.sentence().contains("move catalog.sqlite"), "{}", report.sentence());
    drop(vault);
    stopped.fixture.delete_catalog();
    let vault = stopped.fixture.open();
    let (reading, config) = (vault.reading(), stopped.config);
    assert_eq!(verify(&vault).known_by_catalog, 0);
    assert!(!reading.missing_records().unwrap().is_empty() && reading.goes_by_others(config).unwrap());
    assert!(vault.go_on_without_lost_metadata().unwrap());
    vault.note_recalled(config).unwrap();
    let mut agent = Agent::resume(&vault, ComputerId(1), config, Memory::default()).unwrap();
    agent.make_file(ROOT, "after", b"bytes".to_vec());
    let after = agent.close().unwrap();
    drop(agent);
    assert!(!reading.is_doubtful(config, after).unwrap());
    let old = reading.points(config).unwrap().into_iter().map(|point| PointSeq(point.point));
    let points: Vec<_> = old.filter(|point| *point != after).collect();
    if !points.is_empty() {
        vault.record(vec![Event::PointsExpired { config, points }]).unwrap();
    }
    let report = verify(&vault);
    assert_eq!((report.gaps.len(), report.doubtful, report.verdict), (0, 0, Verdict::Whole), "{report:?}");
    assert_eq!(reading.to_heal().unwrap(), []);

    vault.roll().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let first = from_bytes(&stopped.fixture.segment_bytes(segment.0)[..SegmentHeader::LEN]).unwrap();
    let key = stopped.fixture.recovery.0.clone();
    let mirror = Mirror::open(Arc::new(RealDisk), folder.path(), key, Some(&first)).unwrap();
    for state in vault.segments().unwrap() {
        let bytes = stopped.fixture.segment_bytes(state.segment.0);
        mirror.append(state.segment, 0, bytes.len() as u64, &bytes).unwrap();
        mirror.refresh().unwrap();
    }
    let check = |when: &str| {
        let points = mirror.reading().points(config).unwrap();
        assert!(points.iter().any(|point| point.point == after.0), "{when}: {points:?}");
        assert!(!mirror.reading().is_doubtful(config, after).unwrap(), "{when}");
    };
    check("as it came");
    mirror.compare_catalog(&mut |_| true).unwrap().unwrap();
    check("compared");
}
