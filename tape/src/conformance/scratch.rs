//! Data that is known beforehand.

use coffer_format::container::Label;
use coffer_format::segment::{SegmentHeader, Trailer};
use coffer_format::{FileHash, OrgId, SegmentId, VaultId, to_bytes};

use crate::Barcode;
use crate::container::{ExpectedHash, PlannedSegment};

/// The plan's line for a segment's bytes.
pub fn planned(segment: SegmentId, bytes: &[u8]) -> PlannedSegment {
    let body = &bytes[..bytes.len().saturating_sub(Trailer::LEN)];
    let hash = FileHash(*blake3::hash(body).as_bytes());
    PlannedSegment { segment, bytes: bytes.len() as u64, expected: ExpectedHash::BeforeTrailer(hash) }
}

/// Bytes with a true trailer, different for each segment and the same each time; at least 1000.
pub fn scratch_segment(segment: SegmentId, len: usize) -> Vec<u8> {
    let body_len = len.max(1000) - Trailer::LEN;
    let mut bytes = vec![0; body_len];
    let seed = blake3::derive_key("coffer tape conformance", &segment.0.to_le_bytes());
    blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut bytes);
    let trailer = Trailer {
        index_offset: SegmentHeader::LEN as u64,
        file_len: (body_len + Trailer::LEN) as u64,
        records: 1,
        hash: FileHash(*blake3::hash(&bytes).as_bytes()),
    };
    bytes.extend(to_bytes(&trailer));
    bytes
}

/// A label that says it's scratch.
pub fn scratch_label(barcode: &Barcode, number: u32) -> Label {
    let mut cartridge = [0; 16];
    cartridge.copy_from_slice(&blake3::hash(barcode.as_str().as_bytes()).as_bytes()[..16]);
    Label {
        cartridge,
        barcode: barcode.to_string(),
        vault: VaultId([0; 16]),
        org: OrgId([0; 16]),
        set: "scratch".to_owned(),
        number,
        created_ms: 0,
    }
}
