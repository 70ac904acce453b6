//! Everything that only Windows has: how its files are listed, opened, described and watched.

mod ask;
mod attrs;
mod background;
mod changes;
mod directory;
mod drives;
mod efs;
mod extended;
mod failure;
mod file;
mod final_name;
mod firewall;
mod held_folder;
mod hives;
mod listed;
mod listing;
mod mount_point;
mod network_cost;
mod open_below;
mod path;
mod positional;
mod power;
mod private;
mod privileges;
mod put_back;
mod query;
mod registry;
mod reparse;
mod replace;
mod secret;
mod security;
pub mod selftest;
pub mod service;
mod set;
mod shell;
mod short_name;
mod snapshot;
mod snapshot_trial;
mod stat;
mod stop;
mod stream_back;
mod streams;
mod system;
mod system_library;
mod usn_journal;
mod volume_journal;
pub(crate) mod vss;
mod watched_folder;
mod watcher;
mod wide;

pub(crate) use ask::ask_user;
pub(crate) use attrs::{attrs_of_file, attrs_of_path};
pub(crate) use background::work_in_background;
pub(crate) use directory::{Directory, device_of};
pub(crate) use failure::{POWERFUL_USER, is_gone, is_locked};
pub(crate) use file::{HAS_STREAMS, SourceFile};
pub(crate) use firewall::let_answers_in;
pub(crate) use held_folder::HeldFolder;
pub(crate) use hives::save_hives;
pub(crate) use listed::listed_files;
pub(crate) use mount_point::mounted_at;
pub(crate) use network_cost::network_cost;
pub(crate) use path::{IS_CASE_SENSITIVE, as_path, below, include_bytes, path_bytes, pattern};
pub(crate) use positional::{read_exact_at, write_all_at};
pub(crate) use power::power;
pub(crate) use private::{create_private_folder, private_file};
pub(crate) use privileges::prepare;
pub(crate) use put_back::{
    begin_folder, expect_size, finish_bytes, is_name, put_back, put_identity, put_special,
};
pub(crate) use replace::{
    REPLACES_AT_RESTART, has_attributes, is_folder, is_in_use, is_same_link, remove, replace,
    replace_at_restart,
};
pub(crate) use secret::{SEALS, seal, unseal};
pub(crate) use shell::shell;
pub(crate) use snapshot::{CAN_SNAPSHOT, Snapshot, found_files, take_snapshot};
pub(crate) use stat::{IS_BIRTH_FIXED, TIMES_TELL_WRITES, stat_path};
pub(crate) use stop::asked_to_stop;
pub(crate) use stream_back::{put_stream, stream_of};
pub(crate) use system::{computer_name, system_name};

pub(crate) use volume_journal::{VolumeJournal, volume_journals};
pub(crate) use watcher::{DirectoryWatcher, WatchError};
