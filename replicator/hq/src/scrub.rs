//! Every branch's mirror is read back by itself, again and again; what is damaged is asked of the box anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer_format::SegmentId;
use tokio::sync::watch;

use crate::Result;
use crate::branch::Branch;
use crate::server::Shared;

/// From the start of one reading of everything to the start of the next.
const EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// After each segment it rests so many times as long as reading took, so that the disk is there for others.
const REST: u32 = 20;

/// Goes on until HQ stops.
pub(crate) async fn run(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    loop {
        let began = Instant::now();
        tokio::select! {
            () = all(&shared) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY.saturating_sub(began.elapsed())) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn all(shared: &Arc<Shared>) {
    let asked = shared.clone();
    let branches = match shared.in_background(move || asked.branches.all()).await {
        Ok(branches) => branches,
        Err(error) => {
            return tracing::error!(%error, "the branches can't be read back; it's tried again later");
        }
    };
    for branch in branches {
        if let Err(error) = one(shared, &branch).await {
            tracing::error!(branch = branch.name, %error, "a branch can't be read back; it's tried again later");
        }
    }
}

async fn one(shared: &Shared, branch: &Arc<Branch>) -> Result<()> {
    let asked = branch.clone();
    let segments: Vec<SegmentId> = shared.in_background(move || asked.whole_segments()).await?;
    for segment in segments {
        let (asked, began) = (branch.clone(), Instant::now());
        shared.in_background(move || asked.check(segment)).await?;
        tokio::time::sleep(began.elapsed() * REST).await;
    }
    Ok(())
}
