//! Names and positions. Each is its own type, so that a node can't be passed where a point is meant.

use std::fmt;
use std::str::FromStr;

use crate::{Decode, DecodeError, Encode, Reader, Writer};

macro_rules! numbers {
    ($($(#[$meta:meta])* $name:ident($inner:ty)),* $(,)?) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}", self.0) }
        }
        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> { text.parse().map($name) }
        }
        impl Encode for $name {
            fn encode(&self, w: &mut Writer) { self.0.encode(w); }
        }
        impl Decode for $name {
            fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> { Ok($name(r.get()?)) }
        }
    )*};
}

numbers!(
    /// A protected machine, numbered by its vault from 1.
    ComputerId(u32),
    /// A backup configuration, numbered by its vault from 1.
    ConfigId(u32),
    /// A file, directory or other object of one configuration. Keeps its number when it's renamed.
    NodeId(u64),
    /// A restore point of one configuration, from 1, without gaps.
    PointSeq(u64),
    /// A part of a point that is being taken in, from 0.
    PartNo(u32),
    /// A segment file of one vault, from 1, never used twice.
    SegmentId(u64),
    /// Position of a metadata record in the order of all metadata records of a vault, from 1.
    Lsn(u64),
);

impl NodeId {
    /// The directory that everything of a configuration hangs from: `/` on Linux, the list of volumes on Windows.
    pub const ROOT: NodeId = NodeId(1);
}

macro_rules! names {
    ($($(#[$meta:meta])* $name:ident($len:literal)),* $(,)?) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl FromStr for $name {
            type Err = DecodeError;
            fn from_str(text: &str) -> Result<Self, DecodeError> {
                const BAD: DecodeError = DecodeError::Invalid { what: stringify!($name) };
                if text.len() != 2 * $len || !text.is_ascii() {
                    return Err(BAD);
                }
                let mut out = [0; $len];
                for (at, byte) in out.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| BAD)?;
                }
                Ok($name(out))
            }
        }
        impl Encode for $name {
            fn encode(&self, w: &mut Writer) { w.bytes(&self.0); }
        }
        impl Decode for $name {
            fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> { Ok($name(r.array(stringify!($name))?)) }
        }
    )*};
}

names!(
    /// A vault: one per box, random.
    VaultId(16),
    /// An organisation: all vaults of one share their chunk names and their recovery key.
    OrgId(16),
    /// A chunk's name: BLAKE3 of its raw bytes, keyed with the organisation's chunk key.
    ChunkId(32),
    /// An unkeyed BLAKE3 hash; where it's used says of what.
    FileHash(32),
);

/// Where a version's manifest is: the operation `op` in the part at `lsn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locator {
    pub lsn: Lsn,
    pub op: u32,
}

impl Encode for Locator {
    fn encode(&self, w: &mut Writer) {
        self.lsn.encode(w);
        self.op.encode(w);
    }
}
impl Decode for Locator {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Locator { lsn: r.get()?, op: r.get()? })
    }
}

/// Names the bytes of a chunk under the organisation's chunk key.
pub fn chunk_id(chunk_key: &[u8; 32], raw: &[u8]) -> ChunkId {
    ChunkId(*blake3::keyed_hash(chunk_key, raw).as_bytes())
}

/// One page's signature, kept by an agent to know which pages changed: half of a keyed BLAKE3.
pub const PAGE_SIGNATURE_LEN: usize = 16;

/// Signs one page (the last one of a file may be short) under the organisation's chunk key.
pub fn page_signature(chunk_key: &[u8; 32], page: &[u8]) -> [u8; PAGE_SIGNATURE_LEN] {
    let mut out = [0; PAGE_SIGNATURE_LEN];
    out.copy_from_slice(&blake3::keyed_hash(chunk_key, page).as_bytes()[..PAGE_SIGNATURE_LEN]);
    out
}
