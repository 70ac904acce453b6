//! From path bytes (`/C:/Users`) to what the system takes (`\\?\C:\Users`), and back. The long form has no limit of 260
//! characters, and takes names that end in a dot or a space as they are.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use coffer_format::node::NodeKind;

use super::final_name;
use super::mount_point::mounted_at;
use super::stat::{self, open_to_describe};
use crate::path::split;
use crate::way::{self, Step};
use crate::windows_name::upcased;
use crate::wtf8;

/// Whether two names that differ in case alone are two files.
pub(crate) const IS_CASE_SENSITIVE: bool = false;

const LONG: &str = r"\\?\";

/// The path that the system knows it by. The root, above all drives, is none that can be opened.
pub(crate) fn as_path(path: &[u8]) -> Cow<'_, Path> {
    let Some(wide) = wtf8::to_wide(path.strip_prefix(b"/").unwrap_or(path)) else {
        return Cow::Owned(PathBuf::from(LONG));
    };
    let is_drive = wide.len() == 2 && wide[1] == u16::from(b':');
    let separated = wide.iter().map(|unit| if *unit == u16::from(b'/') { u16::from(b'\\') } else { *unit });
    let whole: Vec<u16> =
        LONG.encode_utf16().chain(separated).chain(is_drive.then_some(u16::from(b'\\'))).collect();
    Cow::Owned(PathBuf::from(OsString::from_wide(&whole)))
}

/// A path below the root of a volume or snapshot, which may be one that has no drive letter.
pub(crate) fn below(root: &Path, path: &[u8]) -> PathBuf {
    let mut wide: Vec<u16> = root.as_os_str().encode_wide().collect();
    while wide.last() == Some(&u16::from(b'\\')) {
        wide.pop();
    }
    wide.push(b'\\'.into());
    let Some(path) = wtf8::to_wide(path.strip_prefix(b"/").unwrap_or(path)) else {
        return PathBuf::from(LONG);
    };
    wide.extend(path.into_iter().map(|unit| if unit == u16::from(b'/') { u16::from(b'\\') } else { unit }));
    PathBuf::from(OsString::from_wide(&wide))
}

/// The bytes of a path of the system's.
pub(crate) fn path_bytes(path: &Path) -> Vec<u8> {
    let wide: Vec<u16> = path.as_os_str().encode_wide().collect();
    rooted(&wtf8::from_wide(&wide))
}

/// An included path as a person wrote it, in path bytes: in the case that the file system knows it by, where it's there.
pub(crate) fn include_bytes(include: &str) -> Vec<u8> {
    let written = rooted(include.as_bytes());
    let Ok(found) = std::fs::canonicalize(as_path(&written)) else { return written };
    let found = path_bytes(&found);
    // A path over a junction leads elsewhere: it stays as it was written.
    let is_same = upcased(&found) == upcased(&written);
    if is_same { found } else { written }
}

/// What must be captured so that an included path is. Junctions on the way aren't followed; an included path that isn't reached
/// is in the point's report.
pub(crate) fn with_links(include: &[u8]) -> Vec<Vec<u8>> {
    vec![include.to_vec()]
}

/// A pattern as a person wrote it, for matching against path bytes.
pub(crate) fn pattern(pattern: &str) -> String {
    let slashes = pattern.replace('\\', "/");
    let is_drive = slashes.as_bytes().get(1) == Some(&b':');
    if is_drive { format!("/{slashes}") } else { slashes }
}

/// With a slash before each name and a large drive letter.
fn rooted(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(LONG.as_bytes()).unwrap_or(path);
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in path.split(|byte| matches!(byte, b'/' | b'\\')).filter(|part| !part.is_empty()) {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.get(2) == Some(&b':') {
        out[1].make_ascii_uppercase();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_there_and_back() {
        for (bytes, path) in [
            (&b"/C:"[..], r"\\?\C:\"),
            (b"/C:/Users/a b.", r"\\?\C:\Users\a b."),
            (b"/UNC/server/share/x", r"\\?\UNC\server\share\x"),
        ] {
            assert_eq!(as_path(bytes).as_ref(), Path::new(path));
            assert_eq!(path_bytes(Path::new(path)), bytes);
        }
    }

    #[test]
    fn a_snapshot_is_a_root_of_its_own() {
        let root = Path::new(r"\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy7");
        assert_eq!(below(root, b""), Path::new(r"\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy7\"));
        assert_eq!(below(root, b"/a/b."), Path::new(r"\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy7\a\b."));
    }

    #[test]
    fn includes_and_patterns_are_taken_as_people_write_them() {
        assert_eq!(include_bytes(r"q:\nowhere\to be found\"), b"/Q:/nowhere/to be found");
        assert_eq!(include_bytes("/Q:/nowhere"), b"/Q:/nowhere");
        assert_eq!(pattern(r"C:\Users\*\x"), "/C:/Users/*/x");
        assert_eq!(pattern("**/*.tmp"), "**/*.tmp");
    }
}
