//! The agent's program replaces itself: signed by its vendor, fetched from the box, with a way back.
//!
//! The box is only where updates come from. That one may be installed is decided here, by a vendor's key: not signed,
//! for another system, not newer, or not whole means that it's refused, and the program at work stays. What's installed has
//! to prove itself ([`swap`]); what didn't run is never tried again, what didn't reach the box a few times.

mod download;
mod error;
mod keys;
mod notes;
mod swap;
#[cfg_attr(
    not(windows),
    allow(dead_code, reason = "only Windows replaces its program so; tested everywhere")
)]
mod swapper;
mod updater;

pub use error::UpdateError;
pub use keys::trusted_keys;
pub use swapper::{Service, ServiceState, Swapper, tidy};
pub use updater::{Launch, Updater};

/// What this program was built as.
pub fn built_version() -> coffer_format::update::Version {
    env!("CARGO_PKG_VERSION").parse().expect("a version of three numbers, as Cargo.toml has it")
}
