//! Names from the other end, made into paths that lead downward only.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use coffer_format::op::Name;

/// A path that leads downward only.
pub(super) fn relative(path: &[u8]) -> io::Result<PathBuf> {
    let mut below = PathBuf::new();
    for name in path.split(|byte| *byte == b'/') {
        let name = Name::new(name)
            .map_err(|_| io::Error::other("a name isn't one that a file can have: it was left out"))?;
        below.push(OsStr::from_bytes(name.as_bytes()));
    }
    Ok(below)
}
