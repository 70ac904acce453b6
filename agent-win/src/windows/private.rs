//! Files and folders for the agent alone: the system, administrators, and whoever made them.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_ALREADY_EXISTS;
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES, FILE_SHARE_READ,
    FILE_SHARE_WRITE, READ_CONTROL, WRITE_DAC,
};

use super::descriptor::Descriptor;
use super::failure::{has_code, said};
use super::our_descriptor::OurDescriptor;
use super::privileges::own_user;
use super::stat::{self, SHARE_ALL};
use super::wide::wide_path;
use super::{security, sid};

/// An open folder, reached without following a link. Meanwhile nobody can rename it.
pub(crate) struct PrivateFolder(File);

impl PrivateFolder {
    /// `None` where a link or something else is in its place.
    pub(crate) fn open(path: &Path) -> io::Result<Option<PrivateFolder>> {
        let mut options = OpenOptions::new();
        options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE);
        let access = FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES | READ_CONTROL;
        let folder = open(&mut options, access, path)?;
        let attributes = stat::facts(&folder)?.attributes;
        let is_folder = attributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT);
        Ok((is_folder == FILE_ATTRIBUTE_DIRECTORY).then_some(PrivateFolder(folder)))
    }

    /// Who it belongs to, where that's another user.
    pub(crate) fn stranger(&self) -> io::Result<Option<String>> {
        stranger(&self.0)
    }

    /// Whether others may write to it.
    pub(crate) fn is_open(&self) -> io::Result<bool> {
        Ok(Descriptor(&security::read(&self.0)?).lets_others_write(&own_user()?))
    }

    /// From now on it's for us alone.
    pub(crate) fn close(&self) -> io::Result<()> {
        let ours = OurDescriptor::for_us_alone()?;
        ours.apply(&security::reopened(&self.0, READ_CONTROL | WRITE_DAC)?)
    }
}

/// Makes the folder; false where there's something already.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<bool> {
    let (path, ours) = (wide_path(path), OurDescriptor::for_us_alone()?);
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: ours.pointer(),
        bInheritHandle: 0,
    };
    // SAFETY: the path ends with a zero; the attributes and the descriptor live until after the call.
    match said(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) }) {
        Err(error) if has_code(&error, &[ERROR_ALREADY_EXISTS]) => Ok(false),
        made => made.map(|()| true),
    }
}

/// Who an object belongs to, where that's another user; of a link, who the link does.
pub(crate) fn stranger_of(path: &Path) -> io::Result<Option<String>> {
    stranger(&open(OpenOptions::new().share_mode(SHARE_ALL), FILE_READ_ATTRIBUTES | READ_CONTROL, path)?)
}

/// How to open a file in a private folder, which protects it.
pub(crate) fn private_file() -> OpenOptions {
    OpenOptions::new()
}

fn open(options: &mut OpenOptions, access: u32, path: &Path) -> io::Result<File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    options.access_mode(access).custom_flags(flags).open(path)
}

fn stranger(file: &File) -> io::Result<Option<String>> {
    let descriptor = security::read(file)?;
    Ok(Descriptor(&descriptor).stranger(&own_user()?).map(sid::name))
}

/// Everybody may do everything.
#[cfg(test)]
pub(crate) fn open_to_everybody(path: &Path) {
    let file = open(OpenOptions::new().share_mode(SHARE_ALL), READ_CONTROL | WRITE_DAC, path).unwrap();
    OurDescriptor::from_text("D:P(A;OICI;FA;;;WD)").unwrap().apply(&file).unwrap();
}
