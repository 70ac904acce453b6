//! Files and folders for the agent alone: the system, administrators, and whoever made them.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_ALREADY_EXISTS;
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;

use super::descriptor::Descriptor;
use super::failure::{has_code, said};
use super::wide::wide_path;

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
    let (path, descriptor) = (wide_path(path), Descriptor::for_us_alone()?);
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.pointer(),
        bInheritHandle: 0,
    };
    // SAFETY: the path ends with a zero; the attributes and the descriptor live until after the call.
    said(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) })
}
