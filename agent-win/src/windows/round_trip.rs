//! Trying out whether this computer's files come back with everything that belongs to them: each is made with as much as can
//! be had here, looked at as a capture does, made anew as a restore does, and looked at again.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use coffer_format::node::{Attr, AttrKind, NodeKind, NodeMeta};
use coffer_format::nt_basic::NtBasic;
use windows_sys::Win32::Storage::FileSystem::{
    EncryptFileW, FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_READONLY,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_GENERIC_READ, FILE_GENERIC_WRITE, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::Ioctl::{
    FSCTL_CREATE_OR_GET_OBJECT_ID, FSCTL_SET_COMPRESSION, FSCTL_SET_SPARSE,
};

use super::descriptor::Descriptor;
use super::failure::said;
use super::held_entry::HeldEntry;
use super::held_folder::HeldFolder;
use super::our_descriptor::OurDescriptor;
use super::selftest::{TrialError, Tried, must};
use super::set::{self, Times};
use super::stat::file_time;
use super::wide::wide_path;
use super::{SourceFile, attrs_of_file, attrs_of_path, path_bytes, query, stat_path};

const BYTES: &[u8] = b"there and back";
/// In 2001.
const WRITTEN_NS: i64 = 1_000_000_000 * 1_000_000_000;
/// `FILE_FULL_EA_INFORMATION` (MS-FSCC 2.4.16): the only one, name and value of 4 bytes each.
const EA: &[u8] = b"\0\0\0\0\0\x04\x04\0EAAA\0kept";
/// `FSCTL_SET_COMPRESSION`: the usual way.
const COMPRESSED: [u8; 2] = [1, 0];
/// What one file of a volume or folder alone can have.
const ITS_OWN: [AttrKind; 2] = [AttrKind::NtObjectId, AttrKind::NtShortName];

/// A file with as much as NTFS keeps of one; what couldn't be had here is named.
pub(super) fn file(folder: &Path) -> Tried {
    let path = folder.join("whole.bin");
    let lacking_here = make(&path)?;
    let found = attrs_of_file(&File::open(&path)?)?;
    must(found.lacking.is_empty(), found.lacking.join("; "))?;
    let meta = NodeMeta { attrs: found.list, ..stat_path(&path)?.meta() };
    let held = held(folder)?;
    let mut entry = HeldEntry::create(&held, b"back.working", true)?;
    entry.expect_size(&meta)?;
    super::write_all_at(entry.file(), BYTES, 0)?;
    let mut lacking = entry.put_back(&meta);
    entry.rename(b"back.bin", false)?;
    lacking.extend(entry.put_identity(&NodeMeta { attrs: without_its_own(&meta.attrs), ..meta.clone() }));
    drop(entry);
    must(lacking.is_empty(), lacking.join("; "))?;
    let back = folder.join("back.bin");
    must(fs::read(&back)? == BYTES, "its bytes are others")?;
    must(stat_path(&back)?.mtime_ns == meta.mtime_ns, "its write time is another")?;
    alike(&meta.attrs, &attrs_of_file(&File::open(&back)?)?.list)?;
    // Read-only as they are, the folder couldn't be removed with them.
    held.remove(b"whole.bin")?;
    held.remove(b"back.bin")?;
    Ok(if lacking_here.is_empty() { String::new() } else { format!("not here: {}", lacking_here.join(", ")) })
}

/// A symbolic link, which leads where it led.
pub(super) fn link(folder: &Path) -> Tried {
    let path = folder.join("leads");
    std::os::windows::fs::symlink_file("whole.bin", &path)?;
    let attrs = attrs_of_path(&path, NodeKind::Symlink)?.list;
    let meta = NodeMeta { attrs, ..stat_path(&path)?.meta() };
    let mut entry = HeldEntry::create_special(&held(folder)?, b"leads.working", &meta)?;
    let lacking = entry.put_back(&meta);
    entry.rename(b"leads back", false)?;
    drop(entry);
    must(lacking.is_empty(), lacking.join("; "))?;
    alike(&meta.attrs, &attrs_of_path(&folder.join("leads back"), NodeKind::Symlink)?.list)?;
    Ok(String::new())
}

/// An encrypted file, in its encrypted form.
pub(super) fn encrypted(folder: &Path) -> Tried {
    let path = folder.join("secret.bin");
    fs::write(&path, BYTES)?;
    // SAFETY: the path ends with a zero and lives until after the call.
    said(unsafe { EncryptFileW(wide_path(&path).as_ptr()) })?;
    let source = SourceFile::open(&path)?;
    let size = source.raw_size()?.ok_or_else(|| TrialError::Wrong("it isn't seen to be encrypted".into()))?;
    let mut form = vec![0; size as usize];
    super::read_exact_at(source.bytes(), &mut form, 0)?;
    let attrs = attrs_of_file(&File::open(&path)?)?.list;
    let meta = NodeMeta { attrs, ..stat_path(&path)?.meta() };
    let mut entry = HeldEntry::create(&held(folder)?, b"secret.working", true)?;
    super::write_all_at(entry.file(), &form, 0)?;
    entry.finish_bytes(&meta)?;
    let lacking = entry.put_back(&meta);
    entry.rename(b"secret back.bin", false)?;
    drop(entry);
    must(lacking.is_empty(), lacking.join("; "))?;
    must(fs::read(folder.join("secret back.bin"))? == BYTES, "its bytes are others")?;
    Ok(String::new())
}

/// What of it can't be had on this volume.
fn make(path: &Path) -> Result<Vec<&'static str>, TrialError> {
    fs::write(path, BYTES)?;
    let mut options = OpenOptions::new();
    options.access_mode(FILE_GENERIC_READ | FILE_GENERIC_WRITE | WRITE_DAC | WRITE_OWNER);
    let file = options.custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
    let control =
        |code, input: &[u8], output: &mut [u8]| query::control(&file, code, input, output).map(drop);
    let made = [
        ("streams", stream(path)),
        ("extended attributes", set::extended(&file, EA)),
        ("compression", control(FSCTL_SET_COMPRESSION, &COMPRESSED, &mut [])),
        ("holes", control(FSCTL_SET_SPARSE, &[], &mut [])),
        ("object ids", control(FSCTL_CREATE_OR_GET_OBJECT_ID, &[], &mut [0; 64])),
        ("permissions", OurDescriptor::for_us_alone().and_then(|ours| ours.apply(&file))),
    ];
    let times = Times { written: file_time(WRITTEN_NS), ..Times::default() };
    set::basic(&file, times, FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_ARCHIVE)?;
    Ok(made.into_iter().filter(|(_, made)| made.is_err()).map(|(what, _)| what).collect())
}

