//! Looking at the file system: what an object is, and walking directories with several threads.

mod data_range;
mod stat;
mod walk;

pub(crate) use data_range::DataRange;
pub(crate) use stat::{ListedEntry, Stat};
pub(crate) use walk::{Listing, Names, Pending, Walk};
