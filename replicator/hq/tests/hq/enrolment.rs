//! Who is let in.

use std::time::Duration;

use coffer_format::wire::{Message, RefusalCode};
use coffer_format::{OrgId, SegmentId, VaultId};
use coffer_hq::{Organisation, Registry};
use coffer_link::{LinkError, Role, connect};
use tokio::time::timeout;

use crate::branch::Branch;
use crate::world::{LONG, Running, World, settings};

fn refusal(outcome: Result<impl std::fmt::Debug, LinkError>) -> (RefusalCode, String) {
    match outcome {
        Err(LinkError::Refused(refusal)) => (refusal.code, refusal.sentence),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_code_serves_once_and_not_for_ever() {
    let world = World::new().await;
    let code = world.code("leeds");
    let enrolled = world.enrol_with(&code, "leeds").await.unwrap();
    assert_eq!((enrolled.branch.as_str(), enrolled.identity.role()), ("leeds", Role::Branch("leeds".into())));

    let (code_, used) = refusal(world.enrol_with(&code, "again").await);
    assert_eq!(code_, RefusalCode::WrongCode);
    assert!(used.contains("used already"), "{used}");

    let mut unknown = world.code("york");
    unknown.secret[0] ^= 1;
    assert!(refusal(world.enrol_with(&unknown, "york").await).1.contains("isn't known"));

    let organisation = Organisation::open(&world.hq_dir()).unwrap();
    let registry = Registry::open(&world.hq_dir()).unwrap();
    let late = registry.issue_code(organisation.authority(), "hull", Duration::ZERO).unwrap();
    // A millisecond later, by the clock that counts.
    let expired = std::time::SystemTime::now() + Duration::from_millis(2);
    while std::time::SystemTime::now() < expired {
        std::hint::spin_loop();
    }
    assert!(refusal(world.enrol_with(&late, "hull").await).1.contains("expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_certificate_of_a_branch_counts() {
    let world = World::new().await;
    let old = world.enrol("leeds").await;
    let mut link = connect(&world.address.to_string(), &old.identity, Role::Hq, None).await.unwrap();
    link.sender.send(Message::BranchSegments).await.unwrap();
    assert!(matches!(link.receiver.recv().await, Ok(Some(Message::BranchHas { .. }))));
    world.enrol_with(&world.code("leeds"), "leeds-new").await.unwrap();

    // The old box's link, which is still open, and a new one are both refused.
    link.sender.send(Message::BranchSegments).await.unwrap();
    let refused = |answer| matches!(answer, Ok(Some(Message::Refused { refusal })) if refusal.code == RefusalCode::NotAllowed);
    assert!(refused(timeout(LONG, link.receiver.recv()).await.unwrap()));
    let mut link = connect(&world.address.to_string(), &old.identity, Role::Hq, None).await.unwrap();
    assert!(refused(timeout(LONG, link.receiver.recv()).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_of_another_organisation_is_refused() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let other = Branch::with(VaultId([1; 16]), OrgId([9; 16]), enrolled.chunk_key, enrolled.recovery_key);
    let running = Running::start(other.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
    let status = running.until(|status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().contains("another organisation"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_box_under_the_same_name_is_refused() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.first_copy(5, 1);
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, point).await;
    running.stop().await;

    let other = Branch::with(VaultId([2; 16]), enrolled.org, enrolled.chunk_key, enrolled.recovery_key);
    let running = Running::start(other.vault.clone(), settings);
    let status = running.until(|status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().contains("another box's"));
    running.stop().await;
}

#[tokio::test]
async fn strangers_and_computers_get_nothing() {
    let world = World::new().await;
    let code = world.code("leeds");
    let (mut link, _) = coffer_link::connect_to_enrol(&world.address.to_string(), &code.pin).await.unwrap();
    link.sender.send(Message::BranchSegments).await.unwrap();
    let answer = timeout(LONG, link.receiver.recv()).await.unwrap();
    assert!(
        matches!(answer, Ok(Some(Message::Refused { refusal })) if refusal.code == RefusalCode::NotAllowed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_may_not_restore_and_an_operator_may_not_send() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let bytes = vec![0; 600].into();
    let wanted =
        Message::RestoreWanted { config: Default::default(), point: Default::default(), paths: Vec::new() };
    let piece = Message::SegmentBytes { segment: SegmentId(1), offset: 0, closed_len: 0, bytes };
    let mut as_box = connect(&world.address.to_string(), &enrolled.identity, Role::Hq, None).await.unwrap();
    let mut as_operator = world.operator("anna").await;
    for (link, message) in [(&mut as_box, wanted), (&mut as_operator, piece)] {
        link.sender.send(message).await.unwrap();
        let answer = timeout(LONG, link.receiver.recv()).await.unwrap();
        assert!(
            matches!(answer, Ok(Some(Message::Refused { refusal })) if refusal.code == RefusalCode::NotAllowed)
        );
    }
}
