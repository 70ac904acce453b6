//! The escrow and a new box's key: only the recovery key opens the one and gives the other, and old segments open with it.

use coffer_format::escrow::Escrow;
use coffer_format::{Blob, NodeId, PointSeq};
use coffer_vault::{BoxKey, RecoveryKey, VaultError, give_box_key};

use crate::support::agent::Agent;
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::check_point;

fn escrow(settings: &str) -> Escrow {
    Escrow { certificate: Blob(vec![1, 2]), key: Blob(vec![3, 4]), settings: settings.into() }
}

#[test]
fn an_escrow_is_kept_once_and_the_newest_counts() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (private, public) = &fixture.recovery;
    assert_eq!(vault.reading().escrow(vault.id(), private).unwrap(), None);
    vault.keep_escrow(public, &escrow("a")).unwrap();
    let once = vault.segments().unwrap();
    vault.keep_escrow(public, &escrow("a")).unwrap();
    assert_eq!(vault.segments().unwrap(), once, "the same was written again");
    vault.keep_escrow(public, &escrow("b")).unwrap();
    drop(vault);
    fixture.delete_catalog();
    let vault = fixture.open();
    assert_eq!(vault.reading().escrow(vault.id(), private).unwrap(), Some(escrow("b")));
    let (other, other_public) = RecoveryKey::generate().unwrap();
    assert!(matches!(vault.reading().escrow(vault.id(), &other), Err(VaultError::Key(_))));
    // The organisation got another key: it's sealed anew for that.
    vault.keep_escrow(&other_public, &escrow("b")).unwrap();
    assert_eq!(vault.reading().escrow(vault.id(), &other).unwrap(), Some(escrow("b")));
}

#[test]
fn a_new_box_key_opens_everything_and_the_one_before_nothing() {
    let mut fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    agent.make_file(NodeId::ROOT, "old", vec![7; 20_000]);
    agent.close().unwrap();
    let memory = agent.leave();
    drop(vault);

    let new = BoxKey::generate().unwrap();
    let wrong = RecoveryKey::generate().unwrap().0;
    assert!(matches!(give_box_key(&*fixture.disk, fixture.dir(), &wrong, &new), Err(VaultError::Key(_))));
    drop(fixture.open());
    give_box_key(&*fixture.disk, fixture.dir(), &fixture.recovery.0, &new).unwrap();
    assert!(matches!(fixture.try_open(), Err(VaultError::Key(_))), "the key of before still opens the vault");
    fixture.box_key = new;
    // The catalog is made from segments that were written by either box.
    for _ in 0..2 {
        fixture.delete_catalog();
        let vault = fixture.open();
        check_point(vault.reading(), config, PointSeq(1), &memory.points[&PointSeq(1)]).unwrap();
        vault.audit("box", "goes on").unwrap();
    }
    // A lost identity is made again from what the new box wrote.
    std::fs::remove_file(fixture.dir().join("vault.id")).unwrap();
    let vault = fixture.open();
    check_point(vault.reading(), config, PointSeq(1), &memory.points[&PointSeq(1)]).unwrap();
}
