//! One bit flips somewhere: verify finds it and names the versions that can't be restored, no more and no fewer; and it heals
//! when the chunk comes again or the segment is brought back.

use std::collections::BTreeSet;
use std::sync::Arc;

use coffer_format::segment::Stream;
use coffer_format::{ComputerId, ConfigId, NodeId, PointSeq, SegmentId};
use coffer_vault::disk::{CrashDisk, Disk};
use coffer_vault::query::{Query, When, Which};
use coffer_vault::trial::Version;
use coffer_vault::{Vault, VaultError};
use serde_json::Value;

use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::{check_point, read, restore};

const ROOT: NodeId = NodeId::ROOT;

struct World {
    disk: CrashDisk,
    fixture: Fixture,
    computer: ComputerId,
    config: ConfigId,
    memory: Memory,
}

/// Three points in several segments, closed or (if not) still open.
fn world(closed: bool) -> (World, Arc<Vault>) {
    let disk = CrashDisk::new();
    let fixture = Fixture::on(Arc::new(disk.clone()));
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(1);
    let one = agent.make_file(ROOT, "one", random.bytes(300));
    let two = agent.make_file(ROOT, "two", random.bytes(PAGE + 20));
    agent.close().unwrap();
    if closed {
        vault.roll().unwrap();
    }
    agent.insert(one, 5, &random.bytes(100));
    agent.close().unwrap();
    agent.overwrite(two, 0, &random.bytes(50));
    agent.close().unwrap();
    if closed {
        vault.roll().unwrap();
    }
    let memory = agent.leave();
    (World { disk, fixture, computer, config, memory }, vault)
}

impl World {
    /// Versions (path and first point) of files that can't be read back.
    fn unreadable(&self, vault: &Arc<Vault>) -> BTreeSet<(String, u64)> {
        let mut bad = BTreeSet::new();
        for (point, model) in &self.memory.points {
            for (path, (node, object)) in model {
                let since = vault.reading().lookup(self.config, *point, path).unwrap().since.0;
                // By itself, and as a restore would give it, with its metadata.
                let alone = read(vault.reading(), self.config, *point, *node);
                let wanted = coffer_vault::restore::Wanted {
                    config: self.config,
                    point: *point,
                    paths: vec![path.clone()],
                    trusted: true,
                };
                let whole = restore(vault.reading(), &wanted);
                match (alone, whole) {
                    (Ok(bytes), Ok(found)) => {
                        assert!(
                            bytes == *object.bytes && found[path].bytes == *object.bytes,
                            "wrong bytes came back"
                        );
                    }
                    (Err(error), _) | (_, Err(error)) => {
                        assert!(matches!(error, VaultError::Damaged { .. }), "{error:?}");
                        bad.insert((format!("/{}", String::from_utf8_lossy(path)), since));
                    }
                }
            }
        }
        bad
    }

    /// Whether a file is shown as lost in the list of a point, and among its versions; and whether the point is.
    fn marked(&self, vault: &Arc<Vault>, path: &str, point: u64) -> (bool, bool, bool) {
        let (config, path) = (Which::Number(self.config.0), path.to_owned());
        let ask = |query| vault.reading().answer_marked(&query).unwrap();
        let all = |list: Value| list.as_array().unwrap().clone();
        let when = When::Point(point);
        let list = all(ask(Query::List { config: config.clone(), when, path: path.clone() }));
        let versions = all(ask(Query::Versions { config: config.clone(), path }));
        let points = all(ask(Query::Points { config }));
        let of = |list: &[Value], key: &str| list.iter().find(|one| one[key] == point).unwrap().clone();
        let point = of(&points, "point");
        assert!(point["lost"] == 0 || point["read_back_ms"].is_null(), "{point}");
        (
            list[0]["harm"] == "lost",
            of(&versions, "since")["harm"] == "lost",
            point["lost"].as_u64() > Some(0),
        )
    }

    fn check_all(&self, vault: &Arc<Vault>) {
        for (point, model) in &self.memory.points {
            check_point(vault.reading(), self.config, *point, model).unwrap();
        }
    }
}

fn touched(report: &coffer_vault::verify::Report) -> BTreeSet<(String, u64)> {
    report.touched.iter().map(|one| (one.path.clone(), one.since)).collect()
}

