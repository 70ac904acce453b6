//! An entry of a held folder that's open from when it's made until it has its place and all that belongs to it: whatever is
//! put in its place meanwhile, what's done to it is done to it alone.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use coffer_format::node::{NodeKind, NodeMeta};

use nix::fcntl::{OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::syncfs;

use super::held_folder::HeldFolder;
use crate::scan::ObjectId;

/// The open entry. A link is open as itself.
#[derive(Debug)]
pub(crate) struct HeldEntry {
    pub(super) file: File,
    folder: Arc<HeldFolder>,
    name: Vec<u8>,
}

impl HeldEntry {
    /// A new file, for its maker alone until it's given what belongs to it.
    pub(crate) fn create(folder: &Arc<HeldFolder>, name: &[u8], _is_closed: bool) -> io::Result<HeldEntry> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let file = File::from(openat(folder.handle(), OsStr::from_bytes(name), flags, mode)?);
        // Says to others that somebody is at work on it; where locks aren't known, nobody asks for them.
        if let Err(error) = file.try_lock() {
            tracing::debug!(%error, "a file isn't locked while it's restored");
        }
        Ok(HeldEntry { file, folder: folder.clone(), name: name.to_vec() })
    }

    /// A new link, device, FIFO or socket.
    pub(crate) fn create_special(
        folder: &Arc<HeldFolder>,
        name: &[u8],
        meta: &NodeMeta,
    ) -> io::Result<HeldEntry> {
        let place = folder.place(name);
        match meta.kind {
            NodeKind::Symlink => symlink(OsStr::from_bytes(meta.link_target().unwrap_or_default()), &place)?,
            NodeKind::Fifo => make(&place, SFlag::S_IFIFO, 0)?,
            NodeKind::Socket => make(&place, SFlag::S_IFSOCK, 0)?,
            NodeKind::CharDevice => make(&place, SFlag::S_IFCHR, meta.rdev)?,
            NodeKind::BlockDevice => make(&place, SFlag::S_IFBLK, meta.rdev)?,
            NodeKind::File | NodeKind::Directory => return Err(io::ErrorKind::InvalidInput.into()),
        }
        let entry = HeldEntry::opened(folder, name, libc::O_PATH)?;
        let found = entry.file.metadata()?;
        let kind = found.file_type();
        let is_kind = match meta.kind {
            NodeKind::Symlink => kind.is_symlink(),
            NodeKind::Fifo => kind.is_fifo(),
            NodeKind::Socket => kind.is_socket(),
            NodeKind::CharDevice => kind.is_char_device() && found.rdev() == meta.rdev,
            _ => kind.is_block_device() && found.rdev() == meta.rdev,
        };
        // What was just made is ours and has this one name.
        if !is_kind || found.uid() != nix::unistd::geteuid().as_raw() || found.nlink() != 1 {
            return Err(io::Error::other("something else was put in its place meanwhile; restore it again"));
        }
        Ok(entry)
    }

    /// Another name of a file that's there.
    pub(crate) fn create_link(
        folder: &Arc<HeldFolder>,
        name: &[u8],
        first: (&HeldFolder, &[u8]),
    ) -> io::Result<HeldEntry> {
        std::fs::hard_link(first.0.place(first.1), folder.place(name))?;
        HeldEntry::opened(folder, name, libc::O_PATH)
    }

    /// A folder that's there, to be given what belongs to it.
    pub(crate) fn open(folder: &Arc<HeldFolder>, name: &[u8]) -> io::Result<HeldEntry> {
        HeldEntry::opened(folder, name, libc::O_DIRECTORY)
    }

    /// A file that's there, to be renamed.
    pub(crate) fn open_file(folder: &Arc<HeldFolder>, name: &[u8]) -> io::Result<HeldEntry> {
        HeldEntry::opened(folder, name, libc::O_PATH)
    }

    fn opened(folder: &Arc<HeldFolder>, name: &[u8], flags: i32) -> io::Result<HeldEntry> {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_NOFOLLOW | flags).open(folder.place(name))?;
        Ok(HeldEntry { file, folder: folder.clone(), name: name.to_vec() })
    }

    pub(crate) fn object(&self) -> io::Result<ObjectId> {
        let found = self.file.metadata()?;
        Ok(ObjectId { device: found.dev(), number: found.ino() })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// To another name in its folder, in one step. Where nothing is replaced, something that's there is an error.
    pub(crate) fn rename(&mut self, name: &[u8], replaces: bool) -> io::Result<()> {
        let (from, to) = (OsStr::from_bytes(&self.name), OsStr::from_bytes(name));
        let folder = self.folder.handle();
        let rename = |flags| renameat2(folder, from, folder, to, flags).map_err(io::Error::from);
        if replaces {
            rename(RenameFlags::empty())?;
        } else {
            match rename(RenameFlags::RENAME_NOREPLACE) {
                // A file system that doesn't know of it.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                    if std::fs::symlink_metadata(self.folder.place(name)).is_ok() {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                    rename(RenameFlags::empty())?;
                }
                done => done?,
            }
        }
        self.name = name.to_vec();
        Ok(())
    }

    /// Nobody who uses a file keeps it from being replaced here.
    pub(crate) fn replace_at_restart(&self, _name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nothing is left of it.
    pub(crate) fn discard(self) -> io::Result<()> {
        self.folder.remove(&self.name)
    }
}

