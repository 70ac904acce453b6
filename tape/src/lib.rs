//! Tape libraries over SCSI: a changer's slots and drives, and the cartridges Coffer writes.
//!
//! Four layers, each knowing only those above it in this list:
//! [`scsi`] runs one command and understands its answer; [`drive`] and [`changer`] are one device each;
//! [`library`] is one changer and its drives; [`container`] is what lies on a cartridge.
//! [`simulator`] answers the same commands from a directory, and [`conformance`] holds any library, simulated
//! or real, to what the rest of Coffer relies on.
//!
//! This crate doesn't know vaults, catalogs, keys or policies: it is given bytes and says where they are.

pub mod barcode;
pub mod changer;
pub mod conformance;
pub mod container;
pub mod discovery;
pub mod drive;
pub mod error;
pub mod health;
pub mod inventory;
pub mod library;
pub mod medium;
#[cfg(feature = "clap")]
pub mod options;
pub mod scsi;
pub mod simulator;
pub mod source;
pub mod waiter;

pub use barcode::Barcode;
pub use drive::{BlockAddress, Drive};
pub use error::{ErrorClass, TapeError};
pub use health::{CleaningNeed, DriveHealth};
pub use inventory::Inventory;
pub use library::{DriveIndex, Library};
pub use medium::{Generation, Medium, MediumKind, WriteProtection};
pub use source::Source;
pub use waiter::{NoWaiter, SystemWaiter, Waiter};
