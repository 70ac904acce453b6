//! What a capture looks at: everything, or where something was noticed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use coffer_format::node::NodeKind;

use crate::journal::{JournalError, JournalReader};
use crate::path::split;
use crate::scan::Names;

/// Names noticed in one directory beyond which all of it is looked at.
const NAMES_MAX: usize = 1000;
/// Bytes that noticed names may take in memory, beyond which everything is looked at: about 60,000 names of usual
/// length. A computer that's away from its box for weeks keeps no more than this for each configuration.
const NOTICED_BYTES_MAX: usize = 8 << 20;
/// What keeping a name takes besides its bytes: its place in a list or a tree, and the allocator's share.
const NAME_BYTES: usize = 96;

/// What to look at.
#[derive(Debug, Clone)]
pub enum Target {
    Everything,
    /// Only where something was noticed.
    These(Dirty),
}

/// Names in which something was noticed, by directory. Takes at most [`NOTICED_BYTES_MAX`].
#[derive(Debug, Clone, Default)]
pub struct Dirty {
    pub(super) directories: BTreeMap<Vec<u8>, Names>,
    bytes: usize,
}

impl Target {
    /// Nothing noticed yet.
    pub fn nothing() -> Target {
        Target::These(Dirty::default())
    }

    /// Nothing was noticed.
    pub fn is_empty(&self) -> bool {
        matches!(self, Target::These(dirty) if dirty.directories.is_empty())
    }

    /// Adds a name in a directory.
    pub fn notice(&mut self, directory: Vec<u8>, name: Vec<u8>) {
        let Target::These(dirty) = self else { return };
        dirty.notice(directory, name);
        if dirty.bytes > NOTICED_BYTES_MAX {
            tracing::info!("too much has changed to be remembered by name; everything is looked at");
            *self = Target::Everything;
        }
    }

    /// Adds something of which a point had to say something: a directory with everything in and below it.
    pub(crate) fn look_again(&mut self, path: &[u8], journal: &JournalReader) -> Result<(), JournalError> {
        if let Some((folder, name)) = split(path) {
            self.notice(folder.to_vec(), name.to_vec());
        }
        let node = journal.find(path)?.map(|node| journal.node(node)).transpose()?.flatten();
        if node.is_some_and(|known| known.stat.kind == NodeKind::Directory) {
            self.notice_all(path.to_vec());
        }
        Ok(())
    }

    /// Adds what another target has.
    pub(crate) fn add(&mut self, other: &Target) {
        let Target::These(dirty) = other else {
            *self = Target::Everything;
            return;
        };
        for (directory, names) in &dirty.directories {
            match names {
                Names::All | Names::Here => self.notice_all(directory.clone()),
                Names::These(names) => {
                    names.iter().for_each(|name| self.notice(directory.clone(), name.clone()));
                }
            }
        }
    }

    /// Adds a directory with everything in and below it.
    pub fn notice_all(&mut self, directory: Vec<u8>) {
        let Target::These(dirty) = self else { return };
        if !dirty.directories.contains_key(&directory) {
            dirty.bytes += taken(&directory);
        }
        if let Some(Names::These(names)) = dirty.directories.insert(directory, Names::All) {
            dirty.bytes -= names.iter().map(|name| taken(name)).sum::<usize>();
        }
    }
}

impl Dirty {
    fn notice(&mut self, directory: Vec<u8>, name: Vec<u8>) {
        let names = match self.directories.entry(directory) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.bytes += taken(new.key());
                new.insert(Names::These(Vec::new()))
            }
        };
        let Names::These(list) = names else { return };
        match list.contains(&name) {
            true => {}
            false if list.len() < NAMES_MAX => {
                self.bytes += taken(&name);
                list.push(name);
            }
            false => {
                self.bytes -= list.iter().map(|name| taken(name)).sum::<usize>();
                *names = Names::All;
            }
        }
    }
}

fn taken(name: &[u8]) -> usize {
    name.len() + NAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(target: &mut Target, directory: &str, name: &str) {
        target.notice(directory.into(), name.into());
    }

    fn bytes(target: &Target) -> usize {
        let Target::These(dirty) = target else { return 0 };
        let names = |names: &Names| match names {
            Names::All | Names::Here => 0,
            Names::These(names) => names.iter().map(|name| taken(name)).sum(),
        };
        dirty.directories.iter().map(|(path, found)| taken(path) + names(found)).sum()
    }

    #[test]
    fn a_name_that_changes_again_and_again_is_kept_once() {
        let mut target = Target::nothing();
        (0..1_000_000).for_each(|_| notice(&mut target, "/home", "busy"));
        assert_eq!(bytes(&target), "/home".len() + "busy".len() + 2 * NAME_BYTES);
    }

    #[test]
    fn a_directory_in_which_much_changes_is_looked_at_as_a_whole() {
        let mut target = Target::nothing();
        (0..5000).for_each(|number| notice(&mut target, "/home", &number.to_string()));
        let Target::These(dirty) = &target else { panic!("{target:?}") };
        assert_eq!(dirty.directories[&b"/home"[..]], Names::All);
        assert_eq!(dirty.bytes, bytes(&target));
    }

    #[test]
    fn however_much_changes_while_the_box_is_away_memory_is_bounded() {
        let mut target = Target::nothing();
        let mut most = 0;
        for number in 0..1_000_000 {
            notice(&mut target, &format!("/home/someone/folder-{}", number / 7), &format!("file {number}"));
            if number % 1000 == 0 {
                most = most.max(bytes(&target));
            }
        }
        assert!(matches!(target, Target::Everything), "{} bytes are remembered", bytes(&target));
        assert!((NOTICED_BYTES_MAX / 2..=NOTICED_BYTES_MAX).contains(&most), "{most} bytes at the most");
    }
}
