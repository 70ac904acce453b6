//! How large pieces are and how many may be under way: about a second of the line each, and two seconds together,
//! so that what becomes more valuable overtakes what is under way within seconds.

use coffer_format::segment::SegmentHeader;

/// Largest piece, in bytes.
pub(crate) const PIECE_MAX: u64 = 64 << 10;
/// Smallest piece; one at the start of a segment carries the whole header.
const PIECE_MIN: u64 = 2 << 10;
/// Most bytes sent and not yet known to be durable at HQ.
const WINDOW_MAX: u64 = 4 << 20;

const _: () = assert!(PIECE_MIN >= SegmentHeader::LEN as u64);

/// Sizes for a line's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub piece_bytes: u64,
    pub window_bytes: u64,
}

impl Pace {
    /// `rate`: bytes per second, `None` without a limit.
    pub(crate) fn of(rate: Option<u64>) -> Pace {
        let Some(rate) = rate else { return Pace { piece_bytes: PIECE_MAX, window_bytes: WINDOW_MAX } };
        let piece_bytes = rate.clamp(PIECE_MIN, PIECE_MAX);
        Pace { piece_bytes, window_bytes: (2 * rate).clamp(2 * piece_bytes, WINDOW_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_a_second_of_the_line_within_bounds() {
        for (rate, piece_bytes, window_bytes) in [
            (Some(0), 2048, 4096),
            (Some(300), 2048, 4096),
            (Some(7000), 7000, 14_000),
            (Some(125_000), 65_536, 250_000),
            (Some(12_500_000), 65_536, 4 << 20),
            (None, 65_536, 4 << 20),
        ] {
            assert_eq!(Pace::of(rate), Pace { piece_bytes, window_bytes }, "{rate:?}");
        }
    }
}
