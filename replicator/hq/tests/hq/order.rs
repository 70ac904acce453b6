//! What is sent when, seen piece by piece.

use std::collections::HashMap;

use coffer_format::SegmentId;
use coffer_format::segment::Stream;
use coffer_replicator::{Calendar, Rate};
use coffer_vault::SegmentState;

use crate::branch::{Branch, noise};
use crate::fake::{FakeHq, FakeLink, Piece, Said, has};
use crate::world::{Running, settings};

fn streams(branch: &Branch) -> HashMap<u64, Stream> {
    branch.vault.segments().unwrap().iter().map(|state| (state.segment.0, state.stream)).collect()
}

fn state(branch: &Branch, segment: u64) -> SegmentState {
    let all = branch.vault.segments().unwrap();
    *all.iter().find(|state| state.segment == SegmentId(segment)).unwrap()
}

/// Fast enough for a test, thin enough for small pieces and a small window.
fn thin(fake: &FakeHq) -> coffer_replicator::WanSettings {
    let calendar = Calendar::always(Rate::bits(160_000));
    coffer_replicator::WanSettings { calendar, ..settings(fake.address(), &fake.enrolled.identity, "leeds") }
}

/// While bulk is under way on a thin line, a change comes in: it's next, metadata first.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_changes_overtake_bulk() {
    let fake = FakeHq::new().await;
    let mut branch = Branch::of(&fake.enrolled);
    branch.back_up(Stream::Bulk, &[("big", noise(1, 2_000_000))]);
    let running = Running::start(branch.vault.clone(), thin(&fake));
    let mut link = fake.accept(Vec::new()).await;
    let before = streams(&branch);
    let bulk = loop {
        let piece = link.piece().await.unwrap();
        link.receipt(&piece, None).await;
        if before[&piece.segment] == Stream::Bulk {
            break piece;
        }
    };
    assert!(bulk.bytes.len() <= 20_000, "a piece is a second of the line");

    branch.back_up(Stream::Fresh, &[("small", noise(2, 8192))]);
    let after = streams(&branch);
    running.job.wake();
    let mut order = Vec::new();
    let mut bulk_bytes = 0;
    while !order.contains(&Stream::Fresh) {
        let piece = link.piece().await.unwrap();
        link.receipt(&piece, None).await;
        match after[&piece.segment] {
            Stream::Bulk => bulk_bytes += piece.bytes.len(),
            stream if order.last() != Some(&stream) => order.push(stream),
            _ => {}
        }
    }
    assert_eq!(order, [Stream::Meta, Stream::Fresh]);
    // Two seconds of the line were under way, and two messages on their way to the link.
    assert!(bulk_bytes <= 4 * 20_000, "{bulk_bytes} bytes of bulk went first");
    running.stop().await;
}

/// The line is cut after every number of pieces; what had a receipt never comes again.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_had_a_receipt_is_sent_again() {
    for pieces in 1..8 {
        let fake = FakeHq::new().await;
        let mut branch = Branch::of(&fake.enrolled);
        branch.first_copy(60, 3);
        branch.vault.roll().unwrap();
        let running =
            Running::start(branch.vault.clone(), settings(fake.address(), &fake.enrolled.identity, "leeds"));
        let mut here: HashMap<u64, Vec<u8>> = HashMap::new();
        let total = branch.durable_bytes();
        let kept = |here: &HashMap<u64, Vec<u8>>| here.values().map(|bytes| bytes.len() as u64).sum::<u64>();
        while kept(&here) < total {
            let known =
                here.iter().map(|(segment, bytes)| has(*segment, bytes.len() as u64, false)).collect();
            let mut link = fake.accept(known).await;
            for _ in 0..pieces {
                let Some(piece) = link.piece().await else { break };
                take(&branch, &mut here, &link, &piece).await;
                if kept(&here) >= total {
                    break;
                }
            }
        }
        for (segment, bytes) in &here {
            // The metadata has grown since by the copies that were recorded.
            assert!(branch.bytes_of(SegmentId(*segment)).starts_with(bytes), "segment {segment}");
        }
        running.stop().await;
    }
}

async fn take(branch: &Branch, here: &mut HashMap<u64, Vec<u8>>, link: &FakeLink, piece: &Piece) {
    let bytes = here.entry(piece.segment).or_default();
    assert_eq!(piece.offset, bytes.len() as u64, "exactly what is due");
    bytes.extend_from_slice(&piece.bytes);
    let state = state(branch, piece.segment);
    let whole = state.closed && bytes.len() as u64 == state.bytes;
    link.receipt(piece, state.hash.filter(|_| whole)).await;
}

