//! Everything that only Windows has: how its files are listed, opened, described and watched.

mod attrs;
mod changes;
mod directory;
mod drives;
mod failure;
mod file;
mod final_name;
mod listing;
mod open_below;
mod path;
mod positional;
mod private;
mod privileges;
mod query;
mod reparse;
mod secret;
pub mod service;
mod stat;
mod stop;
mod system;
mod watched_folder;
mod watcher;

pub(crate) use attrs::{attrs_of_file, attrs_of_path};
pub(crate) use directory::{Directory, device_of};
pub(crate) use failure::{POWERFUL_USER, is_gone, is_locked};
pub(crate) use file::SourceFile;
pub(crate) use path::{IS_CASE_SENSITIVE, as_path, include_bytes, path_bytes, pattern};
pub(crate) use positional::{read_exact_at, write_all_at};
pub(crate) use private::{create_private_folder, private_file};
pub(crate) use privileges::prepare;
pub(crate) use secret::{SEALS, seal, unseal};
pub(crate) use stat::{IS_BIRTH_FIXED, stat_path};
pub(crate) use stop::asked_to_stop;
pub(crate) use system::{computer_name, system_name};
pub(crate) use watcher::{DirectoryWatcher, WatchError};
