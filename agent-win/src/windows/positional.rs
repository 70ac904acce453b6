//! Reading and writing at a position. Windows moves the file's own position along, which nothing here relies on.

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;

use windows_sys::Win32::Foundation::{
    ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER, ERROR_MORE_DATA, ERROR_NOT_SUPPORTED,
};
use windows_sys::Win32::System::Ioctl::{FSCTL_QUERY_ALLOCATED_RANGES, FSCTL_SET_SPARSE};

use super::failure::has_code;
use super::query;
use crate::scan::ByteRun;

/// The file system knows nothing of holes.
const NO_RANGES: [u32; 3] = [ERROR_NOT_SUPPORTED, ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER];

pub(crate) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let count = read_some_at(file, buffer, at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[count..];
        at += count as u64;
    }
    Ok(())
}

pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = file.seek_write(bytes, at)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[count..];
        at += count as u64;
    }
    Ok(())
}

/// What one read gives; 0 at the end of the file.
pub(super) fn read_some_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.seek_read(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The next run of data at or after `at`, below `size`; `None` where only a hole is left.
pub(crate) fn data_from(file: &File, at: u64, size: u64) -> io::Result<Option<ByteRun>> {
    let asked = [at.to_le_bytes(), size.saturating_sub(at).to_le_bytes()].concat();
    let mut found = [0; 16];
    match query::control(file, FSCTL_QUERY_ALLOCATED_RANGES, &asked, &mut found) {
        Ok(len) => Ok(first_range(&found[..len], size)),
        // There's more than one range: the first is what was asked for.
        Err(error) if has_code(&error, &[ERROR_MORE_DATA]) => Ok(first_range(&found, size)),
        Err(error) if has_code(&error, &NO_RANGES) => Ok((at < size).then_some(ByteRun { at, end: size })),
        Err(error) => Err(error),
    }
}

/// `FILE_ALLOCATED_RANGE_BUFFER`: offset and length.
fn first_range(found: &[u8], size: u64) -> Option<ByteRun> {
    let number = |at: usize| Some(u64::from_le_bytes(found.get(at..at + 8)?.try_into().ok()?));
    let (at, len) = (number(0)?, number(8)?);
    let range = ByteRun { at: at.min(size), end: at.saturating_add(len).min(size) };
    (range.at < range.end).then_some(range)
}

/// What isn't written takes no room from now on, where the file system knows holes. Elsewhere the file takes more, and is the same.
pub(crate) fn allow_holes(file: &File) {
    if let Err(error) = query::control(file, FSCTL_SET_SPARSE, &[], &mut []) {
        tracing::debug!(%error, "a file can't have holes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_with_the_file() {
        let range = [4096u64.to_le_bytes(), 65536u64.to_le_bytes()].concat();
        assert_eq!(first_range(&range, 5000), Some(ByteRun { at: 4096, end: 5000 }));
        assert_eq!(first_range(&range, 4096), None);
        assert_eq!(first_range(&[], 5000), None);
    }
}
