//! Which drives there are.

#![allow(unsafe_code, reason = "calls of Windows")]

use windows_sys::Win32::Storage::FileSystem::{GetDriveTypeW, GetLogicalDrives};
use windows_sys::Win32::System::WindowsProgramming::{DRIVE_CDROM, DRIVE_NO_ROOT_DIR};

/// Drives that files can be kept on, as `C:`.
pub(super) fn names() -> Vec<Vec<u8>> {
    letters(true).filter(|letter| keeps_files(*letter)).map(|letter| vec![letter, b':']).collect()
}

/// Those that Windows doesn't list. One that was given to the process alone, or came a moment ago, can be there.
pub(super) fn unlisted() -> Vec<Vec<u8>> {
    letters(false).map(|letter| vec![letter, b':']).collect()
}

fn letters(is_listed: bool) -> impl Iterator<Item = u8> {
    // SAFETY: takes nothing, gives a number.
    let mask = unsafe { GetLogicalDrives() };
    (0..26u8).filter(move |bit| (mask >> bit & 1 == 1) == is_listed).map(|bit| b'A' + bit)
}

fn keeps_files(letter: u8) -> bool {
    let root = [letter.into(), b':'.into(), b'\\'.into(), 0u16];
    // SAFETY: the path ends with a zero.
    let kind = unsafe { GetDriveTypeW(root.as_ptr()) };
    !matches!(kind, DRIVE_CDROM | DRIVE_NO_ROOT_DIR)
}
