//! Copies elsewhere: what may be given up, and what goes when nothing needs it.

use coffer_format::event::{CartridgeState, Event, Place};
use coffer_format::{FileHash, NodeId, SegmentId};
use coffer_vault::{Vault, reclaim, retention};
use jiff::tz::TimeZone;

use crate::support::Random;
use crate::support::agent::{Agent, PAGE};
use crate::support::fixture::{Fixture, HOUR_MS, enrol};

const EVICT: reclaim::Policy =
    reclaim::Policy { copies_before_eviction: 1, free_target_bytes: u64::MAX / 2, compact_below_percent: 0 };

/// Says that every closed segment has a copy on that cartridge.
fn copy_all(vault: &Vault, barcode: &str) -> Vec<SegmentId> {
    let closed: Vec<_> = vault.segments().unwrap().into_iter().filter(|one| one.closed).collect();
    let place = || Place::Tape { barcode: barcode.into(), container: 1, block: 0 };
    let copies: Vec<(SegmentId, FileHash, Place)> =
        closed.iter().map(|one| (one.segment, one.hash.unwrap(), place())).collect();
    vault.record_copies(copies).unwrap();
    closed.into_iter().map(|one| one.segment).collect()
}

fn scratch(barcode: &str) -> Event {
    let (set, state) = (String::new(), CartridgeState::Scratch);
    Event::CartridgeSet { barcode: barcode.into(), state, set, number: 0, containers: 0, written: 0 }
}

#[test]
fn copies_are_given_up_only_while_enough_are_elsewhere() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    agent.make_file(NodeId::ROOT, "big.db", Random::new(1).bytes(40 * PAGE));
    agent.close().unwrap();
    // What a running session has named isn't touched.
    agent.leave();
    vault.roll().unwrap();
    let copied = copy_all(&vault, "COF001L6");
    let give_up = |barcode: &str, required| {
        vault.give_up_copies(barcode, required, scratch(barcode), "for the test").unwrap()
    };
    vault.apply_reclaim(&vault.plan_reclaim(EVICT).unwrap(), "test").unwrap();
    assert!(!give_up("COF001L6", 0), "it's on no disk and no other tape");
    assert_eq!(vault.reading().copies(copied[0]).unwrap().len(), 1);
    copy_all(&vault, "COF002L6");
    assert!(!give_up("COF001L6", 2), "two copies elsewhere were asked for");
    assert!(give_up("COF001L6", 1));
    assert_eq!(vault.reading().copies(copied[0]).unwrap().len(), 1);
    assert!(!give_up("COF002L6", 1));

    drop(vault);
    let before = fixture.open().dump_catalog().unwrap();
    fixture.delete_catalog();
    assert_eq!(fixture.open().dump_catalog().unwrap(), before);
}

#[test]
fn evicted_data_that_nothing_needs_is_dropped_with_its_stub() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(2);
    let file = agent.make_file(NodeId::ROOT, "big.db", random.bytes(40 * PAGE));
    agent.close().unwrap();
    let memory = agent.leave();
    vault.roll().unwrap();
    copy_all(&vault, "COF001L6");
    vault.apply_reclaim(&vault.plan_reclaim(EVICT).unwrap(), "test").unwrap();
    let evicted: Vec<_> = vault.segments().unwrap().into_iter().filter(|one| !one.on_disk).collect();
    assert_eq!(evicted.len(), 1);

    let mut agent = Agent::resume(&vault, computer, config, memory).unwrap();
    // The newest three points never expire.
    for _ in 0..3 {
        fixture.clock.advance(3 * HOUR_MS);
        agent.rewrite(file, random.bytes(40 * PAGE));
        agent.close().unwrap();
    }
    agent.leave();
    let keep = retention::Policy { all_hours: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0 };
    vault.apply_retention(&vault.plan_retention(config, &keep, &TimeZone::UTC).unwrap(), "test").unwrap();
    vault.apply_reclaim(&vault.plan_reclaim(EVICT).unwrap(), "test").unwrap();
    assert!(vault.segments().unwrap().iter().all(|one| one.segment != evicted[0].segment));
    assert_eq!(vault.reading().copies(evicted[0].segment).unwrap(), []);
    let stub = fixture.segment_path(evicted[0].segment.0).with_extension("stub");
    assert!(!stub.exists());
    assert_eq!(vault.needed_bytes().unwrap().get(&evicted[0].segment), None);
}

#[test]
fn copies_in_a_simulated_library_that_was_left_let_nothing_leave_the_disk() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    agent.make_file(NodeId::ROOT, "big.db", Random::new(3).bytes(40 * PAGE));
    agent.close().unwrap();
    agent.leave();
    vault.roll().unwrap();
    let label = |barcode: &str, containers| {
        let (set, state) = ("branch".into(), CartridgeState::Filling);
        let number = 1;
        Event::CartridgeSet { barcode: barcode.into(), state, set, number, containers, written: 9 }
    };
    vault.record(vec![label("COF001L6", 0), label("COF002L6", 0)]).unwrap();
    let seen = ["COF001L6".to_owned(), "COF009L6".to_owned()].into();
    vault.note_simulated(&seen).unwrap();
    vault.record(vec![label("COF001L6", 1)]).unwrap();
    let copied = copy_all(&vault, "COF001L6");
    let evictable = || vault.plan_reclaim(EVICT).unwrap().steps.len();
    assert!(evictable() > 0, "while the library is used, its copies count");

    drop(vault);
    fixture.delete_catalog();
    let vault = fixture.open();
    assert_eq!(vault.give_up_simulated().unwrap(), ["COF001L6"]);
    assert_eq!(vault.plan_reclaim(EVICT).unwrap().steps.len(), 0);
    assert_eq!(vault.reading().copies(copied[0]).unwrap(), []);
    let lost = vault.reading().cartridges().unwrap();
    assert_eq!(lost[0].state, Some(CartridgeState::Lost), "should it come back, it's read again");
    assert_eq!(vault.give_up_simulated().unwrap(), [""; 0]);

    // A real cartridge that carries the same barcode counts.
    vault.record(vec![label("COF001L6", 0), label("COF001L6", 1)]).unwrap();
    copy_all(&vault, "COF001L6");
    assert_eq!(vault.give_up_simulated().unwrap(), [""; 0]);
    assert!(!vault.plan_reclaim(EVICT).unwrap().steps.is_empty());
}

#[test]
fn what_lay_on_simulated_cartridges_alone_is_named_once_they_are_left() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    agent.make_file(NodeId::ROOT, "big.db", Random::new(4).bytes(40 * PAGE));
    agent.close().unwrap();
    agent.leave();
    vault.roll().unwrap();
    let (set, state) = ("branch".into(), CartridgeState::Filling);
    let barcode = "COF001L6".to_owned();
    vault
        .record(vec![Event::CartridgeSet { barcode, state, set, number: 1, containers: 1, written: 9 }])
        .unwrap();
    vault.note_simulated(&["COF001L6".to_owned()].into()).unwrap();
    copy_all(&vault, "COF001L6");
    vault.apply_reclaim(&vault.plan_reclaim(EVICT).unwrap(), "test").unwrap();
    assert_eq!(vault.reading().touched_by_damage(5).unwrap().1, 0);
    vault.give_up_simulated().unwrap();
    let (touched, count) = vault.reading().touched_by_damage(5).unwrap();
    assert!(count == 1 && touched[0].is_lost && touched[0].path == "/big.db", "{touched:?}");
}
