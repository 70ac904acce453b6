//! Giving what was restored everything that the box has of it: each part by itself, so that one that this volume or this
//! user can't have doesn't keep out the others. Attributes and times come last, since everything else changes them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use coffer_format::nt_basic::NtBasic;
use windows_sys::Win32::Foundation::{ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, GENERIC_WRITE};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_ATTRIBUTE_COMPRESSED, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_ENCRYPTED,
    FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::Ioctl::{
    FSCTL_SET_COMPRESSION, FSCTL_SET_OBJECT_ID, FSCTL_SET_REPARSE_POINT, FSCTL_SET_SPARSE,
};
use windows_sys::Win32::System::SystemServices::ACCESS_SYSTEM_SECURITY;

use super::failure::has_code;
use super::set::Times;
use super::stat::{SHARE_ALL, file_time};
use super::{efs, query, set, stream_back};
use crate::wtf8;

/// Attributes that are set as such; the others say what was done to the file by other means.
pub(super) const SETTABLE: u32 = 0x1 | 0x2 | 0x4 | 0x20 | 0x100 | 0x2000;
const COMPRESSION_FORMAT_DEFAULT: u16 = 1;

/// A name that stands for one entry of a directory: no stream of it, no device, nothing that Windows would shorten.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let is_sound = |byte: &u8| *byte >= 0x20 && !b"\\/:*?\"<>|".contains(byte);
    !name.is_empty() && name.iter().all(is_sound) && wtf8::to_wide(name).is_some()
}

/// Makes room for holes where the file had some.
pub(crate) fn expect_size(file: &File, meta: &NodeMeta) -> io::Result<()> {
    if meta.sparse {
        // Without it the file takes more room, and is the same.
        if let Err(error) = query::control(file, FSCTL_SET_SPARSE, &[], &mut []) {
            tracing::debug!(%error, "a file with holes is restored without");
        }
    }
    file.set_len(meta.size)
}

/// Where the bytes of a whole file are its encrypted form, they're made the file itself.
pub(crate) fn finish_bytes(path: &Path, meta: &NodeMeta) -> io::Result<()> {
    if value(meta, AttrKind::NtEfsRaw).is_none() {
        return Ok(());
    }
    // A name that's cleared away like any other that a restore leaves behind.
    let mut form = path.as_os_str().to_owned();
    form.push("-0");
    std::fs::rename(path, &form)?;
    let imported = efs::import(Path::new(&form), path);
    std::fs::remove_file(&form)?;
    imported.map_err(|error| {
        io::Error::other(format!("it's encrypted, and its encrypted form isn't taken back here ({error})"))
    })
}

/// What only a folder that's still empty can be given: sentences as for [`put_back`].
pub(crate) fn begin_folder(path: &Path, meta: &NodeMeta) -> Vec<String> {
    if !nt_basic(meta).is_case_sensitive {
        return Vec::new();
    }
    let done = opened(path, FILE_WRITE_ATTRIBUTES).and_then(|folder| set::case_sensitive(&folder));
    let sentence = |error| format!("was restored without telling names apart by case ({error})");
    done.err().map(sentence).into_iter().collect()
}

/// Makes what has no bytes of its own; what of it couldn't be put back.
pub(crate) fn put_special(path: &Path, meta: &NodeMeta) -> io::Result<Vec<String>> {
    let reparse = value(meta, AttrKind::NtReparse)
        .ok_or_else(|| io::Error::other("it's nothing that Windows has; restore it on the box"))?;
    if flags(meta) & FILE_ATTRIBUTE_DIRECTORY != 0 {
        std::fs::create_dir(path)?;
    } else {
        File::create_new(path)?;
    }
    let made = opened(path, GENERIC_WRITE)
        .and_then(|file| query::control(&file, FSCTL_SET_REPARSE_POINT, reparse, &mut []));
    if let Err(error) = made {
        let is_folder = flags(meta) & FILE_ATTRIBUTE_DIRECTORY != 0;
        if is_folder {
            std::fs::remove_dir(path)?
        } else {
            std::fs::remove_file(path)?
        }
        return Err(error);
    }
    Ok(put_back(path, meta))
}

/// Sentences about what couldn't be put back.
pub(crate) fn put_back(path: &Path, meta: &NodeMeta) -> Vec<String> {
    let mut lacking = Vec::new();
    let mut lack = |what: &str, done: io::Result<()>| {
        lacking.extend(done.err().map(|error| format!("was restored without its {what} ({error})")));
    };
    for attr in &meta.attrs {
        match attr.kind {
            AttrKind::NtStream => lack("alternate stream", stream_back::put_small(path, attr)),
            AttrKind::NtEa => lack(
                "extended attributes",
                opened(path, GENERIC_WRITE).and_then(|file| set::extended(&file, &attr.value)),
            ),
            _ => {}
        }
    }
    if flags(meta) & FILE_ATTRIBUTE_COMPRESSED != 0 {
        lack("compression", control(path, FSCTL_SET_COMPRESSION, &COMPRESSION_FORMAT_DEFAULT.to_le_bytes()));
    }
    if flags(meta) & FILE_ATTRIBUTE_ENCRYPTED != 0 && meta.kind == NodeKind::Directory {
        let why = "what's made in it from now on isn't encrypted; set that again with cipher /e";
        lack("encryption", Err(io::Error::other(why)));
    }
    lack("times and attributes", basic(path, meta));
    // Afterwards nothing of it may be writable any more.
    if let Some(descriptor) = value(meta, AttrKind::NtSecurity) {
        lack("audit list", audit(path, descriptor));
        lack("permissions", security(path, descriptor));
    }
    lacking
}

