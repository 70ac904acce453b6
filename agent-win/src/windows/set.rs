//! Telling the system what a restored file is to be.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Wdk::Storage::FileSystem::NtSetEaFile;
use windows_sys::Win32::Foundation::RtlNtStatusToDosError;
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GROUP_SECURITY_INFORMATION, LABEL_SECURITY_INFORMATION,
    OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, SACL_SECURITY_INFORMATION,
    SetKernelObjectSecurity, UNPROTECTED_DACL_SECURITY_INFORMATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_BASIC_INFO, FILE_CASE_SENSITIVE_INFO, FileBasicInfo, FileCaseSensitiveInfo,
    SetFileInformationByHandle, SetFileShortNameW,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::SystemServices::FILE_CS_FLAG_CASE_SENSITIVE_DIR;

use super::aligned::aligned;
use super::failure::said;

/// Head of a self-relative descriptor (MS-DTYP 2.4.6).
const DESCRIPTOR_HEAD: usize = 20;
const DACL_PROTECTED: u8 = 0x10;
const SACL_PRESENT: u8 = 0x10;

/// Times of an object in units of the system's; 0 leaves one as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) created: i64,
    pub(super) accessed: i64,
    pub(super) written: i64,
    pub(super) changed: i64,
}

pub(super) fn basic(file: &File, times: Times, attributes: u32) -> io::Result<()> {
    let info = FILE_BASIC_INFO {
        CreationTime: times.created,
        LastAccessTime: times.accessed,
        LastWriteTime: times.written,
        ChangeTime: times.changed,
        FileAttributes: attributes,
    };
    let len = size_of::<FILE_BASIC_INFO>() as u32;
    // SAFETY: the handle is open, the structure is the one that the class takes, and as long as said.
    said(unsafe {
        SetFileInformationByHandle(file.as_raw_handle(), FileBasicInfo, (&raw const info).cast(), len)
    })
}

/// From now on names in an empty folder differ by case.
pub(super) fn case_sensitive(folder: &File) -> io::Result<()> {
    let info = FILE_CASE_SENSITIVE_INFO { Flags: FILE_CS_FLAG_CASE_SENSITIVE_DIR };
    let len = size_of::<FILE_CASE_SENSITIVE_INFO>() as u32;
    // SAFETY: the handle is open, the structure is the one that the class takes, and as long as said.
    said(unsafe {
        SetFileInformationByHandle(
            folder.as_raw_handle(),
            FileCaseSensitiveInfo,
            (&raw const info).cast(),
            len,
        )
    })
}

/// Owner, group and DACL out of a self-relative descriptor, as they are: nothing is inherited anew.
pub(super) fn security(file: &File, descriptor: &[u8]) -> io::Result<()> {
    let is_protected = descriptor.get(3).is_some_and(|control| control & DACL_PROTECTED != 0);
    let protection = if is_protected {
        PROTECTED_DACL_SECURITY_INFORMATION
    } else {
        UNPROTECTED_DACL_SECURITY_INFORMATION
    };
    let wanted =
        OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION | protection;
    apply(file, descriptor, wanted)
}

/// Whether the descriptor says what's to be recorded.
pub(super) fn has_audit(descriptor: &[u8]) -> bool {
    descriptor.get(2).is_some_and(|control| control & SACL_PRESENT != 0)
        && descriptor.get(12..16).is_some_and(|place| place != [0; 4])
}

/// The SACL out of a self-relative descriptor.
pub(super) fn audit(file: &File, descriptor: &[u8]) -> io::Result<()> {
    apply(file, descriptor, SACL_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION)
}

fn apply(file: &File, descriptor: &[u8], wanted: u32) -> io::Result<()> {
    if !is_sound(descriptor) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the permissions that were kept make no sense",
        ));
    }
    // Aligned as a descriptor must be.
    let words = aligned(descriptor);
    // SAFETY: the handle is open; the descriptor's parts lie inside it, which `is_sound` has seen to.
    said(unsafe { SetKernelObjectSecurity(file.as_raw_handle(), wanted, words.as_ptr().cast_mut().cast()) })
}

/// Whether owner, group and lists lie inside the descriptor, each as long as it says: the call is given no length.
fn is_sound(descriptor: &[u8]) -> bool {
    if descriptor.len() < DESCRIPTOR_HEAD || descriptor[0] != 1 || descriptor[3] & 0x80 == 0 {
        return false;
    }
    let place = |field: usize| {
        let bytes = descriptor.get(field..field + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(usize::MAX, |bytes| u32::from_le_bytes(bytes) as usize)
    };
    let fits = |start: usize, len: usize| start.checked_add(len).is_some_and(|end| end <= descriptor.len());
    let is_sid = |field: usize| match place(field) {
        0 => true,
        start => fits(start, 8) && fits(start, 8 + 4 * usize::from(descriptor[start + 1])),
    };
    let is_list = |field: usize| match place(field) {
        0 => true,
        start => {
            fits(start, 8)
                && fits(
                    start,
                    usize::from(u16::from_le_bytes([descriptor[start + 2], descriptor[start + 3]])),
                )
        }
    };
    is_sid(4) && is_sid(8) && is_list(12) && is_list(16)
}

/// A list as `NtQueryEaFile` gave it.
pub(super) fn extended(file: &File, list: &[u8]) -> io::Result<()> {
    let words = aligned(list);
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: the handle is open and synchronous; the list is as long as said, and the system checks what's in it.
    let status = unsafe {
        NtSetEaFile(file.as_raw_handle(), &raw mut block, words.as_ptr().cast(), list.len() as u32)
    };
    if status >= 0 {
        return Ok(());
    }
    // SAFETY: a pure function of a number.
    Err(io::Error::from_raw_os_error(unsafe { RtlNtStatusToDosError(status) } as i32))
}

pub(super) fn short_name(file: &File, name: &[u16]) -> io::Result<()> {
    let name: Vec<u16> = name.iter().copied().chain([0]).collect();
    // SAFETY: the handle is open, the name ends with a zero.
    said(unsafe { SetFileShortNameW(file.as_raw_handle(), name.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_sound;

    #[test]
    fn descriptors_of_real_files_are_sound_and_cut_ones_are_not() {
        let file = tempfile::tempfile().unwrap();
        let descriptor = super::super::security::read(&file).unwrap();
        assert!(is_sound(&descriptor));
        assert!(!is_sound(&descriptor[..descriptor.len() / 2]));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _any = is_sound(&[&[1, 0, 0, 0x80], &bytes[..]].concat());
        }
    }
}
