//! Which files the system says were written to, and where.

use std::collections::BTreeMap;

use coffer_format::limits::PAGE;

use crate::scan::{ByteRun, Stat};

/// Where one file was written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// In these runs, in order and apart; nowhere else in the bytes that it had before.
    Runs(Vec<ByteRun>),
    /// Nobody knows where.
    Somewhere,
}

/// Files by volume and number. Only a hint: what lies there is compared before it's sent, and from time to time all of it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    files: BTreeMap<(u64, u64), Written>,
    is_recheck: bool,
}

/// Nothing is told.
pub(crate) static NO_HINTS: Hints = Hints { files: BTreeMap::new(), is_recheck: false };

/// Nothing is told, and nothing that was told before is trusted.
pub(crate) static RECHECK: Hints = Hints { files: BTreeMap::new(), is_recheck: true };

impl Hints {
    /// Nothing is told, and what was read as told before is read whole.
    pub fn recheck() -> Hints {
        Hints { is_recheck: true, ..Hints::default() }
    }

    /// The same, and what was read as told before is read whole as well.
    pub(crate) fn with_recheck(self) -> Hints {
        Hints { is_recheck: true, ..self }
    }

    pub(crate) fn is_recheck(&self) -> bool {
        self.is_recheck
    }

    pub fn insert(&mut self, device: u64, inode: u64, written: Written) {
        self.files.insert((device, inode), written);
    }

    pub(crate) fn is_written(&self, stat: &Stat) -> bool {
        self.files.contains_key(&(stat.device, stat.inode))
    }

    /// Runs of whole pages to read of a file of which the box has `before` bytes; `None` where all of it must be read.
    pub(crate) fn runs(&self, stat: &Stat, before: u64) -> Option<Vec<ByteRun>> {
        let Written::Runs(runs) = self.files.get(&(stat.device, stat.inode))? else { return None };
        let has_grown = stat.size > before;
        let grown = has_grown.then_some(ByteRun { at: before, end: stat.size });
        let mut pages: Vec<ByteRun> = Vec::new();
        let mut all: Vec<ByteRun> = runs.iter().copied().chain(grown).collect();
        all.sort_by_key(|run| run.at);
        for run in all {
            let at = run.at.min(stat.size) / PAGE as u64 * PAGE as u64;
            let end = run.end.min(stat.size).next_multiple_of(PAGE as u64).min(stat.size);
            match pages.last_mut() {
                Some(last) if at <= last.end => last.end = last.end.max(end),
                _ if at < end => pages.push(ByteRun { at, end }),
                _ => {}
            }
        }
        Some(pages)
    }
}

#[cfg(test)]
mod tests {
    use coffer_format::node::{NodeKind, NodeMeta};

    use super::*;

    fn stat(size: u64) -> Stat {
        let meta = NodeMeta { size, device: 1, inode: 2, ..NodeMeta::new(NodeKind::File) };
        Stat::of_meta(&meta)
    }

    fn runs(of: &[(u64, u64)], size: u64, before: u64) -> Vec<(u64, u64)> {
        let mut hints = Hints::default();
        let of = of.iter().map(|(at, end)| ByteRun { at: *at, end: *end }).collect();
        hints.insert(1, 2, Written::Runs(of));
        hints.runs(&stat(size), before).unwrap().into_iter().map(|run| (run.at, run.end)).collect()
    }

    #[test]
    fn whole_pages_are_read_and_what_the_file_has_grown_by() {
        let page = PAGE as u64;
        assert_eq!(runs(&[(1, 2)], 10 * page, 10 * page), [(0, page)]);
        assert_eq!(runs(&[(1, 2), (page, page + 1)], 10 * page, 10 * page), [(0, 2 * page)]);
        assert_eq!(runs(&[], 10 * page + 5, 9 * page + 7), [(9 * page, 10 * page + 5)]);
        assert_eq!(runs(&[(page, 99 * page)], 3 * page + 1, 3 * page + 1), [(page, 3 * page + 1)]);
        assert_eq!(runs(&[(50 * page, 51 * page)], 3 * page, 3 * page), []);
    }

    #[test]
    fn a_file_of_which_nobody_knows_where_is_read_whole() {
        let mut hints = Hints::default();
        assert!(!hints.is_written(&stat(5)) && hints.runs(&stat(5), 5).is_none());
        hints.insert(1, 2, Written::Somewhere);
        assert!(hints.is_written(&stat(5)) && hints.runs(&stat(5), 5).is_none());
    }
}
