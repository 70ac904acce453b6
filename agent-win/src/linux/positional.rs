//! Reading and writing at a position, whatever the file's own position is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::scan::ByteRun;

pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    file.read_exact_at(buffer, at)
}

pub(crate) fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at)
}

/// The next run of data at or after `at`, below `size`; `None` where only a hole is left.
pub(crate) fn data_from(file: &File, at: u64, size: u64) -> io::Result<Option<ByteRun>> {
    let start = match lseek(file, at as i64, Whence::SeekData) {
        Ok(start) => start as u64,
        Err(Errno::ENXIO) => return Ok(None),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(Some(ByteRun { at, end: size })),
        Err(error) => return Err(error.into()),
    };
    if start >= size {
        return Ok(None);
    }
    let end = lseek(file, start as i64, Whence::SeekHole)? as u64;
    Ok(Some(ByteRun { at: start, end: end.min(size) }))
}

/// Every file may have holes, where its file system knows any.
pub(crate) fn allow_holes(_file: &File) {}
