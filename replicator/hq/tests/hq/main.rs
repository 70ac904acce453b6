//! HQ and the WAN job together, over loopback.

// Helpers of tests are tests too, which clippy does not see.
#![allow(clippy::unwrap_used)]

mod both;
mod branch;
mod cuts;
mod enrolment;
mod fake;
mod fetch;
mod full;
mod import;
mod kill;
mod lost_at_box;
mod metadata;
mod mirror;
mod namespace;
mod order;
mod own_files;
mod replaced;
mod replicate;
mod restored;
mod thin;
mod world;
