//! The name that an open file really has: long, and in the case that the file system keeps it in.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Storage::FileSystem::GetFinalPathNameByHandleW;

use crate::wtf8;

/// Longest path that Windows has, in units of UTF-16.
const PATH_MAX: usize = 32 << 10;

/// The last name of its path; `None` where the file system doesn't say.
pub(super) fn last(file: &File) -> Option<Vec<u8>> {
    let mut path = vec![0u16; 512];
    loop {
        // SAFETY: the buffer is as long as said, and the handle is open.
        let len = unsafe {
            GetFinalPathNameByHandleW(file.as_raw_handle(), path.as_mut_ptr(), path.len() as u32, 0)
        } as usize;
        match len {
            0 => return None,
            len if len < path.len() => {
                path.truncate(len);
                break;
            }
            len if len <= PATH_MAX => path.resize(len + 1, 0),
            _ => return None,
        }
    }
    let start = path.iter().rposition(|unit| *unit == u16::from(b'\\'))? + 1;
    (start < path.len()).then(|| wtf8::from_wide(&path[start..]))
}
