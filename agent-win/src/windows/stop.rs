//! How the system tells a program to end.

use std::io;

use tokio::signal::windows;

/// Waits until somebody wants the program to end.
pub(crate) async fn asked_to_stop() -> io::Result<()> {
    let (mut c, mut close) = (windows::ctrl_c()?, windows::ctrl_close()?);
    let (mut interrupt, mut shutdown) = (windows::ctrl_break()?, windows::ctrl_shutdown()?);
    tokio::select! {
        _ = c.recv() => {}
        _ = interrupt.recv() => {}
        _ = close.recv() => {}
        _ = shutdown.recv() => {}
    }
    Ok(())
}
