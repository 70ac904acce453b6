//! Giving what was restored everything that the box has of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

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

/// Sentences about what couldn't be put back.
pub(crate) fn put_back(path: &Path, meta: &NodeMeta) -> Vec<String> {
    let is_link = meta.kind == NodeKind::Symlink;
    let mut lacking = Vec::new();
    let mut lack = |what: &str, done: io::Result<()>| {
        lacking.extend(done.err().map(|error| format!("was restored without its {what} ({error})")));
    };
    lack(
        "owner",
        if nix::unistd::geteuid().is_root() { lchown(path, Some(meta.uid), Some(meta.gid)) } else { Ok(()) },
    );
    if !is_link {
        for attr in meta.attrs.iter().filter(|attr| attr.kind == AttrKind::Xattr) {
            lack("attributes", xattr::set(path, OsStr::from_bytes(&attr.name), &attr.value));
        }
        lack("permissions", std::fs::set_permissions(path, PermissionsExt::from_mode(meta.mode)));
    }
    let ns = meta.mtime_ns;
    let time = TimeSpec::new(ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let set = utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink);
    lack("times", set.map_err(io::Error::from));
    lacking
}