/// Every 41st byte, and each one around the header's and the file's end; all of them if `COFFER_EVERY_BYTE` is set.
fn positions(len: u64) -> Vec<u64> {
    let every = if std::env::var_os("COFFER_EVERY_BYTE").is_some() { 1 } else { 41 };
    (0..len).filter(|at| at % every == 0 || *at + 70 >= len || (508..548).contains(at)).collect()
}

#[test]
fn verify_finds_every_flipped_bit_and_names_what_it_touches() {
    for closed in [true, false] {
        let (world, vault) = world(closed);
        let clean = vault.verify(&mut |_| {}).unwrap();
        assert!(clean.damage.is_empty() && clean.touched.is_empty(), "{clean:?}");
        let mut hits = 0;
        for state in vault.segments().unwrap() {
            let path = world.fixture.segment_path(state.segment.0);
            for at in positions(state.bytes) {
                world.disk.flip_bit(&path, at);
                let report = vault.reading().inspect(&mut |_| {}).unwrap();
                let place = format!("segment {}, byte {at}, closed: {closed}", state.segment);
                let names_it = |one: &coffer_vault::verify::Damage| {
                    one.segment == state.segment && one.offset <= at && at < one.offset + one.len
                };
                assert!(report.damage.iter().any(names_it), "{place}: {report:?}");
                assert_eq!(touched(&report), world.unreadable(&vault), "{place}: {report:?}");
                hits += usize::from(!report.touched.is_empty());
                world.disk.flip_bit(&path, at);
            }
        }
        assert!(hits > 50, "{hits}");
        assert!(vault.reading().inspect(&mut |_| {}).unwrap().damage.is_empty());
    }
}

fn data_segment(vault: &Arc<Vault>) -> SegmentId {
    vault.segments().unwrap().iter().find(|state| state.stream != Stream::Meta).unwrap().segment
}

#[test]
fn what_a_restore_meets_is_listed_once_and_healed() {
    let (world, vault) = world(true);
    let segment = data_segment(&vault);
    let file = world.disk.open(&world.fixture.segment_path(segment.0)).unwrap();
    let mut copy = vec![0; file.size().unwrap() as usize];
    file.read_at(0, &mut copy).unwrap();
    world.disk.flip_bit(&world.fixture.segment_path(segment.0), 700);
    assert!(vault.reading().suspected().unwrap().is_empty());
    assert!(!world.unreadable(&vault).is_empty());
    assert!(vault.reading().known_damage().unwrap().is_empty());
    let met: Vec<_> = vault.reading().suspected().unwrap().into_keys().collect();
    assert_eq!(met, [segment]);
    assert_eq!(vault.look_at_suspects().unwrap(), 1);
    assert_eq!(vault.reading().known_damage().unwrap().len(), 1);
    let needs = vault.reading().to_heal().unwrap();
    assert_eq!(needs.iter().map(|need| need.segment).collect::<Vec<_>>(), [segment]);
    // Met again: it's listed already.
    assert!(!world.unreadable(&vault).is_empty());
    assert!(vault.reading().suspected().unwrap().is_empty());
    assert_eq!(vault.look_at_suspects().unwrap(), 0);
    assert_eq!(vault.reading().known_damage().unwrap().len(), 1);
    // What was met shortly before it healed is no doubt about what is there now.
    assert!(!world.unreadable(&vault).is_empty());
    vault.import_segment(segment, &copy).unwrap();
    assert!(vault.reading().suspected().unwrap().is_empty());
    assert!(world.unreadable(&vault).is_empty());
}

