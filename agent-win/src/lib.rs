//! The agent's core: finds what changed on a computer, cuts it, sends it to the box and remembers what the box has.
//!
//! It knows files and the protocol; it doesn't know the vault. Everything only one system has lies in a module of that
//! system's name; names and paths are bytes.

pub mod capture;
pub mod changes;
mod clock;
pub mod config;
mod cut;
mod durable_file;
mod exclusions;
pub mod find;
mod guest;
#[cfg_attr(
    not(windows),
    allow(dead_code, unused_imports, reason = "only Windows has hives; tested everywhere")
)]
pub mod hives;
mod job;
pub mod journal;
pub mod line;
#[cfg(unix)]
mod linux;
#[cfg(unix)]
use linux as platform;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as platform;
pub mod log_file;
mod path;
mod private_folder;
pub mod restore;
mod restore_desk;
mod scan;
mod schedule;
pub mod session;
pub mod standstill;
pub mod state;
pub mod update;
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows has it; tested everywhere"))]
mod usn;
#[cfg_attr(not(windows), allow(dead_code, unused_imports, reason = "only Windows has it; tested everywhere"))]
mod vss;
mod watch;
mod way;
mod windows_name;
pub mod wire;
pub mod work;
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows has such names; tested everywhere"))]
mod wtf8;

#[cfg(windows)]
pub use windows::{selftest, service};

/// Waits until somebody wants the program to end.
pub async fn asked_to_stop() -> std::io::Result<()> {
    platform::asked_to_stop().await
}

/// What this computer calls itself.
pub fn computer_name() -> String {
    platform::computer_name()
}
