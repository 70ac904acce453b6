//! The folders that a restore may write to, each reached from the one above it without following a link, and held while
//! something is written there.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::directories::BEGUN;
use super::reach::reach;
use crate::path::split;
use crate::platform::HeldFolder;

/// How files that aren't whole yet are called; numbers follow. Nobody gives a file of theirs such a name by chance.
const WORKING: &[u8] = b".coffer-restoring-7b1f0c5e2a94d863-";
/// Most folders that are held for the next file's sake.
const HELD_MAX: usize = 512;

/// Everything below one folder (or below all there is).
pub(super) struct Folders {
    top: Arc<HeldFolder>,
    held: HashMap<Vec<u8>, Arc<HeldFolder>>,
    /// Folders in which nothing is left of an earlier restore.
    clean: HashSet<Vec<u8>>,
}

impl Folders {
    /// Below `to`, which is made where it isn't there.
    pub(super) fn open(to: Option<&Path>) -> io::Result<Folders> {
        let top = match to {
            None => Arc::new(HeldFolder::top()?),
            Some(to) => reach(to)?,
        };
        Ok(Folders { top, held: HashMap::new(), clean: HashSet::new() })
    }

    /// The folder at `path`, and held.
    pub(super) fn folder(&mut self, path: &[u8]) -> io::Result<Arc<HeldFolder>> {
        let mut above = path;
        let mut missing = Vec::new();
        let mut folder = loop {
            if let Some(folder) = self.held.get(above) {
                break folder.clone();
            }
            let Some((parent, name)) = split(above) else { break self.top.clone() };
            missing.push((above, name));
            above = parent;
        };
        for (path, name) in missing.into_iter().rev() {
            folder = Arc::new(folder.child(name).map_err(not_followed)?);
            if self.held.len() == HELD_MAX {
                self.release();
            }
            self.held.insert(path.to_vec(), folder.clone());
        }
        Ok(folder)
    }

    /// A folder to write to: what an earlier restore left behind there is removed first.
    pub(super) fn clean_folder(&mut self, path: &[u8]) -> io::Result<Arc<HeldFolder>> {
        let folder = self.folder(path)?;
        if self.clean.insert(path.to_vec())
            && let Err(error) = folder.remove_unused(&is_working, BEGUN)
        {
            tracing::warn!(%error, "something is left behind of an earlier restore");
        }
        Ok(folder)
    }

    /// Lets go of folders, so that others may move them again.
    pub(super) fn release(&mut self) {
        self.held.clear();
    }
}

/// What file (or folder) number `index` is called until it's whole (or has its mark). The process keeps two restores apart.
pub(super) fn working_name(index: u32) -> Vec<u8> {
    [WORKING, format!("{}-{index}", std::process::id()).as_bytes()].concat()
}

/// Whether a restore gives such names: two numbers, and on Windows a third. Another file may have one all the same, though hardly.
pub(crate) fn is_working(name: &[u8]) -> bool {
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    name.strip_prefix(WORKING).is_some_and(|rest| {
        let parts: Vec<&[u8]> = rest.split(|byte| *byte == b'-').collect();
        matches!(parts.len(), 2 | 3) && parts.into_iter().all(is_number)
    })
}

pub(super) fn not_followed(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::NotADirectory {
        return io::Error::other(
            "a link or a file is where its folder should be, and isn't followed; move that away and restore again",
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::HeldEntry;

    #[test]
    fn only_our_own_names_are_leftovers() {
        assert!(is_working(&working_name(7)));
        assert!(is_working(&[&working_name(7)[..], b"-0"].concat()));
        for theirs in [".coffer-restoring-1", ".coffer-restoring-9-9", ".coffer-restoring-a.txt", ".coffer"] {
            assert!(!is_working(theirs.as_bytes()));
        }
        for theirs in ["", "1", "1-", "1-2-", "1-2-3-4", "1-a", "folder"] {
            assert!(!is_working(&[WORKING, theirs.as_bytes()].concat()), "{theirs}");
        }
    }

    #[test]
    fn what_somebody_is_at_work_on_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        let at = |name: Vec<u8>| dir.path().join("a").join(String::from_utf8(name).unwrap());
        let mut first = Folders::open(Some(dir.path())).unwrap();
        let at_work = HeldEntry::create(&first.clean_folder(b"/a").unwrap(), &working_name(1), true).unwrap();
        std::fs::write(at(working_name(2)), "left").unwrap();
        std::fs::write(at(b"other".to_vec()), "theirs").unwrap();
        let clean = || Folders::open(Some(dir.path())).unwrap().clean_folder(b"/a").map(drop).unwrap();
        clean();
        assert!(
            at(working_name(1)).exists() && !at(working_name(2)).exists() && at(b"other".to_vec()).exists()
        );
        drop(at_work);
        clean();
        assert!(!at(working_name(1)).exists());
    }

    #[test]
    fn a_file_is_no_folder_and_a_held_folder_is_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let mut folders = Folders::open(Some(dir.path())).unwrap();
        let refused = folders.folder(b"/file").unwrap_err();
        assert!(refused.to_string().contains("isn't followed"), "{refused}");
        let held = folders.folder(b"/a").unwrap();
        // Where folders that are held can be moved, what's written goes along with the folder.
        let moved = std::fs::rename(dir.path().join("a"), dir.path().join("b")).is_ok();
        drop(HeldEntry::create(&held, b"new", true).unwrap());
        assert!(dir.path().join(if moved { "b/new" } else { "a/new" }).exists());
        assert!(!(cfg!(windows) && moved), "a folder that's held was moved away");
    }
}
