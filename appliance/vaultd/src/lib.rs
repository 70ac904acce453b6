//! The box: a vault with everything around it that makes it an appliance.
//!
//! It composes what the crates below offer and adds who may do what: agents add, operators ask and restore, the tape job and
//! the WAN job pull. Every part works on the vault alone; none knows of another.

pub mod client;
pub mod joining;
pub mod layout;
pub mod operator;
pub mod replacement;
pub mod restore_on;
pub mod restorer;
pub mod serve;
pub mod settings;
pub mod setup;
pub mod status;
pub mod taking_over;
pub mod tape;
pub mod units;

mod clock_watch;
mod copies;
mod disk_watch;
mod escrow;
mod healing;
mod housekeeping;
mod live;
mod memories;
mod own_files;
mod pace;
mod page;
mod programs;
mod recovery_public;
mod resending;
mod restore_jobs;
mod scrubbing;
mod simulated;
mod spare;
mod traffic;
mod trials;
mod updates;
mod waiting;
