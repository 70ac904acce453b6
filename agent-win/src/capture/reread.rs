//! Files that are read again though nothing tells that they have changed: where neither numbers nor change times of files last (FAT,
//! exFAT, what FUSE and shares hand on), a file's bytes may be others under the size and write time that it had. Each is read
//! once in so many days by a whole look.

use coffer_format::NodeId;

use super::CaptureError;
use super::pass::Pass;
use crate::clock::now_ms;
use crate::journal::JournalChange;

/// Within so many days each is read.
pub(crate) const REREAD_DAYS: u64 = 30;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Which files are due.
#[derive(Debug, Default)]
pub(super) struct Reread {
    /// The day up to which all that was due has been read, and today.
    days: Option<(u64, u64)>,
}

impl Reread {
    /// Each node has its day.
    pub(super) fn is_due(&self, node: NodeId) -> bool {
        self.days.is_some_and(|(done, today)| {
            let left = today.saturating_sub(done);
            let own = (node.0 + REREAD_DAYS - (done + 1) % REREAD_DAYS) % REREAD_DAYS;
            own < left
        })
    }

    /// One look reads them.
    pub(super) fn is_over(&mut self) {
        self.days = None;
    }
}

impl Pass<'_> {
    /// Before a look at everything; the first one reads everything anyway.
    pub(super) fn plan_rereading(&mut self) -> Result<(), CaptureError> {
        let today = now_ms() / DAY_MS;
        // A clock that was ahead and was put back holds nothing up.
        let done = self.reading.journal.reread_day()?.filter(|done| *done <= today);
        self.reread.days = done.map(|done| (done, today));
        Ok(())
    }

    /// All that was due is read.
    pub(super) fn note_reread(&mut self) -> Result<(), CaptureError> {
        self.reading.outlet.note(JournalChange::Reread { day: now_ms() / DAY_MS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_due_once_in_thirty_days_however_often_it_is_looked() {
        let due = |done, today| {
            let reread = Reread { days: Some((done, today)) };
            (0..3000).filter(|node| reread.is_due(NodeId(*node))).collect::<Vec<_>>()
        };
        assert!(due(100, 100).is_empty());
        let mut all: Vec<u64> = (100..130).flat_map(|day| due(day, day + 1)).collect();
        assert_eq!(all.len(), 3000);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3000, "one was due twice");
        assert_eq!(due(100, 103).len(), 300, "days on which nobody looked are made up for");
        assert_eq!(due(100, 500).len(), 3000);
        assert!(!Reread::default().is_due(NodeId(7)));
    }
}
