//! What the agent asks of the system for itself: to read and write back what permissions keep from everybody else.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_NOT_ALL_ASSIGNED, GetLastError, LUID};
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, GetLengthSid, GetTokenInformation, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW,
    SE_PRIVILEGE_ENABLED, TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::failure::said;
use super::sid;
use super::wide::wide;

/// For who the process works, and their identifier, in units of 8 bytes.
const USER_UNITS: usize = 16;
const WANTED: [&str; 5] = [
    "SeBackupPrivilege",
    "SeRestorePrivilege",
    "SeSecurityPrivilege",
    "SeManageVolumePrivilege",
    "SeCreateSymbolicLinkPrivilege",
];

/// Takes up the privileges of a backup program, as far as the agent's user has them.
pub(crate) fn prepare() {
    for name in WANTED {
        if let Err(error) = take_up(name) {
            tracing::debug!(%error, name, "not allowed; files that are closed to the agent's user can't be read");
        }
    }
}

/// Takes up what putting a hive back takes; an error says that the user doesn't have it.
pub fn take_up_to_restore() -> io::Result<()> {
    ["SeBackupPrivilege", "SeRestorePrivilege"].into_iter().try_for_each(take_up)
}

/// Who the process works as, as the text of their identifier.
pub(super) fn own_user() -> io::Result<String> {
    let token = own_token()?;
    let (mut user, mut len_bytes) = ([0u64; USER_UNITS], 0);
    // SAFETY: the token is open, the buffer aligned and as long as said.
    said(unsafe {
        let (at, len) = (user.as_mut_ptr().cast(), size_of_val(&user) as u32);
        GetTokenInformation(token.as_raw_handle(), TokenUser, at, len, &raw mut len_bytes)
    })?;
    // SAFETY: the call wrote this structure, whose pointer leads to an identifier in the same buffer.
    let bytes = unsafe {
        let found = (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid;
        std::slice::from_raw_parts(found.cast::<u8>(), GetLengthSid(found) as usize)
    };
    sid::text(bytes).ok_or_else(|| io::Error::other("Windows doesn't say who the agent works as"))
}

fn take_up(name: &str) -> io::Result<()> {
    let name = wide(name);
    let mut luid = LUID::default();
    // SAFETY: the name ends with a zero, `luid` is written.
    if unsafe { LookupPrivilegeValueW(std::ptr::null(), name.as_ptr(), &raw mut luid) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let wanted = TOKEN_PRIVILEGES {
        PrivilegeCount: 1,
        Privileges: [LUID_AND_ATTRIBUTES { Luid: luid, Attributes: SE_PRIVILEGE_ENABLED }],
    };
    let token = own_token()?;
    // SAFETY: the token is open, `wanted` holds as many privileges as it says, nothing is asked back.
    let done = unsafe {
        let (nothing, nowhere) = (std::ptr::null_mut(), std::ptr::null_mut());
        AdjustTokenPrivileges(token.as_raw_handle(), 0, &raw const wanted, 0, nothing, nowhere)
    };
    // SAFETY: reads a number of this thread's. The call succeeds even where it gave nothing, and says so only here.
    let code = unsafe { GetLastError() };
    if done == 0 || code == ERROR_NOT_ALL_ASSIGNED {
        return Err(io::Error::from_raw_os_error(code as i32));
    }
    Ok(())
}

fn own_token() -> io::Result<OwnedHandle> {
    let mut token = std::ptr::null_mut();
    // SAFETY: `token` is written; the process's own handle is always valid.
    let done = unsafe {
        OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &raw mut token)
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call gave us the handle, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_process_works_as_somebody() {
        let own = super::own_user().unwrap();
        assert!(own.starts_with("S-1-5-"), "{own}");
    }
}
