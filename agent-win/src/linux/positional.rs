//! Reading and writing at a position, whatever the file's own position is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    file.read_exact_at(buffer, at)
}

pub(crate) fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at)
}
