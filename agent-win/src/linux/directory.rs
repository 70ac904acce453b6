//! Listing a directory, reached from its parent's descriptor so that no symbolic link is ever followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::{filesystem, stat};
use crate::scan::ListedEntry;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

const FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NONBLOCK);

impl Directory {
    /// Opens by path, component by component; the root is empty.
    pub(crate) fn open_path(path: &[u8]) -> io::Result<Directory> {
        let mut directory = Directory(open("/", FLAGS, Mode::empty())?);
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            directory = directory.open_child(name)?;
        }
        Ok(directory)
    }

    /// Opens the top of what a snapshot shows.
    pub(crate) fn open_root(root: &Path) -> io::Result<Directory> {
        Ok(Directory(open(root, FLAGS, Mode::empty())?))
    }

    pub(crate) fn open_child(&self, name: &[u8]) -> io::Result<Directory> {
        Ok(Directory(openat(self.0.as_fd(), OsStr::from_bytes(name), FLAGS, Mode::empty())?))
    }

    /// True where the directory isn't kept anywhere (proc, sysfs, tmpfs and their like).
    pub(crate) fn is_pseudo(&self) -> io::Result<bool> {
        filesystem::is_pseudo(self.0.as_fd())
    }

    /// All entries, described in the order of their inodes (disks like that).
    pub(crate) fn list(&self, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<ListedEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(self.proc_path())? {
            let entry = entry?;
            if wanted(entry.file_name().as_bytes()) {
                entries.push((entry.ino(), entry));
            }
        }
        entries.sort_unstable_by_key(|(inode, _)| *inode);
        Ok(entries.into_iter().map(|(_, entry)| described(&entry)).collect())
    }

    /// Describes one entry; `None` where there's no such name.
    pub(crate) fn entry(&self, name: &[u8]) -> Option<ListedEntry> {
        let described = stat::stat_path(&self.proc_path().join(OsStr::from_bytes(name)));
        match described {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            stat => Some(ListedEntry { name: name.to_vec(), stat }),
        }
    }

    /// A path by which the kernel finds exactly this directory, wherever it's moved.
    fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

fn described(entry: &std::fs::DirEntry) -> ListedEntry {
    let stat = entry.metadata().map(|metadata| stat::of(&metadata));
    ListedEntry { name: entry.file_name().into_vec(), stat }
}

/// The device that an open directory lies on.
pub(crate) fn device_of(directory: &Directory) -> Option<u64> {
    nix::sys::stat::fstat(directory.0.as_fd()).ok().map(|stat| stat.st_dev)
}
