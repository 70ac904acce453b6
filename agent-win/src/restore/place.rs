//! Where a node goes: names of the point made into names of this computer, below what's restored to.

use crate::platform;

/// Whether a drive's letter, which is a point's first name on Windows, stands for the drive or for a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drives {
    Drive,
    /// No folder can be called `C:` there, so it loses its colon.
    Folder,
    /// Names stay as they are, on a computer where none of them means anything else.
    Named,
}

/// The path bytes of `relative`; `None` where a name in it could lead elsewhere, or means nothing on this computer.
pub(super) fn place(relative: &[u8], drives: Drives) -> Option<Vec<u8>> {
    let mut path = Vec::new();
    for (depth, name) in relative.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).enumerate() {
        let is_drive = depth == 0 && matches!(name, [letter, b':'] if letter.is_ascii_alphabetic());
        let name = match drives {
            Drives::Folder if is_drive => &name[..1],
            _ => name,
        };
        let is_sound = match drives {
            // Another system's files have no place here.
            Drives::Drive if depth == 0 && (is_drive || cfg!(windows)) => is_drive && cfg!(windows),
            _ => platform::is_name(name),
        };
        if matches!(name, b"." | b"..") || !is_sound {
            return None;
        }
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::{Drives, place};

    #[test]
    fn names_never_lead_outside() {
        assert_eq!(place(b"C:/a/b", Drives::Folder), Some(b"/C/a/b".to_vec()));
        assert_eq!(place(b"/a", Drives::Folder), Some(b"/a".to_vec()));
        for bad in [&b"../a"[..], b"a/../../b", b"a/\0"] {
            assert_eq!(place(bad, Drives::Folder), None);
            assert_eq!(place(bad, Drives::Drive), None);
        }
    }

    #[test]
    fn another_systems_files_have_no_place_here() {
        let (drive, folder) = (place(b"C:/a", Drives::Drive), place(b"home/a", Drives::Drive));
        if cfg!(windows) {
            assert_eq!((drive, folder), (Some(b"/C:/a".to_vec()), None));
        } else {
            assert_eq!((drive, folder), (None, Some(b"/home/a".to_vec())));
        }
    }
}
