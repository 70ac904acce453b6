//! The change journals of the volumes that a configuration lies on.

use windows_sys::Win32::System::Ioctl::FSCTL_WRITE_USN_CLOSE_RECORD;

use super::mount_point::mounted_at;
use super::path::as_path;
use super::usn_journal::{UsnError, UsnJournal};
use super::{query, stat};
use crate::path::split;
use crate::usn::{Changes, Mark};

/// One volume's journal.
#[derive(Debug)]
pub(crate) struct VolumeJournal {
    journal: UsnJournal,
    device: u64,
}

impl VolumeJournal {
    /// The volume's serial number.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// Where the journal ended when it was opened.
    pub(crate) fn end(&self) -> Mark {
        self.journal.history().end()
    }

    pub(crate) fn changes_since(&self, mark: Mark) -> Result<Changes, UsnError> {
        self.journal.changes_since(mark)
    }

    /// What's written to a file that stays open is told when it's closed. This has it told now.
    pub(crate) fn bring_up_to_date(&self, path: &[u8]) {
        let mut usn = [0; 8];
        let told = stat::open_to_describe(&as_path(path))
            .and_then(|file| query::control(&file, FSCTL_WRITE_USN_CLOSE_RECORD, &[], &mut usn));
        if let Err(error) = told {
            tracing::debug!(%error, path = %String::from_utf8_lossy(path), "read whole where it's open");
        }
    }
}

/// The journals of all volumes that the paths lie on; `None` where one of them has none.
pub(crate) fn volume_journals<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Option<Vec<VolumeJournal>> {
    let mut drives: Vec<char> = Vec::new();
    for path in paths {
        let drive = drive_of(path).filter(|_| !is_on_mounted_volume(path))?;
        if !drives.contains(&drive) {
            drives.push(drive);
        }
    }
    drives.into_iter().map(opened).collect()
}

fn drive_of(path: &[u8]) -> Option<char> {
    match path {
        [b'/', letter, b':', rest @ ..]
            if letter.is_ascii_alphabetic() && matches!(rest, [] | [b'/', ..]) =>
        {
            Some(char::from(*letter))
        }
        _ => None,
    }
}

/// Whether the path leads over a folder that another volume is mounted at.
fn is_on_mounted_volume(path: &[u8]) -> bool {
    let mut folder = Some(path);
    while let Some(path) = folder {
        if mounted_at(path).is_some() {
            return true;
        }
        folder = split(path)
            .map(|(parent, _)| parent)
            .filter(|parent| split(parent).is_some_and(|(top, _)| !top.is_empty()));
    }
    false
}

fn opened(drive: char) -> Option<VolumeJournal> {
    let journal = UsnJournal::open(drive)
        .inspect_err(|error| tracing::debug!(%error, %drive, "changes are looked for"))
        .ok()?;
    let device = stat::stat_path(&as_path(format!("/{drive}:").as_bytes())).ok()?.device;
    Some(VolumeJournal { journal, device })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_lies_on_a_drive_or_has_no_journal() {
        assert_eq!(drive_of(b"/C:/Users"), Some('C'));
        assert_eq!(drive_of(b"/D:"), Some('D'));
        assert_eq!(drive_of(b"/UNC/server/share"), None);
        assert_eq!(drive_of(b""), None);
        assert!(volume_journals([&b"/UNC/server"[..]].into_iter()).is_none());
    }
}
