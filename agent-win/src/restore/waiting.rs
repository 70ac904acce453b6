//! Files that were in use: whole, under a name of their own, until the computer next starts. Mostly the system puts them in
//! their place; where it can't be trusted to find that, since others may change the folder, the agent does when it starts.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::durable_file;
use crate::path::split;
use crate::platform::{self, HeldEntry, HeldFolder};
use crate::scan::ObjectId;

/// What's added to a file's name while it waits.
pub(super) const WAITING: &[u8] = b".coffer-at-restart";

/// The agent's own list. A line for each file: its volume and number, and its path bytes; no path has a line end on a system
/// that needs this.
#[derive(Debug, Clone)]
pub struct WaitingFiles(PathBuf);

/// What came of a file that waits.
enum Waited {
    InPlace,
    /// It's gone, or something else bears its name.
    Over,
}

impl WaitingFiles {
    /// In the agent's folder.
    pub(crate) fn new(path: PathBuf) -> WaitingFiles {
        WaitingFiles(path)
    }

    pub(super) fn add(&self, object: ObjectId, place: &[u8]) -> io::Result<()> {
        let _lock = self.lock()?;
        durable_file::save(
            &self.0,
            &[&self.lines()?[..], object.line_head().as_bytes(), place, b"\n"].concat(),
        )
    }

    /// At the agent's start: what can't be put in its place yet stays for the next.
    pub(crate) fn put_all(&self) -> io::Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let (lines, mut left) = (self.lines()?, Vec::new());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let Some((object, place)) = line.strip_suffix(b"\n").and_then(ObjectId::from_line) else {
                continue;
            };
            let shown = String::from_utf8_lossy(place);
            match put(object, place) {
                Ok(Waited::InPlace) => {
                    tracing::info!(file = &*shown, "what was restored is in its place now")
                }
                Ok(Waited::Over) => tracing::info!(file = &*shown, "what was restored doesn't wait any more"),
                Err(error) => {
                    tracing::warn!(file = &*shown, %error, "what was restored waits for another start");
                    left.extend_from_slice(line);
                }
            }
        }
        durable_file::save(&self.0, &left)
    }

    fn lines(&self) -> io::Result<Vec<u8>> {
        match coffer_link::read_small_file(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// While it lives, nobody else changes the list.
    fn lock(&self) -> io::Result<File> {
        let path = self.0.with_extension("lock");
        let lock = coffer_link::open_lock_file(&path, &platform::private_file())?;
        lock.lock()?;
        Ok(lock)
    }
}

fn put(object: ObjectId, place: &[u8]) -> io::Result<Waited> {
    let (Some((parent, waiting)), Some(whole)) = (split(place), place.strip_suffix(WAITING)) else {
        return Ok(Waited::Over);
    };
    let name = split(whole).map_or(whole, |(_, name)| name);
    // A drive that isn't there yet may come.
    let folder = Arc::new(HeldFolder::at(parent)?);
    let mut entry = match HeldEntry::open_file(&folder, waiting) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Waited::Over),
        opened => opened?,
    };
    if entry.object()? != object {
        return Ok(Waited::Over);
    }
    entry.rename(name, true).map(|()| Waited::InPlace)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::platform::{path_bytes, stat_path};

    #[test]
    fn what_waits_gets_its_place_and_what_cannot_goes_on_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| path.join(name);
        let list = WaitingFiles::new(at("list"));
        list.put_all().unwrap();
        let waits = |name: &str, bytes: &str| {
            let waiting = at(&format!("{name}.coffer-at-restart"));
            fs::write(&waiting, bytes).unwrap();
            list.add(stat_path(&waiting).unwrap().object(), &path_bytes(&waiting)).unwrap();
            waiting
        };
        fs::write(at("a"), "old").unwrap();
        waits("a", "new");
        fs::remove_file(waits("gone", "new")).unwrap();
        // Somebody put another in its place.
        let swapped = waits("swapped", "new");
        fs::rename(&swapped, at("moved away")).unwrap();
        fs::write(&swapped, "theirs").unwrap();
        waits("folder", "new");
        fs::create_dir_all(at("folder/below")).unwrap();
        list.put_all().unwrap();
        assert_eq!(fs::read(at("a")).unwrap(), b"new");
        assert!(!at("swapped").exists() && !at("gone").exists());
        let left = String::from_utf8(fs::read(at("list")).unwrap()).unwrap();
        assert!(left.lines().count() == 1 && left.ends_with("folder.coffer-at-restart\n"), "{left}");
        fs::remove_dir_all(at("folder")).unwrap();
        list.put_all().unwrap();
        assert_eq!(fs::read(at("folder")).unwrap(), b"new");
        assert_eq!(fs::read(at("list")).unwrap(), b"");
    }
}
