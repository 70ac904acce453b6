//! A folder that's written to, reached without following a link and held: while it is, neither it nor anything above it can
//! be renamed, removed or replaced. While it's empty its owner can still make it a link; so whatever is opened or made in it
//! is asked where it lies, and once something of ours is open in there, it can't be made a link any more.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, ERROR_DIRECTORY, ERROR_FILE_EXISTS};
use windows_sys::Win32::Security::PSECURITY_DESCRIPTOR;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES, FILE_SHARE_READ, FILE_SHARE_WRITE,
    READ_CONTROL,
};
use windows_sys::Win32::System::Ioctl::FSCTL_GET_REPARSE_POINT;

use super::descriptor::Descriptor;
use super::failure::{has_code, is_locked};
use super::location::Location;
use super::open_below::{Purpose, open_guarded};
use super::our_descriptor::OurDescriptor;
use super::reparse::{self, REPARSE_MAX};
use super::{as_path, naming, path_bytes, query, security, stat};
use crate::scan::ObjectId;

/// An open folder; the one above all drives has no handle.
#[derive(Debug, Clone)]
pub(crate) struct HeldFolder {
    handle: Option<Arc<File>>,
    path: Vec<u8>,
    /// Where the system says that it lies.
    lies: Option<Location>,
    /// Those above it are held as well.
    above: Vec<Arc<File>>,
}

impl HeldFolder {
    /// Above all drives.
    pub(crate) fn top() -> io::Result<HeldFolder> {
        Ok(HeldFolder { handle: None, path: Vec::new(), lies: None, above: Vec::new() })
    }

    /// The one that a path begins at (a drive, a volume, a share), and the rest of the path.
    pub(crate) fn root_of(path: &[u8]) -> io::Result<(HeldFolder, &[u8])> {
        let names = if path.starts_with(b"/UNC/") { 3 } else { 1 };
        let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let end = ends.take(names).nth(names - 1).unwrap_or(path.len());
        let (root, rest) = path.split_at(end);
        let is_volume = root.starts_with(b"/Volume{");
        let place = as_path(&[root, if is_volume { b"/" } else { b"" }].concat()).into_owned();
        Ok((HeldFolder::held(hold(&place)?, root.to_vec(), Vec::new())?, rest))
    }

    fn held(handle: File, path: Vec<u8>, above: Vec<Arc<File>>) -> io::Result<HeldFolder> {
        let lies = Some(Location::of(&handle)?);
        Ok(HeldFolder { handle: Some(Arc::new(handle)), path, lies, above })
    }

    /// A link or a file in its place is no folder.
    pub(crate) fn child(&self, name: &[u8]) -> io::Result<HeldFolder> {
        let path = [&self.path[..], b"/", name].concat();
        let opened = match &self.handle {
            None => hold(&as_path(&path)),
            Some(_) => self.open_entry(name, Purpose::Hold),
        };
        let handle = match opened {
            Err(error) if has_code(&error, &[ERROR_DIRECTORY]) => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            opened => opened?,
        };
        if stat::facts(&handle)?.is_surrogate() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let mut above = self.above.clone();
        above.extend(self.handle.clone());
        HeldFolder::held(handle, path, above)
    }

    pub(super) fn handle(&self) -> io::Result<&File> {
        self.handle.as_deref().ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }

    /// Itself and all above it.
    pub(super) fn with_those_above(&self) -> impl Iterator<Item = &File> {
        self.handle.iter().chain(&self.above).map(|folder| &**folder)
    }

    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Where a link in it leads, from the top (with a slash) or from here; only where nobody but administrators and the system
    /// can have made it.
    pub(crate) fn way_on(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let link = self.open_entry(name, Purpose::Owner)?;
        if !stat::facts(&link)?.is_surrogate() || !self.is_administrators(&link)? {
            return Ok(None);
        }
        let mut buffer = vec![0; REPARSE_MAX];
        let len = query::control(&link, FSCTL_GET_REPARSE_POINT, &[], &mut buffer)?;
        Ok(reparse::way_on(&buffer[..len]))
    }

    /// Whether nobody else can have made it what it is: it and the folder that it's in are closed to them.
    fn is_administrators(&self, link: &File) -> io::Result<bool> {
        let folder = security::reopened(self.handle()?, READ_CONTROL)?;
        let (link, folder) = (security::read(link)?, security::read(&folder)?);
        Ok(Descriptor(&link).stays_where_it_is() && Descriptor(&folder).stays_where_it_is())
    }

    /// An entry of exactly this folder; a link itself.
    pub(super) fn open_entry(&self, name: &[u8], purpose: Purpose) -> io::Result<File> {
        self.open_guarded(name, purpose, std::ptr::null_mut())
    }

    /// What's made gets this descriptor.
    pub(super) fn open_guarded(
        &self,
        name: &[u8],
        purpose: Purpose,
        descriptor: PSECURITY_DESCRIPTOR,
    ) -> io::Result<File> {
        let file = open_guarded(self.handle()?, name, purpose, descriptor)?;
        let lies = Location::of(&file).map(Location::parent);
        if lies.is_ok() && lies.as_ref().ok() == self.lies.as_ref() {
            return Ok(file);
        }
        if purpose.makes() {
            naming::remove(&file)?;
        }
        lies?;
        Err(io::Error::other(
            "its folder was made a link meanwhile, which isn't followed; move that away and restore again",
        ))
    }

