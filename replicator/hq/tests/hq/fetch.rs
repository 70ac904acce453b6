//! Segments back from HQ.

use std::sync::{Arc, Mutex};

use coffer_format::SegmentId;
use coffer_format::segment::Stream;
use coffer_replicator::{WanError, fetch_outlines, fetch_segments};
use coffer_vault::reclaim::Policy;
use coffer_vault::verify::Verdict;

use crate::branch::{Branch, noise};
use crate::world::{Cut, Line, Running, World, settings};

/// Evicted segments come back over a line that is cut again and again, and are what they were.
#[tokio::test(flavor = "multi_thread")]
async fn evicted_segments_come_back() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 500_000))]);
    branch.vault.roll().unwrap();
    let bulk =
        branch.vault.segments().unwrap().iter().find(|state| state.stream == Stream::Bulk).unwrap().segment;
    let before = branch.bytes_of(bulk);
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, point).await;
    while branch.vault.reading().copies(bulk).unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    running.stop().await;

    branch.begin_again();
    let policy = Policy { free_target_bytes: u64::MAX / 2, ..Policy::default() };
    let plan = branch.vault.plan_reclaim(policy).unwrap();
    assert!(branch.vault.apply_reclaim(&plan, "test").unwrap() >= before.len() as u64);
    let on_disk =
        |segment| branch.vault.segments().unwrap().iter().any(|s| s.segment == segment && s.on_disk);
    assert!(!on_disk(bulk));

    // Each connection gets through its handshake and no further than a request.
    let cuts = (0..5).map(|more| (2_600 + more, Cut::Reset)).collect();
    let line = Line::new(world.address, cuts).await;
    let far = coffer_replicator::WanSettings { address: line.address.to_string(), ..settings.clone() };
    let vault = branch.vault.clone();
    let fetched = Arc::new(Mutex::new(Vec::new()));
    let seen = fetched.clone();
    fetch_segments(&far, None, &[bulk], move |segment, bytes| {
        seen.lock().unwrap().push(segment);
        vault.import_segment(segment, bytes)
    })
    .await
    .unwrap();
    assert_eq!(*fetched.lock().unwrap(), [bulk]);
    assert!(on_disk(bulk));
    assert!(branch.bytes_of(bulk) == before);

    let missing = fetch_segments(&settings, None, &[SegmentId(999)], |_, _| Ok(())).await;
    assert!(matches!(missing, Err(WanError::NotAtHq { segment: SegmentId(999) })));
}

/// What HQ has of segments that are still written to puts damage right in them; they then go on, and are whole there.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_an_open_segment_is_put_right_from_hq() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 300_000))]);
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, point).await;
    let open: Vec<SegmentId> = branch.vault.segments().unwrap().iter().map(|state| state.segment).collect();
    let verify = || branch.vault.verify(&mut |_| {}).unwrap();
    for segment in &open {
        branch.flip(*segment, 700);
        let report = verify();
        assert_eq!(report.verdict, Verdict::Heals, "{report:?}");
        assert!(report.touched.iter().all(|one| one.from == ["HQ (leeds)"]), "{report:?}");
    }
    let vault = branch.vault.clone();
    let put_right = move |segment, bytes: &[u8]| vault.mend_segment(segment, bytes);
    let lacking = fetch_outlines(&settings, None, &open, put_right).await;
    assert!(lacking.is_empty(), "{lacking:?}");
    assert_eq!(verify().verdict, Verdict::Whole);
    let last = branch.back_up(Stream::Bulk, &[("more", noise(2, 100_000))]);
    branch.vault.roll().unwrap();
    let status = running.until_whole(1, last).await;
    assert!(status.held_back.is_empty(), "{status:?}");
    for segment in open {
        while branch.vault.reading().copies(segment).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }
    running.stop().await;
}

/// What is damaged before it went to HQ doesn't go there; the rest does.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_not_sent() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 300_000))]);
    let bulk =
        branch.vault.segments().unwrap().iter().find(|state| state.stream == Stream::Bulk).unwrap().segment;
    let sound = branch.bytes_of(bulk);
    branch.flip(bulk, 100_000);
    assert_eq!(branch.vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Lost);
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings);
    let status = running.until(|status| status.receipted_bytes > 0 && status.whole_asked_ms > 0).await;
    assert!(status.behind_bytes.is_some_and(|behind| behind > 0), "{status:?}");
    assert!(status.held_back.is_empty(), "{status:?}");
    branch.vault.mend_segment(bulk, &sound).unwrap();
    running.job.try_again(bulk);
    running.until_whole(1, point).await;
    running.stop().await;
}
