//! Everything that only Linux has: how its files are listed, opened, described and watched.

mod ask;
mod background;
mod directory;
mod failure;
mod file;
mod filesystem;
mod firewall;
mod held_entry;
mod held_folder;
mod identity;
mod listed;
mod mount_point;
mod mounts;
mod network_cost;
mod path;
mod positional;
mod power;
mod private;
mod put_back;
mod replace;
mod secret;
mod shell;
mod snapshot;
mod stat;
mod stop;
mod system;
mod volume_journal;
mod watcher;
mod xattrs;

pub(crate) use ask::ask_user;
pub(crate) use background::work_in_background;
pub(crate) use directory::{Directory, device_of};
pub(crate) use failure::{POWERFUL_USER, is_gone, is_locked};
pub(crate) use file::{HAS_STREAMS, SourceFile};
pub(crate) use firewall::let_answers_in;
pub(crate) use held_entry::{HeldEntry, sync_all};
pub(crate) use held_folder::{HeldFolder, is_at_work};
pub(crate) use identity::{may_be_same_volume, may_stand_for};
pub(crate) use listed::listed_files;
pub(crate) use mount_point::mounted_at;
pub(crate) use mounts::Mounts;
pub(crate) use network_cost::network_cost;
pub(crate) use path::{
    IS_CASE_SENSITIVE, as_path, below, include_bytes, is_foreign, path_bytes, pattern, with_links,
};
pub(crate) use positional::{allow_holes, data_from, read_exact_at, write_all_at};
pub(crate) use power::power;
#[cfg(test)]
pub(crate) use private::open_to_everybody;
pub(crate) use private::{PrivateFolder, make_private_folder, private_file, stranger_of};
pub(crate) use put_back::{begin_folder, is_guarded, is_name, stream_of};
pub(crate) use replace::{REPLACES_AT_RESTART, has_attributes, is_folder, is_in_use, is_same_link};
pub(crate) use secret::{SEALS, seal, unseal};
pub(crate) use shell::shell;
pub(crate) use snapshot::{CAN_SNAPSHOT, HAS_SYSTEM_STATE, Snapshot, found_files, save_hives, take_snapshot};
pub(crate) use stat::{IS_BIRTH_FIXED, IS_DEVICE_LASTING, TIMES_TELL_WRITES, stat_path};
pub(crate) use stop::asked_to_stop;
pub(crate) use system::{computer_name, prepare, system_name};
pub(crate) use volume_journal::{VolumeJournal, volume_journals};
pub(crate) use watcher::{DirectoryWatcher, WatchError};
pub(crate) use xattrs::{attrs_of_file, attrs_of_path};
