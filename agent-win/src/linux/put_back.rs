//! Giving what was restored everything that the box has of it.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown, lchown, symlink};
use std::path::Path;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use nix::sys::stat::{UtimensatFlags, futimens, utimensat};
use nix::sys::time::TimeSpec;
use xattr::FileExt;

/// A name that stands for one entry of a directory.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// Holes come by themselves where nothing is written.
pub(crate) fn expect_size(_file: &File, _meta: &NodeMeta) -> io::Result<()> {
    Ok(())
}

/// Makes what has no bytes of its own; what of it couldn't be put back.
pub(crate) fn put_special(path: &Path, meta: &NodeMeta) -> io::Result<Vec<String>> {
    if meta.kind != NodeKind::Symlink {
        return Err(io::Error::other("it's no file; restore it on the box"));
    }
    symlink(OsStr::from_bytes(meta.link_target().unwrap_or_default()), path)?;
    Ok(put_back(path, meta))
}

/// Sentences about what couldn't be put back. A link is given nothing but its owner and times, whatever it leads to.
pub(crate) fn put_back(path: &Path, meta: &NodeMeta) -> Vec<String> {
    let mut lacking = Vec::new();
    let mut lack = |what: &str, done: io::Result<()>| {
        lacking.extend(done.err().map(|error| format!("was restored without its {what} ({error})")));
    };
    if meta.kind == NodeKind::Symlink {
        lack("owner", owned(|| lchown(path, Some(meta.uid), Some(meta.gid))));
        let set =
            utimensat(nix::fcntl::AT_FDCWD, path, &time(meta), &time(meta), UtimensatFlags::NoFollowSymlink);
        lack("times", set.map_err(io::Error::from));
        return lacking;
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) => {
            lack("owner, permissions and times", Err(error));
            return lacking;
        }
    };
    lack("owner", owned(|| fchown(&file, Some(meta.uid), Some(meta.gid))));
    for attr in meta.attrs.iter().filter(|attr| attr.kind == AttrKind::Xattr) {
        lack("attributes", file.set_xattr(OsStr::from_bytes(&attr.name), &attr.value));
    }
    lack("permissions", file.set_permissions(PermissionsExt::from_mode(meta.mode)));
    lack("times", futimens(&file, &time(meta), &time(meta)).map_err(io::Error::from));
    lacking
}

/// Bytes are what they are here; the encrypted form of a file of Windows stays that.
pub(crate) fn finish_bytes(_path: &Path, _meta: &NodeMeta) -> io::Result<()> {
    Ok(())
}

/// Nothing here is for empty folders alone.
pub(crate) fn begin_folder(_path: &Path, _meta: &NodeMeta) -> Vec<String> {
    Vec::new()
}

/// Files have no streams here: one of another system's is a file of its own.
pub(crate) fn stream_of(_meta: &NodeMeta) -> Option<&[u8]> {
    None
}

pub(crate) fn put_stream(_from: &Path, _host: &Path, _name: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What belongs to a name rather than to a file: nothing here.
pub(crate) fn put_identity(_path: &Path, _meta: &NodeMeta) -> Vec<String> {
    Vec::new()
}

/// Only root can give files away.
fn owned(give: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() { give() } else { Ok(()) }
}

fn time(meta: &NodeMeta) -> TimeSpec {
    let ns = meta.mtime_ns;
    TimeSpec::new(ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000))
}
