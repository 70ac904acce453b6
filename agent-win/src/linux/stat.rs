//! From what the kernel says to a [`Stat`].

use std::fs::{FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use coffer_format::node::NodeKind;

use crate::scan::Stat;

/// An object keeps the birth time that it was given.
pub(crate) const IS_BIRTH_FIXED: bool = true;

/// A device has another number after each start of the computer, and at each place that it's mounted at.
pub(crate) const IS_DEVICE_LASTING: bool = false;

/// Every write leaves its trace in a file's times at once.
pub(crate) const TIMES_TELL_WRITES: bool = true;

/// Describes the object at `path`; a symbolic link is described itself.
pub(crate) fn stat_path(path: &Path) -> io::Result<Stat> {
    Ok(of(&std::fs::symlink_metadata(path)?))
}

pub(super) fn of(metadata: &Metadata) -> Stat {
    let kind = kind(metadata.file_type());
    let is_device = matches!(kind, NodeKind::CharDevice | NodeKind::BlockDevice);
    Stat {
        kind,
        size: metadata.size(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        btime_ns: birth(metadata),
        device: metadata.dev(),
        // All ones is what a file system says that has none (MS-FSCC 2.1.9, and what FUSE servers make of it).
        inode: if metadata.ino() == u64::MAX { 0 } else { metadata.ino() },
        rdev: if is_device { metadata.rdev() } else { 0 },
        links: metadata.nlink(),
        kept_bytes: metadata.blocks().saturating_mul(512),
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

fn birth(metadata: &Metadata) -> i64 {
    let since = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos().min(i64::MAX as u128) as i64)
}

fn kind(of: FileType) -> NodeKind {
    match () {
        () if of.is_dir() => NodeKind::Directory,
        () if of.is_symlink() => NodeKind::Symlink,
        () if of.is_fifo() => NodeKind::Fifo,
        () if of.is_socket() => NodeKind::Socket,
        () if of.is_char_device() => NodeKind::CharDevice,
        () if of.is_block_device() => NodeKind::BlockDevice,
        () => NodeKind::File,
    }
}
