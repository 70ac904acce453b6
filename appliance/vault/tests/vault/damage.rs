//! One bit flips somewhere: verify finds it and names the versions that can't be restored, no more and no fewer; and it heals
//! when the chunk comes again or the segment is brought back.

use std::collections::BTreeSet;
use std::sync::Arc;

use coffer_format::segment::Stream;
use coffer_format::{ComputerId, ConfigId, NodeId, PointSeq, SegmentId};
use coffer_vault::disk::CrashDisk;
use coffer_vault::{Vault, VaultError};

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
                        assert!(bytes == *object.bytes && found[path].bytes == *object.bytes, "wrong bytes came back");
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

    fn check_all(&self, vault: &Arc<Vault>) {
        for (point, model) in &self.memory.points {
            check_point(vault.reading(), self.config, *point, model).unwrap();
        }
    }
}

fn touched(report: &coffer_vault::verify::Report) -> BTreeSet<(String, u64)> {
    report.touched.iter().map(|one| (one.path.clone(), one.since)).collect()
}

/// Every 7th byte, and each one near the ends; all of them if `COFFER_EVERY_BIT` is set.
fn positions(len: usize) -> Vec<u64> {
    let every = if std::env::var_os("COFFER_EVERY_BIT").is_some() { 1 } else { 7 };
    (0..len).filter(|at| at % every == 0 || *at + 64 >= len || (504..560).contains(at)).map(|at| at as u64).collect()
}

#[test]
fn verify_finds_every_flipped_bit_and_names_what_it_touches() {
    for closed in [true, false] {
        let (world, vault) = world(closed);
        let clean = vault.verify(&mut |_| {}).unwrap();
        assert!(clean.damage.is_empty() && clean.touched.is_empty(), "{clean:?}");
        // Verifying writes damage down, so segments are looked at as they were before that.
        let states: Vec<_> = vault.segments().unwrap();
        drop(vault);
        let catalog = tempfile::tempdir().unwrap();
        copy_catalog(world.fixture.dir(), catalog.path());
        for state in &states {
            for at in positions(state.bytes as usize) {
                flip_and_check(&world, state.segment, at, catalog.path(), closed);
            }
        }
    }
}

fn copy_catalog(from: &std::path::Path, to: &std::path::Path) {
    std::fs::copy(from.join("catalog.sqlite"), to.join("catalog.sqlite")).unwrap();
}

fn flip_and_check(world: &World, segment: SegmentId, at: u64, catalog: &std::path::Path, closed: bool) {
    let place = format!("segment {segment}, byte {at}, closed: {closed}");
    let disk = world.disk.reboot();
    let mut fixture = Fixture::empty(Arc::new(disk.clone()));
    fixture.box_key = world.fixture.box_key.clone();
    let _ = catalog;
    fixture.folder = tempfile::tempdir().unwrap();
    let _ = (place, closed);
    unimplemented!()
}
