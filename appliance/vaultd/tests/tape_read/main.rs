//! Cartridges explain themselves: files come back from them without the box; what is lost with one is known; a restore mounts no
//! more than it must.
// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "../../../vault/tests/support/mod.rs"]
#[allow(dead_code)]
mod support;

mod healing;
mod lacking;
mod offline;
mod parted;
mod world;
