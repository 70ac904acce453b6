//! The vault from outside: whatever was acknowledged comes back.

#[path = "../support/mod.rs"]
mod support;

mod crash;
mod maps;
mod model;
mod round_trip;
