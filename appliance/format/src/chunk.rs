//! A pack: up to 4,096 chunks compressed as one run. It's what an agent sends, and (sealed) what a vault keeps.

use crate::codec::bounded;
use crate::{ChunkId, Decode, DecodeError, Encode, Reader, Writer, limits};

/// How a pack's payload was compressed. Kept raw where compression wouldn't make it smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Raw,
    Zstd,
}

impl Encode for Compression {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&[match self {
            Compression::Raw => 0,
            Compression::Zstd => 1,
        }]);
    }
}
impl Decode for Compression {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.get::<u8>()? {
            0 => Ok(Compression::Raw),
            1 => Ok(Compression::Zstd),
            found => Err(DecodeError::UnknownKind { what: "compression", found: found.into() }),
        }
    }
}

layout! {
    /// One chunk of a pack: its name, and its length in raw bytes. Chunks lie one after another in the raw run.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ChunkEntry { pub id: ChunkId, pub raw_len: u32 }
}

/// A pack as it's sent and (before sealing) as it's kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    pub chunks: Vec<ChunkEntry>,
    pub compression: Compression,
    /// The chunks' bytes one after another, compressed as `compression` says.
    pub payload: Vec<u8>,
}

impl Pack {
    /// Bytes of all chunks before compression.
    pub fn raw_len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.raw_len as usize).sum()
    }
}

impl Encode for Pack {
    fn encode(&self, w: &mut Writer) {
        self.chunks.encode(w);
        self.compression.encode(w);
        (self.payload.len() as u32).encode(w);
        w.bytes(&self.payload);
    }
}

impl Decode for Pack {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = r.count(36, "chunks of a pack")?;
        bounded("chunks of a pack", count as u64, limits::PACK_CHUNKS_MAX as u64)?;
        let chunks = (0..count).map(|_| r.get()).collect::<Result<Vec<ChunkEntry>, _>>()?;
        let raw: u64 = chunks.iter().map(|chunk| u64::from(chunk.raw_len)).sum();
        bounded("raw bytes of a pack", raw, limits::PACK_RAW_MAX as u64)?;
        let compression = r.get()?;
        let len = r.count(1, "payload of a pack")?;
        bounded("payload of a pack", len as u64, limits::PACK_PAYLOAD_MAX as u64)?;
        if compression == Compression::Raw && len as u64 != raw {
            return Err(DecodeError::Invalid { what: "raw payload of a pack" });
        }
        Ok(Pack { chunks, compression, payload: r.take(len, "payload of a pack")?.to_vec() })
    }
}
