//! Opening an entry of an open directory (or a stream of an open file) by its name alone, so that nothing above it is
//! looked up again.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_FOR_BACKUP_INTENT, FILE_OPEN_REPARSE_POINT,
    FILE_SYNCHRONOUS_IO_NONALERT, NtCreateFile,
};
use windows_sys::Win32::Foundation::{OBJ_CASE_INSENSITIVE, RtlNtStatusToDosError, UNICODE_STRING};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_GENERIC_READ, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE, SYNCHRONIZE,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use crate::wtf8;

/// What an entry is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Describe,
    List,
    Read,
}

/// A reparse point is opened itself.
pub(super) fn open_below(directory: &File, name: &[u8], purpose: Purpose) -> io::Result<File> {
    let mut wide = wtf8::to_wide(name).ok_or(io::ErrorKind::InvalidInput)?;
    let len = u16::try_from(wide.len() * 2).map_err(|_| io::ErrorKind::InvalidInput)?;
    let name = UNICODE_STRING { Length: len, MaximumLength: len, Buffer: wide.as_mut_ptr() };
    let attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: directory.as_raw_handle(),
        ObjectName: &raw const name,
        Attributes: OBJ_CASE_INSENSITIVE,
        SecurityDescriptor: std::ptr::null(),
        SecurityQualityOfService: std::ptr::null(),
    };
    let (access, kind) = match purpose {
        Purpose::Describe => (FILE_READ_ATTRIBUTES, 0),
        Purpose::List => (FILE_READ_ATTRIBUTES | FILE_LIST_DIRECTORY, FILE_DIRECTORY_FILE),
        Purpose::Read => (FILE_GENERIC_READ, 0),
    };
    let options = kind | FILE_OPEN_REPARSE_POINT | FILE_OPEN_FOR_BACKUP_INTENT | FILE_SYNCHRONOUS_IO_NONALERT;
    let mut handle = std::ptr::null_mut();
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: everything that's pointed to lives until the call returns; `name` is `wide` for as long as it says.
    let status = unsafe {
        NtCreateFile(
            &raw mut handle,
            access | SYNCHRONIZE,
            &raw const attributes,
            &raw mut block,
            std::ptr::null(),
            0,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            FILE_OPEN,
            options,
            std::ptr::null(),
            0,
        )
    };
    if status < 0 {
        // SAFETY: a pure function of a number.
        let code = unsafe { RtlNtStatusToDosError(status) };
        return Err(io::Error::from_raw_os_error(code as i32));
    }
    // SAFETY: the call gave us the handle, and nobody else has it.
    Ok(unsafe { File::from_raw_handle(handle) })
}
