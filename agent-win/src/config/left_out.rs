//! Patterns of what isn't captured, ready to be asked.

use globset::{Candidate, GlobSet, GlobSetBuilder};

use super::LeavesOut;
use super::scope::glob;

/// Those that match anything, and those that only files are looked up in.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    anything: GlobSet,
    files: GlobSet,
}

impl LeftOut {
    pub(super) fn new<'a>(
        patterns: impl Iterator<Item = (&'a str, LeavesOut)>,
    ) -> Result<LeftOut, globset::Error> {
        let (mut anything, mut files) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for (pattern, leaves_out) in patterns {
            match leaves_out {
                LeavesOut::Anything => anything.add(glob(pattern)?),
                LeavesOut::Files => files.add(glob(pattern)?),
            };
        }
        Ok(LeftOut { anything: anything.build()?, files: files.build()? })
    }

    /// Whatever the path is of.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.anything.is_match_candidate(&Candidate::from_bytes(path))
    }

    /// Besides, where it's a file's.
    pub(super) fn has_file(&self, path: &[u8]) -> bool {
        self.files.is_match_candidate(&Candidate::from_bytes(path))
    }
}
