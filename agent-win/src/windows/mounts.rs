//! Which drives there are. What's mounted at folders is found where a view is made.

use std::collections::BTreeSet;
use std::io;

use super::{Directory, device_of, drives};
use crate::scan::Stat;

/// The drives of one moment, by their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mounts(BTreeSet<Vec<u8>>);

impl Mounts {
    pub(crate) fn read() -> io::Result<Mounts> {
        Ok(Mounts(drives::names().into_iter().map(|name| [b"/", &name[..]].concat()).collect()))
    }

    /// Whether it's a drive.
    pub(crate) fn has_volume(&self, path: &[u8]) -> bool {
        self.0.contains(path)
    }

    /// All drives.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.iter()
    }

    /// What tells the volume of a drive from others that may have its letter: the number that it was formatted with. The volume's own,
    /// where files are read from a snapshot of it.
    pub(crate) fn identity(&self, path: &[u8], _top: &Directory) -> Option<String> {
        let own = Directory::open_path(path).ok()?;
        device_of(&own).map(|number| format!("{number:x}"))
    }

    /// No drive waits for somebody to look.
    pub(crate) fn waits_for_a_look(&self, _path: &[u8]) -> bool {
        false
    }

    /// Nothing lies below a drive that's gone.
    pub(crate) fn top(
        &self,
        _path: &[u8],
        _parent: &Directory,
        _name: &[u8],
        listed: Stat,
    ) -> io::Result<Option<Stat>> {
        Ok(Some(listed))
    }

    /// An open folder stays on its drive, and there's none below a drive that's gone.
    pub(crate) fn is_still(&self, _path: &[u8], _directory: &Directory) -> io::Result<bool> {
        Ok(true)
    }
}

/// Whether they may be the same volume.
pub(crate) fn may_be_same_volume(one: &str, other: &str) -> bool {
    one == other
}

/// Whether one may stand where the other was.
pub(crate) fn may_stand_for(known: &str, now: &str) -> bool {
    may_be_same_volume(known, now)
}
