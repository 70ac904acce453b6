//! Replacing what's there by what was restored, now or when the computer next starts, and whether the two are alike.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::Path;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, ERROR_USER_MAPPED_FILE,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY,
    MOVEFILE_DELAY_UNTIL_REBOOT, MOVEFILE_REPLACE_EXISTING, MoveFileExW, SetFileAttributesW,
};

use super::attrs_of_path;
use super::failure::{has_code, said};
use super::put_back::{SETTABLE, flags, value};
use super::wide::wide_path;

/// Whether a file in use has to wait for that.
pub(crate) const REPLACES_AT_RESTART: bool = true;

/// In one step: before it the old one is there, after it the new one. A file that others have open for sharing goes on for
/// them as it was.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if has_code(&error, &[ERROR_ACCESS_DENIED]) && is_read_only(to) => {
            let attributes = std::fs::symlink_metadata(to)?.file_attributes();
            set_attributes(to, attributes & !FILE_ATTRIBUTE_READONLY)?;
            // What stays is as it was.
            std::fs::rename(from, to).inspect_err(|_| drop(set_attributes(to, attributes)))
        }
        done => done,
    }
}

/// Somebody has it open for themselves, or runs it (which is a refusal like any other).
pub(crate) fn is_in_use(error: &io::Error) -> bool {
    const IN_USE: [u32; 4] =
        [ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_USER_MAPPED_FILE, ERROR_ACCESS_DENIED];
    has_code(error, &IN_USE)
}

/// The system does it before anything else starts. For administrators only.
pub(crate) fn replace_at_restart(from: &Path, to: &Path) -> io::Result<()> {
    if is_read_only(to) {
        set_attributes(to, std::fs::symlink_metadata(to)?.file_attributes() & !FILE_ATTRIBUTE_READONLY)?;
    }
    let (from, to) = (wide_path(from), wide_path(to));
    // SAFETY: both paths end with a zero and live until after the call.
    said(unsafe {
        MoveFileExW(from.as_ptr(), to.as_ptr(), MOVEFILE_DELAY_UNTIL_REBOOT | MOVEFILE_REPLACE_EXISTING)
    })
}

/// Removes a file, or a link of either kind, read-only or not.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let attributes = std::fs::symlink_metadata(path)?.file_attributes();
    if attributes & FILE_ATTRIBUTE_READONLY != 0 {
        set_attributes(path, attributes & !FILE_ATTRIBUTE_READONLY)?;
    }
    if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 {
        std::fs::remove_dir(path)
    } else {
        std::fs::remove_file(path)
    }
}

/// Whether a file can't take its place: a folder, or a link that is one as well.
pub(crate) fn is_folder(path: &Path) -> io::Result<bool> {
    Ok(std::fs::symlink_metadata(path)?.file_attributes() & FILE_ATTRIBUTE_DIRECTORY != 0)
}

pub(crate) fn is_same_link(path: &Path, meta: &NodeMeta) -> bool {
    let Ok(found) = attrs_of_path(path, NodeKind::Symlink) else { return false };
    let found = found.list.iter().find(|attr| attr.kind == AttrKind::NtReparse);
    found.is_some_and(|attr| Some(&attr.value.0[..]) == value(meta, AttrKind::NtReparse))
}

/// Whether attributes are as they were, but for the mark of what was written since some backup.
pub(crate) fn has_attributes(path: &Path, meta: &NodeMeta) -> io::Result<bool> {
    let told = SETTABLE & !FILE_ATTRIBUTE_ARCHIVE;
    Ok(std::fs::symlink_metadata(path)?.file_attributes() & told == flags(meta) & told)
}

fn is_read_only(path: &Path) -> bool {
    let found = std::fs::symlink_metadata(path).map(|found| found.file_attributes());
    found.is_ok_and(|attributes| {
        attributes & FILE_ATTRIBUTE_READONLY != 0 && attributes & FILE_ATTRIBUTE_DIRECTORY == 0
    })
}

fn set_attributes(path: &Path, attributes: u32) -> io::Result<()> {
    let attributes = if attributes == 0 { FILE_ATTRIBUTE_NORMAL } else { attributes };
    // SAFETY: the path ends with a zero and lives until after the call.
    said(unsafe { SetFileAttributesW(wide_path(path).as_ptr(), attributes) })
}
