//! Headquarters: keeps a mirror of every branch's vault, enrols branches, answers and restores for operators.
//!
//! One folder holds it all: the certificate authority, the organisation's keys, a registry (SQLite) of codes and
//! certificates, and a mirror per branch. Who may do what follows from a peer's certificate, never from
//! what it says. The protocol in prose: `replicator/README.md`.
#![forbid(unsafe_code)]

mod branch;
mod branch_link;
mod branches;
mod enrol;
mod error;
mod import;
mod mirror_slot;
mod operator_link;
mod organisation;
mod overview;
mod registry;
mod scrub;
mod second;
mod server;

pub use error::HqError;
pub use import::{Imported, import_cartridges};
pub use organisation::Organisation;
pub use registry::{CodeFor, Registry};
pub use server::Server;

/// Result of everything that HQ does.
pub type Result<T> = std::result::Result<T, HqError>;
