//! Giving what was restored everything that the box has of it: each part by itself, so that one that this volume or this
//! user can't have doesn't keep out the others. Attributes and times come last, since everything else changes them.

use std::fs::File;
use std::io;
use std::sync::Arc;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use coffer_format::nt_basic::NtBasic;
use windows_sys::Win32::Foundation::{ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_COMPRESSED, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_ENCRYPTED, FILE_ATTRIBUTE_NORMAL,
    FILE_ATTRIBUTE_READONLY, WRITE_OWNER,
};
use windows_sys::Win32::System::Ioctl::{FSCTL_SET_COMPRESSION, FSCTL_SET_OBJECT_ID};
use windows_sys::Win32::System::SystemServices::ACCESS_SYSTEM_SECURITY;

use super::failure::has_code;
use super::held_entry::HeldEntry;
use super::held_folder::HeldFolder;
use super::open_below::Purpose;
use super::positional::allow_holes;
use super::set::Times;
use super::stat::{self, file_time};
use super::{query, security, set};
use crate::wtf8;

/// Attributes that are set as such; the others say what was done to the file by other means.
pub(super) const SETTABLE: u32 = 0x1 | 0x2 | 0x4 | 0x20 | 0x100 | 0x2000;
const COMPRESSION_FORMAT_DEFAULT: u16 = 1;

/// A name that stands for one entry of a directory: no stream of it, no device, nothing that Windows would shorten.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let is_sound = |byte: &u8| *byte >= 0x20 && !b"\\/:*?\"<>|".contains(byte);
    !name.is_empty() && name.iter().all(is_sound) && wtf8::to_wide(name).is_some()
}

/// Whether it gets permissions of its own, until which it's closed.
pub(crate) fn is_guarded(meta: &NodeMeta) -> bool {
    value(meta, AttrKind::NtSecurity).is_some()
}

/// Makes a folder with a file called `mark` in it, and gives it what only one that's still empty can be given: sentences as for
/// [`HeldEntry::put_back`]. None where there's something already.
pub(crate) fn begin_folder(
    folder: &Arc<HeldFolder>,
    name: &[u8],
    (_working, mark): (&[u8], &[u8]),
    meta: &NodeMeta,
) -> io::Result<Option<Vec<String>>> {
    if !folder.make_folder(name, is_guarded(meta))? {
        return Ok(None);
    }
    let lacking = begin_empty(folder, name, meta);
    drop(HeldEntry::create(&Arc::new(folder.child(name)?), mark, true)?);
    Ok(Some(lacking))
}

fn begin_empty(folder: &HeldFolder, name: &[u8], meta: &NodeMeta) -> Vec<String> {
    if !nt_basic(meta).is_case_sensitive {
        return Vec::new();
    }
    let done = folder.open_entry(name, Purpose::Mark).and_then(|folder| set::case_sensitive(&folder));
    let sentence = |error| format!("was restored without telling names apart by case ({error})");
    done.err().map(sentence).into_iter().collect()
}

impl HeldEntry {
    /// Makes room for holes where the file had some.
    pub(crate) fn expect_size(&self, meta: &NodeMeta) -> io::Result<()> {
        if meta.sparse {
            allow_holes(&self.file);
        }
        self.file.set_len(meta.size)
    }

