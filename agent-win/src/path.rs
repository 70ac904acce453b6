//! Paths as bytes: absolute, one slash before each name, the root is empty. On Windows the first name is the drive
//! (`/C:/Users`), and names are WTF-8.

use std::borrow::Cow;

use crate::platform::IS_CASE_SENSITIVE;
pub(crate) use crate::platform::as_path;
use crate::windows_name::upcased;

/// Parent and last name; `None` for the root.
pub(crate) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}

/// Where each folder on the way to a path ends, and the path itself.
pub(crate) fn ends(path: &[u8]) -> impl Iterator<Item = usize> {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| at).chain([path.len()])
}

/// As the system compares paths: two are the same where these are.
pub(crate) fn folded(path: &[u8]) -> Cow<'_, [u8]> {
    if IS_CASE_SENSITIVE { Cow::Borrowed(path) } else { upcased(path) }
}

/// What of `path` comes after `top`, from the slash on; `None` where it lies elsewhere.
pub(crate) fn within<'p>(path: &'p [u8], top: &[u8]) -> Option<&'p [u8]> {
    if let Some(rest) = path.strip_prefix(top).filter(|rest| matches!(rest, [] | [b'/', ..])) {
        return Some(rest);
    }
    if IS_CASE_SENSITIVE {
        return None;
    }
    let depth = top.iter().filter(|byte| **byte == b'/').count();
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let end = slashes.map(|(at, _)| at).nth(depth).unwrap_or(path.len());
    (folded(&path[..end]) == folded(top)).then(|| &path[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_within_is_told_apart_by_whole_names() {
        assert_eq!(within(b"/a/b/c", b"/a"), Some(&b"/b/c"[..]));
        assert_eq!(within(b"/a/b", b"/a/b"), Some(&b""[..]));
        assert_eq!(within(b"/a/b", b""), Some(&b"/a/b"[..]));
        assert_eq!(within(b"", b""), Some(&b""[..]));
        assert_eq!(within(b"/ab/c", b"/a"), None);
        assert_eq!(within(b"/a", b"/a/b"), None);
        // A letter may be longer in the other case.
        let other_case = within("/ɐ/x".as_bytes(), "/Ɐ".as_bytes());
        assert_eq!(other_case, (!IS_CASE_SENSITIVE).then_some(&b"/x"[..]));
    }
}
