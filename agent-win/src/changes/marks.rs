//! Up to where the record of changes has been followed, for one configuration.

use std::collections::{BTreeMap, BTreeSet};

use crate::usn::Mark;

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
