//! Opening (or making) an entry of an open directory, or a stream of an open file, by its name alone, so that nothing above
//! it is looked up again.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_COMPLETE_IF_OPLOCKED, FILE_CREATE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN,
    FILE_OPEN_FOR_BACKUP_INTENT, FILE_OPEN_IF, FILE_OPEN_REPARSE_POINT, FILE_SYNCHRONOUS_IO_NONALERT,
    NtCreateFile,
};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, OBJ_CASE_INSENSITIVE, RtlNtStatusToDosError,
    STATUS_OPLOCK_BREAK_IN_PROGRESS, UNICODE_STRING,
};
use windows_sys::Win32::Security::PSECURITY_DESCRIPTOR;
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES, FILE_READ_EA,
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA,
    FILE_WRITE_EA, READ_CONTROL, SYNCHRONIZE, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use super::failure::has_code;
use crate::wtf8;

const OWN: u32 = WRITE_DAC | WRITE_OWNER;

/// What an entry is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Describe,
    List,
    Read,
    /// As for listing; meanwhile the folder can't be renamed, removed or replaced.
    Hold,
    /// As for describing, and its owner is told as well.
    Owner,
    /// A new folder or file, for its maker alone while it's open: nobody else can open, rename or remove it.
    MakeFolder,
    MakeFile,
    /// A new folder, held.
    MakeHeld,
    /// To be given whatever belongs to it; meanwhile nobody else can rename or remove it.
    Change,
    /// The same where somebody else has it open: its name stays.
    ChangeInPlace,
    /// Meanwhile nobody else can rename or remove it.
    Pin,
    /// To be renamed or removed.
    Move,
    /// A file, to be renamed; nobody else can do that meanwhile.
    Replace,
    /// To be given other attributes.
    Mark,
    /// As for changing, without its bytes, for which an encrypted file asks for its key.
    ChangeSealed,
    /// A stream, made where it isn't there.
    WriteStream,
}

impl Purpose {
    /// Access, what others may do, what's done where it's there or isn't, and options.
    fn terms(self) -> (u32, u32, u32, u32) {
        const OTHERS_WRITE: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE;
        const ALL: u32 = OTHERS_WRITE | FILE_SHARE_DELETE;
        const LIST: u32 = FILE_READ_ATTRIBUTES | FILE_LIST_DIRECTORY;
        const MARK: u32 = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES;
        const EAS: u32 = FILE_READ_EA | FILE_WRITE_EA;
        const WHOLE: u32 = FILE_GENERIC_READ | FILE_GENERIC_WRITE | OWN;
        match self {
            Purpose::Describe => (FILE_READ_ATTRIBUTES, ALL, FILE_OPEN, 0),
            Purpose::List => (LIST, ALL, FILE_OPEN, FILE_DIRECTORY_FILE),
            Purpose::Read => (FILE_GENERIC_READ, ALL, FILE_OPEN, 0),
            Purpose::Hold => (LIST, OTHERS_WRITE, FILE_OPEN, FILE_DIRECTORY_FILE),
            Purpose::Owner => (FILE_READ_ATTRIBUTES | READ_CONTROL, ALL, FILE_OPEN, 0),
            Purpose::MakeFolder => (WHOLE | DELETE, 0, FILE_CREATE, FILE_DIRECTORY_FILE),
            Purpose::MakeHeld => (LIST | MARK | DELETE, OTHERS_WRITE, FILE_CREATE, FILE_DIRECTORY_FILE),
            Purpose::MakeFile => (WHOLE | DELETE, 0, FILE_CREATE, FILE_NON_DIRECTORY_FILE),
            Purpose::Change => (WHOLE | DELETE, OTHERS_WRITE, FILE_OPEN, 0),
            Purpose::ChangeInPlace => (WHOLE, ALL, FILE_OPEN, 0),
            Purpose::Pin => (LIST | FILE_WRITE_ATTRIBUTES, OTHERS_WRITE, FILE_OPEN, 0),
            Purpose::Move => (MARK | DELETE, ALL, FILE_OPEN, 0),
            Purpose::Replace => (MARK | DELETE, OTHERS_WRITE, FILE_OPEN, FILE_NON_DIRECTORY_FILE),
            Purpose::Mark => (MARK, ALL, FILE_OPEN, 0),
            Purpose::ChangeSealed => (MARK | EAS | OWN | READ_CONTROL | DELETE, OTHERS_WRITE, FILE_OPEN, 0),
            Purpose::WriteStream => {
                (FILE_WRITE_DATA | FILE_READ_ATTRIBUTES, ALL, FILE_OPEN_IF, FILE_NON_DIRECTORY_FILE)
            }
        }
    }

