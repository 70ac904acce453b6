//! Files that were in use: whole, under a name of their own, until the computer next starts. Mostly the system puts them in
//! their place; where it can't be trusted to find that, since others may change the folder, the agent does when it starts.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::folders::Folders;
use crate::path::split;
use crate::platform::{self, HeldEntry};

/// What's added to a file's name while it waits.
pub(super) const WAITING: &[u8] = b".coffer-at-restart";

/// The agent's own list: path bytes, each with a line end, which no path of a system has that needs this.
#[derive(Debug, Clone)]
pub struct WaitingFiles(PathBuf);

impl WaitingFiles {
    /// In the agent's folder.
    pub(crate) fn new(path: PathBuf) -> WaitingFiles {
        WaitingFiles(path)
    }

    pub(super) fn add(&self, place: &[u8]) -> io::Result<()> {
        let mut list = self.locked()?;
        list.seek(SeekFrom::End(0))?;
        list.write_all(&[place, b"\n"].concat())?;
        list.sync_all()
    }

    /// At the agent's start: what can't be put in its place yet stays for the next.
    pub(crate) fn put_all(&self) -> io::Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        let (mut list, mut places) = (self.locked()?, Vec::new());
        list.read_to_end(&mut places)?;
        let mut left = Vec::new();
        for place in places.split(|byte| *byte == b'\n').filter(|place| !place.is_empty()) {
            let shown = String::from_utf8_lossy(place);
            match put(place) {
                Ok(()) => tracing::info!(file = &*shown, "what was restored is in its place now"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::info!(file = &*shown, "what was restored doesn't wait any more");
                }
                Err(error) => {
                    tracing::warn!(file = &*shown, %error, "what was restored waits for another start");
                    left.extend_from_slice(&[place, b"\n"].concat());
                }
            }
        }
        list.set_len(0)?;
        list.rewind()?;
        list.write_all(&left)?;
        list.sync_all()
    }

    /// While it lives, nobody else changes the list.
    fn locked(&self) -> io::Result<File> {
        let mut options = platform::private_file();
        let list = options.read(true).write(true).create(true).truncate(false).open(&self.0)?;
        list.lock()?;
        Ok(list)
    }
}

fn put(place: &[u8]) -> io::Result<()> {
    let (parent, waiting) = split(place).ok_or(io::ErrorKind::NotFound)?;
    let name = waiting.strip_suffix(WAITING).ok_or(io::ErrorKind::NotFound)?;
    let folder = Folders::open(None)?.folder(parent)?;
    HeldEntry::open_file(&folder, waiting)?.rename(name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::platform::path_bytes;

    #[test]
    fn what_waits_gets_its_place_and_what_cannot_goes_on_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| path.join(name);
        let list = WaitingFiles::new(at("list"));
        list.put_all().unwrap();
        for name in ["a", "gone", "folder"] {
            list.add(&[&path_bytes(&at(name))[..], WAITING].concat()).unwrap();
        }
        fs::write(at("a.coffer-at-restart"), "new").unwrap();
        fs::write(at("a"), "old").unwrap();
        fs::write(at("folder.coffer-at-restart"), "new").unwrap();
        fs::create_dir_all(at("folder/below")).unwrap();
        list.put_all().unwrap();
        assert_eq!(fs::read(at("a")).unwrap(), b"new");
        let left = fs::read(at("list")).unwrap();
        assert_eq!(left, [&path_bytes(&at("folder"))[..], WAITING, b"\n"].concat());
        fs::remove_dir_all(at("folder")).unwrap();
        list.put_all().unwrap();
        assert_eq!(fs::read(at("folder")).unwrap(), b"new");
        assert_eq!(fs::read(at("list")).unwrap(), b"");
    }
}
