//! Whether the box's disk takes writes, though nobody has anything to write. A box whose disk took none when it was started, or failed
//! since, begins anew once it takes them again: it restores meanwhile, and nobody has to come.

use std::sync::Arc;
use std::time::Duration;

use coffer_vault::disk::RealDisk;
use coffer_vault::try_write_to;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::layout::Layout;
use crate::serve::Appliance;
use crate::units::local_time;

/// How often it's tried.
const TRY_EVERY: Duration = Duration::from_secs(20);
/// How often it's looked at what a disk that takes no writes has lost under the box.
const LOOK_BELOW_EVERY: Duration = Duration::from_secs(600);
/// How often it's tried whether the disk has recovered, and how often in a row it must have.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(5);
const TRIES: u32 = 3;
/// A disk that fails again and again has the box begin anew this often at most.
const ANEW_EVERY_MS: u64 = 10 * 60_000;
/// How long it's told that the disk failed once.
const TOLD_MS: u64 = 7 * 24 * 3_600_000;

/// Goes on until the box stops. Beside the rest of housekeeping, which may be busy with a tape for hours.
pub(crate) async fn run(appliance: Arc<Appliance>, mut stop: watch::Receiver<bool>) {
    let mut looked: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = tokio::time::sleep(TRY_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if appliance.only_restores() && looked.is_none_or(|looked| looked.elapsed() >= LOOK_BELOW_EVERY) {
            look_below(&appliance).await;
            looked = Some(Instant::now());
        }
        if appliance.vault.is_read_only() {
            continue;
        }
        let working = appliance.clone();
        match tokio::task::spawn_blocking(move || working.vault.try_write()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the disk took no write; it's tried again"),
            Err(panic) => tracing::error!(%panic, "trying the disk failed; this is a mistake in cofferd"),
        }
    }
}

/// What the box holds in memory isn't on the disk for that.
async fn look_below(appliance: &Appliance) {
    let vault = appliance.vault.clone();
    match tokio::task::spawn_blocking(move || vault.look_below()).await {
        Ok(Ok(0)) => {}
        Ok(Ok(segments)) => tracing::error!(segments, "the disk lost what the box still has"),
        Ok(Err(error)) => {
            tracing::error!(%error, "it couldn't be seen what the disk has; it's looked at again")
        }
        Err(panic) => tracing::error!(%panic, "looking at the disk failed; this is a mistake in cofferd"),
    }
}

/// Resolves once the disk takes writes that took none, and nobody is being answered.
pub(crate) async fn recovered(appliance: &Appliance) {
    let mut taken = 0;
    loop {
        tokio::time::sleep(TRY_AGAIN_EVERY).await;
        if !appliance.vault.is_read_only() || (!appliance.only_restores() && has_just_failed(appliance)) {
            continue;
        }
        let dir = appliance.layout.vault();
        let tried = tokio::task::spawn_blocking(move || try_write_to(&RealDisk, &dir)).await;
        taken = if matches!(tried, Ok(Ok(()))) { taken + 1 } else { 0 };
        if taken >= TRIES && appliance.traffic.answers_nobody() {
            if put_back(appliance).await {
                return;
            }
            taken = 0;
        }
    }
}

/// Gives the disk back what it lost since the box was started and the box still has; whether all of that is there.
pub(crate) async fn put_back(appliance: &Appliance) -> bool {
    if !appliance.only_restores() {
        return true;
    }
    let vault = appliance.vault.clone();
    match tokio::task::spawn_blocking(move || vault.put_back_below()).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::error!(%error, source = ?std::error::Error::source(&error), "what the disk lost can't be put back");
            false
        }
        Err(panic) => {
            tracing::error!(%panic, "putting back what the disk lost failed; this is a mistake in cofferd");
            false
        }
    }
}

fn has_just_failed(appliance: &Appliance) -> bool {
    let now_ms = appliance.vault.now_ms();
    last_failed_ms(&appliance.layout, now_ms).is_some_and(|last| now_ms.abs_diff(last) < ANEW_EVERY_MS)
}

/// Notes that the disk failed while the box ran, so that the next run tells it.
pub(crate) fn note_failed(layout: &Layout, now_ms: u64) -> std::io::Result<()> {
    coffer_link::write_durable_file(
        &layout.disk_failed(),
        now_ms.to_string().as_bytes(),
        std::fs::OpenOptions::new().write(true),
    )
}

/// When the disk last failed and took writes again, if that is told still.
pub(crate) fn last_failed_ms(layout: &Layout, now_ms: u64) -> Option<u64> {
    let noted = coffer_link::read_small_text(&layout.disk_failed()).ok()?;
    let failed_ms = noted.trim().parse().ok()?;
    (now_ms.abs_diff(failed_ms) < TOLD_MS).then_some(failed_ms)
}

/// What the status says of that.
pub(crate) fn sentence(failed_ms: u64) -> String {
    format!(
        "The box's disk failed while writing and takes writes again since {}: have it checked before it fails for good. This is told for 7 days.",
        local_time(failed_ms)
    )
}

/// Whether the disk has room for opening the vault and takes writes. What else may be wrong with it shows when it's opened.
pub(crate) fn takes_writes(layout: &Layout) -> bool {
    let Err(error) = try_write_to(&RealDisk, &layout.vault()) else { return true };
    tracing::warn!(%error, source = ?std::error::Error::source(&error), "the vault's disk took no write");
    !error.is_of_no_writes()
}
