//! Everything that only Linux has: how its files are listed, opened, described and watched.

mod directory;
mod file;
mod filesystem;
mod stat;
mod system;
mod watcher;
mod xattrs;

pub(crate) use directory::{Directory, ListedEntry, device_of};
pub(crate) use file::SourceFile;
pub(crate) use stat::stat_path;
pub(crate) use system::{computer_name, raise_open_files, system_name};
pub(crate) use watcher::{DirectoryWatcher, Noticed, WatchError};
pub(crate) use xattrs::{attrs_of_file, attrs_of_path};
