//! A disk that can't sync, and one that is full: nothing acknowledged is lost, and it's said what is wrong.

use std::sync::Arc;

use coffer_format::NodeId;
use coffer_vault::disk::CrashDisk;
use coffer_vault::{Vault, VaultError};

use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::check_point;

const ROOT: NodeId = NodeId::ROOT;

struct Box {
    disk: CrashDisk,
    fixture: Fixture,
    vault: Arc<Vault>,
    agent: Agent,
}

/// A vault with one acknowledged point.
fn set_up() -> Box {
    let disk = CrashDisk::new();
    let fixture = Fixture::on(Arc::new(disk.clone()));
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    agent.make_file(ROOT, "first", Random::new(1).bytes(5 * PAGE));
    agent.close().unwrap();
    Box { disk, fixture, vault, agent }
}

/// What the agent would do: connect again, see what is there, send the rest again.
fn start_over(mut agent: Agent) -> Agent {
    let (vault, config) = (agent.vault.clone(), agent.config);
    let acked = agent.acked;
    let tree = agent.attempts[..acked].last().map(|one| one.tree.clone()).unwrap_or_default();
    agent.attempts.truncate(acked);
    let memory = Memory { tree, ..agent.leave() };
    Agent::resume(&vault, coffer_format::ComputerId(1), config, memory).unwrap()
}

#[test]
fn a_failed_sync_makes_the_vault_read_only_until_it_is_reopened() {
    let Box { disk, mut fixture, vault, mut agent } = set_up();
    agent.make_file(ROOT, "second", Random::new(2).bytes(PAGE));
    disk.fail_syncs(true);
    assert!(matches!(agent.close(), Err(VaultError::ReadOnly)));
    disk.fail_syncs(false);
    assert!(vault.is_read_only());

    // Later syncs would work, but what the failed one lost is gone: nothing is taken in any more.
    let mut agent = start_over(agent);
    agent.make_file(ROOT, "second", Random::new(2).bytes(PAGE));
    assert!(matches!(agent.close(), Err(VaultError::ReadOnly)));
    assert!(matches!(vault.roll(), Err(VaultError::ReadOnly)));
    assert!(matches!(vault.record(Vec::new()), Err(VaultError::ReadOnly)));
    // A restore isn't refused because it can't be audited: that's in the program's log then.
    vault.audit("reader", "anything").unwrap();
    assert!(vault.reading().audit_log(10).unwrap().iter().all(|one| one.who != "reader"));
    // What is there can still be restored.
    let agent = start_over(agent);
    agent.check_all().unwrap();

    let (config, memory) = (agent.config, agent.leave());
    drop(vault);
    fixture.disk = Arc::new(disk.reboot());
    let vault = fixture.open();
    let mut agent = Agent::resume(&vault, coffer_format::ComputerId(1), config, memory).unwrap();
    agent.make_file(ROOT, "second", Random::new(2).bytes(PAGE));
    agent.close().unwrap();
    agent.check_all().unwrap();
}

#[test]
fn a_failed_sync_while_closing_a_segment_counts_too() {
    let Box { disk, vault, agent, fixture: _kept } = set_up();
    disk.fail_syncs(true);
    assert!(matches!(vault.roll(), Err(VaultError::ReadOnly)));
    disk.fail_syncs(false);
    assert!(vault.is_read_only());
    agent.check_all().unwrap();
}

#[test]
fn intake_stops_at_the_reserve_and_goes_on_by_itself() {
    let disk = CrashDisk::new();
    let mut fixture = Fixture::on(Arc::new(disk.clone()));
    fixture.reserve_bytes = 100 * PAGE as u64;
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    agent.make_file(ROOT, "first", Random::new(1).bytes(5 * PAGE));
    agent.close().unwrap();

    disk.set_free(Some(50 * PAGE as u64));
    let file = agent.make_file(ROOT, "second", Random::new(2).bytes(5 * PAGE));
    let error = agent.close().unwrap_err();
    assert!(matches!(error, VaultError::Full { .. }), "{error}");
    assert_eq!(error.refusal().code, coffer_format::wire::RefusalCode::DiskFull);
    // Bookkeeping still works.
    vault.audit("test", "still here").unwrap();
    let mut agent = start_over(agent);
    agent.check_all().unwrap();
    assert!(!vault.is_read_only());

    disk.set_free(Some(1000 * PAGE as u64));
    agent.make_file(ROOT, "second", Random::new(2).bytes(5 * PAGE));
    agent.close().unwrap();
    agent.check_all().unwrap();
    assert_ne!(file, NodeId(0));
}

