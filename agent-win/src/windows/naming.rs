//! Names of an open file or folder: another one, one more, or none any more. By handles alone, so that nothing is looked up
//! that somebody could have put in its place.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_INFORMATION_CLASS, FILE_RENAME_INFORMATION, FileLinkInformation, FileRenameInformation,
    FileRenameInformationEx, NtSetInformationFile,
};
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER, ERROR_NOT_SUPPORTED, RtlNtStatusToDosError,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY, FILE_BASIC_INFO, FILE_DISPOSITION_FLAG_DELETE,
    FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE, FILE_DISPOSITION_INFO, FILE_DISPOSITION_INFO_EX,
    FILE_STANDARD_INFO, FileDispositionInfo, FileDispositionInfoEx, SetFileInformationByHandle,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use super::aligned::aligned;
use super::failure::{has_code, said};
use super::query;
use super::set::{self, Times};
use crate::wtf8;

/// Replace what's there; who has that open for sharing keeps it; also where it's read-only (`FILE_RENAME_INFORMATION`).
const IN_EVERY_CASE: u32 = 0x1 | 0x2 | 0x40;
const REPLACE: u32 = 1;

/// To another name in the folder that it's in already. In one step: before it the old one is there, after it the new one.
/// Where nothing is replaced, something that's there is an error.
pub(super) fn rename(file: &File, folder: &File, name: &[u8], replaces: bool) -> io::Result<()> {
    match move_to(file, folder, name, replaces) {
        // A share takes a name alone, which means the same folder.
        Err(error) if is_unknown(&error) => {
            give(file, None, name, FileRenameInformation, if replaces { REPLACE } else { 0 })
        }
        done => done,
    }
}

/// As [`rename`], to any folder of the volume.
pub(super) fn move_to(file: &File, folder: &File, name: &[u8], replaces: bool) -> io::Result<()> {
    let (flags, plain) = if replaces { (IN_EVERY_CASE, REPLACE) } else { (0, 0) };
    match give(file, Some(folder), name, FileRenameInformationEx, flags) {
        // Not every version and file system has that.
        Err(error) if is_unknown(&error) => give(file, Some(folder), name, FileRenameInformation, plain),
        done => done,
    }
}

/// One name more, where there's nothing yet.
pub(super) fn link(file: &File, folder: &File, name: &[u8]) -> io::Result<()> {
    give(file, Some(folder), name, FileLinkInformation, 0)
}

/// What's asked for in this way can't be had there, whatever is asked.
pub(super) fn is_unknown(error: &io::Error) -> bool {
    has_code(error, &[ERROR_INVALID_PARAMETER, ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED])
}

/// It's gone when it's closed, read-only or not.
pub(super) fn remove(file: &File) -> io::Result<()> {
    const IN_EVERY_CASE: u32 = FILE_DISPOSITION_FLAG_DELETE | FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE;
    let info = FILE_DISPOSITION_INFO_EX { Flags: IN_EVERY_CASE };
    let len = size_of::<FILE_DISPOSITION_INFO_EX>() as u32;
    // SAFETY: the handle is open, the structure is the one that the class takes, and as long as said.
    let removed = said(unsafe {
        SetFileInformationByHandle(file.as_raw_handle(), FileDispositionInfoEx, (&raw const info).cast(), len)
    });
    match removed {
        Err(error) if is_unknown(&error) => remove_plainly(file),
        removed => removed,
    }
}

/// What's read-only can't be removed: it loses that first. Not where it has other names, which are somebody else's then.
fn remove_plainly(file: &File) -> io::Result<()> {
    let (basic, standard): (FILE_BASIC_INFO, FILE_STANDARD_INFO) = (query::info(file)?, query::info(file)?);
    if standard.NumberOfLinks <= 1 && basic.FileAttributes & FILE_ATTRIBUTE_READONLY != 0 {
        set::basic(file, Times::default(), without_read_only(basic.FileAttributes))?;
    }
    let info = FILE_DISPOSITION_INFO { DeleteFile: true };
    let len = size_of::<FILE_DISPOSITION_INFO>() as u32;
    // SAFETY: the handle is open, the structure is the one that the class takes, and as long as said.
    said(unsafe {
        SetFileInformationByHandle(file.as_raw_handle(), FileDispositionInfo, (&raw const info).cast(), len)
    })
}

pub(super) fn without_read_only(attributes: u32) -> u32 {
    match attributes & !FILE_ATTRIBUTE_READONLY {
        0 => FILE_ATTRIBUTE_NORMAL,
        attributes => attributes,
    }
}

/// Flags (or whether to replace), the folder's handle, the name's length, and from byte 20 the name
/// (`FILE_RENAME_INFORMATION`, `FILE_LINK_INFORMATION`).
fn give(
    file: &File,
    folder: Option<&File>,
    name: &[u8],
    class: FILE_INFORMATION_CLASS,
    flags: u32,
) -> io::Result<()> {
    let name = wtf8::to_wide(name).ok_or(io::ErrorKind::InvalidInput)?;
    let (name_len, handle) =
        (name.len() as u32 * 2, folder.map_or(0, |folder| folder.as_raw_handle() as u64));
    let mut bytes =
        [&flags.to_le_bytes()[..], &[0; 4], &handle.to_le_bytes(), &name_len.to_le_bytes()].concat();
    bytes.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    // Aligned as the structure must be, and no shorter than it, however short the name is.
    let len = bytes.len().max(size_of::<FILE_RENAME_INFORMATION>());
    bytes.resize(len, 0);
    let words = aligned(&bytes);
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: both handles are open and synchronous; the structure is the one that the class takes, and as long as said.
    let status = unsafe {
        NtSetInformationFile(file.as_raw_handle(), &raw mut block, words.as_ptr().cast(), len as u32, class)
    };
    if status >= 0 {
        return Ok(());
    }
    // SAFETY: a pure function of a number.
    Err(io::Error::from_raw_os_error(unsafe { RtlNtStatusToDosError(status) } as i32))
}

#[cfg(test)]
mod tests {
    use super::super::open_below::{Purpose, open_below};
    use super::super::stat::open_to_describe;
    use super::*;

    #[test]
    fn an_open_file_gets_names_and_loses_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = open_to_describe(dir.path()).unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("old"), "old").unwrap();
        let file = open_below(&folder, b"new", Purpose::MakeFile).unwrap();
        assert!(rename(&file, &folder, b"old", false).is_err());
        rename(&file, &folder, b"old", true).unwrap();
        assert!(!at("new").exists());
        link(&file, &folder, b"o").unwrap();
        assert!(link(&file, &folder, b"o").is_err());
        drop(file);
        assert_eq!(std::fs::read(at("o")).unwrap(), b"");
        let file = open_below(&folder, b"old", Purpose::Move).unwrap();
        remove(&file).unwrap();
        drop(file);
        assert!(!at("old").exists() && at("o").exists());
    }
}
