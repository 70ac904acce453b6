//! What the box lost before it was sent: HQ says so of each point that needs it, and of no other.

use std::fs;

use coffer_format::SegmentId;
use coffer_format::segment::Stream;
use coffer_link::Link;
use serde_json::json;

use crate::branch::{Branch, noise};
use crate::mirror::path_of;
use crate::restored::{restore, try_restore};
use crate::world::{Running, World, ask, select, settings};

fn bulk_of(branch: &Branch) -> SegmentId {
    let segments = branch.vault.segments().unwrap();
    segments.iter().find(|state| state.stream == Stream::Bulk).unwrap().segment
}

fn metadata_of(branch: &Branch) -> SegmentId {
    let segments = branch.vault.segments().unwrap();
    segments.iter().rfind(|state| state.stream == Stream::Meta).unwrap().segment
}

async fn told_of_branch(operator: &mut Link) -> String {
    let branches = ask(operator, json!({ "hq": "branches" })).await;
    branches[0]["sentence"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn points_that_need_what_the_box_lost_before_it_was_sent_are_counted() {
    for what in ["flipped", "cut", "gone"] {
        for is_closed in [false, true] {
            let case = format!("{what}, closed: {is_closed}");
            let world = World::new().await;
            let enrolled = world.enrol("leeds").await;
            let mut branch = Branch::of(&enrolled);
            let first = branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
            let bulk = bulk_of(&branch);
            if is_closed {
                branch.vault.roll().unwrap();
            }
            match what {
                "flipped" => branch.flip(bulk, 300_000),
                "cut" => branch.cut(bulk, 300_000),
                _ => fs::remove_file(branch.path_of(bulk)).unwrap(),
            }
            branch.vault.look_for_missing().unwrap();
            branch.vault.verify(&mut |_| {}).unwrap();
            branch.vault.roll().unwrap();
            let second = branch.back_up(Stream::Bulk, &[("big", noise(2, 600_000))]);
            let is_lost = what != "gone" || is_closed;

            let settings = settings(world.address, &enrolled.identity, "leeds");
            let running = Running::start(branch.vault.clone(), settings);
            running.until_taken(1, second).await;
            let mut operator = world.operator("anna").await;
            select(&mut operator, "leeds").await;
            assert_eq!(
                restore(&mut operator, branch.config, second, &[]).await.as_ref(),
                Ok(&branch.points[&second]),
                "{case}"
            );
            let first_again = try_restore(&mut operator, &branch, first).await;
            assert_eq!(first_again, !is_lost, "{case}");
            let said = told_of_branch(&mut operator).await;
            let report = ask(&mut operator, json!({ "do": "verify" })).await;
            running.stop().await;
            if is_lost {
                assert!(said.contains("newest restore points are whole at HQ"), "{case}: {said}");
                assert!(said.contains("One restore point can't be restored whole"), "{case}: {said}");
                assert_eq!(
                    (&report["verdict"], &report["lost_count"]),
                    (&"lost".into(), &1.into()),
                    "{case}"
                );
                let said = report["sentence"].as_str().unwrap();
                assert!(said.contains("nor from the branch's box"), "{case}: {said}");
            } else {
                assert!(
                    said.contains("every restore point that the box has told of is whole"),
                    "{case}: {said}"
                );
                assert_eq!(report["verdict"], "whole", "{case}: {report}");
            }
        }
    }
}

/// Segments that are written to, whose files are gone on both sides: what needs them isn't whole at HQ, however often it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_both_sides_lost_of_an_open_segment_is_not_called_whole() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let first = branch.back_up(Stream::Fresh, &[("one", noise(1, 9000))]);
    branch.vault.roll().unwrap();
    let second = branch.back_up(Stream::Bulk, &[("big", noise(2, 600_000))]);
    let bulk = bulk_of(&branch);
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, second).await;
    running.stop().await;

    let world = world.restart_after(|hq| fs::remove_file(hq.join(path_of(bulk))).unwrap()).await;
    let branch = branch.restart_after(|file| fs::remove_file(file(bulk)).unwrap());
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    let check = async |operator: &mut Link, when: &str| {
        assert!(!try_restore(operator, &branch, second).await, "{when}");
        let said = told_of_branch(operator).await;
        assert!(!said.contains("is whole at HQ") && !said.contains("are whole at HQ"), "{when}: {said}");
    };
    check(&mut operator, "before the box is there").await;
    branch.vault.look_for_missing().unwrap();
    let missing = branch.vault.reading().to_heal().unwrap().iter().map(|need| need.segment).collect();
    branch.vault.record_unhealed(&missing).unwrap();
    let running = Running::start(branch.vault.clone(), settings);
    running.until(|status| status.whole.iter().any(|whole| whole.point == Some(first))).await;
    check(&mut operator, "once the box has told").await;
    let report = ask(&mut operator, json!({ "do": "verify" })).await;
    assert_eq!(report["verdict"], "lost", "{report}");
    running.stop().await;
    assert!(try_restore(&mut operator, &branch, first).await);
}

