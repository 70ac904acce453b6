//! What is to be sent next: derived, never queued. Metadata first, then fresh changes, then bulk, each oldest first.

use std::collections::{HashMap, HashSet};

use coffer_format::SegmentId;
use coffer_vault::SegmentState;

use crate::progress::Progress;

/// The next run of bytes to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub segment: SegmentId,
    pub offset: u64,
    /// 0 asks for the receipt of a whole segment.
    pub len: u64,
    /// The file's length once it's closed, 0 before.
    pub closed_len: u64,
}

/// What the vault has, in order of value.
#[derive(Debug, Default)]
pub(crate) struct Work {
    states: Vec<SegmentState>,
    /// Closed segments that aren't on this disk: HQ may have them again.
    away: Vec<SegmentState>,
    /// Where the damage begins in those that are damaged: nothing is sent from there on before it's healed.
    damaged_from: HashMap<SegmentId, u64>,
    /// Bytes of segments that are left alone: nobody can say that HQ has them.
    held_back_bytes: u64,
    /// Bytes of all of them.
    counted_bytes: u64,
}

/// Bytes of these segments that are on this disk and belong to HQ, whether or not it has them.
pub fn due_bytes(states: &[SegmentState]) -> u64 {
    states.iter().filter(|state| is_due(state)).map(|state| state.bytes).sum()
}

fn is_due(state: &SegmentState) -> bool {
    state.on_disk && state.bytes > HEADER_ONLY
}

impl Work {
    pub(crate) fn derive(
        mut states: Vec<SegmentState>,
        held_back: &HashSet<SegmentId>,
        damaged_from: HashMap<SegmentId, u64>,
    ) -> Work {
        let is_away = |state: &&SegmentState| !state.on_disk && state.closed && state.bytes > HEADER_ONLY;
        let away = states.iter().filter(is_away).copied().collect();
        states.retain(is_due);
        let counted_bytes = due_bytes(&states);
        let (held, mut states): (Vec<_>, Vec<_>) =
            states.into_iter().partition(|state| held_back.contains(&state.segment));
        states.sort_by_key(|state| (state.stream, state.segment));
        let held_back_bytes = held.iter().map(|state| state.bytes).sum();
        Work { states, away, damaged_from, held_back_bytes, counted_bytes }
    }

    /// [`due_bytes`] of what this was derived from.
    pub(crate) fn counted_bytes(&self) -> u64 {
        self.counted_bytes
    }

    /// Whether anything isn't sent because it's damaged here.
    pub(crate) fn has_damage(&self) -> bool {
        !self.damaged_from.is_empty()
    }

    /// The most valuable run of at most `most` bytes that HQ lacks.
    pub(crate) fn next(&self, progress: &Progress, most: u64) -> Option<Piece> {
        let on_disk = self.states.iter().find_map(|state| {
            let sound = self.damaged_from.get(&state.segment).copied().unwrap_or(u64::MAX);
            piece_of(state, progress, most, sound)
        });
        on_disk.or_else(|| self.away.iter().find_map(|state| receipt_of(state, progress)))
    }

    /// Bytes that aren't known to be durable at HQ; those of segments held back are among them.
    pub(crate) fn behind(&self, progress: &Progress) -> u64 {
        let due = |state: &SegmentState| match progress.of(state.segment) {
            at_hq if at_hq.done => 0,
            at_hq => state.bytes.saturating_sub(at_hq.durable),
        };
        self.states.iter().map(due).sum::<u64>() + self.held_back_bytes
    }

    /// The catalog's hash of a closed segment, against which a receipt is held.
    pub(crate) fn state(&self, segment: SegmentId) -> Option<&SegmentState> {
        self.states.iter().chain(&self.away).find(|state| state.segment == segment)
    }

    /// A segment of which HQ has more than there is here: this vault is older than HQ's copy of it.
    pub(crate) fn overtaken(&self, progress: &Progress) -> Option<SegmentId> {
        let beyond = |state: &&SegmentState| progress.of(state.segment).durable > state.bytes;
        self.states.iter().find(beyond).map(|state| state.segment)
    }
}

/// A segment with nothing but its header isn't sent: after a power cut its number may be given to another.
const HEADER_ONLY: u64 = coffer_format::segment::SegmentHeader::LEN as u64;

/// `sound`: so many bytes are as they were written.
fn piece_of(state: &SegmentState, progress: &Progress, most: u64, sound: u64) -> Option<Piece> {
    let at_hq = progress.of(state.segment);
    let closed_len = if state.closed { state.bytes } else { 0 };
    let piece = |offset, len| Piece { segment: state.segment, offset, len, closed_len };
    if at_hq.sent < state.bytes {
        let left = state.bytes.min(sound).saturating_sub(at_hq.sent);
        return (left > 0).then(|| piece(at_hq.sent, most.min(left)));
    }
    receipt_of(state, progress)
}

/// Whole there, but its copy isn't recorded: the receipt with its hash was lost with the line, or HQ had lost it in between.
fn receipt_of(state: &SegmentState, progress: &Progress) -> Option<Piece> {
    let has_all = state.closed && progress.of(state.segment).durable == state.bytes;
    let is_due = has_all && !progress.is_recorded(state.segment) && !progress.is_asked(state.segment);
    is_due.then_some(Piece { segment: state.segment, offset: state.bytes, len: 0, closed_len: state.bytes })
}

#[cfg(test)]
mod tests {
    use coffer_format::segment::Stream;
    use coffer_format::wire::SegmentHas;

    use super::*;

    fn state(segment: u64, stream: Stream, bytes: u64, closed: bool) -> SegmentState {
        SegmentState { segment: SegmentId(segment), stream, closed, bytes, hash: None, on_disk: true }
    }

