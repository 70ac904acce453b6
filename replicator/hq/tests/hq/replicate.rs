//! A vault arrives at HQ and is restored from there.

use coffer_format::segment::Stream;
use coffer_vault::{Opener, RecoveryKey};
use serde_json::json;

use crate::branch::{Branch, noise};
use crate::restored::restore;
use crate::world::{Running, World, ask, select, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_is_whole_at_hq_and_comes_back_bit_for_bit() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    branch.first_copy(300, 1);
    branch.vault.roll().unwrap();
    let second = branch.back_up(Stream::Fresh, &[("file-0005", noise(9, 70_000)), ("new", noise(10, 5))]);

    let before = branch.durable_bytes();
    let running = Running::start(branch.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
    let status = running.until_whole(1, second).await;
    // Copies that are recorded meanwhile become metadata of their own.
    assert!((before..=branch.durable_bytes()).contains(&status.receipted_bytes));
    assert!(status.sent_bytes > status.receipted_bytes, "headers and TLS count");
    assert_eq!(status.last_error, None);

    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    for (point, files) in &branch.points {
        assert_eq!(
            restore(&mut operator, branch.config, *point, &[]).await.as_ref(),
            Ok(files),
            "point {point}"
        );
    }
    let one = restore(&mut operator, branch.config, 1, &["file-0005"]).await.unwrap();
    assert_eq!(one, [("file-0005".to_owned(), branch.points[&1]["file-0005"].clone())].into());

    // Something new while the job runs.
    let third = branch.back_up(Stream::Fresh, &[("later", noise(11, 100_000))]);
    running.job.wake();
    running.until_whole(1, third).await;
    assert_eq!(restore(&mut operator, branch.config, third, &[]).await.as_ref(), Ok(&branch.points[&third]));

    let overview = ask(&mut operator, json!({ "hq": "branches" })).await;
    assert_eq!(overview[0]["branch"], "leeds");
    assert_eq!(overview[0]["configurations"][0]["point"], json!(third));
    assert!(overview[0]["configurations"][0]["lag_ms"].as_u64().unwrap() < 60_000);
    let points = ask(&mut operator, json!({ "query": "points", "config": 1 })).await;
    assert_eq!(points.as_array().unwrap().len(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_segments_count_as_copies_only_after_hqs_receipt() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.first_copy(50, 1);
    branch.vault.roll().unwrap();
    let at_hq = |place: &coffer_format::event::Place| matches!(place, coffer_format::event::Place::Hq { name } if name == "leeds");
    let closed = branch.vault.reading().without_copy(at_hq).unwrap().len();
    assert!(closed >= 2);
    let running = Running::start(branch.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
    running.until_whole(1, point).await;
    while !branch.vault.reading().without_copy(at_hq).unwrap().is_empty() {
        running.until(|_| true).await;
        tokio::task::yield_now().await;
    }
    running.stop().await;
    for state in branch.vault.segments().unwrap().iter().filter(|state| state.closed) {
        let path = format!("branches/leeds/segments/{:016x}.seg", state.segment.0);
        let there = std::fs::read(world.hq_dir().join(path)).unwrap();
        let mut here = vec![0; state.bytes as usize];
        branch.vault.reading().read_segment(state.segment, 0, &mut here).unwrap();
        assert!(there == here, "segment {} is the same byte for byte", state.segment);
    }
}

/// The catalog at HQ is only an index: without it everything is still there.
#[tokio::test(flavor = "multi_thread")]
async fn hq_goes_on_after_a_restart_and_without_its_catalog() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let first = branch.first_copy(50, 1);
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, first).await;
    running.stop().await;
    let world = world.restart().await;
    let second = branch.back_up(Stream::Fresh, &[("more", noise(3, 50_000))]);
    let running = Running::start(branch.vault.clone(), settings.clone());
    let status = running.until_whole(1, second).await;
    assert!(status.receipted_bytes < branch.durable_bytes() / 2, "what HQ had isn't sent again");
    running.stop().await;

    let world = world
        .restart_after(|hq| {
            for ending in ["", "-wal", "-shm"] {
                match std::fs::remove_file(hq.join(format!("branches/leeds/catalog.sqlite{ending}"))) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                    _ => {}
                }
            }
        })
        .await;
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    for (point, files) in &branch.points {
        assert_eq!(restore(&mut operator, branch.config, *point, &[]).await.as_ref(), Ok(files));
    }
}

/// HQ alone: the recovery key opens the mirror's segments.
#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::TempDir::new().unwrap();
    let hq = dir.path().join("hq");
    coffer_hq::Organisation::create(&hq, "Example").unwrap();
    for name in ["chunk.key", "recovery.key", "authority/authority.key", "identity/key.pem"] {
        let mode = std::fs::metadata(hq.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let text = std::fs::read_to_string(hq.join("recovery.key")).unwrap();
    let key: coffer_format::FileHash = text.trim().parse().unwrap();
    let _ = Opener::Organisation(RecoveryKey(key.0));
    assert!(matches!(coffer_hq::Organisation::create(&hq, "Other"), Err(coffer_hq::HqError::Exists { .. })));
}
