//! How the system tells a program to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits until somebody wants the program to end.
pub(crate) async fn asked_to_stop() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
