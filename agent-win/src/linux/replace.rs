//! Whether what's there is in use, or is what was restored.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coffer_format::node::{Attr, AttrKind, NodeKind, NodeMeta};

use super::xattrs::{attrs_of_path, is_given};

/// Whether a file in use has to wait for that.
pub(crate) const REPLACES_AT_RESTART: bool = false;

/// Nobody who uses a file keeps it from being replaced.
pub(crate) fn is_in_use(_error: &io::Error) -> bool {
    false
}

/// Whether there's a folder, not a link to one.
pub(crate) fn is_folder(path: &Path) -> io::Result<bool> {
    Ok(std::fs::symlink_metadata(path)?.is_dir())
}

pub(crate) fn is_same_link(path: &Path, meta: &NodeMeta) -> bool {
    let target = OsStr::from_bytes(meta.link_target().unwrap_or_default());
    std::fs::read_link(path).is_ok_and(|found| found == target)
}

/// Whether permissions, extended attributes (and owners, for those who can give them) are as they were; of a device, which one it
/// is, too. A link has none of its own.
pub(crate) fn has_attributes(path: &Path, meta: &NodeMeta) -> io::Result<bool> {
    let found = std::fs::symlink_metadata(path)?;
    let is_owner = !nix::unistd::geteuid().is_root() || (found.uid(), found.gid()) == (meta.uid, meta.gid);
    if meta.kind == NodeKind::Symlink {
        return Ok(is_owner);
    }
    let is_device = matches!(meta.kind, NodeKind::CharDevice | NodeKind::BlockDevice);
    let is_same = !is_device || found.rdev() == meta.rdev;
    if found.mode() & 0o7777 != meta.mode || !is_owner || !is_same {
        return Ok(false);
    }
    Ok(own(&attrs_of_path(path, meta.kind)?.list) == own(&meta.attrs))
}

/// Extended attributes but those that the system's policy gives by itself, in the order of their names.
fn own(attrs: &[Attr]) -> BTreeMap<&[u8], &[u8]> {
    let own = attrs.iter().filter(|attr| attr.kind == AttrKind::Xattr && !is_given(&attr.name));
    own.map(|attr| (&attr.name[..], &attr.value[..])).collect()
}
