//! One message as bytes: the length of the body (32 bits, little-endian), then the body.

use coffer_format::limits::FRAME_BODY_MAX;
use coffer_format::wire::{FRAME_HEADER_LEN, Message};
use coffer_format::{Encode, Writer};

use crate::LinkError;

/// Room for any message without bulk data in it.
const SMALL: usize = 512;

/// A whole frame in one buffer, made without copying bulk data more than once.
pub(crate) fn encode(message: &Message) -> Result<Vec<u8>, LinkError> {
    let mut w = Writer(Vec::with_capacity(FRAME_HEADER_LEN + expected_len(message)));
    w.zeros(FRAME_HEADER_LEN);
    message.encode(&mut w);
    let mut frame = w.0;
    let found = frame.len() - FRAME_HEADER_LEN;
    if found > FRAME_BODY_MAX {
        return Err(LinkError::TooLong { found: found as u64, limit: FRAME_BODY_MAX as u64 });
    }
    frame[..FRAME_HEADER_LEN].copy_from_slice(&(found as u32).to_le_bytes());
    Ok(frame)
}

/// The body's length that a header announces; refused before anything is allocated.
pub(crate) fn body_len(header: [u8; FRAME_HEADER_LEN], limit: usize) -> Result<usize, LinkError> {
    let found = u32::from_le_bytes(header);
    if found as usize > limit {
        return Err(LinkError::TooLong { found: found.into(), limit: limit as u64 });
    }
    Ok(found as usize)
}

/// Only a wish: a wrong guess costs a copy.
fn expected_len(message: &Message) -> usize {
    SMALL
        + match message {
            Message::PackData { pack, .. } => pack.payload.len() + 36 * pack.chunks.len(),
            Message::RestorePack { payload, placements, .. } => payload.len() + 20 * placements.len(),
            Message::SegmentBytes { bytes, .. } => bytes.len(),
            Message::SignaturePages { signatures, .. } => signatures.len(),
            Message::Ask { json } | Message::Answer { json } | Message::Working { json } => json.len(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use coffer_format::SegmentId;

    use super::*;

    fn segment_bytes(len: usize) -> Message {
        let bytes = vec![7; len].into();
        Message::SegmentBytes { segment: SegmentId(1), offset: 0, closed_len: 0, bytes }
    }

    #[test]
    fn bulk_is_encoded_without_growing_the_buffer() {
        let frame = encode(&segment_bytes(1 << 20)).unwrap();
        assert!(frame.capacity() <= (1 << 20) + 2 * SMALL);
        assert_eq!(body_len(frame[..4].try_into().unwrap(), FRAME_BODY_MAX).unwrap(), frame.len() - 4);
    }

    #[test]
    fn too_long_a_message_is_refused_before_it_is_sent() {
        assert!(matches!(encode(&segment_bytes(FRAME_BODY_MAX)), Err(LinkError::TooLong { .. })));
        let header = (FRAME_BODY_MAX as u32 + 1).to_le_bytes();
        assert!(matches!(body_len(header, FRAME_BODY_MAX), Err(LinkError::TooLong { .. })));
    }
}
