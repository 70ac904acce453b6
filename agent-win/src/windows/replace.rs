//! Whether what's there is in use, or is what was restored; and replacing it when the computer next starts.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::Path;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, ERROR_USER_MAPPED_FILE,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY, MOVEFILE_DELAY_UNTIL_REBOOT,
    MOVEFILE_REPLACE_EXISTING, MoveFileExW, READ_CONTROL,
};

use super::descriptor::Descriptor;
use super::failure::{has_code, said};
use super::held_entry::HeldEntry;
use super::open_below::Purpose;
use super::put_back::{SETTABLE, flags, value};
use super::set::{self, Times};
use super::wide::wide_path;
use super::{attrs_of_path, naming, security, stat};

/// Whether a file in use has to wait for that.
pub(crate) const REPLACES_AT_RESTART: bool = true;

/// Somebody has it open for themselves, or runs it (which is a refusal like any other).
pub(crate) fn is_in_use(error: &io::Error) -> bool {
    const IN_USE: [u32; 4] =
        [ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_USER_MAPPED_FILE, ERROR_ACCESS_DENIED];
    has_code(error, &IN_USE)
}

impl HeldEntry {
    /// Arranges that the system gives it another name in its folder before anything else starts: for administrators only.
    /// Where others could lead the system elsewhere until then, since it goes by the path alone, it's left to the agent's own
    /// start: its path bytes.
    pub(crate) fn replace_at_restart(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        for folder in self.folder.with_those_above() {
            let descriptor = security::read(&security::reopened(folder, READ_CONTROL)?)?;
            if !Descriptor(&descriptor).stays_where_it_is() {
                return Ok(Some([self.folder.path(), b"/", &self.name].concat()));
            }
        }
        let there = self.folder.open_entry(name, Purpose::Mark)?;
        let attributes = stat::facts(&there)?.attributes;
        if attributes & FILE_ATTRIBUTE_READONLY != 0 {
            set::basic(&there, Times::default(), naming::without_read_only(attributes))?;
        }
        let (from, to) = (wide_path(&self.folder.place(&self.name)), wide_path(&self.folder.place(name)));
        // SAFETY: both paths end with a zero and live until after the call.
        said(unsafe {
            MoveFileExW(from.as_ptr(), to.as_ptr(), MOVEFILE_DELAY_UNTIL_REBOOT | MOVEFILE_REPLACE_EXISTING)
        })?;
        Ok(None)
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
