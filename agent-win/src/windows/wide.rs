//! Texts and paths as Windows' functions take them: in UTF-16, with a zero at the end.

use std::os::windows::ffi::OsStrExt;
use std::path::Path;

pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// As the system wrote it, whether it's sound UTF-16 or not.
pub(super) fn wide_path(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
}
