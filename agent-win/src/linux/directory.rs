//! Listing a directory, reached from its parent's descriptor so that no symbolic link is ever followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use coffer_format::node::NodeKind;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{fstatfs, statfs};
use nix::sys::statvfs::fstatvfs;
use rustix::fs::RawDir;

use super::{filesystem, stat};
use crate::scan::{ListedEntry, Stat};

/// Bytes of entries that the kernel gives at once.
const LISTED_AT_ONCE: usize = 32 << 10;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    handle: OwnedFd,
    device: u64,
    /// Whether what lies on its file system has numbers that are unique and lasting.
    is_numbered: bool,
    /// Whether a change of a file on it always shows in what's listed.
    tells_changes: bool,
}

const FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NONBLOCK);

impl Directory {
    /// Opens by path, component by component; the root is empty.
    pub(crate) fn open_path(path: &[u8]) -> io::Result<Directory> {
        let mut directory = Directory::opened(open("/", FLAGS, Mode::empty())?)?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            directory = directory.open_child(name)?;
        }
        Ok(directory)
    }

    /// Opens the top of what a snapshot shows.
    pub(crate) fn open_root(root: &Path) -> io::Result<Directory> {
        Directory::opened(open(root, FLAGS, Mode::empty())?)
    }

    pub(crate) fn open_child(&self, name: &[u8]) -> io::Result<Directory> {
        Directory::opened(openat(self.handle.as_fd(), OsStr::from_bytes(name), FLAGS, Mode::empty())?)
    }

    fn opened(handle: OwnedFd) -> io::Result<Directory> {
        let device = nix::sys::stat::fstat(handle.as_fd())?.st_dev;
        let kind = fstatfs(handle.as_fd())?.filesystem_type();
        let is_numbered = filesystem::has_lasting_numbers(kind);
        Ok(Directory { handle, device, is_numbered, tells_changes: filesystem::tells_changes(kind) })
    }

    /// True where the directory isn't kept anywhere (proc, sysfs, tmpfs and their like).
    pub(crate) fn is_pseudo(&self) -> io::Result<bool> {
        filesystem::is_pseudo(self.handle.as_fd())
    }

    /// Whether a change of a file in it always shows: in its number, size or times.
    pub(crate) fn tells_changes(&self) -> bool {
        self.tells_changes
    }

    /// The directory itself, described.
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        let stat = stat::of(&std::fs::File::from(self.handle.try_clone()?).metadata()?);
        Ok(if self.is_numbered { stat } else { stat.without_number() })
    }

    /// The number of the file system, in hexadecimal; none where it has none.
    pub(super) fn file_system_number(&self) -> Option<String> {
        let number = fstatvfs(self.handle.as_fd()).ok()?.filesystem_id();
        (number != 0).then(|| format!("{number:016x}"))
    }

    /// The number, in the kernel's table, of the mount that the directory was reached on.
    pub(super) fn mount_id(&self) -> io::Result<u64> {
        let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.handle.as_raw_fd()))?;
        let id = facts.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        id.ok_or_else(|| io::Error::other("the kernel doesn't say what a directory is mounted on"))
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
        if entries.is_empty() || !self.is_numbered {
            self.check_end()?;
        }
        entries.sort_unstable_by_key(|(inode, _)| *inode);
        Ok(entries.into_iter().map(|(_, entry)| self.described(&entry)).collect())
    }

    /// Fails where listing ends with an error that the C library takes for the end: "no such file", which a folder that's there gives
    /// where its file system is at odds with itself.
    fn check_end(&self) -> io::Result<()> {
        let directory = std::fs::File::open(self.proc_path())?;
        let mut buffer = Vec::with_capacity(LISTED_AT_ONCE);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            entry?;
        }
        Ok(())
    }

    /// Describes one entry; `None` where there's no such name.
    pub(crate) fn entry(&self, name: &[u8]) -> Option<ListedEntry> {
        let described = stat::stat_path(&self.proc_path().join(OsStr::from_bytes(name)));
        match described {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            stat => {
                Some(ListedEntry { name: name.to_vec(), stat: stat.map(|stat| self.numbered(name, stat)) })
            }
        }
    }

    fn described(&self, entry: &std::fs::DirEntry) -> ListedEntry {
        let (name, described) = (entry.file_name().into_vec(), entry.metadata());
        let stat = described.map(|metadata| self.numbered(&name, stat::of(&metadata)));
        ListedEntry { name, stat }
    }

    /// Takes the number away where it isn't unique and lasting; what's mounted here is on another file system.
    fn numbered(&self, name: &[u8], stat: Stat) -> Stat {
        let is_here = stat.device == self.device || stat.kind == NodeKind::Symlink;
        let is_numbered = match is_here {
            true => self.is_numbered,
            false => statfs(&self.proc_path().join(OsStr::from_bytes(name)))
                .is_ok_and(|found| filesystem::has_lasting_numbers(found.filesystem_type())),
        };
        if is_numbered { stat } else { stat.without_number() }
    }

    /// A path by which the kernel finds exactly this directory, wherever it's moved.
    fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.handle.as_raw_fd()))
    }
}

/// The device that an open directory lies on.
pub(crate) fn device_of(directory: &Directory) -> Option<u64> {
    Some(directory.device)
}
