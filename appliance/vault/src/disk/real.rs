//! The operating system's file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

use super::{Disk, DiskFile, FileMark, Named, NoFile};

/// Files as the operating system keeps them.
#[derive(Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).create_new(true).open(path)?)))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        // Before it's opened: opening a device may do something.
        refuse_other(self.look_up(path)?)?;
        let file = match open_itself(path, OpenOptions::new().read(true).write(true)) {
            // The kernel has made the disk read-only after an error: what is on it can still be restored.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                open_itself(path, OpenOptions::new().read(true))?
            }
            opened => opened?,
        };
        refuse_other(named(&file.metadata()?))?;
        Ok(Arc::new(RealFile(file)))
    }
    fn look_up(&self, path: &Path) -> io::Result<Named> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Named::Nothing),
            found => found.map(|found| named(&found)),
        }
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            match entry.file_type() {
                Ok(kind) if kind.is_file() => names.push(entry.file_name().to_string_lossy().into_owned()),
                // It went meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                kind => drop(kind?),
            }
        }
        Ok(names)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
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

/// A link isn't followed, and a pipe without a reader isn't waited for.
pub(crate) const OF_FILES_ALONE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK);

fn open_itself(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(OF_FILES_ALONE.bits()).open(path)
}

fn refuse_other(named: Named) -> io::Result<()> {
    match named {
        Named::Other(what) => Err(io::Error::other(NoFile(what))),
        Named::Nothing | Named::File(_) => Ok(()),
    }
}

fn named(of: &fs::Metadata) -> Named {
    let kind = of.file_type();
    match () {
        () if kind.is_file() => Named::File(FileMark { device: of.dev(), number: of.ino() }),
        () if kind.is_dir() => Named::Other("a folder"),
        () if kind.is_symlink() => Named::Other("a link"),
        () if kind.is_fifo() => Named::Other("a pipe"),
        () if kind.is_socket() => Named::Other("a socket"),
        () => Named::Other("a device"),
    }
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
    fn mark(&self) -> io::Result<FileMark> {
        let of = self.0.metadata()?;
        Ok(FileMark { device: of.dev(), number: of.ino() })
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
    use std::os::unix::net::UnixListener;

    use super::super::no_file;
    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), b"bytes").unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (name, to) in [("link", "file"), ("loop", "loop"), ("null", "/dev/null")] {
            std::os::unix::fs::symlink(to, at(name)).unwrap();
        }
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (name, what) in [
            ("folder", "a folder lies in its place"),
            ("link", "a link lies in its place"),
            ("loop", "a link lies in its place"),
            ("null", "a link lies in its place"),
            ("pipe", "a pipe lies in its place"),
            ("socket", "a socket lies in its place"),
        ] {
            let refused = RealDisk.open(&at(name)).err().unwrap();
            assert_eq!(no_file(&refused).as_deref(), Some(what), "{name}: {refused}");
        }
        let device = RealDisk.open(Path::new("/dev/null")).err().unwrap();
        assert_eq!(no_file(&device).as_deref(), Some("a device lies in its place"));
        let file = RealDisk.open(&at("file")).unwrap();
        assert_eq!(RealDisk.look_up(&at("file")).unwrap(), Named::File(file.mark().unwrap()));
        assert_eq!(RealDisk.look_up(&at("none")).unwrap(), Named::Nothing);
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["file"]);
    }
}
