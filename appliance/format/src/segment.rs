//! A segment file: header, sealed records one after another, and (once closed) an index and a trailer.

use crate::chunk::ChunkEntry;
use crate::codec::bounded;
use crate::{Decode, DecodeError, Encode, FileHash, Lsn, OrgId, Reader, SegmentId, VaultId, Writer, limits};

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Metadata entries.
    Meta,
    /// Packs of changes.
    Fresh,
    /// Packs of first copies.
    Bulk,
}

impl Stream {
    /// The number in formats and in the catalog.
    pub fn code(self) -> u8 {
        self as u8 + 1
    }
    pub fn from_code(code: u8) -> Option<Stream> {
        [Stream::Meta, Stream::Fresh, Stream::Bulk].get(code.wrapping_sub(1) as usize).copied()
    }
}
impl Encode for Stream {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&[self.code()]);
    }
}
impl Decode for Stream {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = r.get::<u8>()?;
        Stream::from_code(code).ok_or(DecodeError::UnknownKind { what: "stream", found: code.into() })
    }
}

const SEGMENT_MAGIC: [u8; 8] = *b"COFFSEG1";
const RECORD_MAGIC: [u8; 4] = *b"CREC";
const TRAILER_MAGIC: [u8; 8] = *b"COFFEND1";
const VERSION: u16 = 1;

/// Length of the wrapped keys: 64 bytes of keys (data, chunk names), a 12-byte nonce and a 16-byte tag.
pub const BOX_WRAP_LEN: usize = 12 + 64 + 16;
/// HPKE: the encapsulated key, 64 bytes of keys and a 16-byte tag.
pub const HQ_WRAP_LEN: usize = 32 + 64 + 16;

/// The vault's keys, wrapped twice: for the box, and for the organisation's recovery key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEnvelope {
    /// Which of the vault's data keys this is, from 1: a new one is a new epoch.
    pub epoch: u32,
    pub for_box: [u8; BOX_WRAP_LEN],
    pub for_hq: [u8; HQ_WRAP_LEN],
}

/// The first 512 bytes of a segment, in clear: enough to know whose it is and to unwrap its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub stream: Stream,
    pub segment: SegmentId,
    pub vault: VaultId,
    pub org: OrgId,
    /// Random; the segment's own key is derived from the data key and this.
    pub salt: [u8; 16],
    pub created_ms: u64,
    pub keys: KeyEnvelope,
}

impl SegmentHeader {
    pub const LEN: usize = 512;
}

impl Encode for SegmentHeader {
    fn encode(&self, w: &mut Writer) {
        let start = w.0.len();
        w.bytes(&SEGMENT_MAGIC);
        VERSION.encode(w);
        self.stream.encode(w);
        w.zeros(5);
        self.segment.encode(w);
        self.vault.encode(w);
        self.org.encode(w);
        w.bytes(&self.salt);
        self.created_ms.encode(w);
        self.keys.epoch.encode(w);
        w.bytes(&self.keys.for_box);
        w.bytes(&self.keys.for_hq);
        w.zeros(Self::LEN - 32 - (w.0.len() - start));
        let hash = blake3::hash(&w.0[start..]);
        w.bytes(hash.as_bytes());
    }
}

impl Decode for SegmentHeader {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = r.take(Self::LEN, "segment header")?;
        if blake3::hash(&bytes[..Self::LEN - 32]).as_bytes() != &bytes[Self::LEN - 32..] {
            return Err(DecodeError::Invalid { what: "checksum of the segment header" });
        }
        let mut r = Reader::new(&bytes[..Self::LEN - 32]);
        expect_magic(&mut r, &SEGMENT_MAGIC, "segment header")?;
        expect_version(&mut r, "segment")?;
        let stream = r.get()?;
        r.zeros(5, "segment header")?;
        let header = SegmentHeader {
            stream,
            segment: r.get()?,
            vault: r.get()?,
            org: r.get()?,
            salt: r.get()?,
            created_ms: r.get()?,
            keys: KeyEnvelope { epoch: r.get()?, for_box: r.get()?, for_hq: r.get()? },
        };
        let rest = r.remaining();
        r.zeros(rest, "segment header")?;
        Ok(header)
    }
}

fn expect_magic(r: &mut Reader<'_>, magic: &[u8], what: &'static str) -> Result<(), DecodeError> {
    if r.take(magic.len(), what)? == magic { Ok(()) } else { Err(DecodeError::Invalid { what }) }
}

fn expect_version(r: &mut Reader<'_>, what: &'static str) -> Result<(), DecodeError> {
    match r.get::<u16>()? {
        VERSION => Ok(()),
        found => Err(DecodeError::Version { what, found: found.into(), known: VERSION.into() }),
    }
}

