//! A file that's being read: opened so that nobody is kept out, described while open, read where it has data.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_HANDLE_EOF};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_ENCRYPTED, FILE_ATTRIBUTE_TAG_INFO, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_NO_RECALL, FILE_FLAG_OPEN_REPARSE_POINT, FILE_FLAG_SEQUENTIAL_SCAN, FILE_GENERIC_READ,
    FILE_READ_ATTRIBUTES, FILE_READ_EA, READ_CONTROL,
};

use super::failure::has_code;
use super::positional::{data_from, read_some_at};
use super::stat::{self, SHARE_ALL};
use super::{efs, query};
use crate::scan::{ByteRun, Stat};

/// Whether files have named streams beside their bytes, so that no name has a colon.
pub(crate) const HAS_STREAMS: bool = true;

/// Everything but the bytes.
const DESCRIBE: u32 = FILE_READ_ATTRIBUTES | FILE_READ_EA | READ_CONTROL;

/// A file, or a stream of one, open for reading.
#[derive(Debug)]
pub(crate) struct SourceFile {
    file: File,
    /// Its encrypted form, in whose place nothing of it is read.
    raw: Option<File>,
    is_stream: bool,
}

impl SourceFile {
    /// Opens with the rights of a backup and without fetching what lies elsewhere. Whether it's the file that was meant
    /// shows when it's described.
    pub(crate) fn open(path: &Path) -> io::Result<SourceFile> {
        let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_NO_RECALL | FILE_FLAG_SEQUENTIAL_SCAN;
        let mut options = OpenOptions::new();
        options.access_mode(FILE_GENERIC_READ).share_mode(SHARE_ALL).custom_flags(flags);
        let (file, refusal) = match options.open(path) {
            // Whoever lacks the key of an encrypted file may still know that it is one.
            Err(error) if has_code(&error, &[ERROR_ACCESS_DENIED]) => {
                match options.access_mode(DESCRIBE).open(path) {
                    Ok(file) => (file, Some(error)),
                    Err(_) => return Err(error),
                }
            }
            opened => (opened?, None),
        };
        match refusal {
            _ if is_encrypted(&file)? => {
                Ok(SourceFile { raw: Some(efs::export(path)?), file, is_stream: false })
            }
            Some(error) => Err(error),
            None => Ok(SourceFile { file, raw: None, is_stream: false }),
        }
    }

    /// How many bytes there are to read, where that's not the file's size.
    pub(crate) fn raw_size(&self) -> io::Result<Option<u64>> {
        self.raw.as_ref().map(|raw| Ok(raw.metadata()?.len())).transpose()
    }

    /// What's read: the encrypted form, where there's one.
    pub(super) fn bytes(&self) -> &File {
        self.raw.as_ref().unwrap_or(&self.file)
    }

    /// The same for a stream, by its file's path with a colon and its name; a reparse point's own.
    pub(crate) fn open_stream(path: &Path) -> io::Result<SourceFile> {
        let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_NO_RECALL | FILE_FLAG_OPEN_REPARSE_POINT;
        let mut options = OpenOptions::new();
        options.access_mode(FILE_GENERIC_READ).share_mode(SHARE_ALL).custom_flags(flags);
        Ok(SourceFile { file: options.open(path)?, raw: None, is_stream: true })
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        if self.is_stream { stat::of_stream(&self.file) } else { stat::of_file(&self.file) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// All files are opened so.
    pub(crate) fn expect_sequential(&self) {}

    /// Opening has fetched what the file system needs to know of the file; more would go past the cache's own rules.
    pub(crate) fn expect_soon(&self) {}

    /// Windows decides that when a file is opened.
    pub(crate) fn bypass_cache(&self) {}

    pub(crate) fn is_direct(&self) -> bool {
        false
    }

    /// Fills `buffer` from `at`; returns fewer bytes only at the end of the file.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match read_some_at(self.bytes(), &mut buffer[done..], at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if has_code(&error, &[ERROR_HANDLE_EOF]) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// The next run of data at or after `at`, below `size`; `None` where only a hole is left.
    pub(crate) fn data_from(&self, at: u64, size: u64) -> io::Result<Option<ByteRun>> {
        data_from(self.bytes(), at, size)
    }
}

fn is_encrypted(file: &File) -> io::Result<bool> {
    const BOTH: u32 = FILE_ATTRIBUTE_ENCRYPTED | FILE_ATTRIBUTE_DIRECTORY;
    let attributes = query::info::<FILE_ATTRIBUTE_TAG_INFO>(file)?.FileAttributes;
    Ok(attributes & BOTH == FILE_ATTRIBUTE_ENCRYPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_program_keeps_to_itself_is_said_to_be_locked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let kept =
            OpenOptions::new().write(true).create(true).truncate(true).share_mode(0).open(&path).unwrap();
        let error = SourceFile::open(&path).unwrap_err();
        assert!(super::super::is_locked(&error), "{error}");
        drop(kept);
        assert_eq!(SourceFile::open(&path).unwrap().stat().unwrap().size, 0);
    }
}
