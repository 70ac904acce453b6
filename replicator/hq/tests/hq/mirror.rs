//! What HQ's mirror makes of what it has.

use std::path::PathBuf;
use std::sync::Arc;

use coffer_format::segment::{SegmentHeader, Stream};
use coffer_format::{SegmentId, from_bytes};
use coffer_vault::disk::RealDisk;
use coffer_vault::mirror::Mirror;
use coffer_vault::{RecoveryKey, SegmentState};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::branch::{Branch, noise};
use crate::restored::{restore, try_restore};
use crate::world::{LONG, Running, World, ask, select, settings};

pub(crate) fn mirror_of(branch: &Branch, key: RecoveryKey) -> (TempDir, Mirror) {
    let dir = TempDir::new().unwrap();
    let first = branch.vault.segments().unwrap()[0].segment;
    let header: SegmentHeader = from_bytes(&branch.bytes_of(first)[..SegmentHeader::LEN]).unwrap();
    let mirror = Mirror::open(Arc::new(RealDisk), dir.path(), key, Some(&header)).unwrap();
    (dir, mirror)
}

/// With all that the branch has.
pub(crate) fn full_mirror_of(branch: &Branch, key: RecoveryKey) -> (TempDir, Mirror) {
    let (dir, mirror) = mirror_of(branch, key);
    branch.vault.segments().unwrap().iter().for_each(|state| send(branch, &mirror, state));
    (dir, mirror)
}

fn send(branch: &Branch, mirror: &Mirror, state: &SegmentState) {
    let closed_len = if state.closed { state.bytes } else { 0 };
    let (bytes, hash) = mirror.append(state.segment, 0, closed_len, &branch.bytes_of(state.segment)).unwrap();
    assert_eq!((bytes, hash), (state.bytes, state.hash));
    mirror.refresh().unwrap();
}

fn whole(mirror: &Mirror) -> Option<u64> {
    mirror.whole().unwrap()[0].point
}

/// A point isn't whole as long as any segment that it may need is missing, closed ones too.
#[test]
fn a_point_is_whole_only_with_all_its_data() {
    let (key, public) = RecoveryKey::generate().unwrap();
    let mut branch =
        Branch::with(coffer_format::VaultId([1; 16]), coffer_format::OrgId([2; 16]), [3; 32], public.0);
    branch.first_copy(20, 1);
    branch.vault.roll().unwrap();
    let second = branch.back_up(Stream::Fresh, &[("a", noise(1, 9000))]);
    branch.vault.roll().unwrap();
    let (dir, mirror) = mirror_of(&branch, key.clone());
    let mut states = branch.vault.segments().unwrap();
    states.sort_by_key(|state| (state.stream, state.segment));
    for state in &states {
        if state.stream == Stream::Bulk {
            assert_eq!(whole(&mirror), None, "before {state:?}");
        }
        send(&branch, &mirror, state);
    }
    assert_eq!(whole(&mirror), Some(second));
    drop(mirror);
    let again = Mirror::open(Arc::new(RealDisk), dir.path(), key, None).unwrap();
    assert_eq!(whole(&again), Some(second));
    assert!(again.has().iter().all(|has| has.closed));
}

/// Bytes rot at HQ before a segment is whole: only what has rotted is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn damage_at_hq_is_cut_off_and_sent_again() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, point).await;
    running.stop().await;

    let bulk =
        branch.vault.segments().unwrap().iter().find(|state| state.stream == Stream::Bulk).unwrap().segment;
    let world = world.restart_after(|hq| flip(hq.join(path_of(bulk)), 400_000)).await;
    branch.vault.roll().unwrap();
    let last = branch.back_up(Stream::Fresh, &[("small", noise(2, 10))]);
    let running = Running::start(branch.vault.clone(), settings);
    let status = running.until_whole(1, last).await;
    assert!(status.receipted_bytes < 400_000, "{}", status.receipted_bytes);
    assert!(status.held_back.is_empty());
    running.stop().await;
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    assert_eq!(restore(&mut operator, branch.config, last, &[]).await.as_ref(), Ok(&branch.points[&last]));
}

