//! Paths as bytes: absolute, one slash before each name, the root is empty. On Windows the first name is the drive
//! (`/C:/Users`), and names are WTF-8.

pub(crate) use crate::platform::as_path;

/// Parent and last name; `None` for the root.
pub(crate) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}
