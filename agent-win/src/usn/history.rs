//! Whether a journal goes on where it was left, or something may have been missed.

use super::record::{RecordError, u64_at};

/// Where a look ended: which journal, and the first record that it hasn't seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) journal: u64,
    pub(crate) next: u64,
}

/// What there is of a journal (`USN_JOURNAL_DATA_V0` to `_V2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) journal: u64,
    /// The oldest record that's still there.
    pub(crate) first: u64,
    pub(crate) next: u64,
    /// Bytes of a file that one extent stands for at least; `None` where ranges aren't tracked.
    pub(crate) chunk_bytes: Option<u64>,
}

/// Why everything must be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Gap {
    #[error("there is no earlier look to go on from")]
    First,
    #[error("the change journal was made anew since the last look")]
    Recreated,
    #[error(
        "the change journal no longer reaches back to the last look; make it larger with `fsutil usn createjournal`"
    )]
    Wrapped,
    #[error("the change journal ends before the last look did: the volume was put back to an earlier state")]
    SetBack,
    #[error("the change journal holds a record that this agent doesn't understand")]
    Unknown,
}

/// `USN_JOURNAL_DATA`'s flag for tracked ranges.
const RANGES_TRACKED: u32 = 1;

impl History {
    /// Reads what `FSCTL_QUERY_USN_JOURNAL` gives.
    pub(crate) fn read(answer: &[u8]) -> Result<History, RecordError> {
        let flags = answer.get(60..64).map_or(0, |bytes| u32::from(bytes[0]));
        let chunk = if flags & RANGES_TRACKED == 0 { None } else { Some(u64_at(answer, 64)?) };
        Ok(History {
            journal: u64_at(answer, 0)?,
            first: u64_at(answer, 8)?,
            next: u64_at(answer, 16)?,
            chunk_bytes: chunk,
        })
    }

    /// Whether all that happened since `mark` can be read.
    pub(crate) fn since(&self, mark: Option<Mark>) -> Result<Mark, Gap> {
        let mark = mark.ok_or(Gap::First)?;
        match () {
            () if mark.journal != self.journal => Err(Gap::Recreated),
            () if mark.next < self.first => Err(Gap::Wrapped),
            () if mark.next > self.next => Err(Gap::SetBack),
            () => Ok(mark),
        }
    }

    /// Everything up to now is seen by a look that begins after this was read.
    pub(crate) fn end(&self) -> Mark {
        Mark { journal: self.journal, next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: usize) -> Vec<u8> {
        let mut bytes = vec![0; [56, 60, 80][version]];
        for (at, number) in [(0, 77u64), (8, 1000), (16, 5000)] {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        if version == 2 {
            bytes[60] = 1;
            bytes[64..72].copy_from_slice(&16_384u64.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn every_version_of_the_answer_is_read() {
        for version in 0..3 {
            let history = History::read(&answer(version)).unwrap();
            assert_eq!((history.journal, history.first, history.next), (77, 1000, 5000));
            assert_eq!(history.chunk_bytes, (version == 2).then_some(16_384));
        }
        assert_eq!(History::read(&answer(0)[..20]), Err(RecordError::Short));
    }

    #[test]
    fn a_journal_that_may_have_lost_something_is_not_gone_on_from() {
        let history = History::read(&answer(2)).unwrap();
        let mark = |journal, next| Some(Mark { journal, next });
        assert_eq!(history.since(None), Err(Gap::First));
        assert_eq!(history.since(mark(78, 3000)), Err(Gap::Recreated));
        assert_eq!(history.since(mark(77, 999)), Err(Gap::Wrapped));
        assert_eq!(history.since(mark(77, 5001)), Err(Gap::SetBack));
        assert_eq!(history.since(mark(77, 1000)), Ok(Mark { journal: 77, next: 1000 }));
        assert_eq!(history.since(Some(history.end())), Ok(history.end()));
    }
}
