//! The operating system's file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{Disk, DiskFile};

/// Files as the operating system keeps them.
#[derive(Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        set_aside(path)?;
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).create_new(true).open(path)?)))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if is_no_file(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            // The kernel has made the disk read-only after an error: what is on it can still be restored.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(path)?,
            opened => opened?,
        };
        Ok(Arc::new(RealFile(file)))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_file || !is_no_file(&entry.path()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        if is_no_file(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        fs::remove_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        set_aside(to)?;
        fs::rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        Ok(stat.blocks_available() * stat.fragment_size())
    }
}

/// Whether something is there that isn't a file: then no file is there.
fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file())
}

/// What isn't a file makes room for one, under another name.
fn set_aside(path: &Path) -> io::Result<()> {
    if !is_no_file(path) {
        return Ok(());
    }
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".aside-{number}"));
        PathBuf::from(name)
    };
    let mut free = (1..).map(aside).filter(|aside| fs::symlink_metadata(aside).is_err());
    let aside = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
    tracing::warn!(path = %path.display(), aside = %aside.display(), "something that isn't a file is set aside");
    fs::rename(path, aside)
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn forget_cached(&self) -> io::Result<()> {
        Ok(posix_fadvise(&self.0, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_no_file_and_makes_room_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("one")).unwrap();
        fs::write(at("one/kept"), b"kept").unwrap();
        fs::create_dir(at("two")).unwrap();
        fs::write(at("file"), b"file").unwrap();
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["file"]);
        assert_eq!(RealDisk.open(&at("one")).err().unwrap().kind(), io::ErrorKind::NotFound);
        assert_eq!(RealDisk.remove(&at("one")).unwrap_err().kind(), io::ErrorKind::NotFound);
        RealDisk.rename(&at("file"), &at("one")).unwrap();
        RealDisk.create(&at("two")).unwrap();
        assert_eq!(fs::read(at("one")).unwrap(), b"file");
        assert_eq!(fs::read(at("one.aside-1/kept")).unwrap(), b"kept");
        assert!(at("two").is_file() && at("two.aside-1").is_dir());
    }
}