/// What rots of a closed segment is found by HQ itself, counts as no copy any more, and comes again from the box.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_segment_that_rots_at_hq_is_healed_from_the_box() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
    branch.vault.roll().unwrap();
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, point).await;
    running.stop().await;
    let bulk =
        branch.vault.segments().unwrap().iter().find(|state| state.stream == Stream::Bulk).unwrap().segment;
    let copies = || branch.vault.reading().copies(bulk).unwrap().len();
    assert_eq!(copies(), 1);

    let world = world.restart_after(|hq| flip(hq.join(path_of(bulk)), 400_000)).await;
    let running = Running::start(branch.vault.clone(), settings);
    // It's found when HQ begins to read everything back.
    let path = world.hq_dir().join(path_of(bulk));
    let sound = branch.bytes_of(bulk);
    let healed = async {
        while std::fs::read(&path).is_ok_and(|bytes| bytes != sound) || copies() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, healed).await.expect("the copy that came anew is recorded");
    running.stop().await;
    let healed = std::fs::read(world.hq_dir().join(path_of(bulk))).unwrap();
    assert!(healed == branch.bytes_of(bulk), "HQ has other bytes");
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    let report = ask(&mut operator, serde_json::json!({ "do": "verify" })).await;
    assert_eq!(report["verdict"], "whole", "{report}");
    assert_eq!(restore(&mut operator, branch.config, point, &[]).await.as_ref(), Ok(&branch.points[&point]));
}

/// Without the box, what has rotted is named.
#[tokio::test(flavor = "multi_thread")]
async fn what_rots_at_hq_and_cannot_be_had_again_is_named_by_verify() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
    branch.vault.roll().unwrap();
    let running = Running::start(branch.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
    running.until_whole(1, point).await;
    running.stop().await;
    let bulk =
        branch.vault.segments().unwrap().iter().find(|state| state.stream == Stream::Bulk).unwrap().segment;
    flip(world.hq_dir().join(path_of(bulk)), 400_000);
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    let report = ask(&mut operator, serde_json::json!({ "do": "verify" })).await;
    assert_ne!(report["verdict"], "whole", "{report}");
    assert_eq!(report["touched"][0]["path"], "/big", "{report}");
    assert_eq!((&report["verdict"], &report["from_box"]), (&"heals".into(), &true.into()), "{report}");
    assert_eq!(report["touched"][0]["from"][0], "the branch's box", "{report}");
    let said = report["sentence"].as_str().unwrap();
    assert!(said.contains("sends again what it has of it") && !said.contains("no verified copy"), "{said}");
    let branches = ask(&mut operator, serde_json::json!({ "hq": "branches" })).await;
    assert_damage_is_told(&branches[0]);
}

/// What is said of a branch of which a segment that had come is damaged or missing.
fn assert_damage_is_told(branch: &serde_json::Value) {
    let said = branch["sentence"].as_str().unwrap();
    assert!(said.contains("damaged or missing at HQ") && !said.contains("first copy"), "{said}");
    let said = branch["configurations"][0]["sentence"].as_str().unwrap();
    assert!(said.contains("no restore point is whole at HQ, as segments are damaged or missing"), "{said}");
}

/// Of whatever stream it is, and whether HQ ran meanwhile: nothing that needs it is whole any more, until the box has sent it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_gone_at_hq_takes_the_claim_and_comes_again() {
    for stream in [Stream::Bulk, Stream::Meta] {
        let world = World::new().await;
        let enrolled = world.enrol("leeds").await;
        let mut branch = Branch::of(&enrolled);
        let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
        branch.vault.roll().unwrap();
        let settings = settings(world.address, &enrolled.identity, "leeds");
        let running = Running::start(branch.vault.clone(), settings.clone());
        running.until_whole(1, point).await;
        running.stop().await;
        let segments = branch.vault.segments().unwrap();
        let gone = segments.iter().find(|state| state.stream == stream && state.closed).unwrap().segment;
        let world = world.restart_after(|hq| std::fs::remove_file(hq.join(path_of(gone))).unwrap()).await;
        // HQ knows it still when it's started once more.
        let world = world.restart().await;

        let mut operator = world.operator("anna").await;
        let branches = ask(&mut operator, serde_json::json!({ "hq": "branches" })).await;
        assert_damage_is_told(&branches[0]);
        assert_eq!(branches[0]["connected"], false, "{branches}");

        let running = Running::start(branch.vault.clone(), settings);
        running.until_whole(1, point).await;
        let branches = ask(&mut operator, serde_json::json!({ "hq": "branches" })).await;
        let said = branches[0]["sentence"].as_str().unwrap();
        assert!(said.contains("every restore point that the box has told of is whole at HQ"), "{said}");
        running.stop().await;
        select(&mut operator, "leeds").await;
        assert_eq!(
            restore(&mut operator, branch.config, point, &[]).await.as_ref(),
            Ok(&branch.points[&point])
        );
    }
}

