//! Giving a file its streams back: small ones that lay with it, and large ones that were files of their own.

use std::fs::File;
use std::io::{self, Seek, Write};

use coffer_format::node::{Attr, AttrKind, NodeMeta};
use windows_sys::Win32::Foundation::{
    ERROR_BAD_PATHNAME, ERROR_DIRECTORY, ERROR_INVALID_HANDLE, ERROR_PATH_NOT_FOUND,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_ATTRIBUTE_READONLY, FILE_BASIC_INFO};

use super::failure::has_code;
use super::held_entry::HeldEntry;
use super::held_folder::HeldFolder;
use super::open_below::{Purpose, open_below};
use super::put_back::is_name;
use super::set::{self, Times};
use super::{naming, query, stat};
use crate::scan::ObjectId;

/// The name of the stream that a node is, where it's one: a file's own streams have bytes, a mark has none but its name.
pub(crate) fn stream_of(meta: &NodeMeta) -> Option<&[u8]> {
    match &meta.attrs[..] {
        [only] if only.kind == AttrKind::NtStream && only.value.is_empty() => Some(&only.name),
        _ => None,
    }
}

impl HeldEntry {
    /// A stream that lay with its file.
    pub(super) fn put_small_stream(&self, attr: &Attr) -> io::Result<()> {
        open_stream(&self.file, (&self.folder, &self.name), &attr.name)?.write_all(&attr.value.0)
    }

    /// Copies all of it to a stream of `host`, an entry of the same folder, which keeps its times and attributes.
    pub(crate) fn put_as_stream(&self, host: (&[u8], ObjectId), name: &[u8]) -> io::Result<()> {
        let (host, object) = host;
        let pinned = self.folder.open_entry(host, Purpose::Pin)?;
        if stat::object(&pinned)? != object {
            return Err(io::Error::other(
                "something else was put in the place of its file meanwhile; restore it again",
            ));
        }
        let before: FILE_BASIC_INFO = query::info(&pinned)?;
        if before.FileAttributes & FILE_ATTRIBUTE_READONLY != 0 {
            let attributes = naming::without_read_only(before.FileAttributes);
            set::basic(&pinned, Times::default(), attributes)?;
        }
        let copied = self.copy(&pinned, host, name);
        let times = Times {
            created: before.CreationTime,
            accessed: before.LastAccessTime,
            written: before.LastWriteTime,
            changed: before.ChangeTime,
        };
        copied.and(set::basic(&pinned, times, before.FileAttributes))
    }

    fn copy(&self, pinned: &File, host: &[u8], name: &[u8]) -> io::Result<()> {
        let mut stream = open_stream(pinned, (&self.folder, host), name)?;
        let mut from = &self.file;
        from.rewind()?;
        io::copy(&mut from, &mut stream)?;
        stream.sync_all()
    }
}

/// Opened empty, of an entry that's open; a link's own stream, not its target's.
fn open_stream(open: &File, (folder, host): (&HeldFolder, &[u8]), name: &[u8]) -> io::Result<File> {
    if !is_name(name) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let stream = [b":", name].concat();
    let file = match open_below(open, &stream, Purpose::WriteStream) {
        // Where a stream isn't found from its open file (Windows finds it), it is by its name.
        Err(error) if is_not_found_from_file(&error) => {
            folder.open_entry(&[host, &stream].concat(), Purpose::WriteStream)?
        }
        opened => opened?,
    };
    file.set_len(0)?;
    Ok(file)
}

fn is_not_found_from_file(error: &io::Error) -> bool {
    has_code(error, &[ERROR_PATH_NOT_FOUND, ERROR_INVALID_HANDLE, ERROR_BAD_PATHNAME, ERROR_DIRECTORY])
}
