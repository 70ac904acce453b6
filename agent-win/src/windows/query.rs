//! Asking the system about an open file.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_TAG_INFO, FILE_BASIC_INFO, FILE_CASE_SENSITIVE_INFO,
    FILE_ID_INFO, FILE_INFO_BY_HANDLE_CLASS, FILE_STANDARD_INFO, FileAttributeTagInfo, FileBasicInfo,
    FileCaseSensitiveInfo, FileIdInfo, FileStandardInfo, GetFileInformationByHandle,
    GetFileInformationByHandleEx,
};
use windows_sys::Win32::System::IO::DeviceIoControl;

/// A structure of numbers that the system fills in; each goes with one class.
pub(super) trait Info: Default + Copy {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS;
}
impl Info for FILE_BASIC_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileBasicInfo;
}
impl Info for FILE_STANDARD_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileStandardInfo;
}
impl Info for FILE_ATTRIBUTE_TAG_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileAttributeTagInfo;
}

impl Info for FILE_ID_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileIdInfo;
}

impl Info for FILE_CASE_SENSITIVE_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileCaseSensitiveInfo;
}

pub(super) fn info<T: Info>(file: &File) -> io::Result<T> {
    let mut out = T::default();
    let len = size_of::<T>() as u32;
    // SAFETY: `out` is a structure of the kind that the class asks for, and `len` its size; the handle is open.
    let done = unsafe {
        GetFileInformationByHandleEx(file.as_raw_handle(), T::CLASS, (&raw mut out).cast::<c_void>(), len)
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(out) }
}

/// Fills `buffer` with entries of whatever class is asked for; how they lie there is the reader's to check.
pub(super) fn entries(file: &File, class: FILE_INFO_BY_HANDLE_CLASS, buffer: &mut [u64]) -> io::Result<()> {
    // What the system leaves untouched must not look like entries of the time before.
    buffer.fill(0);
    let len = size_of_val(buffer) as u32;
    // SAFETY: the buffer is writable for `len` bytes and aligned to 8, which these classes want; the handle is open.
    let done = unsafe {
        GetFileInformationByHandleEx(file.as_raw_handle(), class, buffer.as_mut_ptr().cast::<c_void>(), len)
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(super) fn by_handle(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    let mut out = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: `out` is the structure that the call fills in; the handle is open.
    let done = unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut out) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(out) }
}

/// One control code; gives the number of bytes that came back.
pub(super) fn control(file: &File, code: u32, input: &[u8], output: &mut [u8]) -> io::Result<usize> {
    let mut returned = 0;
    // SAFETY: both buffers are as long as said, the handle is open and not overlapped, so all's done on return.
    let done = unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            code,
            input.as_ptr().cast::<c_void>(),
            input.len() as u32,
            output.as_mut_ptr().cast::<c_void>(),
            output.len() as u32,
            &raw mut returned,
            std::ptr::null_mut(),
        )
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(returned as usize) }
}
