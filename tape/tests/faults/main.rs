//! The fault matrix: each thing that can go wrong, at each step, then what happens next: in the same program, and in the
//! next one after a kill. Whatever it was, nothing that was recorded is lost, nothing that was there is overwritten, and
//! every cartridge ends in a slot.

#![allow(clippy::unwrap_used, reason = "all of this runs in tests")]

#[path = "../common/mod.rs"]
mod common;
mod drive;
mod power;
mod robot;
mod world;
