//! Every byte that Coffer keeps or sends, and nothing else.
//!
//! This crate is pure: no files, no clock, no randomness, no threads. It knows layouts and the arithmetic
//! on manifests; it doesn't know keys (sealing is the vault's) or sockets (framing over TLS is the link's).
//! The layouts in prose and byte by byte: `FORMAT.md` beside this crate's manifest. All integers are
//! little-endian and of fixed width.
#![forbid(unsafe_code)]

#[macro_use]
mod codec;

pub mod chunk;
pub mod container;
pub mod entry;
pub mod escrow;
pub mod event;
pub mod ids;
pub mod limits;
pub mod manifest;
pub mod node;
pub mod nt_basic;
pub mod op;
pub mod segment;
pub mod set_catalog;
pub mod update;
pub mod wire;

pub use codec::{Blob, Decode, DecodeError, Encode, Reader, Writer, from_bytes, to_bytes};
pub use ids::*;
