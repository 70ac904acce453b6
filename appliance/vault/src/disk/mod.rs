//! The file system as a vault sees it: few operations, each of which may fail or be lost in a power cut.

mod crash;
mod read_only;
mod real;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use crash::{CrashDisk, PowerCut};
pub use read_only::ReadOnlyDisk;
pub use real::RealDisk;

/// Files in directories. A created or renamed file survives a power cut only after `sync_dir`.
pub trait Disk: Send + Sync + 'static {
    /// Makes a new file; it must not exist.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing; for reading alone where the disk takes no writes.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Names of the files in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that can still be written.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file. What was written survives a power cut only after `sync`.
pub trait DiskFile: Send + Sync {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Fills `buffer`, or fails with `UnexpectedEof`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    fn size(&self) -> io::Result<u64>;
    fn truncate(&self, size: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    /// Has what is read next come from the medium, not from memory, as far as it's durable.
    fn forget_cached(&self) -> io::Result<()>;
}
