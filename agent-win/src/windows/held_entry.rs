//! An entry of a held folder that's open from when it's made until it has its place and all that belongs to it: nobody can
//! put something else in its place meanwhile, and what's done to it is done to it alone.

use std::fs::File;
use std::io;
use std::sync::Arc;

use coffer_format::node::{AttrKind, NodeMeta};
use windows_sys::Win32::Foundation::ERROR_ACCESS_DENIED;
use windows_sys::Win32::Storage::FileSystem::{FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY};
use windows_sys::Win32::System::Ioctl::FSCTL_SET_REPARSE_POINT;

use super::failure::{has_code, is_locked};
use super::held_folder::HeldFolder;
use super::open_below::Purpose;
use super::put_back::{flags, value};
use super::set::{self, Times};
use super::stat::{self, facts};
use super::{naming, query};
use crate::scan::ObjectId;

/// The open entry.
#[derive(Debug)]
pub(crate) struct HeldEntry {
    pub(super) file: File,
    pub(super) folder: Arc<HeldFolder>,
    pub(super) name: Vec<u8>,
}

impl HeldEntry {
    /// A new file.
    pub(crate) fn create(folder: &Arc<HeldFolder>, name: &[u8], is_closed: bool) -> io::Result<HeldEntry> {
        let file = match is_closed {
            true => folder.make_closed(name, Purpose::MakeFile)?,
            false => folder.open_entry(name, Purpose::MakeFile)?,
        };
        Ok(HeldEntry { file, folder: folder.clone(), name: name.to_vec() })
    }

    /// A new link, or whatever else has no bytes of its own.
    pub(crate) fn create_special(
        folder: &Arc<HeldFolder>,
        name: &[u8],
        meta: &NodeMeta,
    ) -> io::Result<HeldEntry> {
        let reparse = value(meta, AttrKind::NtReparse)
            .ok_or_else(|| io::Error::other("it's nothing that Windows has; restore it on the box"))?;
        let is_folder = flags(meta) & FILE_ATTRIBUTE_DIRECTORY != 0;
        let purpose = if is_folder { Purpose::MakeFolder } else { Purpose::MakeFile };
        let entry = HeldEntry::opened(folder, name, purpose)?;
        match query::control(&entry.file, FSCTL_SET_REPARSE_POINT, reparse, &mut []) {
            Ok(_) => Ok(entry),
            Err(error) => entry.discard().and(Err(error)),
        }
    }

    /// Another name of a file that's there.
    pub(crate) fn create_link(
        folder: &Arc<HeldFolder>,
        name: &[u8],
        first: (&HeldFolder, &[u8]),
    ) -> io::Result<HeldEntry> {
        // With it in there, the folder can't be made a link.
        let anchor = HeldEntry::create(folder, &[name, b"-0"].concat(), true)?;
        let linked = HeldEntry::linked(folder, name, first);
        anchor.discard().and(linked)
    }

    fn linked(folder: &Arc<HeldFolder>, name: &[u8], first: (&HeldFolder, &[u8])) -> io::Result<HeldEntry> {
        let pinned = first.0.open_entry(first.1, Purpose::Pin)?;
        match naming::link(&pinned, folder.handle()?, name) {
            // A share wants paths.
            Err(error) if naming::is_unknown(&error) => {
                std::fs::hard_link(first.0.place(first.1), folder.place(name))?;
            }
            linked => linked?,
        }
        drop(pinned);
        HeldEntry::opened(folder, name, Purpose::Move)
    }

    /// What's there, to be given what belongs to it.
    pub(crate) fn open(folder: &Arc<HeldFolder>, name: &[u8]) -> io::Result<HeldEntry> {
        match HeldEntry::opened(folder, name, Purpose::Change) {
            Err(error) if is_locked(&error) => HeldEntry::opened(folder, name, Purpose::ChangeInPlace),
            opened => opened,
        }
    }

    /// A file that's there, to be renamed.
    pub(crate) fn open_file(folder: &Arc<HeldFolder>, name: &[u8]) -> io::Result<HeldEntry> {
        HeldEntry::opened(folder, name, Purpose::Replace)
    }

    pub(super) fn opened(folder: &Arc<HeldFolder>, name: &[u8], purpose: Purpose) -> io::Result<HeldEntry> {
        let file = folder.open_entry(name, purpose)?;
        Ok(HeldEntry { file, folder: folder.clone(), name: name.to_vec() })
    }

    pub(crate) fn object(&self) -> io::Result<ObjectId> {
        stat::object(&self.file)
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// To another name in its folder, in one step. Where nothing is replaced, something that's there is an error.
    pub(crate) fn rename(&mut self, name: &[u8], replaces: bool) -> io::Result<()> {
        let folder = self.folder.handle()?;
        match naming::rename(&self.file, folder, name, replaces) {
            Err(error) if replaces && has_code(&error, &[ERROR_ACCESS_DENIED]) => {
                let Some(unmarked) = self.unmarked(name)? else { return Err(error) };
                naming::rename(&self.file, folder, name, true)
                    .or_else(|error| unmarked.undo().and(Err(error)))?;
            }
            done => done?,
        }
        self.name = name.to_vec();
        Ok(())
    }

    /// Nothing is left of it.
    pub(crate) fn discard(self) -> io::Result<()> {
        naming::remove(&self.file)
    }

    /// Lets what's at `name` be replaced where it's only that it's read-only.
    fn unmarked(&self, name: &[u8]) -> io::Result<Option<Unmarked>> {
        let file = self.folder.open_entry(name, Purpose::Mark)?;
        let attributes = facts(&file)?.attributes;
        if attributes & FILE_ATTRIBUTE_READONLY == 0 || attributes & FILE_ATTRIBUTE_DIRECTORY != 0 {
            return Ok(None);
        }
        set::basic(&file, Times::default(), naming::without_read_only(attributes))?;
        Ok(Some(Unmarked { folder: self.folder.clone(), name: name.to_vec(), attributes }))
    }
}

/// All of these are on their disks, or the errors say which aren't.
pub(crate) fn sync_all(files: &[&File]) -> Vec<Option<io::Error>> {
    files.iter().map(|file| file.sync_all().err()).collect()
}

/// A file that isn't read-only for the moment, and not open: or it couldn't be replaced everywhere.
struct Unmarked {
    folder: Arc<HeldFolder>,
    name: Vec<u8>,
    attributes: u32,
}

impl Unmarked {
    /// What stays is as it was.
    fn undo(self) -> io::Result<()> {
        let file = self.folder.open_entry(&self.name, Purpose::Mark)?;
        set::basic(&file, Times::default(), self.attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_put_something_else_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(dir.path()).unwrap();
        let folder = HeldFolder::at(&super::super::path_bytes(&path)).unwrap();
        let mut entry = HeldEntry::create(&Arc::new(folder), b"working", true).unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(std::fs::rename(at("working"), at("away")).is_err());
        assert!(std::fs::remove_file(at("working")).is_err());
        assert!(std::fs::File::open(at("working")).is_err());
        entry.rename(b"whole", false).unwrap();
        assert!(std::fs::rename(at("whole"), at("away")).is_err());
        drop(entry);
        std::fs::rename(at("whole"), at("away")).unwrap();
    }
}
