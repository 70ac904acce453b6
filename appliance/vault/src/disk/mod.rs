//! The file system as a vault sees it: few operations, each of which may fail or be lost in a power cut.

mod crash;
mod read_only;
mod real;

use std::io;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

pub use crash::{CrashDisk, PowerCut};
pub use read_only::ReadOnlyDisk;
pub(crate) use real::OF_FILES_ALONE;
pub use real::RealDisk;

/// Which file it is on its disk, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileMark {
    pub device: u64,
    pub number: u64,
}

/// What a name stands for. A link stands for itself, not for what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Nothing,
    File(FileMark),
    /// Something that isn't a regular file: what it is, for a person.
    Other(&'static str),
}

/// Something else than a regular file has the name of one.
#[derive(Debug, Error)]
#[error("{0} lies in its place")]
struct NoFile(&'static str);

/// What lies in a file's place, for a person, where an error says that it's no regular file.
pub(crate) fn no_file(error: &io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<NoFile>().map(NoFile::to_string)
}

/// Bytes of the regular file of that name; `None` where there's none.
pub(crate) fn file_len(disk: &dyn Disk, path: &Path) -> io::Result<Option<u64>> {
    match disk.look_up(path)? {
        Named::File(_) => disk.open(path)?.size().map(Some),
        Named::Nothing | Named::Other(_) => Ok(None),
    }
}

/// Files in directories. A created or renamed file survives a power cut only after `sync_dir`. What isn't a regular file is never opened,
/// and links are never followed.
pub trait Disk: Send + Sync + 'static {
    /// Makes a new file; it must not exist.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing; for reading alone where the disk takes no writes.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// What that name stands for just now.
    fn look_up(&self, path: &Path) -> io::Result<Named>;
    /// Names of the regular files in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that can still be written.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// The disk below, where this one only has a version of that file in a layer over it.
    fn covers(&self, _path: &Path) -> Option<Arc<dyn Disk>> {
        None
    }
}

/// An open file. What was written survives a power cut only after `sync`.
pub trait DiskFile: Send + Sync {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Fills `buffer`, or fails with `UnexpectedEof`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    fn size(&self) -> io::Result<u64>;
    /// Which file it is.
    fn mark(&self) -> io::Result<FileMark>;
    fn truncate(&self, size: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    /// Has what is read next come from the medium, not from memory, as far as it's durable.
    fn forget_cached(&self) -> io::Result<()>;
}
