//! Up to where the record of changes has been followed, for one configuration.

use std::collections::{BTreeMap, BTreeSet};

use crate::usn::Mark;

/// However much is told, everything is looked at this often: writes through a mapped file may leave no record.
const WHOLE_EVERY_MS: u64 = 24 * 3600 * 1000;

/// Kept with the agent's journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Stands for what was captured then: where that's another, what's newly included isn't known.
    pub(crate) scope: [u8; 16],
    /// When everything was last looked at, whatever was told.
    pub(crate) whole_ms: u64,
    /// By volume (its serial number).
    pub(crate) volumes: BTreeMap<u64, Mark>,
    /// Paths that the last capture couldn't read: they're looked at again.
    pub(crate) owed: Vec<Vec<u8>>,
    /// Files that were being written to, by volume and number: what's written to them later may leave no record.
    pub(crate) open: BTreeSet<(u64, u64)>,
}

impl Marks {
    /// Whether everything is to be looked at again. A clock that was ahead and was put back must not hold that up.
    pub(crate) fn is_whole_look_due(&self, now_ms: u64) -> bool {
        now_ms.checked_sub(self.whole_ms).is_none_or(|since| since >= WHOLE_EVERY_MS)
    }
}
