//! What the system's errors mean for a capture.

use std::io;

/// The object isn't there any more, or something else took its place.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}

/// Somebody keeps others out for a while.
pub(crate) fn is_locked(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy)
}

/// Who the agent should run as where something may not be read.
pub(crate) const POWERFUL_USER: &str = "root";
