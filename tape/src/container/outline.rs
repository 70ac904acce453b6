//! The outline of a segment on tape, where no catalog has it: read from the segment itself.

use coffer_format::container::Label;
use coffer_format::segment::{SegmentHeader, Stream, Trailer};
use coffer_format::{SegmentId, from_bytes};

use super::{SegmentPlace, read_segment};
use crate::{Drive, TapeError};

/// Enough of a segment to know what it holds: all of a metadata segment, the stub of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    pub segment: SegmentId,
    pub stream: Stream,
    pub bytes: Vec<u8>,
}

impl Outline {
    /// The outline of a whole segment; `None` if these bytes aren't one.
    pub fn of(whole: &[u8]) -> Option<Outline> {
        let header: SegmentHeader = from_bytes(whole.get(..SegmentHeader::LEN)?).ok()?;
        let trailer: Trailer = from_bytes(whole.get(whole.len().checked_sub(Trailer::LEN)?..)?).ok()?;
        let bytes = match header.stream {
            Stream::Meta => whole.to_vec(),
            _ => {
                let index = whole.get(trailer.index_offset as usize..)?;
                [&whole[..SegmentHeader::LEN], index].concat()
            }
        };
        Some(Outline { segment: header.segment, stream: header.stream, bytes })
    }
}

/// Reads a whole segment for its outline.
pub fn read_outline(drive: &mut Drive, label: &Label, place: &SegmentPlace) -> Result<Outline, TapeError> {
    let mut whole = Vec::with_capacity(place.entry.bytes as usize);
    read_segment(drive, label, place, &mut whole)?;
    let segment = place.entry.segment;
    Outline::of(&whole).ok_or(TapeError::WrongBytes { container: place.container, segment })
}
