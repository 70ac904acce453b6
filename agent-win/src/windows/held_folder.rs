//! A folder that's written to, reached without following a link and held: while it is, neither it nor anything above it can
//! be renamed, removed or replaced, so that a path leads where it led.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, ERROR_DIRECTORY, ERROR_FILE_EXISTS};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES, FILE_SHARE_READ, FILE_SHARE_WRITE,
};

use super::failure::{has_code, is_locked};
use super::open_below::{Purpose, open_below};
use super::replace::remove;
use super::{as_path, path_bytes, stat};

/// An open folder; the one above all drives has no handle.
#[derive(Debug, Clone)]
pub(crate) struct HeldFolder {
    handle: Option<Arc<File>>,
    path: Vec<u8>,
    /// Those above it are held as well.
    above: Vec<Arc<File>>,
}

impl HeldFolder {
    /// Above all drives.
    pub(crate) fn top() -> io::Result<HeldFolder> {
        Ok(HeldFolder { handle: None, path: Vec::new(), above: Vec::new() })
    }

    /// By a path that whoever asks has chosen.
    pub(crate) fn open(path: &Path) -> io::Result<HeldFolder> {
        let handle = Some(Arc::new(hold(path)?));
        Ok(HeldFolder { handle, path: path_bytes(path), above: Vec::new() })
    }

    /// A link or a file in its place is no folder.
    pub(crate) fn child(&self, name: &[u8]) -> io::Result<HeldFolder> {
        let path = [&self.path[..], b"/", name].concat();
        let opened = match &self.handle {
            None => hold(&as_path(&path)),
            Some(handle) => open_below(handle, name, Purpose::Hold),
        };
        let handle = match opened {
            Err(error) if has_code(&error, &[ERROR_DIRECTORY]) => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            opened => opened?,
        };
        if stat::facts(&handle)?.is_surrogate() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let mut above = self.above.clone();
        above.extend(self.handle.clone());
        Ok(HeldFolder { handle: Some(Arc::new(handle)), path, above })
    }

    /// By which the system finds an entry of it.
    pub(crate) fn place(&self, name: &[u8]) -> PathBuf {
        as_path(&[&self.path[..], b"/", name].concat()).into_owned()
    }

    /// False where there's something already.
    pub(crate) fn make_folder(&self, name: &[u8]) -> io::Result<bool> {
        let Some(handle) = &self.handle else {
            // A drive is there or isn't.
            return Ok(false);
        };
        match open_below(handle, name, Purpose::MakeFolder) {
            Err(error) if has_code(&error, &[ERROR_ALREADY_EXISTS, ERROR_FILE_EXISTS]) => Ok(false),
            made => made.map(|_| true),
        }
    }

    /// A new file. With it in there, the folder can't be made a link any more either.
    pub(crate) fn create(&self, name: &[u8]) -> io::Result<File> {
        let handle = self.handle.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
        open_below(handle, name, Purpose::MakeFile)
    }

    /// Removes files with such names that nobody is at work on.
    pub(crate) fn remove_unused(&self, is_meant: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        for entry in std::fs::read_dir(self.place(b""))? {
            let name = path_bytes(Path::new(&entry?.file_name()));
            let name = name.strip_prefix(b"/").unwrap_or(&name);
            if is_meant(name)
                && let Err(error) = remove(&self.place(name))
                && !is_locked(&error)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// NTFS sees to that by itself.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn hold(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)
}
