//! The change journal of a volume. Only asked, never made, changed or deleted: other programs use it, too.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;

use windows_sys::Win32::Foundation::GENERIC_READ;
use windows_sys::Win32::System::Ioctl::{FSCTL_QUERY_USN_JOURNAL, FSCTL_READ_USN_JOURNAL};

use super::query;
use super::stat::SHARE_ALL;
use crate::usn::{Changes, Gap, History, Mark, Record, RecordError, read_batch};

/// `USN_JOURNAL_DATA_V2`.
const HISTORY_LEN: usize = 80;
const BATCH_LEN: usize = 64 << 10;
const EVERY_REASON: u32 = u32::MAX;
/// Records of these versions are understood.
const VERSIONS: [u16; 2] = [2, 4];

/// An open volume with a journal.
#[derive(Debug)]
pub(super) struct UsnJournal {
    volume: File,
    history: History,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsnError {
    #[error("the volume has no change journal that this agent can read")]
    System(#[from] io::Error),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Gap(#[from] Gap),
}

impl UsnJournal {
    /// Opens the journal of the volume with this drive letter; administrators may.
    pub(super) fn open(drive: char) -> Result<UsnJournal, UsnError> {
        let mut options = OpenOptions::new();
        let volume =
            options.access_mode(GENERIC_READ).share_mode(SHARE_ALL).open(format!(r"\\.\{drive}:"))?;
        let history = history(&volume)?;
        Ok(UsnJournal { volume, history })
    }

    pub(super) fn history(&self) -> History {
        self.history
    }

    /// Everything that's recorded from a mark up to now.
    pub(super) fn changes_since(&self, mark: Mark) -> Result<Changes, UsnError> {
        let mut from = history(&self.volume)?.since(Some(mark))?;
        let mut changes = Changes::default();
        loop {
            let (next, records) = self.read(from)?;
            // An answer without records is the end, whatever number comes next.
            if records.is_empty() || next.next <= from.next {
                return Ok(changes);
            }
            records.into_iter().try_for_each(|record| changes.take(record))?;
            from = next;
        }
    }

    /// Records from a mark on, as many as one answer holds, and where to go on.
    pub(super) fn read(&self, from: Mark) -> Result<(Mark, Vec<Record>), UsnError> {
        let mut answer = vec![0; BATCH_LEN];
        let len = query::control(&self.volume, FSCTL_READ_USN_JOURNAL, &request(from), &mut answer)?;
        let (next, records) = read_batch(&answer[..len])?;
        Ok((Mark { next, ..from }, records))
    }
}

fn history(volume: &File) -> Result<History, UsnError> {
    let mut answer = [0; HISTORY_LEN];
    let len = query::control(volume, FSCTL_QUERY_USN_JOURNAL, &[], &mut answer)?;
    Ok(History::read(&answer[..len])?)
}

/// `READ_USN_JOURNAL_DATA_V1`: whatever there is by now, without waiting for more.
fn request(from: Mark) -> Vec<u8> {
    let mut bytes = from.next.to_le_bytes().to_vec();
    bytes.extend(EVERY_REASON.to_le_bytes());
    bytes.extend([0; 4 + 8 + 8]);
    bytes.extend(from.journal.to_le_bytes());
    VERSIONS.iter().for_each(|version| bytes.extend(version.to_le_bytes()));
    bytes.extend([0; 4]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_lies_as_windows_reads_it() {
        let bytes = request(Mark { journal: 0x0102, next: 0x0304 });
        assert_eq!(bytes.len(), 48);
        assert_eq!((bytes[0], bytes[1], bytes[8], bytes[32], bytes[33]), (4, 3, 0xff, 2, 1));
        assert_eq!(bytes[40..44], [2, 0, 4, 0]);
    }

    #[test]
    fn a_volume_without_a_journal_is_said_to_have_none() {
        // No volume has such a letter here; whether C: has a journal is the computer's own affair.
        let error = UsnJournal::open('Q').unwrap_err();
        assert!(matches!(error, UsnError::System(_)), "{error}");
    }
}
