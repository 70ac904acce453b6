//! The agent as a Windows service: installed, removed, run, and heard of in the event log.

mod control;
mod dispatch;
mod event_log;
mod helper;

use std::path::PathBuf;

pub use control::{ServiceError, install, remove};
pub use dispatch::{Work, run};
pub use event_log::{EventLog, EventLogWriter};
pub use helper::{act, launch_helper, remove_helper};

/// The service's name, to the system and in the event log.
pub const NAME: &str = "CofferAgent";
const DISPLAY_NAME: &str = "Coffer Agent";
const DESCRIPTION: &str = "Sends what changes on this computer to its Coffer box, around the clock.";

/// The agent's own folder where nothing else is said.
pub fn default_state() -> PathBuf {
    let shared = std::env::var_os("ProgramData").unwrap_or_else(|| r"C:\ProgramData".into());
    PathBuf::from(shared).join("Coffer")
}