/// What only one file of a volume can have, so that it comes after the one before is gone: sentences as above.
pub(crate) fn put_identity(path: &Path, meta: &NodeMeta) -> Vec<String> {
    let mut lacking = Vec::new();
    let mut lack = |what: &str, done: io::Result<()>| {
        lacking.extend(done.err().map(|error| format!("was restored without its {what} ({error})")));
    };
    let (id, name) = (value(meta, AttrKind::NtObjectId), value(meta, AttrKind::NtShortName));
    let stat = super::stat_path(path);
    let has_times = stat.is_ok_and(|stat| (stat.btime_ns, stat.mtime_ns) == (meta.btime_ns, meta.mtime_ns));
    if id.is_none() && name.is_none() && has_times {
        // Taking its place was a change; nobody misses that time where it can't be set.
        if nt_basic(meta).changed_ns != 0
            && let Err(error) = basic(path, meta)
        {
            tracing::debug!(%error, "a file is restored with a change time of its own");
        }
        return lacking;
    }
    if (id.is_some() || name.is_some()) && flags(meta) & FILE_ATTRIBUTE_READONLY != 0 {
        // Only for the moment: nothing can be given to a file that's read-only.
        lack("attributes", with_attributes(path, meta, FILE_ATTRIBUTE_NORMAL));
    }
    if let Some(id) = id {
        lack("object id", object_id(path, id));
    }
    if let Some(name) = name {
        lack("short name", short_name(path, name));
    }
    // The system gives a file that takes another's name that one's birth time.
    lack("times and attributes", basic(path, meta));
    lacking
}

pub(super) fn value(meta: &NodeMeta, kind: AttrKind) -> Option<&[u8]> {
    meta.attrs.iter().find(|attr| attr.kind == kind).map(|attr| &attr.value.0[..])
}

pub(super) fn flags(meta: &NodeMeta) -> u32 {
    nt_basic(meta).attributes
}

fn nt_basic(meta: &NodeMeta) -> NtBasic {
    value(meta, AttrKind::NtBasic).and_then(NtBasic::from_value).unwrap_or_default()
}

/// The object itself, whatever it is.
pub(super) fn opened(path: &Path, access: u32) -> io::Result<File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    OpenOptions::new().access_mode(access).share_mode(SHARE_ALL).custom_flags(flags).open(path)
}

fn control(path: &Path, code: u32, input: &[u8]) -> io::Result<()> {
    let file = opened(path, GENERIC_WRITE | FILE_READ_ATTRIBUTES)?;
    query::control(&file, code, input, &mut []).map(|_| ())
}

/// A volume without object ids has nobody who asks for one.
fn object_id(path: &Path, id: &[u8]) -> io::Result<()> {
    match control(path, FSCTL_SET_OBJECT_ID, id) {
        Err(error) if has_code(&error, &[ERROR_NOT_SUPPORTED, ERROR_INVALID_FUNCTION]) => Ok(()),
        set => set,
    }
}

fn short_name(path: &Path, name: &[u8]) -> io::Result<()> {
    let name = wtf8::to_wide(name).ok_or(io::ErrorKind::InvalidInput)?;
    set::short_name(&opened(path, GENERIC_WRITE | DELETE)?, &name)
}

fn basic(path: &Path, meta: &NodeMeta) -> io::Result<()> {
    with_attributes(path, meta, flags(meta) & SETTABLE)
}

fn with_attributes(path: &Path, meta: &NodeMeta, attributes: u32) -> io::Result<()> {
    let more = nt_basic(meta);
    let times = Times {
        created: file_time(meta.btime_ns),
        accessed: file_time(more.accessed_ns),
        written: file_time(meta.mtime_ns),
        changed: file_time(more.changed_ns),
    };
    let attributes = if attributes == 0 { FILE_ATTRIBUTE_NORMAL } else { attributes };
    let is_folder = meta.kind == NodeKind::Directory;
    let attributes = if is_folder { attributes | FILE_ATTRIBUTE_DIRECTORY } else { attributes };
    set::basic(&opened(path, FILE_WRITE_ATTRIBUTES | FILE_READ_ATTRIBUTES)?, times, attributes)
}

fn security(path: &Path, descriptor: &[u8]) -> io::Result<()> {
    set::security(&opened(path, WRITE_DAC | WRITE_OWNER)?, descriptor)
}

fn audit(path: &Path, descriptor: &[u8]) -> io::Result<()> {
    if set::has_audit(descriptor) {
        set::audit(&opened(path, ACCESS_SYSTEM_SECURITY)?, descriptor)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_that_mean_something_else_to_windows_are_refused() {
        for name in [&b"a:b"[..], b"a\\b", b"", b"a*", b"\x01", b"\xff"] {
            assert!(!is_name(name), "{name:?}");
        }
        for name in ["Grüße.txt".as_bytes(), b"dot.", b"half-\xed\xa0\xb4"] {
            assert!(is_name(name), "{name:?}");
        }
    }
}
