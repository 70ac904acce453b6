//! Segments are read back in their order, damage is found on the way, points say since when they're known to be readable, and a
//! restore is compared byte by byte.

use std::sync::Arc;

use coffer_format::event::Place;
use coffer_format::wire::Message;
use coffer_format::{ComputerId, ConfigId, NodeId, SegmentId};
use coffer_vault::Vault;
use coffer_vault::disk::CrashDisk;
use coffer_vault::reclaim;

use crate::support::Random;
use crate::support::agent::{Agent, PAGE};
use crate::support::fixture::{Fixture, HOUR_MS, enrol};

const DAY_MS: u64 = 24 * HOUR_MS;
const BOUND_MS: u64 = 30 * DAY_MS;

struct World {
    disk: CrashDisk,
    fixture: Fixture,
    vault: Arc<Vault>,
    computer: ComputerId,
    config: ConfigId,
}

/// Two points, each in segments of its own.
fn world() -> World {
    let disk = CrashDisk::new();
    let fixture = Fixture::on(Arc::new(disk.clone()));
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(5);
    let file = agent.make_file(NodeId::ROOT, "one", random.bytes(9 * PAGE));
    agent.make_file(NodeId::ROOT, "two", random.bytes(300));
    agent.close().unwrap();
    vault.roll().unwrap();
    agent.overwrite(file, PAGE + 5, &random.bytes(2 * PAGE));
    agent.close().unwrap();
    agent.leave();
    vault.roll().unwrap();
    World { disk, fixture, vault, computer, config }
}

impl World {
    fn due(&self) -> Vec<SegmentId> {
        self.vault.reading().to_read_back(self.vault.now_ms(), BOUND_MS, 100).unwrap()
    }

    fn scrub(&self, segment: SegmentId) -> usize {
        self.vault.scrub(segment, &mut |_| true).unwrap().unwrap()
    }

    fn scrub_all(&self) {
        self.due().into_iter().for_each(|segment| assert_eq!(self.scrub(segment), 0));
    }

    /// When each point was read back, the oldest first.
    fn dates(&self) -> Vec<Option<u64>> {
        self.vault.date_points(&mut || true).unwrap();
        let points = self.vault.reading().points(self.config).unwrap();
        points.iter().rev().map(|point| point.read_back_ms).collect()
    }
}

#[test]
fn the_newest_are_read_first_and_all_again_within_the_bound() {
    let world = world();
    let mut newest_first = world.due();
    let all = newest_first.len();
    assert!(all >= 4 && newest_first.is_sorted_by(|a, b| a > b), "{newest_first:?}");
    let first = newest_first.remove(0);
    assert_eq!(world.scrub(first), 0);
    assert_eq!(world.due(), newest_first);
    world.fixture.clock.advance(DAY_MS);
    world.scrub_all();
    assert_eq!(world.due(), []);
    // Well before the bound they're due again, what was read longest ago first.
    world.fixture.clock.advance(25 * DAY_MS);
    assert_eq!(world.due()[0], first);
    assert_eq!(world.due().len(), all);
    let progress = world.vault.reading().read_back_progress(world.vault.now_ms(), BOUND_MS).unwrap();
    assert_eq!((progress.segments, progress.late), (all as u64, 0));
    world.fixture.clock.advance(4 * DAY_MS + HOUR_MS);
    let progress = world.vault.reading().read_back_progress(world.vault.now_ms(), BOUND_MS).unwrap();
    assert_eq!(progress.late, 1);
    assert!(world.dates().iter().all(Option::is_some));
    // A clock that was ahead keeps nothing from being read, and what it dated has no date.
    world.fixture.clock.set(coffer_vault::Clock::now_ms(&*world.fixture.clock) - 60 * DAY_MS);
    assert_eq!(world.due().len(), all);
    assert!(world.dates().iter().all(Option::is_none));
}

#[test]
fn what_is_being_written_is_read_again_as_it_grows_and_a_restart_forgets_nothing() {
    let mut world = world();
    world.scrub_all();
    let mut agent = Agent::new(&world.vault, world.computer, world.config).unwrap();
    agent.make_file(NodeId::ROOT, "three", Random::new(6).bytes(300));
    agent.close().unwrap();
    agent.leave();
    let open = world.due();
    assert!(!open.is_empty());
    world.scrub_all();
    world.vault.audit("test", "the metadata grows").unwrap();
    assert_eq!(world.due(), [], "it was read just now");
    world.fixture.clock.advance(DAY_MS + 1);
    let grown = world.due();
    assert!(grown.len() == 1 && open.contains(&grown[0]), "{grown:?} of {open:?}");
    world.scrub_all();
    drop(world.vault);
    world.vault = world.fixture.open();
    // Opening closes what was open: it's longer by its end.
    world.fixture.clock.advance(DAY_MS + 1);
    assert!(world.due().iter().all(|segment| open.contains(segment)), "{:?} of {open:?}", world.due());
}

