//! From path bytes to what the system takes, and back.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The path that the system knows it by; the root is empty.
pub(crate) fn as_path(path: &[u8]) -> Cow<'_, Path> {
    Cow::Borrowed(Path::new(OsStr::from_bytes(if path.is_empty() { b"/" } else { path })))
}

/// A path below the root of a snapshot.
pub(crate) fn below(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)))
}

/// The bytes of a path of the system's.
pub(crate) fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// An included path as a person wrote it, in path bytes.
pub(crate) fn include_bytes(include: &str) -> Vec<u8> {
    include.as_bytes().to_vec()
}

/// A pattern as a person wrote it, for matching against path bytes.
pub(crate) fn pattern(pattern: &str) -> String {
    pattern.to_owned()
}

/// Whether two names that differ in case alone are two files.
pub(crate) const IS_CASE_SENSITIVE: bool = true;
