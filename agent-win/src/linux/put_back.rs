//! Giving what was restored everything that the box has of it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, fchown};
use std::sync::Arc;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use nix::sys::stat::{UtimensatFlags, futimens, utimensat};
use nix::sys::time::TimeSpec;
use xattr::FileExt;

use super::held_entry::HeldEntry;
use super::held_folder::HeldFolder;
use super::xattrs::take_off_others;
use crate::restore::NOT_GIVEN;
use crate::scan::ObjectId;

/// A name that stands for one entry of a directory.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// Permissions are always put back.
pub(crate) fn is_guarded(_meta: &NodeMeta) -> bool {
    true
}

/// Makes a folder, for its maker alone, that has a file called `mark` in it from when it's there on: until then it's called
/// `working`. None where there's something already.
pub(crate) fn begin_folder(
    folder: &Arc<HeldFolder>,
    name: &[u8],
    (working, mark): (&[u8], &[u8]),
    _meta: &NodeMeta,
) -> io::Result<Option<Vec<String>>> {
    if std::fs::symlink_metadata(folder.place(name)).is_ok() || !folder.make_folder(working, true)? {
        return Ok(None);
    }
    let begun = || {
        let made = Arc::new(folder.child(working)?);
        // Says to others that somebody is at work on it; where locks aren't known, nobody asks for them.
        let lock = std::fs::File::open(made.place(b"."))?;
        if let Err(error) = lock.try_lock() {
            tracing::debug!(%error, "a folder isn't locked while it's begun");
        }
        drop(HeldEntry::create(&made, mark, true)?);
        HeldEntry::open(folder, working)?.rename(name, false)
    };
    match begun() {
        Ok(()) => Ok(Some(Vec::new())),
        Err(error) => {
            folder.remove_folder(working, mark)?;
            // Somebody has put something there meanwhile.
            if error.kind() == io::ErrorKind::AlreadyExists { Ok(None) } else { Err(error) }
        }
    }
}

/// Files have no streams here: one of another system's is a file of its own.
pub(crate) fn stream_of(_meta: &NodeMeta) -> Option<&[u8]> {
    None
}

impl HeldEntry {
    /// Holes come by themselves where nothing is written.
    pub(crate) fn expect_size(&self, _meta: &NodeMeta) -> io::Result<()> {
        Ok(())
    }

    /// Bytes are what they are here; the encrypted form of a file of Windows stays that.
    pub(crate) fn finish_bytes(&mut self, _meta: &NodeMeta) -> io::Result<()> {
        Ok(())
    }

    /// Sentences about what couldn't be put back. A link is given nothing but its owner and times, whatever it leads to.
    pub(crate) fn put_back(&self, meta: &NodeMeta) -> Vec<String> {
        let (mut lacking, mut others) = (Vec::new(), Vec::new());
        let mut lack = |what: &str, done: io::Result<()>| {
            lacking.extend(done.err().map(|error| format!("was restored without its {what} ({error})")));
        };
        let with_others =
            |error: io::Error| format!("has attributes or an access list that the point hasn't ({error})");
        let file = &self.file;
        if !nix::unistd::geteuid().is_root() && !is_ours(meta) {
            others.push(NOT_GIVEN.to_owned());
        }
        // What's open only as itself has no other name that leads to itself.
        let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
        if !matches!(meta.kind, NodeKind::File | NodeKind::Directory) {
            lack("owner", owned(|| chown(&itself, Some(meta.uid), Some(meta.gid))));
            if meta.kind == NodeKind::Symlink {
                // They can be given by a name alone, which somebody else may have by now.
                if meta.attrs.iter().any(|attr| attr.kind == AttrKind::Xattr) {
                    lack("attributes", Err(io::Error::other("those of links aren't put back")));
                }
            } else {
                others.extend(take_off_others(&itself, &meta.attrs).err().map(with_others));
                for attr in meta.attrs.iter().filter(|attr| attr.kind == AttrKind::Xattr) {
                    lack("attributes", xattr::set_deref(&itself, OsStr::from_bytes(&attr.name), &attr.value));
                }
                lack("permissions", std::fs::set_permissions(&itself, PermissionsExt::from_mode(meta.mode)));
            }
            let flags = UtimensatFlags::FollowSymlink;
            let set = utimensat(nix::fcntl::AT_FDCWD, &itself[..], &time(meta), &time(meta), flags);
            lack("times", set.map_err(io::Error::from));
            lacking.append(&mut others);
            return lacking;
        }
        lack("owner", owned(|| fchown(file, Some(meta.uid), Some(meta.gid))));
        others.extend(take_off_others(&itself, &meta.attrs).err().map(with_others));
        for attr in meta.attrs.iter().filter(|attr| attr.kind == AttrKind::Xattr) {
            lack("attributes", file.set_xattr(OsStr::from_bytes(&attr.name), &attr.value));
        }
        lack("permissions", file.set_permissions(PermissionsExt::from_mode(meta.mode)));
        lack("times", futimens(file, &time(meta), &time(meta)).map_err(io::Error::from));
        lacking.append(&mut others);
        lacking
    }

    /// What belongs to a name rather than to a file: nothing here.
    pub(crate) fn put_identity(&self, _meta: &NodeMeta) -> Vec<String> {
        Vec::new()
    }

    pub(crate) fn put_as_stream(&self, _host: (&[u8], ObjectId), _name: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Whether what's made belongs to whom it did.
fn is_ours(meta: &NodeMeta) -> bool {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()) == (meta.uid, meta.gid)
}

/// Only root can give files away.
fn owned(give: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() { give() } else { Ok(()) }
}

fn time(meta: &NodeMeta) -> TimeSpec {
    let ns = meta.mtime_ns;
    TimeSpec::new(ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_is_never_there_without_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let path = fs::canonicalize(dir.path()).unwrap();
        let folder = Arc::new(HeldFolder::at(path.as_os_str().as_bytes()).unwrap());
        let meta = NodeMeta::new(NodeKind::Directory);
        let begin = |name: &[u8]| begin_folder(&folder, name, (b"working", b"mark"), &meta).unwrap();
        assert_eq!(begin(b"new"), Some(Vec::new()));
        assert!(at("new/mark").is_file() && !at("working").exists());
        fs::remove_file(at("new/mark")).unwrap();
        assert_eq!(begin(b"new"), None);
        assert!(!at("new/mark").exists(), "what's there already is taken for our own");

        // Ended between the two steps.
        let is_ours = |name: &[u8]| name == b"working";
        for has_mark in [false, true] {
            fs::create_dir(at("working")).unwrap();
            if has_mark {
                fs::write(at("working/mark"), "").unwrap();
            }
            let busy = fs::File::open(at("working")).unwrap();
            busy.try_lock().unwrap();
            folder.remove_unused(&is_ours, b"mark").unwrap();
            assert!(at("working").exists(), "somebody was at work on it");
            drop(busy);
            folder.remove_unused(&is_ours, b"mark").unwrap();
            assert!(!at("working").exists());
        }
        // No folder of theirs goes with what's in it.
        fs::create_dir(at("working")).unwrap();
        fs::write(at("working/theirs"), "theirs").unwrap();
        folder.remove_unused(&is_ours, b"mark").unwrap_err();
        assert_eq!(fs::read(at("working/theirs")).unwrap(), b"theirs");
    }
}
