//! Encrypted files (EFS): taken out and brought back in their encrypted form, for which nobody's key is needed.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use coffer_format::node::{AttrKind, NodeMeta};
use windows_sys::Win32::Foundation::{ERROR_READ_FAULT, ERROR_SUCCESS, ERROR_WRITE_FAULT};
use windows_sys::Win32::Storage::FileSystem::{
    CloseEncryptedFileRaw, FILE_ATTRIBUTE_TEMPORARY, FILE_FLAG_DELETE_ON_CLOSE, OpenEncryptedFileRawW,
    ReadEncryptedFileRaw, WriteEncryptedFileRaw,
};

use super::held_entry::HeldEntry;
use super::held_folder::HeldFolder;
use super::naming;
use super::open_below::Purpose;
use super::put_back::value;

/// `CREATE_FOR_IMPORT` of OpenEncryptedFileRaw; without it a file is opened to be taken out.
const CREATE_FOR_IMPORT: u32 = 1;

/// The encrypted form of a file, in a temporary one that nobody else can open and that goes when it's closed: the system
/// hands it out in one go, and it's read here more than once. It needs as much room as the file.
pub(super) fn export(path: &Path) -> io::Result<File> {
    let unread = |error: io::Error| {
        let what = format!("it is encrypted, and its encrypted form couldn't be read ({error})");
        io::Error::new(io::ErrorKind::Unsupported, what)
    };
    let raw = Raw::open(path, 0).map_err(unread)?;
    let mut taken = Flow { file: temporary()?, failed: None };
    // SAFETY: the context is open, and `taken` lives until the call returns and is nobody else's meanwhile.
    let code = unsafe { ReadEncryptedFileRaw(Some(take), (&raw mut taken).cast(), raw.0) };
    taken.outcome(code).map_err(unread)
}

impl HeldEntry {
    /// Where the bytes of a whole file are its encrypted form, they're made the file itself. The system makes that by its
    /// path: in a folder that nobody else can change.
    pub(crate) fn finish_bytes(&mut self, meta: &NodeMeta) -> io::Result<()> {
        if value(meta, AttrKind::NtEfsRaw).is_none() {
            return Ok(());
        }
        let aside = [&self.name[..], b"-0"].concat();
        let aside = self.folder.make_private_folder(&aside)?;
        let imported = self.imported(&aside);
        let removed = naming::remove(aside.handle()?);
        let file = imported.map_err(|error| {
            io::Error::other(format!(
                "it's encrypted, and its encrypted form isn't taken back here ({error})"
            ))
        })?;
        naming::remove(&std::mem::replace(&mut self.file, file))?;
        removed
    }

    fn imported(&self, aside: &HeldFolder) -> io::Result<File> {
        let folder = self.folder.handle()?;
        let mut form = self.file.try_clone()?;
        form.rewind()?;
        import(form, &aside.place(&self.name))?;
        let file = aside.open_entry(&self.name, Purpose::ChangeSealed)?;
        let moved = naming::rename(&self.file, folder, &[&self.name[..], b"-1"].concat(), true)
            .and_then(|()| naming::move_to(&file, folder, &self.name, true));
        match moved {
            Ok(()) => Ok(file),
            Err(error) => naming::remove(&file).and(Err(error)),
        }
    }
}

/// Makes the file at `to` out of its encrypted form.
fn import(form: File, to: &Path) -> io::Result<()> {
    let raw = Raw::open(to, CREATE_FOR_IMPORT)?;
    let mut given = Flow { file: form, failed: None };
    // SAFETY: as above.
    let code = unsafe { WriteEncryptedFileRaw(Some(give), (&raw mut given).cast(), raw.0) };
    given.outcome(code).map(drop)
}

/// An open context.
struct Raw(*mut c_void);

impl Raw {
    fn open(path: &Path, flags: u32) -> io::Result<Raw> {
        let wide: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
        let mut context = std::ptr::null_mut();
        // SAFETY: the path ends with a zero, the context is written.
        let code = unsafe { OpenEncryptedFileRawW(wide.as_ptr(), flags, &raw mut context) };
        if code == ERROR_SUCCESS { Ok(Raw(context)) } else { Err(io::Error::from_raw_os_error(code as i32)) }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: the context is ours and isn't used again.
        unsafe { CloseEncryptedFileRaw(self.0) };
    }
}

/// What a call of the system's fills or empties.
struct Flow {
    file: File,
    failed: Option<io::Error>,
}

impl Flow {
    /// What went wrong here says more than what the system makes of it.
    fn outcome(self, code: u32) -> io::Result<File> {
        match (self.failed, code) {
            (Some(error), _) => Err(error),
            (None, ERROR_SUCCESS) => Ok(self.file),
            (None, code) => Err(io::Error::from_raw_os_error(code as i32)),
        }
    }
}

unsafe extern "system" fn take(bytes: *const u8, flow: *const c_void, len: u32) -> u32 {
    if len == 0 {
        return ERROR_SUCCESS;
    }
    // SAFETY: the pointer is the `Flow` that was handed over with this function, and only one call uses it at a time.
    let flow = unsafe { &mut *flow.cast_mut().cast::<Flow>() };
    // SAFETY: the system gives as many bytes as it says.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, len as usize) };
    match flow.file.write_all(bytes) {
        Ok(()) => ERROR_SUCCESS,
        Err(error) => {
            flow.failed = Some(error);
            ERROR_WRITE_FAULT
        }
    }
}

unsafe extern "system" fn give(bytes: *mut u8, flow: *const c_void, len: *mut u32) -> u32 {
    // SAFETY: as above.
    let flow = unsafe { &mut *flow.cast_mut().cast::<Flow>() };
    // SAFETY: the system has room for as many bytes as it says, which it has written to.
    let (room, len) = unsafe { (std::slice::from_raw_parts_mut(bytes, *len as usize), &mut *len) };
    match flow.file.read(room) {
        Ok(count) => {
            // None is the end.
            *len = count as u32;
            ERROR_SUCCESS
        }
        Err(error) => {
            flow.failed = Some(error);
            ERROR_READ_FAULT
        }
    }
}

fn temporary() -> io::Result<File> {
    let name = format!("coffer-encrypted-{}-{}", std::process::id(), crate::clock::now_ns());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).share_mode(0);
    options.attributes(FILE_ATTRIBUTE_TEMPORARY).custom_flags(FILE_FLAG_DELETE_ON_CLOSE);
    options.open(std::env::temp_dir().join(name))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use super::*;

    #[test]
    fn what_the_system_hands_out_in_pieces_comes_back_in_others() {
        let mut flow = Flow { file: temporary().unwrap(), failed: None };
        let whole: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        let context: *mut c_void = (&raw mut flow).cast();
        for piece in whole.chunks(30_011) {
            // SAFETY: as the system calls it.
            assert_eq!(unsafe { take(piece.as_ptr(), context, piece.len() as u32) }, ERROR_SUCCESS);
        }
        flow.file.seek(SeekFrom::Start(0)).unwrap();
        let mut back = Vec::new();
        loop {
            let (mut room, mut len) = ([0; 4096], 4096);
            // SAFETY: as the system calls it.
            assert_eq!(unsafe { give(room.as_mut_ptr(), context, &raw mut len) }, ERROR_SUCCESS);
            if len == 0 {
                break;
            }
            back.extend_from_slice(&room[..len as usize]);
        }
        assert!(back == whole);
    }

    #[test]
    fn a_file_whose_encrypted_form_cannot_be_had_is_named_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = export(&folder.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("its encrypted form couldn't be read"), "{error}");
    }
}