pub(crate) fn path_of(segment: SegmentId) -> String {
    format!("branches/leeds/segments/{:016x}.seg", segment.0)
}

pub(crate) fn flip(path: PathBuf, at: usize) {
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

/// A damaged record costs what needs it, while the box is away too; once it's back, it sends what is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sound_behind_damage_is_restored_while_the_box_is_away() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let names = ["first", "second", "third"];
    let files: Vec<_> = names.iter().zip(1..).map(|(name, seed)| (*name, noise(seed, 200_000))).collect();
    let point = branch.back_up(Stream::Bulk, &files);
    branch.vault.roll().unwrap();
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, point).await;
    running.stop().await;

    let segments = branch.vault.segments().unwrap();
    let bulk = segments.iter().find(|state| state.stream == Stream::Bulk).unwrap().segment;
    flip(world.hq_dir().join(path_of(bulk)), 100_000);
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    for _ in 0..2 {
        // Each looks closely at what it finds.
        let report = ask(&mut operator, json!({ "do": "verify" })).await;
        assert_eq!((&report["verdict"], &report["touched_count"]), (&"heals".into(), &1.into()), "{report}");
        for name in &names[1..] {
            let restored = restore(&mut operator, branch.config, point, &[name]).await.unwrap();
            assert_eq!(restored[*name], branch.points[&point][*name], "{name}");
        }
        assert!(!try_restore(&mut operator, &branch, point).await);
    }

    let running = Running::start(branch.vault.clone(), settings);
    running.until_whole(1, point).await;
    let restored = restore(&mut operator, branch.config, point, &[]).await;
    assert_eq!(restored.as_ref(), Ok(&branch.points[&point]));
    running.stop().await;
}

/// Another segment's file in a segment's place isn't that segment, however whole it is: it comes again from the box.
#[tokio::test(flavor = "multi_thread")]
async fn another_segments_file_in_a_place_at_hq_makes_room_for_the_right_one() {
    for (from, to) in [(1, 0), (0, 1)] {
        for is_running in [true, false] {
            let world = World::new().await;
            let enrolled = world.enrol("leeds").await;
            let mut branch = Branch::of(&enrolled);
            branch.back_up(Stream::Bulk, &[("small", noise(1, 200_000))]);
            branch.vault.roll().unwrap();
            let point = branch.back_up(Stream::Bulk, &[("large", noise(2, 400_000))]);
            branch.vault.roll().unwrap();
            let settings = settings(world.address, &enrolled.identity, "leeds");
            let running = Running::start(branch.vault.clone(), settings.clone());
            running.until_whole(1, point).await;
            running.stop().await;
            let segments = branch.vault.segments().unwrap();
            let bulk: Vec<SegmentId> = segments
                .iter()
                .filter(|state| state.stream == Stream::Bulk)
                .map(|state| state.segment)
                .collect();
            let swap = |hq: &std::path::Path| {
                std::fs::copy(hq.join(path_of(bulk[from])), hq.join(path_of(bulk[to]))).unwrap();
            };
            let world = if is_running {
                swap(&world.hq_dir());
                world
            } else {
                world.restart_after(swap).await
            };
            let mut operator = world.operator("anna").await;
            select(&mut operator, "leeds").await;
            let report = ask(&mut operator, json!({ "do": "verify" })).await;
            assert_eq!(report["verdict"], "heals", "{from} {is_running}: {report}");

            let running = Running::start(branch.vault.clone(), settings);
            running.until_whole(1, point).await;
            let restored = restore(&mut operator, branch.config, point, &[]).await;
            assert_eq!(restored.as_ref(), Ok(&branch.points[&point]), "{from} {is_running}");
            running.stop().await;
        }
    }
}
