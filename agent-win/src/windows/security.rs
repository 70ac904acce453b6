//! Security descriptors: owner, group, who may do what, and (where the agent may see it) what's recorded.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GROUP_SECURITY_INFORMATION, GetKernelObjectSecurity,
    LABEL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, SACL_SECURITY_INFORMATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, READ_CONTROL, ReOpenFile,
};
use windows_sys::Win32::System::SystemServices::ACCESS_SYSTEM_SECURITY;

use super::failure::has_code;
use super::stat::SHARE_ALL;

const FOR_EVERYBODY: u32 = OWNER_SECURITY_INFORMATION
    | GROUP_SECURITY_INFORMATION
    | DACL_SECURITY_INFORMATION
    | LABEL_SECURITY_INFORMATION;
/// The usual length; longer ones are asked for again.
const USUAL: usize = 512;

/// The self-relative descriptor of an open file.
pub(super) fn read(file: &File) -> io::Result<Vec<u8>> {
    match reopened(file, READ_CONTROL | ACCESS_SYSTEM_SECURITY) {
        Ok(file) => descriptor(&file, FOR_EVERYBODY | SACL_SECURITY_INFORMATION),
        // Without the privilege (or the file system's help) what's recorded stays unseen.
        Err(_) => descriptor(file, FOR_EVERYBODY),
    }
}

/// The same file, with other rights: that to see its SACL takes a privilege, for one.
pub(super) fn reopened(file: &File, access: u32) -> io::Result<File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    // SAFETY: the handle is open.
    let handle = unsafe { ReOpenFile(file.as_raw_handle(), access, SHARE_ALL, flags) };
    if handle == INVALID_HANDLE_VALUE || handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call gave us the handle, and nobody else has it.
    Ok(unsafe { File::from_raw_handle(handle) })
}

fn descriptor(file: &File, wanted: u32) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0u8; USUAL];
    let mut needed = 0;
    loop {
        let len = buffer.len() as u32;
        // SAFETY: the handle is open, and the buffer as long as said.
        let done = unsafe {
            GetKernelObjectSecurity(
                file.as_raw_handle(),
                wanted,
                buffer.as_mut_ptr().cast(),
                len,
                &raw mut needed,
            )
        };
        let error = io::Error::last_os_error();
        match done {
            0 if has_code(&error, &[ERROR_INSUFFICIENT_BUFFER]) && needed > len => {
                buffer.resize(needed as usize, 0)
            }
            0 => return Err(error),
            _ => break,
        }
    }
    buffer.truncate(if needed == 0 { buffer.len() } else { needed as usize });
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_has_an_owner() {
        let file = tempfile::tempfile().unwrap();
        let descriptor = super::read(&file).unwrap();
        // Revision 1, self-relative (MS-DTYP 2.4.6), and an owner's place.
        assert_eq!((descriptor[0], descriptor[3] & 0x80), (1, 0x80));
        assert_ne!(descriptor[4..8], [0; 4]);
    }
}
