//! A folder that's written to, reached without following a link and kept open: whatever is renamed or linked meanwhile, what's
//! written lands in exactly this folder.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{Mode, fstat};

use crate::scan::ObjectId;

/// Whether a restore is at work on a file or folder: then that's locked.
pub(crate) fn is_at_work(path: &Path) -> bool {
    let mut options = OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    opened.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// An open folder. To be on the way to another it needn't be readable.
#[derive(Debug)]
pub(crate) struct HeldFolder(OwnedFd);

const FLAGS: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

impl HeldFolder {
    /// The folder above all others.
    pub(crate) fn top() -> io::Result<HeldFolder> {
        Ok(HeldFolder(open("/", FLAGS, Mode::empty())?))
    }

    /// The one that a path begins at, and the rest of the path.
    pub(crate) fn root_of(path: &[u8]) -> io::Result<(HeldFolder, &[u8])> {
        Ok((HeldFolder::top()?, path))
    }

    /// A link or a file in its place is no folder.
    pub(crate) fn child(&self, name: &[u8]) -> io::Result<HeldFolder> {
        let flags = FLAGS | OFlag::O_NOFOLLOW;
        Ok(HeldFolder(openat(self.0.as_fd(), OsStr::from_bytes(name), flags, Mode::empty())?))
    }

    /// Where a link in it leads, from the top (with a slash) or from here; only where nobody but root and whoever restores can
    /// have made it.
    pub(crate) fn way_on(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let link = File::from(openat(self.0.as_fd(), OsStr::from_bytes(name), flags, Mode::empty())?);
        let (found, folder) = (link.metadata()?, fstat(&self.0)?);
        let is_ours = |user: u32| user == 0 || user == nix::unistd::geteuid().as_raw();
        // Whoever may write to the folder could have brought a link of ours there under this name.
        let is_for_us = folder.st_mode & 0o022 == 0 || folder.st_mode & libc::S_ISVTX != 0;
        if !found.is_symlink() || !is_ours(found.uid()) || !is_ours(folder.st_uid) || !is_for_us {
            return Ok(None);
        }
        Ok(Some(readlinkat(link.as_fd(), "")?.as_bytes().to_vec()))
    }

    /// By which the system finds an entry of exactly this folder.
    pub(crate) fn place(&self, name: &[u8]) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(OsStr::from_bytes(name))
    }

    /// To act on an entry of exactly this folder.
    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn object(&self) -> io::Result<ObjectId> {
        let found = fstat(&self.0)?;
        Ok(ObjectId { device: found.st_dev, number: found.st_ino })
    }

    /// False where there's something already. One that's closed is for its maker alone until it's given its permissions.
    pub(crate) fn make_folder(&self, name: &[u8], is_closed: bool) -> io::Result<bool> {
        let mode = if is_closed { 0o700 } else { 0o777 };
        match DirBuilder::new().mode(mode).create(self.place(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            made => made.map(|()| true),
        }
    }

    /// Removes files with such names that nobody is at work on, and folders that have nothing but one called `mark`.
    pub(crate) fn remove_unused(&self, is_meant: &dyn Fn(&[u8]) -> bool, mark: &[u8]) -> io::Result<()> {
        for entry in std::fs::read_dir(self.place(b"."))? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_meant(name.as_bytes()) || !self.is_unused(name.as_bytes()) {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => self.remove_folder(name.as_bytes(), mark)?,
                false => self.remove(name.as_bytes())?,
            }
        }
        Ok(())
    }

    /// Removes a folder that has nothing in it, or only a file called `mark`.
    pub(super) fn remove_folder(&self, name: &[u8], mark: &[u8]) -> io::Result<()> {
        match self.child(name)?.remove(mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::remove_dir(self.place(name))
    }

    /// Removes a file or a link.
    pub(crate) fn remove(&self, name: &[u8]) -> io::Result<()> {
        std::fs::remove_file(self.place(name))
    }

    fn is_unused(&self, name: &[u8]) -> bool {
        let place = self.place(name);
        let kind = std::fs::symlink_metadata(&place).map(|found| found.file_type());
        // What has no bytes is made and named in one go.
        if kind.as_ref().is_ok_and(|kind| !kind.is_file() && !kind.is_dir()) {
            return true;
        }
        let mut options = OpenOptions::new();
        let opened = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(place);
        kind.is_ok_and(|kind| kind.is_file() || kind.is_dir())
            && opened.is_ok_and(|file| file.try_lock().is_ok())
    }

    /// The names in it, and all others on its disk, have reached that.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::syncfs(File::open(self.place(b"."))?)?)
    }
}
