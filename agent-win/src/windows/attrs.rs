//! What NTFS keeps of an object beside its bytes, as attributes of a version.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use coffer_format::limits::{ATTR_MAX, NAME_MAX};
use coffer_format::node::{Attr, AttrKind, NodeKind};
use coffer_format::nt_basic::NtBasic;
use windows_sys::Win32::Foundation::{ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER, ERROR_NOT_SUPPORTED};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_ENCRYPTED, FILE_ATTRIBUTE_NORMAL, FILE_BASIC_INFO,
    FILE_CASE_SENSITIVE_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_NO_RECALL,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_READ_EA, READ_CONTROL,
};
use windows_sys::Win32::System::Ioctl::{FSCTL_GET_OBJECT_ID, FSCTL_GET_REPARSE_POINT};
use windows_sys::Win32::System::SystemServices::FILE_CS_FLAG_CASE_SENSITIVE_DIR;

use super::failure::has_code;
use super::reparse::REPARSE_MAX;
use super::stat::{SHARE_ALL, nanoseconds};
use super::streams::Kept;
use super::{extended, query, reparse, security, short_name, streams};
use crate::scan::Attrs;

/// `FILE_OBJECTID_BUFFER`.
const OBJECT_ID: usize = 64;

/// Attributes of an open file.
pub(crate) fn attrs_of_file(file: &File) -> io::Result<Attrs> {
    let basic: FILE_BASIC_INFO = query::info(file)?;
    let flags = basic.FileAttributes & !FILE_ATTRIBUTE_NORMAL;
    let mut attrs = Attrs::default();
    let is_folder = flags & FILE_ATTRIBUTE_DIRECTORY != 0;
    let basic = NtBasic {
        attributes: flags,
        is_case_sensitive: is_folder && is_case_sensitive(file),
        accessed_ns: nanoseconds(basic.LastAccessTime),
        changed_ns: nanoseconds(basic.ChangeTime),
    };
    attrs.add(AttrKind::NtBasic, b"", &basic.to_value());
    if let Some(descriptor) = known(security::read(file))? {
        attrs.add(AttrKind::NtSecurity, b"", &descriptor);
    }
    if let Some(list) = extended::read(file)? {
        attrs.add(AttrKind::NtEa, b"", &list);
    }
    let mut id = [0; OBJECT_ID];
    // Most files have none, which is an error of its own kind; whatever the reason, there's nothing to keep.
    if let Ok(len) = query::control(file, FSCTL_GET_OBJECT_ID, &[], &mut id) {
        attrs.add(AttrKind::NtObjectId, b"", &id[..len]);
    }
    if let Some(name) = short_name::read(file) {
        attrs.add(AttrKind::NtShortName, b"", &name);
    }
    if flags & FILE_ATTRIBUTE_ENCRYPTED != 0 && !is_folder {
        // Its streams are in there.
        attrs.add(AttrKind::NtEfsRaw, b"", b"");
        return Ok(attrs);
    }
    for stream in known(streams::read(file))?.unwrap_or_default() {
        match stream.kept {
            Kept::Bytes(bytes) => attrs.add(AttrKind::NtStream, &stream.name, &bytes),
            Kept::Apart => attrs.large_streams.push(stream.name),
            Kept::Failed(error) => attrs.lack(&stream.name, &format!("can't be read ({error})")),
        }
    }
    Ok(attrs)
}

/// Attributes of the object at `path` itself; for a link its target as well.
pub(crate) fn attrs_of_path(path: &Path, kind: NodeKind) -> io::Result<Attrs> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_OPEN_NO_RECALL;
    let mut options = OpenOptions::new();
    let access = FILE_READ_ATTRIBUTES | FILE_READ_EA | READ_CONTROL;
    let file = options.access_mode(access).share_mode(SHARE_ALL).custom_flags(flags).open(path)?;
    let mut attrs = attrs_of_file(&file)?;
    if kind == NodeKind::Symlink {
        let mut buffer = vec![0; REPARSE_MAX];
        let len = query::control(&file, FSCTL_GET_REPARSE_POINT, &[], &mut buffer)?;
        if let Some(target) = reparse::target(&buffer[..len]) {
            attrs.add(AttrKind::LinkTarget, b"", &target);
        }
        attrs.add(AttrKind::NtReparse, b"", &buffer[..len]);
    }
    Ok(attrs)
}

/// Only newer versions of Windows tell.
fn is_case_sensitive(folder: &File) -> bool {
    let info = query::info::<FILE_CASE_SENSITIVE_INFO>(folder);
    info.is_ok_and(|info| info.Flags & FILE_CS_FLAG_CASE_SENSITIVE_DIR != 0)
}

impl Attrs {
    /// What's longer than any version may carry is said to be lacking.
    fn add(&mut self, kind: AttrKind, name: &[u8], value: &[u8]) {
        if value.len() > ATTR_MAX || name.len() > NAME_MAX {
            self.lacking.push(format!("is captured without its {kind:?}, which has {} bytes", value.len()));
            return;
        }
        self.list.push(Attr { kind, name: name.into(), value: value.into() });
    }

    fn lack(&mut self, stream: &[u8], why: &str) {
        let stream = String::from_utf8_lossy(stream);
        self.lacking
            .push(format!("is captured without its stream \"{stream}\", which {why}; copy it to a file"));
    }
}

/// `None` where the file system has nothing of the kind.
fn known<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error)
            if has_code(&error, &[ERROR_NOT_SUPPORTED, ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER]) =>
        {
            Ok(None)
        }
        read => read.map(Some),
    }
}
