//! What the system's errors mean for a capture.

use std::io;

use windows_sys::Win32::Foundation::{
    ERROR_CANT_ACCESS_FILE, ERROR_DELETE_PENDING, ERROR_DIRECTORY, ERROR_FILE_NOT_FOUND,
    ERROR_LOCK_VIOLATION, ERROR_NOT_READY, ERROR_PATH_NOT_FOUND, ERROR_SHARING_VIOLATION,
    ERROR_USER_MAPPED_FILE,
};

/// Who the agent should run as where something may not be read.
pub(crate) const POWERFUL_USER: &str = "LocalSystem";

/// The object isn't there any more, or something else took its place.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    const GONE: [u32; 5] = [
        ERROR_FILE_NOT_FOUND,
        ERROR_PATH_NOT_FOUND,
        ERROR_DIRECTORY,
        ERROR_DELETE_PENDING,
        ERROR_CANT_ACCESS_FILE,
    ];
    error.kind() == io::ErrorKind::NotADirectory || has_code(error, &GONE)
}

/// Somebody keeps others out for a while.
pub(crate) fn is_locked(error: &io::Error) -> bool {
    has_code(error, &[ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_USER_MAPPED_FILE, ERROR_NOT_READY])
}

pub(super) fn has_code(error: &io::Error, codes: &[u32]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&(code as u32)))
}

/// What a call says that gives 0 where it failed.
pub(super) fn said(done: i32) -> io::Result<()> {
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