/// What a record's plaintext is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A [`crate::chunk::Pack`].
    Pack,
    /// An [`crate::entry::Entry`], compressed.
    Meta,
    /// A [`SegmentIndex`], compressed: the last record of a closed segment.
    Index,
}

impl RecordKind {
    pub fn code(self) -> u8 {
        self as u8 + 1
    }
}
impl Encode for RecordKind {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&[self.code()]);
    }
}
impl Decode for RecordKind {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = r.get::<u8>()?;
        let kind = [RecordKind::Pack, RecordKind::Meta, RecordKind::Index]
            .get(code.wrapping_sub(1) as usize)
            .copied();
        kind.ok_or(DecodeError::UnknownKind { what: "record", found: code.into() })
    }
}

/// The 32 bytes in clear before each sealed run; they are authenticated with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    pub kind: RecordKind,
    /// Position among all metadata records; 0 for other kinds.
    pub lsn: Lsn,
    /// Bytes that follow: ciphertext and tag.
    pub sealed_len: u32,
    /// Random, never the same twice under one segment's key.
    pub nonce: [u8; 12],
}

impl RecordHeader {
    pub const LEN: usize = 32;

    /// Length of the whole record, header and all.
    pub fn record_len(&self) -> u64 {
        Self::LEN as u64 + u64::from(self.sealed_len)
    }
}

impl Encode for RecordHeader {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&RECORD_MAGIC);
        self.kind.encode(w);
        w.zeros(3);
        self.lsn.encode(w);
        self.sealed_len.encode(w);
        w.bytes(&self.nonce);
    }
}

impl Decode for RecordHeader {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        expect_magic(r, &RECORD_MAGIC, "record header")?;
        let kind = r.get()?;
        r.zeros(3, "record header")?;
        let header = RecordHeader { kind, lsn: r.get()?, sealed_len: r.get()?, nonce: r.get()? };
        bounded("sealed record", header.sealed_len.into(), limits::RECORD_SEALED_MAX as u64)?;
        if header.sealed_len < 16 {
            return Err(DecodeError::Invalid { what: "sealed record" });
        }
        Ok(header)
    }
}

layout! {
    /// One record of a segment, as its index lists it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct IndexEntry {
        pub offset: u64,
        pub kind: RecordKind,
        pub lsn: Lsn,
        pub record_len: u64,
        /// The chunks of a pack; empty for other kinds.
        pub chunks: Vec<ChunkEntry>,
    }
}

layout! {
    /// All records of a segment before the index itself, in order.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct SegmentIndex { pub records: Vec<IndexEntry> }
}

/// The last 64 bytes of a closed segment, in clear. They carry a check of their own: a trailer that a power cut tore is
/// never taken for a closed end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Where the index record starts.
    pub index_offset: u64,
    /// Length of the whole file, this trailer included.
    pub file_len: u64,
    pub records: u32,
    /// BLAKE3 of everything before the trailer: lets a medium be verified without a key.
    pub hash: FileHash,
}

impl Trailer {
    pub const LEN: usize = 64;

    /// The first 4 bytes of BLAKE3 of the other fields.
    fn check(&self) -> [u8; 4] {
        let mut fields = Writer::default();
        self.index_offset.encode(&mut fields);
        self.file_len.encode(&mut fields);
        self.records.encode(&mut fields);
        self.hash.encode(&mut fields);
        let hash = blake3::hash(&fields.0);
        let [a, b, c, d, ..] = *hash.as_bytes();
        [a, b, c, d]
    }
}

impl Encode for Trailer {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&TRAILER_MAGIC);
        self.index_offset.encode(w);
        self.file_len.encode(w);
        self.records.encode(w);
        w.bytes(&self.check());
        self.hash.encode(w);
    }
}

impl Decode for Trailer {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        expect_magic(r, &TRAILER_MAGIC, "segment trailer")?;
        let (index_offset, file_len, records) = (r.get()?, r.get()?, r.get()?);
        let check: [u8; 4] = r.get()?;
        let trailer = Trailer { index_offset, file_len, records, hash: r.get()? };
        bounded("segment", file_len, limits::SEGMENT_MAX)?;
        bounded("index of a segment", index_offset, file_len)?;
        let least = (RecordHeader::LEN + Trailer::LEN) as u64;
        let fits = index_offset >= SegmentHeader::LEN as u64 && file_len - index_offset > least;
        if !fits || check != trailer.check() {
            return Err(DecodeError::Invalid { what: "segment trailer" });
        }
        Ok(trailer)
    }
}
