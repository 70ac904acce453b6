//! Looking at the file system: what an object is, and walking directories with several threads.

mod attrs;
mod byte_run;
mod object_id;
mod stat;
mod walk;

pub(crate) use attrs::Attrs;
pub use byte_run::ByteRun;
pub(crate) use object_id::ObjectId;
#[cfg(windows)]
pub(crate) use stat::Elsewhere;
pub(crate) use stat::{ListedEntry, Stat, is_elsewhere};
pub(crate) use walk::{Listing, Names, Pending, Walk};
