//! Lines that end in the middle.

use std::time::Duration;

use coffer_replicator::Patience;

use crate::branch::Branch;
use crate::restored::restore;
use crate::world::{Cut, Line, Running, World, quick, select, settings};

async fn replicate_over(cuts: Vec<(u64, Cut)>, stall: Duration) -> (u64, u64) {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.first_copy(120, 5);
    branch.vault.roll().unwrap();
    let line = Line::new(world.address, cuts).await;
    let mut settings = settings(line.address, &enrolled.identity, "leeds");
    settings.patience = Patience { stall, ..quick() };
    let running = Running::start(branch.vault.clone(), settings);
    let status = running.until_whole(1, point).await;
    running.stop().await;
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    assert_eq!(restore(&mut operator, branch.config, point, &[]).await.as_ref(), Ok(&branch.points[&point]));
    (status.receipted_bytes, branch.durable_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_at_many_places_lose_nothing() {
    let cuts = (1..40).map(|n| (n * 37_000 / 2 + 3_000, Cut::Reset)).collect();
    let (receipted, durable) = replicate_over(cuts, Duration::from_secs(60)).await;
    assert!(receipted <= durable, "no byte is receipted twice: {receipted} of {durable}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_within_the_handshake_and_the_greeting_lose_nothing() {
    let cuts = [0, 1, 100, 700, 1500, 2000, 2100, 2200, 2300, 2500, 3000].map(|at| (at, Cut::Reset));
    replicate_over(cuts.to_vec(), Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn black_holes_are_noticed_by_the_missing_receipt() {
    let cuts = vec![(40_000, Cut::BlackHole), (250_000, Cut::BlackHole), (3_000, Cut::BlackHole)];
    replicate_over(cuts, Duration::from_millis(500)).await;
}
