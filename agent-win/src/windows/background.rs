//! Leaving the computer to its own work.

#![allow(unsafe_code, reason = "calls of Windows")]

use windows_sys::Win32::System::Threading::{
    GetCurrentThread, SetThreadPriority, THREAD_MODE_BACKGROUND_BEGIN, THREAD_PRIORITY,
    THREAD_PRIORITY_LOWEST,
};

/// From now on this thread gets what others leave over: of the processor, the disk and the memory; where the system
/// has no such mode, of the processor.
pub(crate) fn work_in_background() {
    if !set(THREAD_MODE_BACKGROUND_BEGIN) && !set(THREAD_PRIORITY_LOWEST) {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "works at normal priority");
    }
}

fn set(priority: THREAD_PRIORITY) -> bool {
    // SAFETY: the handle of the thread itself is always valid.
    unsafe { SetThreadPriority(GetCurrentThread(), priority) != 0 }
}
