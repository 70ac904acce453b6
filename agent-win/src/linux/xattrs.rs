//! Extended attributes, access lists among them, and the target of a symbolic link.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coffer_format::limits::{ATTR_MAX, NAME_MAX};
use coffer_format::node::{Attr, AttrKind, NodeKind};
use xattr::FileExt;

use crate::scan::Attrs;

/// Attributes of an open file.
pub(crate) fn attrs_of_file(file: &File) -> io::Result<Attrs> {
    let names = supported(file.list_xattr())?;
    collected(names, |name| file.get_xattr(name))
}

/// Attributes of the object at `path` itself; for a symbolic link its target as well.
pub(crate) fn attrs_of_path(path: &Path, kind: NodeKind) -> io::Result<Attrs> {
    let names = supported(xattr::list(path))?;
    let mut attrs = collected(names, |name| xattr::get(path, name))?;
    if kind == NodeKind::Symlink {
        let target = std::fs::read_link(path)?;
        let value = target.as_os_str().as_bytes().into();
        attrs.list.insert(0, Attr { kind: AttrKind::LinkTarget, name: b""[..].into(), value });
    }
    Ok(attrs)
}

/// Whether the system's policy gives an attribute by itself.
pub(super) fn is_given(name: &[u8]) -> bool {
    matches!(name, b"security.selinux" | b"security.evm" | b"security.ima")
}

/// Takes off what an object has and shouldn't: an access list that it inherited from its folder gives somebody what nobody gave.
/// `itself` is a path that leads to nothing else.
pub(super) fn take_off_others(itself: &str, wanted: &[Attr]) -> io::Result<()> {
    let is_wanted = |name: &[u8]| {
        is_given(name) || wanted.iter().any(|attr| attr.kind == AttrKind::Xattr && attr.name[..] == *name)
    };
    for name in supported(xattr::list_deref(itself))?.into_iter().flatten() {
        if !is_wanted(name.as_bytes()) {
            xattr::remove_deref(itself, &name)?;
        }
    }
    Ok(())
}

fn supported(names: io::Result<xattr::XAttrs>) -> io::Result<Option<xattr::XAttrs>> {
    match names {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        names => names.map(Some),
    }
}

fn collected(
    names: Option<xattr::XAttrs>,
    get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Attrs> {
    let mut attrs = Attrs::default();
    for name in names.into_iter().flatten() {
        // Gone since it was listed, or larger than any file system gives: not there.
        let value = get(&name)?.filter(|value| value.len() <= ATTR_MAX && name.len() <= NAME_MAX);
        if let Some(value) = value {
            attrs.list.push(Attr {
                kind: AttrKind::Xattr,
                name: name.as_bytes().into(),
                value: value.into(),
            });
        }
    }
    attrs.list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(attrs)
}
