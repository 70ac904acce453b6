//! The agent's core: finds what changed on a computer, cuts it, sends it to the box and remembers what the box has.
//!
//! It knows files and the protocol; it doesn't know the vault. Everything only one system has lies in a module of that
//! system's name; names and paths are bytes.

pub mod capture;
mod clock;
pub mod config;
mod cut;
pub mod journal;
pub mod line;
mod linux;
mod path;
mod scan;
mod schedule;
pub mod session;
pub mod state;
mod watch;
pub mod wire;
pub mod work;

/// What this computer calls itself.
pub fn computer_name() -> String {
    linux::computer_name()
}
