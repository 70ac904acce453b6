//! Giving a file its streams back: small ones that lay with it, and large ones that were files of their own.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use coffer_format::node::{Attr, AttrKind, NodeMeta};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY, FILE_BASIC_INFO, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES,
};

use super::put_back::{is_name, opened};
use super::set::Times;
use super::{query, set};
use crate::wtf8;

/// The name of the stream that a node is, where it's one: a file's own streams have bytes, a mark has none but its name.
pub(crate) fn stream_of(meta: &NodeMeta) -> Option<&[u8]> {
    match &meta.attrs[..] {
        [only] if only.kind == AttrKind::NtStream && only.value.is_empty() => Some(&only.name),
        _ => None,
    }
}

/// A stream that lay with its file.
pub(super) fn put_small(path: &Path, attr: &Attr) -> io::Result<()> {
    open_stream(path, &attr.name)?.write_all(&attr.value.0)
}

/// Copies a whole file to a stream of `host`, which keeps its times and attributes.
pub(crate) fn put_stream(from: &Path, host: &Path, name: &[u8]) -> io::Result<()> {
    let described = opened(host, FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES)?;
    let before: FILE_BASIC_INFO = query::info(&described)?;
    let attributes = |wanted: u32| if wanted == 0 { FILE_ATTRIBUTE_NORMAL } else { wanted };
    if before.FileAttributes & FILE_ATTRIBUTE_READONLY != 0 {
        set::basic(
            &described,
            Times::default(),
            attributes(before.FileAttributes & !FILE_ATTRIBUTE_READONLY),
        )?;
    }
    let copied = copy(from, host, name);
    let times = Times {
        created: before.CreationTime,
        accessed: before.LastAccessTime,
        written: before.LastWriteTime,
        changed: before.ChangeTime,
    };
    copied.and(set::basic(&described, times, attributes(before.FileAttributes)))
}

fn copy(from: &Path, host: &Path, name: &[u8]) -> io::Result<()> {
    let mut stream = open_stream(host, name)?;
    io::copy(&mut File::open(from)?, &mut stream)?;
    stream.sync_all()
}

/// Opened empty; a link's own stream, not its target's.
fn open_stream(path: &Path, name: &[u8]) -> io::Result<File> {
    let name = wtf8::to_wide(name).filter(|_| is_name(name)).ok_or(io::ErrorKind::InvalidInput)?;
    let mut whole: Vec<u16> = path.as_os_str().encode_wide().collect();
    whole.push(b':'.into());
    whole.extend(name);
    let flags = FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).custom_flags(flags);
    let file = options.open(PathBuf::from(OsString::from_wide(&whole)))?;
    file.set_len(0)?;
    Ok(file)
}
