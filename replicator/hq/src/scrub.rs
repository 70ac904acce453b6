//! Every branch's mirror is read back by itself, again and again; what is damaged is asked of the box anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer_format::SegmentId;
use tokio::sync::watch;

use crate::branch::Branch;
use crate::server::Shared;

/// From the start of one reading of everything to the start of the next.
const EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// A branch's catalog is compared with its segments this often; it's looked this often whether one should be at once.
const COMPARE_EVERY: Duration = Duration::from_secs(24 * 3600);
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// After each segment it rests so many times as long as reading took, so that the disk is there for others.
const REST: u32 = 20;
const REST_TAKEN_OVER: u32 = 1;

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
    let branches = loop {
        match all_of(shared).await {
            Some(branches) => break branches,
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    for branch in branches {
        read_back(shared, &branch, REST).await;
    }
}

/// Reads branches back that a box takes over, at once: it has nothing but what is here. Goes on until HQ stops.
pub(crate) async fn read_back_taken_over(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    loop {
        let taken_over = async {
            shared.taken_over.notified().await;
            let branches = all_of(&shared).await.unwrap_or_default();
            for branch in branches.iter().filter(|branch| branch.take_read_back()) {
                read_back(&shared, branch, REST_TAKEN_OVER).await;
            }
        };
        tokio::select! {
            () = taken_over => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// All branches; none while they can't be listed.
async fn all_of(shared: &Arc<Shared>) -> Option<Vec<Arc<Branch>>> {
    let asked = shared.clone();
    let branches = shared.in_background(move || asked.branches.all()).await;
    branches
        .inspect_err(|error| tracing::error!(%error, "the branches can't be listed; it's tried again"))
        .ok()
}

/// Rests after each segment `rest` times as long as reading took.
async fn read_back(shared: &Shared, branch: &Arc<Branch>, rest: u32) {
    let asked = branch.clone();
    let segments: Vec<SegmentId> = match shared.in_background(move || asked.whole_segments()).await {
        Ok(segments) => segments,
        Err(error) => {
            return tracing::error!(branch = branch.name, %error, "a branch can't be read back; it's tried again later");
        }
    };
    for segment in segments {
        let (asked, began) = (branch.clone(), Instant::now());
        if let Err(error) = shared.in_background(move || asked.check(segment)).await {
            tracing::error!(branch = branch.name, %segment, %error, "a segment can't be read back; it's tried again later");
        }
        tokio::time::sleep(began.elapsed() * rest).await;
    }
}

/// Looks whether each branch's segments are there, and compares its catalog with them: once a day, and soon where something was read that it shouldn't say. Goes on until HQ
/// stops.
pub(crate) async fn compare_catalogs(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut compared: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        look_after_own_files(&shared).await;
        for branch in all_of(&shared).await.unwrap_or_default() {
            let asked = branch.clone();
            if let Err(error) = shared.in_background(move || asked.look()).await {
                tracing::error!(branch = branch.name, %error, "it couldn't be seen whether all of a branch is there; it's tried again");
            }
            let is_due = compared.get(&branch.name).is_none_or(|last| last.elapsed() >= COMPARE_EVERY);
            let (asked, stop) = (branch.clone(), stopping.clone());
            match shared.in_background(move || asked.compare_catalog(is_due, &stop)).await {
                Ok(true) => drop(compared.insert(branch.name.clone(), Instant::now())),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(branch = branch.name, %error, "a branch's catalog can't be compared; it's tried again");
                }
            }
        }
    }
}

async fn look_after_own_files(shared: &Arc<Shared>) {
    let asked = shared.clone();
    let looked = shared.in_background(move || {
        asked.organisation.look_after_files()?;
        asked.registry.look_after()
    });
    if let Err(error) = looked.await {
        tracing::error!(%error, "HQ's own files can't be looked after; it's tried again");
    }
}
