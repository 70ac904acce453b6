//! A box that died is replaced whole, with the real programs: from its vault's folder, from its tapes, from headquarters. Its computers
//! go on without being enrolled again, and every point of before restores.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

#[path = "../support/mod.rs"]
mod support;

mod folder;
mod from_hq;
mod headquarters;
mod joining;
mod lost_metadata;
mod read_only;
mod set_back;
