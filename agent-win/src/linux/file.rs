//! A file that's being read: opened so that reading leaves no trace, described while open, read where it has data.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::unistd::{Whence, lseek};

use super::stat;
use crate::scan::Stat;

/// A file open for reading.
#[derive(Debug)]
pub(crate) struct SourceFile(File);

/// A run of bytes that may hold something, from `at` to `end`; between runs there are holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataRange {
    pub(crate) at: u64,
    pub(crate) end: u64,
}

impl SourceFile {
    /// Opens without following a link, without waiting for a lease or a fifo's writer, and (where the owner may) without
    /// touching the access time.
    pub(crate) fn open(path: &Path) -> io::Result<SourceFile> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let quiet = OpenOptions::new().read(true).custom_flags(flags | libc::O_NOATIME).open(path);
        match quiet {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(SourceFile(OpenOptions::new().read(true).custom_flags(flags).open(path)?))
            }
            other => Ok(SourceFile(other?)),
        }
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        Ok(stat::of(&self.0.metadata()?))
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// Tells the kernel that the file is read from start to end. A hint: refusal changes nothing.
    pub(crate) fn expect_sequential(&self) {
        if let Err(error) = posix_fadvise(&self.0, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL) {
            tracing::trace!(%error, "no read-ahead hint");
        }
    }

    /// Tells the kernel to fetch the file now. A hint: refusal changes nothing.
    pub(crate) fn expect_soon(&self) {
        if let Err(error) = posix_fadvise(&self.0, 0, 0, PosixFadviseAdvice::POSIX_FADV_WILLNEED) {
            tracing::trace!(%error, "no read-ahead hint");
        }
    }

    /// Fills `buffer` from `at`; returns fewer bytes only at the end of the file.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// The next run of data at or after `at`, below `size`; `None` where only a hole is left.
    pub(crate) fn data_from(&self, at: u64, size: u64) -> io::Result<Option<DataRange>> {
        let start = match lseek(&self.0, at as i64, Whence::SeekData) {
            Ok(start) => start as u64,
            Err(Errno::ENXIO) => return Ok(None),
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(Some(DataRange { at, end: size })),
            Err(error) => return Err(error.into()),
        };
        let end = lseek(&self.0, start as i64, Whence::SeekHole)? as u64;
        let range = DataRange { at: start.min(size), end: end.min(size) };
        Ok((range.at < range.end).then_some(range))
    }
}