    /// By which the system finds an entry of it.
    pub(crate) fn place(&self, name: &[u8]) -> PathBuf {
        as_path(&[&self.path[..], b"/", name].concat()).into_owned()
    }

    pub(crate) fn object(&self) -> io::Result<ObjectId> {
        stat::object(self.handle()?)
    }

    /// As [`Self::open_entry`]; what's made is for the agent alone until it's given its permissions. Where that can't be, it's as
    /// its folder hands down.
    pub(super) fn make_closed(&self, name: &[u8], purpose: Purpose) -> io::Result<File> {
        let descriptor = OurDescriptor::for_us_alone()?;
        match self.open_guarded(name, purpose, descriptor.pointer()) {
            Err(error) if !has_code(&error, &[ERROR_ALREADY_EXISTS, ERROR_FILE_EXISTS]) => {
                self.open_entry(name, purpose)
            }
            made => made,
        }
    }

    /// False where there's something already. One that's closed is for the agent alone until it's given its permissions.
    pub(crate) fn make_folder(&self, name: &[u8], is_closed: bool) -> io::Result<bool> {
        // A drive is there or isn't.
        if self.handle.is_none() {
            return Ok(false);
        }
        let made = match is_closed {
            true => self.make_closed(name, Purpose::MakeFolder),
            false => self.open_entry(name, Purpose::MakeFolder),
        };
        match made {
            Err(error) if has_code(&error, &[ERROR_ALREADY_EXISTS, ERROR_FILE_EXISTS]) => Ok(false),
            made => made.map(|_| true),
        }
    }

    /// A new folder that only the agent may use, and held.
    pub(super) fn make_private_folder(&self, name: &[u8]) -> io::Result<HeldFolder> {
        let descriptor = OurDescriptor::for_us_alone()?;
        let handle = self.open_guarded(name, Purpose::MakeHeld, descriptor.pointer())?;
        HeldFolder::held(handle, [&self.path[..], b"/", name].concat(), Vec::new())
    }

    /// Removes entries with such names that nobody is at work on.
    pub(crate) fn remove_unused(&self, is_meant: &dyn Fn(&[u8]) -> bool, _mark: &[u8]) -> io::Result<()> {
        for name in self.names()?.iter().filter(|name| is_meant(name)) {
            if let Err(error) = self.remove_one(name, is_meant)
                && !is_locked(&error)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// In a folder of ours there are only files of ours.
    fn remove_one(&self, name: &[u8], is_meant: &dyn Fn(&[u8]) -> bool) -> io::Result<()> {
        if let Ok(folder) = self.child(name) {
            for name in folder.names()?.iter().filter(|name| is_meant(name)) {
                folder.remove(name)?;
            }
        }
        self.remove(name)
    }

    fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let name = |entry: io::Result<std::fs::DirEntry>| {
            let name = path_bytes(Path::new(&entry?.file_name()));
            Ok(name.strip_prefix(b"/").unwrap_or(&name).to_vec())
        };
        std::fs::read_dir(self.place(b""))?.map(name).collect()
    }

    /// Removes a file, a link or an empty folder.
    pub(crate) fn remove(&self, name: &[u8]) -> io::Result<()> {
        naming::remove(&self.open_entry(name, Purpose::Move)?)
    }

    /// NTFS sees to that by itself.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a restore (or anybody else) has a file or folder open: nobody else opens one that it's at work on.
pub(crate) fn is_at_work(path: &Path) -> bool {
    let mut options = OpenOptions::new();
    options.read(true).share_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
    options.open(path).is_err_and(|error| is_locked(&error))
}

fn hold(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::super::held_entry::HeldEntry;
    use super::*;

    #[test]
    fn what_lies_elsewhere_is_neither_opened_nor_made() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            let path = path_bytes(&dir.path().join(name));
            HeldFolder::held(hold(&as_path(&path)).unwrap(), path, Vec::new()).unwrap()
        };
        let (meant, other) = (folder("meant"), folder("other"));
        std::fs::write(dir.path().join("other/there"), "theirs").unwrap();
        // As if the folder had led there when it was opened.
        let led = Arc::new(HeldFolder { lies: meant.lies.clone(), ..other });
        for tried in [HeldEntry::create(&led, b"new", false), HeldEntry::open(&led, b"there")] {
            let refused = tried.map(drop).unwrap_err();
            assert!(refused.to_string().contains("isn't followed"), "{refused}");
        }
        assert!(led.make_folder(b"new", true).is_err() && led.child(b"there").is_err());
        assert!(!dir.path().join("other/new").exists(), "what was made there is left");
        let meant = Arc::new(meant);
        HeldEntry::create(&meant, b"new", false).unwrap().discard().unwrap();
    }

    #[test]
    fn a_path_begins_at_a_drive_a_volume_or_a_share() {
        let (drive, rest) = HeldFolder::root_of(b"/C:/a/b").unwrap();
        assert_eq!((drive.path(), rest), (&b"/C:"[..], &b"/a/b"[..]));
        assert_eq!(HeldFolder::root_of(b"/C:").unwrap().1, b"");
        assert!(HeldFolder::root_of(b"/UNC/nobody.invalid/share/a").is_err());
    }
}