    fn order(work: &Work, progress: &mut Progress, most: u64) -> Vec<(u64, u64, u64)> {
        let mut pieces = Vec::new();
        while let Some(piece) = work.next(progress, most) {
            progress.sent(piece.segment, piece.len);
            pieces.push((piece.segment.0, piece.offset, piece.len));
        }
        pieces
    }

    #[test]
    fn metadata_then_changes_then_bulk_each_oldest_first() {
        let states = vec![
            state(1, Stream::Bulk, 1000, true),
            state(2, Stream::Meta, 1500, true),
            state(3, Stream::Fresh, 700, false),
            state(4, Stream::Meta, 600, false),
            state(5, Stream::Bulk, 800, false),
        ];
        let work = Work::derive(states, &HashSet::new(), HashMap::new());
        let mut progress = Progress::default();
        assert_eq!(work.behind(&progress), 4600);
        assert_eq!(
            order(&work, &mut progress, 1000),
            [(2, 0, 1000), (2, 1000, 500), (4, 0, 600), (3, 0, 700), (1, 0, 1000), (5, 0, 800)]
        );
        assert_eq!(progress.under_way(), 4600);
    }

    #[test]
    fn what_hq_has_is_not_sent_again() {
        let has = [
            SegmentHas { segment: SegmentId(1), bytes: 900, closed: false },
            SegmentHas { segment: SegmentId(2), bytes: 700, closed: true },
            SegmentHas { segment: SegmentId(3), bytes: 800, closed: true },
        ];
        let states = vec![
            state(1, Stream::Bulk, 1000, false),
            state(2, Stream::Bulk, 700, true),
            state(3, Stream::Bulk, 800, true),
            state(4, Stream::Bulk, 512, false),
        ];
        let work = Work::derive(states, &HashSet::new(), HashMap::new());
        let mut progress = Progress::new(&has, HashSet::from([SegmentId(2)]));
        assert_eq!(work.behind(&progress), 100);
        // Segment 3 is whole there but its copy isn't recorded: only its receipt is asked for.
        assert_eq!(order(&work, &mut progress, 4096), [(1, 900, 100), (3, 800, 0)]);
    }

    #[test]
    fn a_copy_that_counts_no_more_is_asked_for_again() {
        let has = [SegmentHas { segment: SegmentId(1), bytes: 700, closed: true }];
        let work = Work::derive(vec![state(1, Stream::Bulk, 700, true)], &HashSet::new(), HashMap::new());
        let mut progress = Progress::new(&has, HashSet::from([SegmentId(1)]));
        assert_eq!(order(&work, &mut progress, 4096), []);
        progress.lost(SegmentId(1));
        assert_eq!(order(&work, &mut progress, 4096), [(1, 700, 0)]);
    }

    #[test]
    fn new_metadata_comes_before_bulk_that_is_half_sent() {
        let bulk = state(1, Stream::Bulk, 10_000, false);
        let mut progress = Progress::default();
        let work = Work::derive(vec![bulk], &HashSet::new(), HashMap::new());
        let first = work.next(&progress, 2048).unwrap();
        progress.sent(first.segment, first.len);
        let work =
            Work::derive(vec![bulk, state(2, Stream::Meta, 600, false)], &HashSet::new(), HashMap::new());
        assert_eq!(work.next(&progress, 2048).unwrap().segment, SegmentId(2));
    }

    #[test]
    fn held_back_and_evicted_segments_are_left_alone() {
        let evicted = SegmentState { on_disk: false, ..state(1, Stream::Bulk, 1000, true) };
        let states = vec![evicted, state(2, Stream::Bulk, 1000, true)];
        let work = Work::derive(states, &HashSet::from([SegmentId(2)]), HashMap::new());
        assert_eq!(work.next(&Progress::default(), 1000), None);
        assert_eq!(work.behind(&Progress::default()), 1000, "what is held back isn't at HQ");
    }

    #[test]
    fn what_left_the_disk_is_asked_for_where_hq_has_it_and_its_copy_is_not_recorded() {
        let away = |segment| SegmentState { on_disk: false, ..state(segment, Stream::Bulk, 1000, true) };
        let has = |segment, bytes| SegmentHas { segment: SegmentId(segment), bytes, closed: bytes == 1000 };
        // Of one that only its name is known of nothing can be asked.
        let unknown = SegmentState { bytes: 0, ..away(4) };
        let work = Work::derive(vec![away(1), away(2), away(3), unknown], &HashSet::new(), HashMap::new());
        let at_hq = [has(1, 1000), has(2, 1000), has(3, 400)];
        let mut progress = Progress::new(&at_hq, HashSet::from([SegmentId(1)]));
        assert_eq!(order(&work, &mut progress, 4096), [(2, 1000, 0)]);
        assert_eq!(work.behind(&progress), 0);
    }

    #[test]
    fn nothing_is_sent_from_where_a_segment_is_damaged() {
        let states = vec![state(1, Stream::Bulk, 1000, true), state(2, Stream::Bulk, 1000, false)];
        let damaged = HashMap::from([(SegmentId(1), 600), (SegmentId(2), 0)]);
        let work = Work::derive(states, &HashSet::new(), damaged);
        let mut progress = Progress::default();
        assert_eq!(order(&work, &mut progress, 400), [(1, 0, 400), (1, 400, 200)]);
        assert_eq!(work.behind(&Progress::default()), 2000);
    }

    #[test]
    fn more_at_hq_than_here_is_noticed() {
        let has = [SegmentHas { segment: SegmentId(1), bytes: 2000, closed: false }];
        let work = Work::derive(vec![state(1, Stream::Meta, 1000, false)], &HashSet::new(), HashMap::new());
        assert_eq!(work.overtaken(&Progress::new(&has, HashSet::new())), Some(SegmentId(1)));
    }
}