#[test]
fn damage_is_found_on_the_way_counts_as_damage_and_takes_the_date() {
    let world = world();
    assert_eq!(world.dates(), [None, None]);
    world.scrub_all();
    let read_ms = world.vault.now_ms();
    assert_eq!(world.dates(), [Some(read_ms), Some(read_ms)]);
    let data: Vec<_> =
        world.vault.segments().unwrap().into_iter().filter(|one| one.bytes > 2 * PAGE as u64).collect();
    let newer = data.last().unwrap();
    let path = world.fixture.segment_path(newer.segment.0);
    world.disk.flip_bit(&path, 700);
    assert!(world.scrub(newer.segment) > 0);
    assert!(!world.vault.reading().known_damage().unwrap().is_empty());
    assert_eq!(world.vault.reading().to_heal().unwrap()[0].segment, newer.segment);
    // The older point doesn't need it.
    assert_eq!(world.dates(), [Some(read_ms), None]);
    assert!(!world.due().contains(&newer.segment), "it's read once, not again and again");

    world.disk.flip_bit(&path, 700);
    world.fixture.clock.advance(HOUR_MS);
    assert_eq!(world.scrub(newer.segment), 0);
    assert_eq!(world.vault.reading().known_damage().unwrap(), []);
    assert_eq!(world.dates(), [Some(read_ms), Some(read_ms)], "the oldest reading counts");
}

/// The segment is as it was when it was closed, and what it was closed with can't be restored all the same.
#[test]
fn what_was_damaged_before_its_segment_was_closed_takes_the_date_too() {
    let mut world = world();
    let mut agent = Agent::new(&world.vault, world.computer, world.config).unwrap();
    agent.make_file(NodeId::ROOT, "three", Random::new(6).bytes(300));
    agent.close().unwrap();
    agent.leave();
    let open = world
        .vault
        .segments()
        .unwrap()
        .into_iter()
        .find(|one| !one.closed && one.stream != coffer_format::segment::Stream::Meta);
    let open = open.unwrap().segment;
    drop(world.vault);
    world.disk.flip_bit(&world.fixture.segment_path(open.0), 600);
    world.vault = world.fixture.open();
    assert!(world.vault.reading().known_damage().unwrap().iter().any(|(segment, _)| *segment == open));
    world.scrub_all();
    let read_ms = world.vault.now_ms();
    assert_eq!(world.dates(), [Some(read_ms), Some(read_ms), None]);
    let audited = world.vault.reading().audit_log(10).unwrap();
    assert!(
        audited.iter().any(|one| one.what.starts_with(&format!("segment {open} is damaged"))),
        "{audited:?}"
    );
}

#[test]
fn what_left_the_disk_was_read_when_its_copy_was_made() {
    let world = world();
    world.scrub_all();
    let read_ms = world.vault.now_ms();
    world.fixture.clock.advance(HOUR_MS);
    let closed = world.vault.segments().unwrap().into_iter().filter(|one| one.closed);
    let place = || Place::Hq { name: "branch".into() };
    world.vault.record_copies(closed.map(|one| (one.segment, one.hash.unwrap(), place())).collect()).unwrap();
    let policy = reclaim::Policy { free_target_bytes: u64::MAX / 2, ..reclaim::Policy::default() };
    world.vault.apply_reclaim(&world.vault.plan_reclaim(policy).unwrap(), "test").unwrap();
    assert!(world.vault.segments().unwrap().iter().any(|one| !one.on_disk));
    assert_eq!(world.dates(), [Some(read_ms), Some(read_ms)], "metadata is still here");
    world.fixture.clock.advance(HOUR_MS);
    assert!(world.due().iter().all(|segment| {
        world.vault.segments().unwrap().iter().any(|one| one.segment == *segment && one.on_disk)
    }));
}

#[test]
fn a_scrub_that_is_ended_notes_nothing() {
    let world = world();
    let before = world.due();
    assert_eq!(world.vault.scrub(before[0], &mut |_| false).unwrap(), None);
    assert_eq!(world.due(), before);
}

#[test]
fn each_file_comes_up_and_is_compared_byte_by_byte() {
    let world = world();
    let reading = world.vault.reading();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let version = reading.random_version(world.computer).unwrap().unwrap();
        let mut expected = reading.expected(&version).unwrap();
        let mut placed = Vec::new();
        let sent = &mut |message| {
            if let Message::RestorePack { compression, raw_len, placements, payload } = message {
                let raw = match compression {
                    coffer_format::chunk::Compression::Raw => payload.0,
                    _ => zstd::bulk::decompress(&payload.0, raw_len as usize).unwrap(),
                };
                for one in placements {
                    placed.push((one.at, raw[one.offset as usize..(one.offset + one.len) as usize].to_vec()));
                }
            }
            Ok(())
        };
        reading.restore(&version.wanted(), sent).unwrap();
        for (at, bytes) in placed {
            assert!(expected.lacks().is_some());
            let mut wrong = bytes.clone();
            *wrong.last_mut().unwrap() ^= 1;
            assert!(!expected.take(at, &wrong).unwrap());
            assert!(!expected.take(at, &bytes[1..]).unwrap());
            assert!(!expected.take(at + 1, &bytes).unwrap());
            assert!(expected.take(at, &bytes).unwrap());
        }
        assert_eq!(expected.lacks(), None);
        seen.insert((version.point, version.path));
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert_eq!(reading.random_version(ComputerId(99)).unwrap(), None);
}

#[test]
fn trials_are_counted_and_audited() {
    let world = world();
    let reading = world.vault.reading();
    let version = reading.random_version(world.computer).unwrap().unwrap();
    world.vault.note_trial(world.computer, &version, None).unwrap();
    world.vault.note_trial(world.computer, &version, Some("it's short")).unwrap();
    let trials = reading.trials().unwrap();
    assert_eq!((trials.len(), trials[0].tried, trials[0].right), (1, 2, 1));
    assert_eq!((trials[0].version(), trials[0].why.as_deref()), (version, Some("it's short")));
    let audit = format!("{:?}", reading.audit_log(2).unwrap());
    assert!(audit.contains("it came back as it was") && audit.contains("wrong: it's short"), "{audit}");
}
