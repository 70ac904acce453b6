//! A map says where each byte of one version of a file comes from. It's full (all of the file), or a delta
//! on another version's map: what it doesn't mention is then as it was there, at the same offset.
//!
//! `compose` is the whole arithmetic: a delta on a full map is a full map, a delta on a delta is a delta.
//! Versions since the last full one are numbered from 0 (the full one itself); version `k` is kept as a delta on
//! version `k` with its lowest set bit cleared. So a chain has at most log2(k) links, and every change
//! is kept at most log2(k) times, however large the file is.

use std::collections::HashMap;

use crate::codec::bounded;
use crate::{ChunkId, Decode, DecodeError, Encode, Reader, Writer, limits};

/// Where the bytes of one range come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Zeros, not stored: a hole.
    Zero,
    /// The base version, from this offset in bytes. Only in deltas.
    Base { offset: u64 },
    /// The map's chunk with this index, from this offset in raw bytes.
    Chunk { chunk: u32, offset: u32 },
}

impl Source {
    /// The same source, `by` bytes further on.
    fn advanced(self, by: u64) -> Source {
        match self {
            Source::Zero => Source::Zero,
            Source::Base { offset } => Source::Base { offset: offset + by },
            Source::Chunk { chunk, offset } => Source::Chunk { chunk, offset: offset + by as u32 },
        }
    }
}

/// `len` bytes of the file from offset `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub at: u64,
    pub len: u64,
    pub source: Source,
}

impl Range {
    pub fn end(&self) -> u64 {
        self.at + self.len
    }
}

const CHUNK_ZERO: u32 = u32::MAX;
const CHUNK_BASE: u32 = u32::MAX - 1;

impl Encode for Range {
    fn encode(&self, w: &mut Writer) {
        self.at.encode(w);
        self.len.encode(w);
        let (chunk, offset) = match self.source {
            Source::Zero => (CHUNK_ZERO, 0),
            Source::Base { offset } => (CHUNK_BASE, offset),
            Source::Chunk { chunk, offset } => (chunk, offset.into()),
        };
        chunk.encode(w);
        offset.encode(w);
    }
}
impl Decode for Range {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (at, len, chunk, offset): (u64, u64, u32, u64) = (r.get()?, r.get()?, r.get()?, r.get()?);
        for value in [at, len, offset] {
            bounded("range", value, limits::FILE_SIZE_MAX)?;
        }
        let source = match chunk {
            CHUNK_ZERO if offset == 0 => Source::Zero,
            CHUNK_ZERO => return Err(DecodeError::Invalid { what: "offset of a hole" }),
            CHUNK_BASE => Source::Base { offset },
            chunk => {
                bounded("range in a chunk", offset + len, limits::PACK_RAW_MAX as u64)?;
                Source::Chunk { chunk, offset: offset as u32 }
            }
        };
        Ok(Range { at, len, source })
    }
}

layout! {
    /// The ranges of one version, in order of `at`, none overlapping, all below `size`.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Map { pub size: u64, pub chunks: Vec<ChunkId>, pub ranges: Vec<Range> }
}

