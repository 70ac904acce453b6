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

/// Whether an absolute path is one of another system's, which nothing here can have.
pub(crate) fn is_foreign(path: &str) -> bool {
    let bytes = path.strip_prefix('/').unwrap_or(path).as_bytes();
    !(bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.get(1) == Some(&b':'))
}

/// What must be captured so that a path is: each junction and link on the way to it, and where they lead; in long names, and in
/// the case that the file system has. A folder that another volume is mounted at is on the way as any other.
pub(crate) fn with_links(include: &[u8]) -> Vec<Vec<u8>> {
    way::with_links(include, |path| {
        let Ok(file) = open_to_describe(&as_path(path)) else { return Step::default() };
        let is_below_drive = split(path).is_some_and(|(parent, _)| !parent.is_empty());
        let own_name = final_name::last(&file).filter(|_| is_below_drive);
        let is_link = stat::of_file(&file).is_ok_and(|stat| stat.kind == NodeKind::Symlink);
        let is_followed = is_link && is_below_drive && mounted_at(path).is_none();
        let target = is_followed.then(|| std::fs::read_link(as_path(path)).ok()).flatten();
        Step { own_name, target: target.and_then(|target| link_target(path, &target)) }
    })
}

/// Where a link leads, in path bytes; `None` where that's no place on a drive.
fn link_target(link: &[u8], target: &Path) -> Option<Vec<u8>> {
    let wide: Vec<u16> = target.as_os_str().encode_wide().collect();
    let written = wtf8::from_wide(&wide);
    let verbatim = written.strip_prefix(LONG.as_bytes());
    let is_separator = |byte: Option<&u8>| matches!(byte, Some(b'/' | b'\\'));
    let rooted = rooted(&written);
    let written = verbatim.unwrap_or(&written);
    match () {
        () if written.get(1) == Some(&b':') => Some(rooted),
        // Another computer's, or a volume's without a letter.
        () if verbatim.is_some() || is_separator(written.first()) && is_separator(written.get(1)) => None,
        // On the same drive.
        () if is_separator(written.first()) => Some([link.get(..3)?, &rooted].concat()),
        () => Some(rooted.get(1..)?.to_vec()),
    }
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
    #[test]
    fn a_path_without_a_drive_is_another_systems() {
        assert!(is_foreign("/srv/data") && is_foreign("//server/share"));
        assert!(!is_foreign(r"C:\data") && !is_foreign("c:/data") && !is_foreign("/C:/data"));
    }

    #[test]
    fn a_link_leads_to_a_drive_or_from_where_it_is() {
        for (target, leads) in [
            (r"\\?\C:\Users", Some("/C:/Users")),
            (r"c:\Users\", Some("/C:/Users")),
            (r"\moved\x", Some("/D:/moved/x")),
            (r"..\moved", Some("../moved")),
            (r"\\server\share", None),
            (r"\\?\UNC\server\share", None),
            (r"\\?\Volume{1}\", None),
        ] {
            let found = link_target(b"/D:/data/link", Path::new(target));
            assert_eq!(found.as_deref(), leads.map(str::as_bytes), "{target}");
        }
    }

    #[test]
    fn an_included_path_is_found_by_its_short_name_and_in_any_case() {
        let dir = tempfile::tempdir().unwrap();
        let folder = std::fs::canonicalize(dir.path()).unwrap().join("A rather long name");
        std::fs::create_dir_all(folder.join("Inner")).unwrap();
        let own = path_bytes(&folder.join("Inner"));
        let other_case = upcased(&own).into_owned();
        assert_ne!(other_case, own);
        assert_eq!(with_links(&other_case), [own.clone()]);
        let short = super::super::short_name::of_path(&folder);
        assert!(short.contains(&b'~'), "{}", String::from_utf8_lossy(&short));
        let parent = path_bytes(folder.parent().unwrap());
        assert_eq!(with_links(&[&parent[..], b"/", &short, b"/inner"].concat()), [own]);
        assert_eq!(with_links(b"/Q:/nowhere/x"), [b"/Q:/nowhere/x"]);
    }
}
