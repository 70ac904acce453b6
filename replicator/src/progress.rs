//! What HQ has of each segment, as far as it has said, and what is under way to it.

use std::collections::{HashMap, HashSet};

use coffer_format::SegmentId;
use coffer_format::wire::SegmentHas;

/// One segment at HQ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AtHq {
    /// Known to be durable there.
    pub durable: u64,
    /// Sent, receipted or not.
    pub sent: u64,
    /// Nothing more is due: whole, or given up here.
    pub done: bool,
}

/// All segments at HQ.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    at_hq: HashMap<SegmentId, AtHq>,
    /// Closed segments whose copy at HQ is recorded in the vault.
    recorded: HashSet<SegmentId>,
    /// Asked for their hash by a piece without bytes.
    asked: HashSet<SegmentId>,
    /// Verified, and about to be recorded.
    unrecorded: HashSet<SegmentId>,
    under_way: u64,
}

/// A receipt that doesn't fit what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// HQ threw away what it had receipted.
    Lost,
    /// HQ has more than was sent, or of something that wasn't.
    Beyond,
}

impl Progress {
    pub(crate) fn new(has: &[SegmentHas], recorded: HashSet<SegmentId>) -> Progress {
        let known = |has: &SegmentHas| AtHq { durable: has.bytes, sent: has.bytes, done: has.closed };
        let at_hq = has.iter().map(|has| (has.segment, known(has))).collect();
        Progress { at_hq, recorded, ..Progress::default() }
    }

    pub(crate) fn of(&self, segment: SegmentId) -> AtHq {
        self.at_hq.get(&segment).copied().unwrap_or_default()
    }

    /// Segments of which HQ has the beginning and not all, with the bytes that are durable there.
    pub(crate) fn beginnings(&self) -> HashMap<SegmentId, u64> {
        let begun = self.at_hq.iter().filter(|(_, at_hq)| !at_hq.done && at_hq.durable > 0);
        begun.map(|(segment, at_hq)| (*segment, at_hq.durable)).collect()
    }

    pub(crate) fn is_recorded(&self, segment: SegmentId) -> bool {
        self.recorded.contains(&segment)
    }
    /// Its hash has been asked for, or is known already.
    pub(crate) fn is_asked(&self, segment: SegmentId) -> bool {
        self.asked.contains(&segment) || self.unrecorded.contains(&segment)
    }

    /// Bytes sent and not yet receipted.
    pub(crate) fn under_way(&self) -> u64 {
        self.under_way
    }
    /// Whether HQ owes us a receipt.
    pub(crate) fn is_owed(&self) -> bool {
        self.under_way > 0 || !self.asked.is_empty()
    }

    pub(crate) fn sent(&mut self, segment: SegmentId, bytes: u64) {
        self.at_hq.entry(segment).or_default().sent += bytes;
        self.under_way += bytes;
        if bytes == 0 {
            self.asked.insert(segment);
        }
    }

    /// HQ has the first `bytes` of a segment; 0 says that it arrived damaged. Returns how much of that is new.
    pub(crate) fn receipted(&mut self, segment: SegmentId, bytes: u64) -> Result<u64, Misfit> {
        let at_hq = self.at_hq.entry(segment).or_default();
        if bytes < at_hq.durable || bytes == 0 {
            return Err(Misfit::Lost);
        }
        if bytes > at_hq.sent {
            return Err(Misfit::Beyond);
        }
        let new = bytes - at_hq.durable;
        at_hq.durable = bytes;
        self.under_way -= new;
        Ok(new)
    }

    /// HQ has said the hash of a whole segment, and it's the right one.
    pub(crate) fn verified(&mut self, segment: SegmentId) {
        self.asked.remove(&segment);
        self.unrecorded.insert(segment);
    }

    /// Its copy is recorded in the vault.
    pub(crate) fn recorded(&mut self, segment: SegmentId) {
        self.unrecorded.remove(&segment);
        self.recorded.insert(segment);
        self.at_hq.entry(segment).or_default().done = true;
    }

    /// Its copy counts no more in the vault: HQ is asked for its hash again.
    pub(crate) fn lost(&mut self, segment: SegmentId) {
        self.recorded.remove(&segment);
    }

    /// HQ was told that no more of it will come.
    pub(crate) fn given_up(&mut self, segment: SegmentId) {
        self.at_hq.entry(segment).or_default().done = true;
    }
}
