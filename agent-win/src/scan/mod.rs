//! Looking at the file system: what an object is, and walking directories with several threads.

mod attrs;
mod byte_run;
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows has such numbers; tested everywhere"))]
mod file_number;
mod in_memory;
mod object_id;
mod stat;
mod walk;

pub(crate) use attrs::Attrs;
pub use byte_run::ByteRun;
#[cfg(windows)]
pub(crate) use file_number::{FileNumbers, is_long, narrowed};
pub(crate) use in_memory::{Asked, asked_of};
pub(crate) use object_id::ObjectId;
#[cfg(windows)]
pub(crate) use stat::Elsewhere;
pub(crate) use stat::{ListedEntry, Stat, is_elsewhere};
pub(crate) use walk::{Listing, Names, Pending, Seen, Walk};
