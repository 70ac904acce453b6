//! Files and folders for the agent alone: the system, administrators, and whoever made them.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;

use super::failure::{has_code, said};
use super::wide::{wide, wide_path};

/// Protected from what the folder above hands down; handed down to everything below. SY the system, BA administrators,
/// OW the owner.
const FOR_US_ALONE: &str = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)";

/// Makes the folder, and those above it, where they aren't there. Only the folder itself is closed to others.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match create(path) {
        Err(error) if has_code(&error, &[ERROR_ALREADY_EXISTS]) && path.is_dir() => Ok(()),
        made => made,
    }
}

/// How to open a file in a private folder, which protects it.
pub(crate) fn private_file() -> OpenOptions {
    OpenOptions::new()
}

fn create(path: &Path) -> io::Result<()> {
    let (path, sddl) = (wide_path(path), wide(FOR_US_ALONE));
    let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
    // SAFETY: the text ends with a zero; the system gives memory that's freed below.
    said(unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            std::ptr::null_mut(),
        )
    })?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor,
        bInheritHandle: 0,
    };
    // SAFETY: the path ends with a zero; the attributes and the descriptor live until after the call.
    let made = said(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) });
    // SAFETY: the descriptor was given to us by the system, to be freed so, and isn't used any more.
    unsafe { LocalFree(descriptor) };
    made
}