/// The receipt that says "whole" was lost with the line: it's asked for, the bytes aren't sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_receipt_is_asked_for() {
    let fake = FakeHq::new().await;
    let mut branch = Branch::of(&fake.enrolled);
    branch.first_copy(10, 3);
    branch.vault.roll().unwrap();
    let known =
        branch.vault.segments().unwrap().iter().map(|s| has(s.segment.0, s.bytes, s.closed)).collect();
    let closed = branch.vault.segments().unwrap().iter().filter(|state| state.closed).count();
    let running =
        Running::start(branch.vault.clone(), settings(fake.address(), &fake.enrolled.identity, "leeds"));
    let mut link = fake.accept(known).await;
    for _ in 0..closed {
        let piece = link.piece().await.unwrap();
        assert!(piece.bytes.is_empty());
        let hash = state(&branch, piece.segment).hash;
        link.receipt(&piece, hash).await;
    }
    // The copies become metadata, which is sent in turn: so they are recorded.
    let piece = link.piece().await.unwrap();
    assert_eq!(state(&branch, piece.segment).stream, Stream::Meta);
    assert!(branch.vault.reading().without_copy(|_| true).unwrap().is_empty());
    running.stop().await;
}

/// A wrong hash is no copy, and a segment that always arrives damaged isn't sent for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_keeps_arriving_damaged_is_held_back() {
    let fake = FakeHq::new().await;
    let mut branch = Branch::of(&fake.enrolled);
    branch.first_copy(10, 3);
    let running =
        Running::start(branch.vault.clone(), settings(fake.address(), &fake.enrolled.identity, "leeds"));
    for _ in 0..3 {
        let mut link = fake.accept(Vec::new()).await;
        let piece = link.piece().await.unwrap();
        link.receipt_of(piece.segment, 0, None).await;
        while link.said().await.is_some() {}
    }
    let status = running.until(|status| !status.held_back.is_empty()).await;
    assert!(status.held_back[0].contains("coffer verify"), "{:?}", status.held_back);
    let mut link = fake.accept(Vec::new()).await;
    let piece = link.piece().await.unwrap();
    assert_ne!(state(&branch, piece.segment).stream, Stream::Meta, "the rest goes on");
    running.stop().await;
}

/// Segments that never come are named, once all the rest is there.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_segments_are_given_up_at_the_end() {
    let fake = FakeHq::new().await;
    let mut branch = Branch::of(&fake.enrolled);
    branch.first_copy(10, 3);
    branch.vault.roll().unwrap();
    let bulk = branch.vault.segments().unwrap().iter().find(|s| s.stream == Stream::Bulk).unwrap().segment;
    let reason = coffer_format::event::DropReason::Dead;
    branch.vault.record(vec![coffer_format::event::Event::SegmentDropped { segment: bulk, reason }]).unwrap();
    let running =
        Running::start(branch.vault.clone(), settings(fake.address(), &fake.enrolled.identity, "leeds"));
    let mut link = fake.accept(Vec::new()).await;
    let mut here = HashMap::new();
    loop {
        match link.said().await.unwrap() {
            Said::Piece(piece) => take(&branch, &mut here, &link, &piece).await,
            Said::Whole => link.answer_whole().await,
            Said::Forgotten(segment) => {
                assert_eq!(segment, bulk.0);
                break;
            }
        }
    }
    for state in branch.vault.segments().unwrap().iter().filter(|state| state.closed) {
        assert_eq!(here[&state.segment.0].len() as u64, state.bytes, "all the rest came first");
    }
    running.stop().await;
}

/// A box that was set back to an older state must not go on where it has already been.
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_older_than_hqs_copy_is_reported() {
    let fake = FakeHq::new().await;
    let mut branch = Branch::of(&fake.enrolled);
    branch.first_copy(10, 3);
    let meta = branch.vault.segments().unwrap().iter().find(|s| s.stream == Stream::Meta).unwrap().segment;
    let running =
        Running::start(branch.vault.clone(), settings(fake.address(), &fake.enrolled.identity, "leeds"));
    let _link = fake.accept(vec![has(meta.0, 60_000_000, false)]).await;
    let status = running.until(|status| status.set_back).await;
    assert_eq!(status.receipted_bytes, 0, "something was sent");
    running.until(|status| status.last_error.as_ref().is_some_and(|why| why.contains("set back"))).await;
    running.stop().await;
}