fn stream(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(":more");
    fs::write(name, b"of this")
}

fn held(folder: &Path) -> io::Result<Arc<HeldFolder>> {
    HeldFolder::at(&path_bytes(&fs::canonicalize(folder)?)).map(Arc::new)
}

fn without_its_own(attrs: &[Attr]) -> Vec<Attr> {
    attrs.iter().filter(|attr| !ITS_OWN.contains(&attr.kind)).cloned().collect()
}

fn alike(before: &[Attr], after: &[Attr]) -> Result<(), TrialError> {
    let [before, after] = [before, after].map(|attrs| {
        let one = |attr: Attr| (attr.kind, attr.name.0.to_vec(), comparable(&attr));
        without_its_own(attrs).into_iter().map(one).collect::<Vec<_>>()
    });
    let other: Vec<String> =
        before.iter().filter(|one| !after.contains(one)).map(|(kind, ..)| format!("{kind:?}")).collect();
    must(other.is_empty(), format!("came back otherwise: {}", other.join(", ")))
}

/// Looking at a file may change when it was last looked at.
fn comparable(attr: &Attr) -> Vec<u8> {
    match attr.kind {
        AttrKind::NtBasic => {
            let basic = NtBasic::from_value(&attr.value).unwrap_or_default();
            NtBasic { accessed_ns: 0, changed_ns: 0, ..basic }.to_value()
        }
        // The system sets marks of its own beside the list.
        AttrKind::NtSecurity => Descriptor(&attr.value).access_list().unwrap_or_default().to_vec(),
        _ => attr.value.0.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_with_all_that_this_computer_has_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let said = file(dir.path()).unwrap();
        assert!(said.is_empty() || said.starts_with("not here: "), "{said}");
    }

    #[test]
    fn what_came_back_otherwise_is_named() {
        let attr = |kind, value: &[u8]| Attr { kind, name: b""[..].into(), value: value.into() };
        let before = [attr(AttrKind::NtEa, b"a"), attr(AttrKind::NtShortName, b"A~1")];
        assert!(alike(&before, &[attr(AttrKind::NtEa, b"a")]).is_ok());
        let error = alike(&before, &[attr(AttrKind::NtEa, b"b")]).unwrap_err();
        assert_eq!(error.to_string(), "came back otherwise: NtEa");
    }
}
