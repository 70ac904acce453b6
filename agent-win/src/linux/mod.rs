//! Everything that only Linux has: how its files are listed, opened, described and watched.

mod directory;
mod failure;
mod file;
mod filesystem;
mod path;
mod positional;
mod private;
mod put_back;
mod secret;
mod stat;
mod stop;
mod system;
mod watcher;
mod xattrs;

pub(crate) use directory::{Directory, device_of};
pub(crate) use failure::{POWERFUL_USER, is_gone, is_locked};
pub(crate) use file::SourceFile;
pub(crate) use path::{IS_CASE_SENSITIVE, as_path, include_bytes, path_bytes, pattern};
pub(crate) use positional::{read_exact_at, write_all_at};
pub(crate) use private::{create_private_folder, private_file};
pub(crate) use put_back::{expect_size, is_name, put_back, put_special};
pub(crate) use secret::{SEALS, seal, unseal};
pub(crate) use stat::{IS_BIRTH_FIXED, stat_path};
pub(crate) use stop::asked_to_stop;
pub(crate) use system::{computer_name, prepare, system_name};
pub(crate) use watcher::{DirectoryWatcher, WatchError};
pub(crate) use xattrs::{Attrs, attrs_of_file, attrs_of_path};
