//! What NTFS keeps of an object beside its bytes, as attributes of a version.

use std::fs::File;
use std::io;
use std::path::Path;

use coffer_format::limits::ATTR_MAX;
use coffer_format::node::{Attr, AttrKind, NodeKind};
use windows_sys::Win32::Storage::FileSystem::{FILE_ATTRIBUTE_NORMAL, FILE_BASIC_INFO};
use windows_sys::Win32::System::Ioctl::FSCTL_GET_REPARSE_POINT;

use super::{query, reparse, stat};

/// Longest reparse point (`MAXIMUM_REPARSE_DATA_BUFFER_SIZE`).
const REPARSE_MAX: usize = 16 << 10;

/// Attributes of an open file.
pub(crate) fn attrs_of_file(file: &File) -> io::Result<Vec<Attr>> {
    let basic: FILE_BASIC_INFO = query::info(file)?;
    let flags = basic.FileAttributes & !FILE_ATTRIBUTE_NORMAL;
    Ok(vec![only(AttrKind::NtBasic, &flags.to_le_bytes())])
}

/// Attributes of the object at `path` itself; for a link its target as well.
pub(crate) fn attrs_of_path(path: &Path, kind: NodeKind) -> io::Result<Vec<Attr>> {
    let file = stat::open_to_describe(path)?;
    let mut attrs = attrs_of_file(&file)?;
    if kind == NodeKind::Symlink {
        let mut buffer = vec![0; REPARSE_MAX];
        let len = query::control(&file, FSCTL_GET_REPARSE_POINT, &[], &mut buffer)?;
        let target = reparse::target(&buffer[..len]);
        attrs.extend(target.map(|target| only(AttrKind::LinkTarget, &target)));
        attrs.push(only(AttrKind::NtReparse, &buffer[..len]));
    }
    attrs.retain(|attr| attr.value.len() <= ATTR_MAX);
    Ok(attrs)
}

/// The one attribute of its kind.
fn only(kind: AttrKind, value: &[u8]) -> Attr {
    Attr { kind, name: b""[..].into(), value: value.into() }
}
