//! A cartridge: a label file, then containers. Everything is written in blocks of 256 KiB, each numbered
//! and checked by itself, so that one bad block costs only the segment it lies in.

use crate::codec::bounded;
use crate::{DecodeError, Encode, FileHash, OrgId, Reader, SegmentId, VaultId, Writer};

/// Length of every tape block, in bytes.
pub const BLOCK_LEN: usize = 256 << 10;
/// Length of a block's header.
pub const BLOCK_HEADER_LEN: usize = 64;
/// Payload that fits in one block.
pub const BLOCK_PAYLOAD_MAX: usize = BLOCK_LEN - BLOCK_HEADER_LEN;
/// Most segments in one container.
pub const CONTAINER_SEGMENTS_MAX: usize = 4000;

const BLOCK_MAGIC: [u8; 4] = *b"CTB1";

kinds! {
    /// What a block carries.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum BlockKind {
        /// A [`Label`]; tape file 0 is one such block.
        1 = Label,
        /// Bytes of a segment. A segment begins in a block of its own.
        2 = Segment,
        /// A [`ContainerIndex`], over as many blocks as it takes: the last blocks of a container.
        3 = Index,
        /// A [`crate::set_catalog::CatalogPage`]: before the segments of a cartridge's first container, and behind the
        /// segments of each.
        4 = Catalog,
    }
}

/// The first 64 bytes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    pub kind: BlockKind,
    /// The cartridge's own random name, from its label.
    pub cartridge: [u8; 16],
    /// Tape file this block is in: 0 is the label, containers count from 1.
    pub container: u32,
    /// Number of this block in its tape file, from 0.
    pub number: u32,
    /// Bytes of payload; the rest of the block is zero.
    pub payload_len: u32,
    /// The segment whose bytes these are; 0 for other kinds.
    pub segment: SegmentId,
}

/// Makes a whole block of `payload` (at most [`BLOCK_PAYLOAD_MAX`] bytes).
pub fn encode_block(header: &BlockHeader, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() == header.payload_len as usize);
    let mut block = vec![0; BLOCK_LEN];
    block[BLOCK_HEADER_LEN..BLOCK_HEADER_LEN + payload.len()].copy_from_slice(payload);
    seal_block(header, &mut block);
    block
}

/// Makes a whole block of the payload that lies in `block` already, from [`BLOCK_HEADER_LEN`] on.
///
/// `block` is [`BLOCK_LEN`] long; what lies behind the payload is made zero.
pub fn seal_block(header: &BlockHeader, block: &mut [u8]) {
    let payload_end = BLOCK_HEADER_LEN + header.payload_len as usize;
    assert!(block.len() == BLOCK_LEN && payload_end <= BLOCK_LEN);
    let mut w = Writer(Vec::with_capacity(BLOCK_HEADER_LEN));
    w.bytes(&BLOCK_MAGIC);
    header.kind.encode(&mut w);
    w.zeros(3);
    w.bytes(&header.cartridge);
    header.container.encode(&mut w);
    header.number.encode(&mut w);
    header.payload_len.encode(&mut w);
    header.segment.encode(&mut w);
    w.bytes(&checksum(&w.0, &block[BLOCK_HEADER_LEN..payload_end]));
    block[..BLOCK_HEADER_LEN].copy_from_slice(&w.0);
    block[payload_end..].fill(0);
}

/// Takes a block apart; refuses one whose checksum doesn't hold.
pub fn decode_block(block: &[u8]) -> Result<(BlockHeader, &[u8]), DecodeError> {
    let mut r = Reader::new(block);
    if block.len() != BLOCK_LEN || r.take(4, "tape block")? != BLOCK_MAGIC {
        return Err(DecodeError::Invalid { what: "tape block" });
    }
    let kind = r.get()?;
    r.zeros(3, "tape block")?;
    let header = BlockHeader {
        kind,
        cartridge: r.get()?,
        container: r.get()?,
        number: r.get()?,
        payload_len: r.get()?,
        segment: r.get()?,
    };
    bounded("payload of a tape block", header.payload_len.into(), BLOCK_PAYLOAD_MAX as u64)?;
    let sum: [u8; 20] = r.array("tape block")?;
    let payload = r.take(header.payload_len as usize, "tape block")?;
    if sum != checksum(&block[..BLOCK_HEADER_LEN - 20], payload) {
        return Err(DecodeError::Invalid { what: "checksum of a tape block" });
    }
    Ok((header, payload))
}

fn checksum(header: &[u8], payload: &[u8]) -> [u8; 20] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header).update(payload);
    let mut out = [0; 20];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..20]);
    out
}

layout! {
    /// What tape file 0 says: whose cartridge this is.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Label {
        pub cartridge: [u8; 16],
        pub barcode: String,
        pub vault: VaultId,
        pub org: OrgId,
        /// Media set, and this cartridge's number in it, from 1.
        pub set: String,
        pub number: u32,
        pub created_ms: u64,
    }
}

layout! {
    /// One segment in a container.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ContainerEntry {
        pub segment: SegmentId,
        /// Number in this container of the segment's first block.
        pub first_block: u32,
        pub bytes: u64,
        /// BLAKE3 of the whole segment file.
        pub hash: FileHash,
    }
}

layout! {
    /// The end of a container: what is in it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ContainerIndex { pub container: u32, pub entries: Vec<ContainerEntry> }
}
