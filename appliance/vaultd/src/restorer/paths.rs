//! Names from the other end, made into paths below a target that can't be left.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coffer_format::op::Name;

/// A path that leads downward only.
pub(super) fn relative(path: &[u8]) -> io::Result<PathBuf> {
    let mut below = PathBuf::new();
    for name in path.split(|byte| *byte == b'/') {
        let name = Name::new(name)
            .map_err(|_| io::Error::other("a name isn't one that a file can have: it was left out"))?;
        below.push(OsStr::from_bytes(name.as_bytes()));
    }
    Ok(below)
}

/// The directory that a restore goes to.
pub(super) struct Target {
    root: PathBuf,
    /// Parents that are known to be directories and no links.
    checked: HashSet<PathBuf>,
}

impl Target {
    pub(super) fn open(root: &Path) -> io::Result<Target> {
        std::fs::create_dir_all(root)?;
        Ok(Target { root: root.canonicalize()?, checked: HashSet::new() })
    }

    /// The place of a path. Its parents are made if they aren't there; a link among them is refused.
    pub(super) fn resolve(&mut self, path: &[u8]) -> io::Result<PathBuf> {
        let below = relative(path)?;
        let mut at = self.root.clone();
        let mut names = below.iter().peekable();
        while let Some(name) = names.next() {
            at.push(name);
            if names.peek().is_some() {
                self.check_parent(&at)?;
            }
        }
        Ok(at)
    }

    fn check_parent(&mut self, directory: &Path) -> io::Result<()> {
        if self.checked.contains(directory) {
            return Ok(());
        }
        match std::fs::symlink_metadata(directory) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(io::Error::other(format!(
                    "{} isn't a directory: move it away first",
                    directory.display()
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir(directory)?,
            Err(error) => return Err(error),
        }
        self.checked.insert(directory.into());
        Ok(())
    }
}

/// A name beside `path` that nothing has yet.
pub(super) fn free_name(path: &Path) -> PathBuf {
    let mut number = 0;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { ".restored".into() } else { format!(".restored-{number}") });
        let beside = PathBuf::from(name);
        if std::fs::symlink_metadata(&beside).is_err() {
            return beside;
        }
        number += 1;
    }
}

/// Where a file is written before it replaces the one at `path`.
pub(super) fn working_name(path: &Path, index: u32) -> PathBuf {
    path.with_file_name(format!(".coffer-{}-{index}", std::process::id()))
}
