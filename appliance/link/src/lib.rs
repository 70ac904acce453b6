//! The wire's I/O side: what the agent, the box, HQ and the operator's program share to talk over mutual TLS.
//!
//! It sits directly above `coffer-format` and knows nothing of vaults, tapes or schedules. It moves
//! [`Message`]s and says who the peer is; what a peer may do is its caller's decision, by the peer's [`Role`].
//!
//! - Who: [`Authority`] signs, [`Identity`] is shown, [`Role`] is the common name, [`EnrolmentCode`] starts it.
//! - Where: a box tells its LAN with an [`Advertiser`], a [`Search`] finds it.
//! - How: [`connect`], [`Listener`], and the [`Link`] that both give; [`LinkCut`] ends one at once.
//! - How much: [`ByteBudget`] bounds what a server's links hold in memory, [`Throttle`] what a thin line carries.
#![forbid(unsafe_code)]

mod authority;
mod budget;
mod certificate;
mod client;
mod code;
mod cut;
mod durable_file;
mod enrol;
mod error;
mod failure;
mod files;
mod frame;
mod identity;
mod lan;
mod link;
mod own_file;
mod pin;
mod reader;
mod refusal;
mod release;
mod role;
mod server;
mod socket;
mod throttle;
mod tls;
mod validity;
mod verifier;
mod writer;

pub use authority::Authority;
pub use budget::ByteBudget;
pub use certificate::certificate_hash;
pub use client::{connect, connect_to_enrol};
pub use code::{CodeError, EnrolmentCode, secret_hash};
pub use coffer_format::wire::Message;
pub use cut::LinkCut;
pub use durable_file::{owner_only, write_durable_file};
pub use enrol::{BranchFound, Enrolled, EnrolledBranch, branch_of_code, enrol_branch, enrol_computer};
pub use error::{IdentityError, LinkError};
pub use identity::{Identity, PendingIdentity};
pub use lan::{Advertiser, BoxOnLan, LanError, Search};
pub use link::{Arrival, Link, Peer, Receiver, Sender};
pub use own_file::{
    is_no_file, make_own_folder, open_lock_file, open_own_file, read_small_file, read_small_text,
    set_no_file_aside, set_no_folder_aside,
};
pub use pin::Pin;
pub use refusal::refuse;
pub use release::{ReleaseError, ReleaseKey, ReleaseSigner};
pub use role::{Expect, ROLE_NAME_MAX, Role};
pub use server::Listener;
pub use throttle::Throttle;
pub use tls::https_config;
pub use validity::{ClockLimit, Validity};
