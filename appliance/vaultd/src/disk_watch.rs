//! Whether the box's disk still takes writes, though nobody has anything to write.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::serve::Appliance;

/// How often it's tried.
const TRY_EVERY: Duration = Duration::from_secs(20);

/// Goes on until the box stops. Beside the rest of housekeeping, which may be busy with a tape for hours.
pub(crate) async fn run(appliance: Arc<Appliance>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = tokio::time::sleep(TRY_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
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
