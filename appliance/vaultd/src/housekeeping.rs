//! What a box does by itself: retention, reclaim, tape runs. One task, one thing at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::operator;
use crate::serve::Appliance;

/// How often it's looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(20);

pub(crate) async fn run(appliance: Arc<Appliance>, mut stop: watch::Receiver<bool>) {
    let mut due = Due { reclaim: Instant::now(), tape: Instant::now() };
    loop {
        tokio::select! {
            _ = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let working = appliance.clone();
        match tokio::task::spawn_blocking(move || work(&working, due)).await {
            Ok(next) => due = next,
            Err(panic) => {
                tracing::error!(%panic, "housekeeping failed; this is a mistake in cofferd");
                return;
            }
        }
    }
}

/// When each was last done.
#[derive(Clone, Copy)]
struct Due {
    reclaim: Instant,
    tape: Instant,
}

fn work(appliance: &Appliance, mut due: Due) -> Due {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let reclaim = appliance.settings.reclaim.every_minutes;
    if reclaim > 0 && due.reclaim.elapsed() >= minutes(reclaim) {
        due.reclaim = Instant::now();
        match operator::housekeep(appliance) {
            Ok(freed) => tracing::info!(freed, "retention and reclaim ran"),
            Err(error) => tracing::error!(%error, "retention and reclaim failed; they run again later"),
        }
    }
    let Some(tape) = &appliance.tape else { return due };
    let waiting = tape.waiting_bytes(&appliance.vault);
    let enough = waiting.as_ref().is_ok_and(|bytes| *bytes >= appliance.settings.tape.start_at_mib << 20);
    let time = due.tape.elapsed() >= minutes(appliance.settings.tape.every_minutes);
    if enough || time && waiting.is_ok_and(|bytes| bytes > 0) {
        due.tape = Instant::now();
        match tape.run(&appliance.vault, &mut |_| {}) {
            Ok(done) => tracing::info!(?done, "everything new is on tape"),
            Err(error) => tracing::error!(%error, "the tape run failed; it's tried again later"),
        }
    }
    due
}
