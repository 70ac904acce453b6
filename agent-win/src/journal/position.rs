//! How far box and agent have come together.

use coffer_format::VaultId;
use coffer_format::wire::Draft;
use coffer_format::{PartNo, PointSeq};

use super::PartAt;

/// The last part that the box has committed as far as the journal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub vault: VaultId,
    pub at: PartAt,
    /// Whether that part closed its point.
    pub closed: bool,
}

/// What the draft has cost so far, for the report of its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) sent: u64,
}

/// What must be done before a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Box and journal agree.
    InStep,
    /// The box has parts from this one on that the journal lacks.
    Behind(PartAt),
    /// The journal is of another vault, or of a state that the box no longer has.
    Astray,
}

impl Position {
    /// Compares with what the box says of itself.
    pub(crate) fn standing(
        position: Option<Position>,
        vault: VaultId,
        head: PointSeq,
        draft: Option<Draft>,
    ) -> Standing {
        let Some(mine) = position else { return Standing::Astray };
        if mine.vault != vault {
            return Standing::Astray;
        }
        let draft = draft.filter(|draft| draft.parts > PartNo(0));
        let next = PartAt { point: mine.at.point, part: PartNo(mine.at.part.0 + 1) };
        match draft {
            _ if mine.closed && mine.at.point > head => Standing::Astray,
            None if mine.at.point > head => Standing::Astray,
            None if mine.closed && mine.at.point == head => Standing::InStep,
            None => Standing::Behind(next),
            Some(draft) if mine.at.point > draft.point => Standing::Astray,
            Some(draft) if mine.at.point < draft.point => Standing::Behind(next),
            Some(draft) if next.part > draft.parts => Standing::Astray,
            Some(draft) if next.part < draft.parts => Standing::Behind(next),
            Some(_) => Standing::InStep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(mine: (u64, u32, bool), head: u64, draft: Option<(u64, u32)>) -> Standing {
        let vault = VaultId([1; 16]);
        let at = PartAt { point: PointSeq(mine.0), part: PartNo(mine.1) };
        let draft = draft.map(|(point, parts)| Draft { point: PointSeq(point), parts: PartNo(parts) });
        Position::standing(Some(Position { vault, at, closed: mine.2 }), vault, PointSeq(head), draft)
    }

    fn behind(point: u64, part: u32) -> Standing {
        Standing::Behind(PartAt { point: PointSeq(point), part: PartNo(part) })
    }

    #[test]
    fn every_way_of_being_out_of_step_is_seen() {
        assert_eq!(standing((3, 1, true), 3, None), Standing::InStep);
        assert_eq!(standing((3, 1, true), 3, Some((4, 0))), Standing::InStep);
        assert_eq!(standing((4, 1, false), 3, Some((4, 2))), Standing::InStep);
        assert_eq!(standing((4, 1, false), 4, None), behind(4, 2));
        assert_eq!(standing((4, 1, false), 3, Some((4, 3))), behind(4, 2));
        assert_eq!(standing((3, 1, true), 5, None), behind(3, 2));
        assert_eq!(standing((3, 1, true), 3, Some((4, 1))), behind(3, 2));
        assert_eq!(standing((4, 2, false), 3, Some((4, 2))), Standing::Astray);
        assert_eq!(standing((4, 1, true), 3, Some((4, 2))), Standing::Astray);
        assert_eq!(standing((4, 1, false), 3, None), Standing::Astray);
    }
}
