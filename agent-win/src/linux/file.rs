//! A file that's being read: opened so that reading leaves no trace, described while open, read where it has data.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, PosixFadviseAdvice, fcntl, posix_fadvise};

use super::positional::data_from;
use super::stat;
use crate::scan::{ByteRun, Stat};

/// Whether files have named streams beside their bytes, so that no name has a colon.
pub(crate) const HAS_STREAMS: bool = false;

/// A file open for reading.
#[derive(Debug)]
pub(crate) struct SourceFile {
    file: File,
    /// Reads go past the page cache.
    direct: Cell<bool>,
}

impl SourceFile {
    /// Opens without following a link, without waiting for a lease or a fifo's writer, and (where the owner may) without
    /// touching the access time.
    pub(crate) fn open(path: &Path) -> io::Result<SourceFile> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let quiet = OpenOptions::new().read(true).custom_flags(flags | libc::O_NOATIME).open(path);
        match quiet {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(SourceFile::new(OpenOptions::new().read(true).custom_flags(flags).open(path)?))
            }
            other => Ok(SourceFile::new(other?)),
        }
    }

    /// There are none.
    pub(crate) fn open_stream(_path: &Path) -> io::Result<SourceFile> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The bytes that are read are the file's own.
    pub(crate) fn raw_size(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn new(file: File) -> SourceFile {
        SourceFile { file, direct: Cell::new(false) }
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        Ok(stat::of(&self.file.metadata()?))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Tells the kernel that the file is read from start to end. A hint: refusal changes nothing.
    pub(crate) fn expect_sequential(&self) {
        if let Err(error) = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL) {
            tracing::trace!(%error, "no read-ahead hint");
        }
    }

    /// Tells the kernel to fetch the file now. A hint: refusal changes nothing.
    pub(crate) fn expect_soon(&self) {
        if let Err(error) = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_WILLNEED) {
            tracing::trace!(%error, "no read-ahead hint");
        }
    }

    /// From now on reads go past the page cache, where the file system can: a large file that's read once would only
    /// push out what the machine's own work has there. Buffers and positions must be aligned (see `cut::ALIGNMENT`).
    pub(crate) fn bypass_cache(&self) {
        self.direct.set(self.set_direct(true));
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.direct.get()
    }

    /// Fills `buffer` from `at`; returns fewer bytes only at the end of the file.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Here the file's end isn't aligned, or the device wants more than that: read as usual.
                Err(error) if self.is_direct() && error.kind() == io::ErrorKind::InvalidInput => {
                    self.direct.set(!self.set_direct(false));
                    if self.is_direct() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Whether it was done.
    fn set_direct(&self, direct: bool) -> bool {
        let flags = fcntl(&self.file, FcntlArg::F_GETFL).map(OFlag::from_bits_retain);
        let changed = flags.and_then(|mut flags| {
            flags.set(OFlag::O_DIRECT, direct);
            fcntl(&self.file, FcntlArg::F_SETFL(flags))
        });
        changed.inspect_err(|error| tracing::trace!(%error, direct, "the page cache stays in use")).is_ok()
    }

    /// The next run of data at or after `at`, below `size`; `None` where only a hole is left.
    pub(crate) fn data_from(&self, at: u64, size: u64) -> io::Result<Option<ByteRun>> {
        data_from(&self.file, at, size)
    }
}