    /// Whoever keeps others waiting by an oplock of his own doesn't keep the agent.
    fn waits_for_nobody(self) -> bool {
        use Purpose::{Change, ChangeInPlace, ChangeSealed, Mark, Move, Pin, Replace};
        matches!(self, Change | ChangeInPlace | ChangeSealed | Mark | Move | Pin | Replace)
    }

    /// Whether there's something new afterwards.
    pub(super) fn makes(self) -> bool {
        matches!(self, Purpose::MakeFolder | Purpose::MakeFile | Purpose::MakeHeld)
    }
}

/// A reparse point is opened itself.
pub(super) fn open_below(directory: &File, name: &[u8], purpose: Purpose) -> io::Result<File> {
    open_guarded(directory, name, purpose, std::ptr::null_mut())
}

/// What's made gets this descriptor; where there's none, what its folder hands down.
pub(super) fn open_guarded(
    directory: &File,
    name: &[u8],
    purpose: Purpose,
    descriptor: PSECURITY_DESCRIPTOR,
) -> io::Result<File> {
    let (access, share, disposition, kind) = purpose.terms();
    let kind = if purpose.waits_for_nobody() { kind | FILE_COMPLETE_IF_OPLOCKED } else { kind };
    match open(directory, name, (access, share, disposition, kind), descriptor) {
        // A share may let bytes be written, and not what's about them.
        Err(error) if access & OWN != 0 && has_code(&error, &[ERROR_ACCESS_DENIED]) => {
            open(directory, name, (access & !OWN, share, disposition, kind), descriptor)
        }
        opened => opened,
    }
}

fn open(
    directory: &File,
    name: &[u8],
    (access, share, disposition, kind): (u32, u32, u32, u32),
    descriptor: PSECURITY_DESCRIPTOR,
) -> io::Result<File> {
    let mut wide = wtf8::to_wide(name).ok_or(io::ErrorKind::InvalidInput)?;
    let len = u16::try_from(wide.len() * 2).map_err(|_| io::ErrorKind::InvalidInput)?;
    let name = UNICODE_STRING { Length: len, MaximumLength: len, Buffer: wide.as_mut_ptr() };
    let attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: directory.as_raw_handle(),
        ObjectName: &raw const name,
        Attributes: OBJ_CASE_INSENSITIVE,
        SecurityDescriptor: descriptor.cast(),
        SecurityQualityOfService: std::ptr::null(),
    };
    let options = kind | FILE_OPEN_REPARSE_POINT | FILE_OPEN_FOR_BACKUP_INTENT | FILE_SYNCHRONOUS_IO_NONALERT;
    let mut handle = std::ptr::null_mut();
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: everything that's pointed to lives until the call returns; `name` is `wide` for as long as it says.
    let status = unsafe {
        NtCreateFile(
            &raw mut handle,
            access | SYNCHRONIZE,
            &raw const attributes,
            &raw mut block,
            std::ptr::null(),
            0,
            share,
            disposition,
            options,
            std::ptr::null(),
            0,
        )
    };
    if status < 0 {
        // SAFETY: a pure function of a number.
        let code = unsafe { RtlNtStatusToDosError(status) };
        return Err(io::Error::from_raw_os_error(code as i32));
    }
    // SAFETY: the call gave us the handle, and nobody else has it.
    let file = unsafe { File::from_raw_handle(handle) };
    match status {
        STATUS_OPLOCK_BREAK_IN_PROGRESS => Err(io::Error::from_raw_os_error(ERROR_SHARING_VIOLATION as i32)),
        _ => Ok(file),
    }
}
