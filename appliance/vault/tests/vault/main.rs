//! The vault from outside: whatever was acknowledged comes back.
// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod absence;
mod beginnings;
mod borders;
mod catalog;
mod copies;
mod crash;
mod damage;
mod escrow;
mod failing_disk;
mod full_disk;
mod goes_on;
mod lost_found;
mod many;
mod maps;
mod mending;
mod mirror;
mod model;
mod read_only;
mod replaced;
mod round_trip;
mod scrubbing;
mod takeover;
