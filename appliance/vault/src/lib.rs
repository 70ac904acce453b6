//! The vault: takes packs and parts in, keeps them in sealed segments, gives versions back.
//!
//! Segments (files of sealed records) are the truth; the catalog (SQLite) is an index over them that can be
//! deleted at any time. Every change of the catalog is the application of one metadata record that is durable in a
//! segment before the change is committed. The vault knows nothing of sockets, tapes or HQ: those pull
//! from it (segments without a copy) and hand back what they did (a copy recorded).
//!
//! Order of durability, for everything acknowledged: packs are synced, then the metadata that names them is written and
//! synced, then the catalog is committed, then the caller hears of it.
#![forbid(unsafe_code)]

pub mod adopt;
mod beginnings;
pub mod browse;
mod catalog;
mod checking;
mod clock;
mod commit;
pub mod comparison;
pub mod continuing;
pub mod copies;
mod covered;
pub mod disk;
mod error;
pub mod escrow;
pub mod extent;
pub mod healing;
mod identity;
pub mod impact;
mod import;
mod intake;
mod keys;
mod lineage;
pub mod lost_found;
mod maps;
pub mod marking;
mod mending;
pub mod mirror;
pub mod outline;
mod places;
mod placing;
mod presence;
mod provable;
pub mod query;
mod read_dates;
mod reading;
mod rebuild;
mod recall;
pub mod reclaim;
mod recover;
pub mod registry;
pub mod remaking;
mod replay;
mod rescue;
pub mod restore;
pub mod retention;
pub mod scrub;
mod seal;
mod segment;
mod simulated;
mod soundness;
mod suspects;
mod takeover;
pub mod trial;
mod unrecorded;
mod vault;
pub mod verify;
mod write_trial;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::VaultError;
pub use identity::{give_box_key, join_organisation, vault_in};
pub use intake::{Committed, PreparedPart, Session, Standing};
pub use keys::{BoxKey, Opener, RecoveryKey, RecoveryPublic, random};
pub use reading::Reading;
pub use rescue::{Rescued, Rescuer};
pub use vault::{Options, SegmentState, Vault};
pub use write_trial::try_write_to;

/// Result of everything that the vault does.
pub type Result<T> = std::result::Result<T, VaultError>;
