//! Where an open file or folder lies, whatever way led there.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Foundation::ERROR_MORE_DATA;
use windows_sys::Win32::Storage::FileSystem::{FileNameInfo, GetFileInformationByHandleEx};

use super::failure::has_code;
use super::query;

/// Longest path that Windows has, in bytes, and its length before it.
const ROOM_MAX: usize = (64 << 10) + 8;
const SEPARATOR: u16 = b'\\' as u16;

/// A volume, and a path on it without a separator at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    volume: u32,
    path: Vec<u16>,
}

impl Location {
    pub(super) fn of(file: &File) -> io::Result<Location> {
        let (volume, mut path) = (query::by_handle(file)?.dwVolumeSerialNumber, path(file)?);
        if path.last() == Some(&SEPARATOR) {
            path.pop();
        }
        Ok(Location { volume, path })
    }

    /// Where the folder lies that it's in.
    pub(super) fn parent(mut self) -> Location {
        let end = self.path.iter().rposition(|unit| *unit == SEPARATOR);
        self.path.truncate(end.unwrap_or(0));
        self
    }
}

fn path(file: &File) -> io::Result<Vec<u16>> {
    let mut room = vec![0u32; 256];
    loop {
        let len = size_of_val(&room[..]) as u32;
        // SAFETY: the buffer is writable for `len` bytes and aligned to 4, as the class wants it; the handle is open.
        let done = unsafe {
            GetFileInformationByHandleEx(file.as_raw_handle(), FileNameInfo, room.as_mut_ptr().cast(), len)
        };
        let error = io::Error::last_os_error();
        match done {
            0 if has_code(&error, &[ERROR_MORE_DATA]) && (len as usize) < ROOM_MAX => {
                room = vec![0; ROOM_MAX / 4];
            }
            0 => return Err(error),
            _ => break,
        }
    }
    let units = room[1..].iter().flat_map(|word| [*word as u16, (word >> 16) as u16]);
    Ok(units.take(room[0] as usize / 2).collect())
}

#[cfg(test)]
mod tests {
    use super::super::stat::open_to_describe;
    use super::*;

    #[test]
    fn a_file_lies_in_its_folder_however_long_the_path_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = std::fs::canonicalize(dir.path()).unwrap();
        for depth in 0..6 {
            folder.push(format!("{depth}-{}", "x".repeat(200)));
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("file"), "").unwrap();
            let location = |path: &std::path::Path| Location::of(&open_to_describe(path).unwrap()).unwrap();
            let file = location(&folder.join("file"));
            assert_eq!(file.clone().parent(), location(&folder));
            assert_ne!(file.parent(), location(dir.path()));
        }
    }
}