fn make(place: &Path, kind: SFlag, device: u64) -> io::Result<()> {
    Ok(mknod(place, kind, Mode::from_bits_truncate(0o600), device)?)
}

/// All of these are on their disks, or the errors say which aren't. A disk is synced once, however many files of it there are.
pub(crate) fn sync_all(files: &[&File]) -> Vec<Option<io::Error>> {
    let mut disks = HashSet::new();
    let mut one_of_each =
        files.iter().filter(|file| file.metadata().is_ok_and(|found| disks.insert(found.dev())));
    match one_of_each.all(|file| syncfs(file).is_ok()) {
        true => files.iter().map(|_| None).collect(),
        // Which of them it is, each says by itself.
        false => files.iter().map(|file| file.sync_all().err()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use coffer_format::node::{Attr, AttrKind};

    use super::*;

    fn held(folder: &Path) -> Arc<HeldFolder> {
        let path = fs::canonicalize(folder).unwrap();
        Arc::new(HeldFolder::at(path.as_os_str().as_bytes()).unwrap())
    }

    #[test]
    fn what_somebody_made_meanwhile_is_replaced_only_where_that_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let folder = held(dir.path());
        let mut entry = HeldEntry::create(&folder, b"working", true).unwrap();
        fs::write(dir.path().join("theirs"), "theirs").unwrap();
        assert_eq!(entry.rename(b"theirs", false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join("theirs")).unwrap(), b"theirs");
        entry.rename(b"new", false).unwrap();
        entry.rename(b"theirs", true).unwrap();
        assert_eq!(fs::read(dir.path().join("theirs")).unwrap(), b"");
    }

    /// The folder's owner puts another's file where the one that's restored was.
    #[test]
    fn what_is_put_in_its_place_gets_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("victim"), "secret").unwrap();
        fs::set_permissions(at("victim"), fs::Permissions::from_mode(0o600)).unwrap();
        let swap = |name: &str| {
            fs::remove_file(at(name)).unwrap();
            fs::hard_link(at("victim"), at(name)).unwrap();
        };
        let folder = held(dir.path());

        let target = Attr { kind: AttrKind::LinkTarget, name: b""[..].into(), value: b"victim"[..].into() };
        let meta = |kind| {
            let (mode, uid, mtime_ns) = (0o777, 65534, 5_000_000_000);
            NodeMeta { mode, uid, mtime_ns, attrs: vec![target.clone()], ..NodeMeta::new(kind) }
        };
        let file = HeldEntry::create(&folder, b"working", true).unwrap();
        swap("working");
        file.put_back(&meta(NodeKind::File));
        let link = HeldEntry::create_special(&folder, b"link", &meta(NodeKind::Symlink)).unwrap();
        swap("link");
        link.put_back(&meta(NodeKind::Symlink));
        let victim = fs::metadata(at("victim")).unwrap();
        assert_eq!(victim.mode() & 0o7777, 0o600);
        assert!(victim.uid() != 65534 && victim.mtime() != 5);
    }
}
