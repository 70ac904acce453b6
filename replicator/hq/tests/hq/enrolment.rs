//! Who is let in.

use std::time::Duration;

use coffer_format::wire::{Message, RefusalCode};
use coffer_format::{FileHash, OrgId, SegmentId, VaultId};
use coffer_hq::{CodeFor, Organisation, Registry};
use coffer_link::{Identity, LinkError, Role, branch_of_code, connect, connect_to_enrol, secret_hash};
use rusqlite::{Connection, params};
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
    let late =
        registry.issue_code(organisation.authority(), "hull", Duration::ZERO, CodeFor::NewBranch).unwrap();
    // A millisecond later, by the clock that counts.
    let expired = std::time::SystemTime::now() + Duration::from_millis(2);
    while std::time::SystemTime::now() < expired {
        std::hint::spin_loop();
    }
    assert!(refusal(world.enrol_with(&late, "hull").await).1.contains("expired"));
}

#[tokio::test]
async fn a_look_at_a_codes_branch_uses_nothing_up() {
    let world = World::new().await;
    let code = world.code("leeds");
    let address = world.address.to_string();
    for _ in 0..2 {
        let found = branch_of_code(&address, &code).await.unwrap().unwrap();
        assert_eq!((found.branch.as_str(), found.vault, found.marks.len()), ("leeds", None, 0));
        assert_eq!(found.org, Organisation::open(&world.hq_dir()).unwrap().org);
    }
    world.enrol_with(&code, "leeds").await.unwrap();
    // What can't be used tells nothing: enrolling says why.
    assert!(branch_of_code(&address, &code).await.unwrap().is_none());
    let mut unknown = code.clone();
    unknown.secret[0] ^= 1;
    assert!(branch_of_code(&address, &unknown).await.unwrap().is_none());
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again_for_the_same_key_alone() {
    let world = World::new().await;
    let code = world.code("leeds");
    let address = world.address.to_string();
    let dir = world.dir.path().join("box-leeds");
    // HQ uses the code up, and the box ends before it hears of it.
    let pending = Identity::request_kept(&dir).unwrap();
    let (mut link, _) = connect_to_enrol(&address, &code.pin).await.unwrap();
    let (secret, csr) = (code.secret.as_slice().into(), pending.csr_der().into());
    let (name, os) = ("leeds".to_owned(), "linux".to_owned());
    link.sender.send(Message::Enrol { secret, name, os, csr }).await.unwrap();
    assert!(matches!(link.receiver.recv().await, Ok(Some(Message::EnrolledBranch { .. }))));

    assert!(refusal(world.enrol_with(&code, "other").await).1.contains("used already"));
    let enrolled = world.enrol_with(&code, "leeds").await.unwrap();
    let mut link = connect(&address, &enrolled.identity, Role::Hq, None).await.unwrap();
    link.sender.send(Message::BranchSegments).await.unwrap();
    assert!(matches!(link.receiver.recv().await, Ok(Some(Message::BranchHas { .. }))));
    // From here on it's another key.
    assert!(refusal(world.enrol_with(&code, "leeds").await).1.contains("used already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_certificate_of_a_branch_counts() {
    let world = World::new().await;
    let old = world.enrol("leeds").await;
    let mut link = connect(&world.address.to_string(), &old.identity, Role::Hq, None).await.unwrap();
    link.sender.send(Message::BranchSegments).await.unwrap();
    assert!(matches!(link.receiver.recv().await, Ok(Some(Message::BranchHas { .. }))));
    let code = world.code_for("leeds", CodeFor::Replacement).unwrap();
    world.enrol_with(&code, "leeds-new").await.unwrap();

    // The old box's link, which is still open, and a new one are both refused.
    link.sender.send(Message::BranchSegments).await.unwrap();
    let refused = |answer| matches!(answer, Ok(Some(Message::Refused { refusal })) if refusal.code == RefusalCode::NotAllowed);
    assert!(refused(timeout(LONG, link.receiver.recv()).await.unwrap()));
    let mut link = connect(&world.address.to_string(), &old.identity, Role::Hq, None).await.unwrap();
    assert!(refused(timeout(LONG, link.receiver.recv()).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_for_a_branch_in_use_changes_nothing() {
    let world = World::new().await;
    // Given out while the branch was free: by the time it's used, another box is the branch.
    let second = world.code("leeds");
    let first = world.enrol("leeds").await;
    let mut link = connect(&world.address.to_string(), &first.identity, Role::Hq, None).await.unwrap();

    let (code, sentence) = refusal(world.enrol_with(&second, "second").await);
    assert_eq!(code, RefusalCode::Conflict);
    assert!(sentence.contains("nothing was changed") && sentence.contains("--replace"), "{sentence}");
    let error = world.code_for("leeds", CodeFor::NewBranch).unwrap_err();
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    // A replacement that is only given out changes nothing either.
    world.code_for("leeds", CodeFor::Replacement).unwrap();

    // The live box goes on, on its open link and on a new one.
    let mut anew = connect(&world.address.to_string(), &first.identity, Role::Hq, None).await.unwrap();
    for link in [&mut link, &mut anew] {
        link.sender.send(Message::BranchSegments).await.unwrap();
        let answer = timeout(LONG, link.receiver.recv()).await.unwrap();
        assert!(matches!(answer, Ok(Some(Message::BranchHas { .. }))), "{answer:?}");
    }
}

#[test]
fn a_registry_of_an_older_program_opens_and_its_codes_replace_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(dir.path().join("hq.sqlite")).unwrap();
    old.execute_batch(
        "CREATE TABLE codes (secret BLOB PRIMARY KEY, branch TEXT NOT NULL, expires_ms INTEGER NOT NULL,
           used_ms INTEGER) WITHOUT ROWID;",
    )
    .unwrap();
    for secret in [b"first", b"later"] {
        let insert = "INSERT INTO codes VALUES (?1, 'leeds', ?2, NULL)";
        old.execute(insert, params![secret_hash(secret).0, i64::MAX]).unwrap();
    }
    drop(old);
    let signed = |number| move |_: &Role| Ok((vec![number], FileHash([number; 32])));
    Registry::open(dir.path()).unwrap().use_code(b"first", signed(1)).unwrap();
    // Opened a second time: what was added is there.
    let registry = Registry::open(dir.path()).unwrap();
    let error = registry.use_code(b"later", signed(2)).unwrap_err();
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    registry.check_holder(&Role::Branch("leeds".into()), &FileHash([1; 32])).unwrap();
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