/// Metadata that the box lost before it was sent: HQ waits for it no longer than it may come, and goes on with what is behind it.
#[tokio::test(flavor = "multi_thread")]
async fn hq_goes_on_behind_metadata_that_the_box_lost() {
    for what in ["flipped", "cut", "gone"] {
        for is_closed in [false, true] {
            let case = format!("{what}, closed: {is_closed}");
            let world = World::new().await;
            let enrolled = world.enrol("leeds").await;
            let mut branch = Branch::of(&enrolled);
            let first = branch.back_up(Stream::Fresh, &[("one", noise(1, 9000))]);
            let settings = settings(world.address, &enrolled.identity, "leeds");
            let running = Running::start(branch.vault.clone(), settings.clone());
            running.until_whole(1, first).await;
            running.stop().await;

            branch.vault.roll().unwrap();
            branch.back_up(Stream::Fresh, &[("one", noise(2, 9000))]);
            let metadata = metadata_of(&branch);
            // In the last record, which says what the second point holds.
            let near_end = branch.bytes_of(metadata).len() as u64 - 8;
            if is_closed {
                branch.vault.roll().unwrap();
            }
            match what {
                "flipped" => branch.flip(metadata, near_end),
                "cut" => branch.cut(metadata, near_end),
                _ => fs::remove_file(branch.path_of(metadata)).unwrap(),
            }
            branch.vault.look_for_missing().unwrap();
            branch.vault.verify(&mut |_| {}).unwrap();
            let third = branch.back_up(Stream::Fresh, &[("one", noise(3, 9000))]);
            let is_lost = what != "gone" || is_closed;

            let running = Running::start(branch.vault.clone(), settings.clone());
            running.until_taken(1, third).await;
            let mut operator = world.operator("anna").await;
            select(&mut operator, "leeds").await;
            // Nobody has compared everything since, so it may be other than it was.
            assert_eq!(try_restore(&mut operator, &branch, third).await, !is_lost, "{case}");
            let said = told_of_branch(&mut operator).await;
            assert_eq!(said.contains("can't be restored whole"), is_lost, "{case}: {said}");
            // The box hears it, too.
            running.until(|status| status.whole.iter().any(|whole| whole.lacks_newest() == is_lost)).await;
            running.stop().await;

            // It goes on from there after a restart, too.
            let world = world.restart().await;
            let fourth = branch.back_up(Stream::Fresh, &[("one", noise(4, 9000))]);
            let running = Running::start(branch.vault.clone(), settings);
            running.until_taken(1, fourth).await;
            running.stop().await;
            drop(world);
        }
    }
}

/// Metadata that HQ went on without, and that comes back to the box: it's as if it had never been away.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_comes_back_is_taken_in_its_place() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    branch.back_up(Stream::Fresh, &[("one", noise(1, 9000))]);
    branch.vault.roll().unwrap();
    let second = branch.back_up(Stream::Fresh, &[("two", noise(2, 9000))]);
    let metadata = metadata_of(&branch);
    branch.vault.roll().unwrap();
    let bytes = fs::read(branch.path_of(metadata)).unwrap();
    fs::remove_file(branch.path_of(metadata)).unwrap();
    branch.vault.look_for_missing().unwrap();
    let third = branch.back_up(Stream::Fresh, &[("one", noise(3, 9000))]);
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings);
    running.until_taken(1, third).await;
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    assert!(restore(&mut operator, branch.config, second, &[]).await.is_err());

    fs::write(branch.path_of(metadata), bytes).unwrap();
    branch.vault.verify(&mut |_| {}).unwrap();
    running.until_whole(1, third).await;
    for point in [second, third] {
        let restored = restore(&mut operator, branch.config, point, &[]).await;
        assert_eq!(restored.as_ref(), Ok(&branch.points[&point]), "{point}");
    }
    let said = told_of_branch(&mut operator).await;
    assert!(said.contains("every restore point that the box has told of is whole"), "{said}");
    running.stop().await;
}
