//! A disk that can only be read, with room elsewhere for what opening a vault has to write: what's written goes to a scratch
//! folder, and the disk below stays as it is.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Disk, DiskFile, FileMark, Named, RealDisk};

/// Files of a disk that takes no writes, as if it took them.
pub struct ReadOnlyDisk {
    below: Arc<dyn Disk>,
    scratch: PathBuf,
    /// Files of the disk below that aren't there any more, as far as anybody sees.
    removed: Mutex<BTreeSet<PathBuf>>,
}

impl ReadOnlyDisk {
    /// `scratch` is an empty folder that can be written to.
    pub fn new(scratch: &Path) -> ReadOnlyDisk {
        ReadOnlyDisk { below: Arc::new(RealDisk), scratch: scratch.into(), removed: Mutex::default() }
    }

    /// Where a file's written version is.
    fn above(&self, path: &Path) -> PathBuf {
        let mut above = self.scratch.clone();
        above.extend(path.components().filter(|part| matches!(part, std::path::Component::Normal(_))));
        above
    }

    fn is_removed(&self, path: &Path) -> bool {
        self.removed.lock().expect("nothing panics while it notes a file").contains(path)
    }

    fn set_removed(&self, path: &Path, removed: bool) {
        let mut all = self.removed.lock().expect("nothing panics while it notes a file");
        match removed {
            true => all.insert(path.to_owned()),
            false => all.remove(path),
        };
    }

    fn make_folder_of(&self, above: &Path) -> io::Result<()> {
        self.below.create_dir(above.parent().unwrap_or(&self.scratch))
    }
}

impl Disk for ReadOnlyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.open(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let above = self.above(path);
        self.make_folder_of(&above)?;
        self.below.create(&above)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let above = self.above(path);
        match self.below.open(&above) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        if self.is_removed(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = self.below.open(path)?;
        self.make_folder_of(&above)?;
        Ok(Arc::new(CopiedFile { at: Mutex::new(At::Below(file)), above, disk: self.below.clone() }))
    }

    fn look_up(&self, path: &Path) -> io::Result<Named> {
        match self.below.look_up(&self.above(path))? {
            Named::Nothing if self.is_removed(path) => Ok(Named::Nothing),
            Named::Nothing => self.below.look_up(path),
            above => Ok(above),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names: BTreeSet<String> = match self.below.list(&self.above(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            listed => listed?.into_iter().collect(),
        };
        let below = self.below.list(dir)?;
        names.extend(below.into_iter().filter(|name| !self.is_removed(&dir.join(name))));
        Ok(names.into_iter().collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.open(path)?;
        match self.below.remove(&self.above(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.set_removed(path, true);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // What is no file stays where it is; only nobody sees it any more.
        if let Named::Other(_) = self.look_up(from)? {
            self.set_removed(from, true);
            return Ok(());
        }
        let file = self.open(from)?;
        let mut bytes = vec![0; file.size()? as usize];
        file.read_at(0, &mut bytes)?;
        match self.remove(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.create(to)?.write_at(0, &bytes)?;
        self.remove(from)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.below.create_dir(&self.above(dir))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.below.free_bytes(dir)
    }

    fn covers(&self, path: &Path) -> Option<Arc<dyn Disk>> {
        let above = self.below.look_up(&self.above(path));
        matches!(above, Ok(Named::File(_))).then(|| self.below.clone())
    }
}

enum At {
    Below(Arc<dyn DiskFile>),
    Above(Arc<dyn DiskFile>),
}

/// A file that's copied to the scratch folder when it's first written to.
struct CopiedFile {
    at: Mutex<At>,
    above: PathBuf,
    disk: Arc<dyn Disk>,
}

impl CopiedFile {
    fn reading(&self) -> Arc<dyn DiskFile> {
        match &*self.at.lock().expect("nothing panics while it copies a file") {
            At::Below(file) | At::Above(file) => file.clone(),
        }
    }

    fn writing(&self) -> io::Result<Arc<dyn DiskFile>> {
        const STEP: usize = 1 << 20;
        let mut at = self.at.lock().expect("nothing panics while it copies a file");
        let below = match &*at {
            At::Above(file) => return Ok(file.clone()),
            At::Below(file) => file.clone(),
        };
        let (copy, size) = (self.disk.create(&self.above)?, below.size()?);
        let mut buffer = vec![0; STEP];
        for offset in (0..size).step_by(STEP) {
            let part = &mut buffer[..STEP.min((size - offset) as usize)];
            below.read_at(offset, part)?;
            copy.write_at(offset, part)?;
        }
        *at = At::Above(copy.clone());
        Ok(copy)
    }
}

impl DiskFile for CopiedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writing()?.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reading().read_at(offset, buffer)
    }
    fn size(&self) -> io::Result<u64> {
        self.reading().size()
    }
    fn mark(&self) -> io::Result<FileMark> {
        self.reading().mark()
    }
    fn truncate(&self, size: u64) -> io::Result<()> {
        self.writing()?.truncate(size)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn forget_cached(&self) -> io::Result<()> {
        self.reading().forget_cached()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_is_seen_and_the_disk_stays_as_it_was() {
        let (disk, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| disk.path().join(name);
        fs::write(at("kept"), b"as it was").unwrap();
        fs::write(at("gone"), b"as it was").unwrap();
        let seen = ReadOnlyDisk::new(scratch.path());
        let file = seen.open(&at("kept")).unwrap();
        file.truncate(3).unwrap();
        file.write_at(3, b"new").unwrap();
        seen.rename(&at("gone"), &at("moved")).unwrap();
        seen.create(&at("made")).unwrap().write_at(0, b"made").unwrap();
        let read = |name: &str| {
            let file = seen.open(&at(name)).unwrap();
            let mut bytes = vec![0; file.size().unwrap() as usize];
            file.read_at(0, &mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(
            (read("kept"), read("moved"), read("made")),
            ("as new".into(), "as it was".into(), "made".into())
        );
        assert_eq!(seen.open(&at("gone")).err().unwrap().kind(), io::ErrorKind::NotFound);
        assert_eq!(seen.create(&at("kept")).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(seen.list(disk.path()).unwrap(), ["kept", "made", "moved"]);
        seen.remove(&at("kept")).unwrap();
        assert_eq!(seen.list(disk.path()).unwrap(), ["made", "moved"]);
        assert_eq!(fs::read(at("kept")).unwrap(), b"as it was");
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 2);
        assert!(seen.covers(&at("made")).is_some() && seen.covers(&at("gone")).is_none());
    }
}