    /// Sentences about what couldn't be put back.
    pub(crate) fn put_back(&self, meta: &NodeMeta) -> Vec<String> {
        let mut lacking = Vec::new();
        let mut lack = |what: &str, done: io::Result<()>| {
            lacking.extend(done.err().map(|error| format!("was restored without its {what} ({error})")));
        };
        for attr in &meta.attrs {
            match attr.kind {
                AttrKind::NtStream => lack("alternate stream", self.put_small_stream(attr)),
                AttrKind::NtEa => lack("extended attributes", set::extended(&self.file, &attr.value)),
                _ => {}
            }
        }
        if flags(meta) & FILE_ATTRIBUTE_COMPRESSED != 0 {
            let format = COMPRESSION_FORMAT_DEFAULT.to_le_bytes();
            lack("compression", control(&self.file, FSCTL_SET_COMPRESSION, &format));
        }
        if flags(meta) & FILE_ATTRIBUTE_ENCRYPTED != 0 && meta.kind == NodeKind::Directory {
            let why = "what's made in it from now on isn't encrypted; set that again with cipher /e";
            lack("encryption", Err(io::Error::other(why)));
        }
        let is_sealed =
            stat::facts(&self.file).is_ok_and(|facts| facts.attributes & FILE_ATTRIBUTE_ENCRYPTED != 0);
        if is_sealed && meta.kind == NodeKind::File && value(meta, AttrKind::NtEfsRaw).is_none() {
            let why = "its folder encrypts what's made in it, and only the agent's account has the key; restore it to another folder";
            lack("being plain", Err(io::Error::other(why)));
        }
        lack("times and attributes", basic(&self.file, meta));
        if let Some(descriptor) = value(meta, AttrKind::NtSecurity) {
            lack("audit list", audit(&self.file, descriptor));
            lack("permissions", set::security(&self.file, descriptor));
        }
        lacking
    }

    /// What only one file of a volume can have, so that it comes after the one before is gone: sentences as above.
    pub(crate) fn put_identity(&self, meta: &NodeMeta) -> Vec<String> {
        let mut lacking = Vec::new();
        let mut lack = |what: &str, done: io::Result<()>| {
            lacking.extend(done.err().map(|error| format!("was restored without its {what} ({error})")));
        };
        let (id, name) = (value(meta, AttrKind::NtObjectId), value(meta, AttrKind::NtShortName));
        let stat = stat::of_file(&self.file);
        let has_times =
            stat.is_ok_and(|stat| (stat.btime_ns, stat.mtime_ns) == (meta.btime_ns, meta.mtime_ns));
        if id.is_none() && name.is_none() && has_times {
            // Taking its place was a change; nobody misses that time where it can't be set.
            if nt_basic(meta).changed_ns != 0
                && let Err(error) = basic(&self.file, meta)
            {
                tracing::debug!(%error, "a file is restored with a change time of its own");
            }
            return lacking;
        }
        if (id.is_some() || name.is_some()) && flags(meta) & FILE_ATTRIBUTE_READONLY != 0 {
            // Only for the moment: nothing can be given to a file that's read-only.
            lack("attributes", with_attributes(&self.file, meta, FILE_ATTRIBUTE_NORMAL));
        }
        if let Some(id) = id {
            lack("object id", object_id(&self.file, id));
        }
        if let Some(name) = name {
            lack("short name", short_name(&self.file, name));
        }
        // The system gives a file that takes another's name that one's birth time.
        lack("times and attributes", basic(&self.file, meta));
        lacking
    }
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

fn control(file: &File, code: u32, input: &[u8]) -> io::Result<()> {
    query::control(file, code, input, &mut []).map(|_| ())
}

/// A volume without object ids has nobody who asks for one.
fn object_id(file: &File, id: &[u8]) -> io::Result<()> {
    match control(file, FSCTL_SET_OBJECT_ID, id) {
        Err(error) if has_code(&error, &[ERROR_NOT_SUPPORTED, ERROR_INVALID_FUNCTION]) => Ok(()),
        set => set,
    }
}

fn short_name(file: &File, name: &[u8]) -> io::Result<()> {
    set::short_name(file, &wtf8::to_wide(name).ok_or(io::ErrorKind::InvalidInput)?)
}

fn basic(file: &File, meta: &NodeMeta) -> io::Result<()> {
    with_attributes(file, meta, flags(meta) & SETTABLE)
}

fn with_attributes(file: &File, meta: &NodeMeta, attributes: u32) -> io::Result<()> {
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
    set::basic(file, times, attributes)
}

/// A label of integrity, which lies in the same list, is its owner's to change.
fn audit(file: &File, descriptor: &[u8]) -> io::Result<()> {
    if set::has_audit(descriptor) {
        set::audit(&security::reopened(file, ACCESS_SYSTEM_SECURITY | WRITE_OWNER)?, descriptor)?;
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
