//! From path bytes to what the system takes, and back.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::way::{self, Step};

/// The path that the system knows it by; the root is empty.
pub(crate) fn as_path(path: &[u8]) -> Cow<'_, Path> {
    Cow::Borrowed(Path::new(OsStr::from_bytes(if path.is_empty() { b"/" } else { path })))
}

/// A path below the root of a snapshot.
pub(crate) fn below(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)))
}

/// The bytes of a path of the system's.
pub(crate) fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// An included path as a person wrote it, in path bytes.
pub(crate) fn include_bytes(include: &str) -> Vec<u8> {
    include.as_bytes().to_vec()
}

/// Whether an absolute path is one of another system's, which nothing here can have.
pub(crate) fn is_foreign(path: &str) -> bool {
    !path.starts_with('/')
}

/// What must be captured so that a path is: each link on the way to it, and where they lead.
pub(crate) fn with_links(include: &[u8]) -> Vec<Vec<u8>> {
    way::with_links(include, |path| Step {
        own_name: None,
        target: std::fs::read_link(as_path(path)).ok().map(|target| target.into_os_string().into_vec()),
    })
}

/// A pattern as a person wrote it, for matching against path bytes.
pub(crate) fn pattern(pattern: &str) -> String {
    pattern.to_owned()
}

/// Whether two names that differ in case alone are two files.
pub(crate) const IS_CASE_SENSITIVE: bool = true;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_drive_is_another_systems() {
        assert!(is_foreign(r"C:\data") && is_foreign("c:/data"));
        assert!(!is_foreign("/srv/c:/data"));
    }

    #[test]
    fn links_on_the_way_are_followed_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let at = |name: &str| top.join(name);
        let bytes = |name: &str| path_bytes(&at(name));
        std::fs::create_dir_all(at("real/home")).unwrap();
        std::os::unix::fs::symlink("real", at("way")).unwrap();
        std::os::unix::fs::symlink(at("way/home"), at("home")).unwrap();
        std::os::unix::fs::symlink("round", at("round")).unwrap();
        assert_eq!(with_links(&bytes("real/home")), [bytes("real/home")]);
        assert_eq!(with_links(&bytes("way/home/x")), [bytes("way"), bytes("real/home/x")]);
        let over = [bytes("home"), bytes("way"), bytes("real/home")];
        assert_eq!(with_links(&bytes("home/")), over);
        assert_eq!(with_links(&bytes("real/../home")), over);
        assert_eq!(with_links(&bytes("round/x")), [bytes("round/x")]);
        assert_eq!(with_links(b"/"), [b""]);
    }
}