#[test]
fn damage_heals_when_the_chunk_comes_again() {
    for at in [700, 20] {
        let (world, vault) = world(true);
        let segment = data_segment(&vault);
        world.disk.flip_bit(&world.fixture.segment_path(segment.0), at);
        let report = vault.verify(&mut |_| {}).unwrap();
        assert!(!report.touched.is_empty());
        // Looked at again, it's still so, although the damage is known by now.
        assert_eq!(vault.verify(&mut |_| {}).unwrap().touched, report.touched);
        let hit = &report.touched[0];
        let path = hit.path.trim_start_matches('/').to_owned();
        let version = Version { config: world.config, point: PointSeq(hit.since), path: path.clone().into() };
        assert!(vault.reading().is_harmed(&version).unwrap());
        assert_eq!(world.marked(&vault, &path, hit.since), (true, true, true));
        let audited = vault.reading().audit_log(10).unwrap();
        let found = format!("segment {segment} is damaged");
        assert_eq!(audited.iter().filter(|one| one.what.starts_with(&found)).count(), 1, "{audited:?}");

        let mut agent = Agent::resume(&vault, world.computer, world.config, world.memory.clone()).unwrap();
        let mut random = Random::new(1);
        agent.make_file(ROOT, "again", random.bytes(300));
        agent.make_file(ROOT, "and-again", random.bytes(PAGE + 20));
        agent.make_file(ROOT, "and-more", random.bytes(100));
        agent.make_file(ROOT, "and-last", random.bytes(50));
        agent.close().unwrap();
        world.check_all(&vault);
        assert!(vault.verify(&mut |_| {}).unwrap().touched.is_empty());
        assert!(!vault.reading().known_damage().unwrap().is_empty(), "the place is as damaged as before");
        assert!(!vault.reading().is_harmed(&version).unwrap());
        assert_eq!(world.marked(&vault, &path, hit.since), (false, false, false));

        // Also for a vault that has lost its catalog.
        let memory = agent.leave();
        drop(vault);
        world.fixture.delete_catalog();
        let vault = world.fixture.open();
        for (point, model) in &memory.points {
            check_point(vault.reading(), world.config, *point, model).unwrap();
        }
    }
}

#[test]
fn damage_heals_when_the_segment_is_brought_back() {
    for at in [3, 700] {
        let (world, vault) = world(true);
        for state in vault.segments().unwrap().into_iter().filter(|state| state.closed) {
            let copy = world.fixture.segment_bytes(state.segment.0);
            world.disk.flip_bit(&world.fixture.segment_path(state.segment.0), at);
            let report = vault.verify(&mut |_| {}).unwrap();
            assert!(!report.damage.is_empty());
            assert!(state.stream == Stream::Meta || !report.touched.is_empty(), "{report:?}");
            let mut broken = copy.clone();
            broken[at as usize] ^= 1;
            assert!(vault.import_segment(state.segment, &broken).is_err());
            let mut broken = copy.clone();
            broken[copy.len() - 50] ^= 1;
            assert!(vault.import_segment(state.segment, &broken).is_err());
            vault.import_segment(state.segment, &copy).unwrap();
            let report = vault.verify(&mut |_| {}).unwrap();
            assert!(report.damage.is_empty() && report.touched.is_empty(), "{report:?}");
            world.check_all(&vault);
        }
        assert!(vault.reading().known_damage().unwrap().is_empty());
    }
}

/// Damage never keeps a vault from opening, with or without its catalog; what isn't touched is there.
#[test]
fn a_damaged_vault_opens_and_gives_what_is_left() {
    let (world, vault) = world(true);
    let states: Vec<_> = vault.segments().unwrap();
    drop(vault);
    let mut fixture = world.fixture;
    for state in &states {
        for at in positions(state.bytes).into_iter().filter(|at| at % 97 == 0 || *at + 8 >= state.bytes) {
            let disk = world.disk.reboot();
            disk.flip_bit(&fixture.segment_path(state.segment.0), at);
            fixture.disk = Arc::new(disk);
            fixture.delete_catalog();
            let vault = fixture.open();
            let shown: Vec<_> =
                vault.reading().points(world.config).unwrap().iter().map(|one| one.point).collect();
            let mut readable = 0;
            for (point, model) in world.memory.points.iter().take_while(|(point, _)| shown.contains(&point.0))
            {
                for (node, object) in model.values() {
                    if let Ok(bytes) = read(vault.reading(), world.config, *point, *node) {
                        assert!(bytes == *object.bytes, "wrong bytes came back");
                        readable += 1;
                    }
                }
            }
            let only_the_end = at + 64 >= state.bytes;
            assert!(!only_the_end || readable == 6, "segment {}, byte {at}: {readable}", state.segment);
            // A damaged index is written again from the records; anything else stays known.
            let report = vault.verify(&mut |_| {}).unwrap();
            assert!(readable == 6 || !vault.reading().known_damage().unwrap().is_empty(), "{report:?}");
            // It takes new work.
            vault.audit("test", "still here").unwrap();
        }
    }
}