/// A map that breaks its own rules, or a delta that reaches beyond its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("manifest: {0}")]
pub struct BadMap(pub &'static str);

impl Map {
    /// All of an empty file.
    pub fn empty() -> Map {
        Map::default()
    }

    /// Checks what every map must hold.
    pub fn check(&self) -> Result<(), BadMap> {
        let mut end = 0;
        for range in &self.ranges {
            if range.len == 0 || range.at < end || range.end() > self.size {
                return Err(BadMap("ranges empty, overlapping, out of order or beyond the end"));
            }
            end = range.end();
            match range.source {
                Source::Chunk { chunk, .. } if chunk as usize >= self.chunks.len() => {
                    return Err(BadMap("a range names a chunk that isn't listed"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that this map says everything about its version.
    pub fn check_full(&self) -> Result<(), BadMap> {
        self.check()?;
        let mut end = 0;
        for range in &self.ranges {
            if range.at != end || matches!(range.source, Source::Base { .. }) {
                return Err(BadMap("a full map has a gap or names a base"));
            }
            end = range.end();
        }
        if end != self.size { Err(BadMap("a full map ends early")) } else { Ok(()) }
    }

    /// Checks that this map is a delta on a version of `base_size` bytes.
    pub fn check_delta(&self, base_size: u64) -> Result<(), BadMap> {
        self.check()?;
        let mut end = 0;
        for range in &self.ranges {
            if range.at > end && range.at > base_size {
                return Err(BadMap("a delta leaves bytes beyond its base unsaid"));
            }
            end = range.end();
            if let Source::Base { offset } = range.source
                && offset + range.len > base_size
            {
                return Err(BadMap("a delta reaches beyond its base"));
            }
        }
        if self.size > end && self.size > base_size {
            return Err(BadMap("a delta leaves bytes beyond its base unsaid"));
        }
        Ok(())
    }

    /// Adds a range at the end, joining it to the last one where it carries on.
    pub fn push(&mut self, range: Range) {
        if range.len == 0 {
            return;
        }
        if let Some(last) = self.ranges.last_mut()
            && last.end() == range.at
            && carries_on(last, &range)
        {
            last.len += range.len;
            return;
        }
        self.ranges.push(range);
    }
}

fn carries_on(last: &Range, next: &Range) -> bool {
    match (last.source, next.source) {
        (Source::Zero, Source::Zero) => true,
        (Source::Base { .. }, Source::Base { .. }) => last.source.advanced(last.len) == next.source,
        (Source::Chunk { chunk, offset }, Source::Chunk { chunk: other, offset: from }) => {
            chunk == other && u64::from(offset) + last.len == u64::from(from)
        }
        _ => false,
    }
}

/// What `delta` makes of `base`: of the same kind (full or delta) as `base` is.
pub fn compose(base: &Map, delta: &Map, base_is_full: bool) -> Result<Map, BadMap> {
    let mut out = Composer { base, delta, base_is_full, map: Map::default(), names: HashMap::new() };
    out.map.size = delta.size;
    let mut at = 0;
    for range in &delta.ranges {
        out.take_base(at, at, range.at.saturating_sub(at))?;
        match range.source {
            Source::Zero => out.map.push(*range),
            Source::Base { offset } => out.take_base(range.at, offset, range.len)?,
            Source::Chunk { chunk, offset } => {
                out.take_chunk(range.at, range.len, &delta.chunks, chunk, offset)?
            }
        }
        at = range.end();
    }
    out.take_base(at, at, out.delta.size.saturating_sub(at))?;
    Ok(out.map)
}

struct Composer<'a> {
    base: &'a Map,
    delta: &'a Map,
    base_is_full: bool,
    map: Map,
    names: HashMap<ChunkId, u32>,
}

impl Composer<'_> {
    fn take_chunk(
        &mut self,
        at: u64,
        len: u64,
        ids: &[ChunkId],
        chunk: u32,
        offset: u32,
    ) -> Result<(), BadMap> {
        let id = *ids.get(chunk as usize).ok_or(BadMap("a range names a chunk that isn't listed"))?;
        let next = self.map.chunks.len() as u32;
        let chunk = *self.names.entry(id).or_insert(next);
        if chunk == next {
            self.map.chunks.push(id);
        }
        self.map.push(Range { at, len, source: Source::Chunk { chunk, offset } });
        Ok(())
    }

    /// Copies what the base says of `len` bytes from `offset`, to `at`.
    fn take_base(&mut self, at: u64, offset: u64, len: u64) -> Result<(), BadMap> {
        if len == 0 {
            return Ok(());
        }
        let end = offset.checked_add(len).filter(|end| *end <= self.base.size);
        let end = end.ok_or(BadMap("a delta reaches beyond its base"))?;
        let first = self.base.ranges.partition_point(|range| range.end() <= offset);
        let mut done = offset;
        for range in self.base.ranges[first..].iter().take_while(|range| range.at < end) {
            self.unsaid(at + (done - offset), done, range.at.saturating_sub(done))?;
            let (from, to) = (range.at.max(offset), range.end().min(end));
            let source = range.source.advanced(from - range.at);
            let (at, len) = (at + (from - offset), to - from);
            match source {
                Source::Chunk { chunk, offset } => {
                    self.take_chunk(at, len, &self.base.chunks, chunk, offset)?
                }
                source => self.put(Range { at, len, source }),
            }
            done = to;
        }
        self.unsaid(at + (done - offset), done, end - done)
    }

    /// A stretch that the base (itself a delta) leaves to its own base.
    fn unsaid(&mut self, at: u64, offset: u64, len: u64) -> Result<(), BadMap> {
        match (len, self.base_is_full) {
            (0, _) => Ok(()),
            (_, true) => Err(BadMap("a full map has a gap")),
            (_, false) => {
                self.put(Range { at, len, source: Source::Base { offset } });
                Ok(())
            }
        }
    }

    /// Adds a range, unless a gap says the same.
    fn put(&mut self, range: Range) {
        if range.source != (Source::Base { offset: range.at }) {
            self.map.push(range);
        }
    }
}

/// The number of the version that version `ordinal` of a chain is kept as a delta on.
pub fn base_ordinal(ordinal: u32) -> u32 {
    ordinal & ordinal.wrapping_sub(1)
}