/// Whatever is free of it: room wouldn't help.
#[test]
fn a_disk_that_takes_no_writes_is_not_called_full() {
    let disk = CrashDisk::new();
    let mut fixture = Fixture::on(Arc::new(disk.clone()));
    fixture.reserve_bytes = 100 * PAGE as u64;
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    agent.make_file(ROOT, "first", Random::new(1).bytes(5 * PAGE));
    agent.close().unwrap();
    disk.fail_syncs(true);
    assert!(matches!(vault.roll(), Err(VaultError::ReadOnly)));
    disk.set_free(Some(50 * PAGE as u64));
    // With packs, and without any.
    let mut agent = start_over(agent);
    agent.make_file(ROOT, "second", Random::new(2).bytes(PAGE));
    let error = agent.close().unwrap_err();
    assert!(matches!(error, VaultError::ReadOnly), "{error}");
    let mut agent = start_over(agent);
    agent.delete(ROOT, b"first");
    let error = agent.close().unwrap_err();
    assert!(matches!(error, VaultError::ReadOnly), "{error}");
}

/// Lets the disk be full after every possible number of bytes, while a point is taken in and segments are closed.
#[test]
fn a_disk_that_is_full_at_any_byte_loses_nothing() {
    let Box { disk, mut fixture, vault, mut agent } = set_up();
    let config = agent.config;
    let mut random = Random::new(7);
    let mut refused = 0;
    let mut room = 0;
    // Each time a little more room: so the end of it comes in every record, header and index.
    while refused < 60 {
        disk.set_free(Some(room));
        room += 97;
        let name = format!("file{room}");
        agent.make_file(ROOT, &name, random.bytes(600));
        let outcome = agent.close().map(|_| ()).and_then(|()| vault.roll());
        match outcome {
            Ok(()) => room = 0,
            Err(error) => {
                assert!(matches!(error, VaultError::Full { .. }), "{error}");
                refused += 1;
            }
        }
        assert!(!vault.is_read_only());
        disk.set_free(None);
        agent = start_over(agent);
        if refused % 10 == 0 {
            agent.check_all().unwrap();
        }
        vault.audit("test", "there's room again").unwrap();
    }
    agent.check_all().unwrap();
    let report = vault.verify(&mut |_| {}).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    let memory = agent.leave();
    drop(vault);
    for keeps_catalog in [true, false] {
        if !keeps_catalog {
            fixture.delete_catalog();
        }
        fixture.disk = Arc::new(disk.reboot());
        let vault = fixture.open();
        for (point, model) in &memory.points {
            check_point(vault.reading(), config, *point, model).unwrap();
        }
    }
    assert!(fixture.disk.list(&fixture.dir().join("segments")).unwrap().len() > 3);
}

#[test]
fn a_disk_that_fails_while_nothing_is_written_is_noticed_by_a_trial_and_a_full_one_is_waited_for() {
    let Box { disk, vault, mut agent, fixture: _kept } = set_up();
    vault.try_write().unwrap();
    disk.set_free(Some(0));
    assert!(vault.try_write().unwrap_err().is_disk_full());
    assert!(!vault.is_read_only());
    disk.set_free(None);
    vault.try_write().unwrap();
    agent.make_file(ROOT, "second", Random::new(2).bytes(PAGE));
    agent.close().unwrap();
    disk.fail_syncs(true);
    vault.try_write().unwrap_err();
    assert!(vault.is_read_only());
    disk.fail_syncs(false);
    assert!(matches!(vault.try_write(), Err(VaultError::ReadOnly)));
    agent.check_all().unwrap();
}
