//! Reading from segments by way of the catalog: entries, maps, packs. Shared by a vault and by HQ's mirror of one.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use coffer_format::chunk::{ChunkEntry, Compression, Pack};
use coffer_format::entry::{Body, Entry};
use coffer_format::manifest::{Map, Source, compose};
use coffer_format::op::{Content, MapBody, Op};
use coffer_format::segment::{RecordHeader, RecordKind};
use coffer_format::{ChunkId, ConfigId, Locator, Lsn, NodeId, PointSeq, SegmentId, from_bytes, limits};

use crate::beginnings::Beginnings;
use crate::catalog::{self, ChunkLocation, Doubt, Readers};
use crate::disk::Disk;
use crate::rescue::Rescue;
use crate::seal::{open_record, read_compressed};
use crate::segment::{ReadableSegment, SegmentFiles};
use crate::suspects::Suspects;
use crate::unrecorded::Unrecorded;
use crate::{Result, VaultError};

/// Decoded entries kept at hand.
const ENTRIES_MAX: usize = 6;
/// Most records that are kept in mind as not to be had.
const IN_VAIN_MAX: usize = 4096;

/// A vault's segments and catalog, to read from.
pub struct Reading {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) files: SegmentFiles,
    pub(crate) readers: Readers,
    entries: Mutex<VecDeque<(Lsn, Arc<Entry>)>>,
    pub(crate) beginnings: Mutex<Beginnings>,
    /// Records that were looked for in the segments, and aren't there either.
    in_vain: Mutex<HashSet<Lsn>>,
    pub(crate) suspects: Mutex<Suspects>,
    pub(crate) unrecorded: Mutex<Unrecorded>,
    pub(crate) rescue: Rescue,
}

impl Reading {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, files: SegmentFiles, catalog: &Path) -> Reading {
        Reading {
            disk,
            dir: dir.into(),
            files,
            readers: Readers::new(catalog),
            entries: Mutex::default(),
            beginnings: Mutex::default(),
            in_vain: Mutex::default(),
            suspects: Mutex::default(),
            unrecorded: Mutex::default(),
            rescue: Rescue::default(),
        }
    }

    /// The entry at `lsn`.
    pub(crate) fn entry(&self, lsn: Lsn) -> Result<Arc<Entry>> {
        if let Some((_, found)) =
            self.entries.lock().expect("no panics here").iter().find(|(at, _)| *at == lsn)
        {
            return Ok(found.clone());
        }
        let entry = Arc::new(self.find_entry(lsn)?);
        let mut entries = self.entries.lock().expect("no panics here");
        if entries.len() >= ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back((lsn, entry.clone()));
        Ok(entry)
    }

    /// Where the catalog has it, if it's there; else where the segments say.
    fn find_entry(&self, lsn: Lsn) -> Result<Entry> {
        let listed = self.readers.with(|db| catalog::find_log(db, lsn))?;
        let read = match listed {
            Some((segment, offset, len)) => self.entry_of(segment, offset, len, Some(lsn)),
            None => Err(damaged_map(lsn, NOT_HERE)),
        };
        let Err(error @ (VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Decode(_))) =
            read
        else {
            return read;
        };
        if self.in_vain.lock().expect("no panics here").contains(&lsn) {
            return Err(error);
        }
        match self.search_record(lsn)?.filter(|place| Some(*place) != listed) {
            Some((segment, offset, len)) => {
                self.readers.doubt(Doubt::Rows);
                self.entry_of(segment, offset, len, Some(lsn))
            }
            None => {
                let mut in_vain = self.in_vain.lock().expect("no panics here");
                if in_vain.len() >= IN_VAIN_MAX {
                    in_vain.clear();
                }
                in_vain.insert(lsn);
                Err(error)
            }
        }
    }

    /// Reads every entry from disk again.
    pub(crate) fn forget_entries(&self) {
        self.entries.lock().expect("no panics here").clear();
        self.in_vain.lock().expect("no panics here").clear();
    }

    pub(crate) fn entry_at(&self, segment: SegmentId, offset: u64, len: u64) -> Result<Entry> {
        self.entry_of(segment, offset, len, None)
    }

    fn entry_of(&self, segment: SegmentId, offset: u64, len: u64, lsn: Option<Lsn>) -> Result<Entry> {
        self.with_rescue(segment, || {
            let mut record = Vec::new();
            let (header, plain) = self.record(segment, offset, len, RecordKind::Meta, &mut record)?;
            if lsn.is_some_and(|lsn| lsn != header.lsn) {
                return Err(VaultError::Damaged {
                    segment,
                    offset,
                    what: "another record is there".to_owned(),
                });
            }
            read_compressed(plain)
        })
    }

    /// Reads from a segment; once more where it can't be read, and a copy can be had.
    fn with_rescue<T>(&self, segment: SegmentId, read: impl Fn() -> Result<T>) -> Result<T> {
        match read() {
            Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_)) if self.rescue(segment) => read(),
            read => read,
        }
    }

    /// A segment's file. What's wrong with it is kept in mind.
    pub(crate) fn file_of(&self, segment: SegmentId) -> Result<ReadableSegment> {
        self.files.get(segment).inspect_err(|error| self.note_met(error))
    }

    /// Reads and opens one record into `buffer`. What can't be read is kept in mind.
    fn record<'a>(
        &self,
        segment: SegmentId,
        offset: u64,
        len: u64,
        kind: RecordKind,
        buffer: &'a mut Vec<u8>,
    ) -> Result<(RecordHeader, &'a [u8])> {
        self.try_record(segment, offset, len, kind, buffer).inspect_err(|error| self.note_met(error))
    }

    fn try_record<'a>(
        &self,
        segment: SegmentId,
        offset: u64,
        len: u64,
        kind: RecordKind,
        buffer: &'a mut Vec<u8>,
    ) -> Result<(RecordHeader, &'a [u8])> {
        let damaged = |what: &str| VaultError::Damaged { segment, offset, what: what.to_owned() };
        let readable = match self.files.get(segment) {
            Err(VaultError::Key(_)) => return Err(damaged("it isn't sealed with this vault's keys")),
            readable => readable?,
        };
        if len > limits::RECORD_SEALED_MAX as u64 + 32 {
            return Err(damaged("the catalog gives an impossible length"));
        }
        buffer.resize(len as usize, 0);
        readable.file.read_at(offset, buffer).map_err(|e| damaged(&e.to_string()))?;
        match open_record(&readable.key, buffer) {
            Some((header, plain)) if header.kind == kind => Ok((header, plain)),
            Some(_) => Err(damaged("a record of another kind is there")),
            None => Err(damaged("the record doesn't decrypt")),
        }
    }

    /// One kept operation.
    pub(crate) fn op(&self, at: Locator) -> Result<(Arc<Entry>, usize)> {
        let entry = self.entry(at.lsn)?;
        match &entry.body {
            Body::Part { ops, .. } if (at.op as usize) < ops.len() => Ok((entry, at.op as usize)),
            _ => Err(missing(at.lsn)),
        }
    }

    /// The map that is kept at `at`, and where its base is.
    pub(crate) fn map_link(&self, at: Locator) -> Result<MapLink> {
        let (entry, op) = self.op(at)?;
        let Body::Part { ops, .. } = &entry.body else { return Err(missing(at.lsn)) };
        match &ops[op] {
            Op::Put { content: Content::Map { ordinal, base, body }, .. } => {
                Ok(MapLink { ordinal: *ordinal, base: *base, map: self.map_body(body)? })
            }
            _ => Err(missing(at.lsn)),
        }
    }

    fn map_body(&self, body: &MapBody) -> Result<Map> {
        match body {
            MapBody::Inline { map } => Ok(map.clone()),
            MapBody::Pages { size, pages } => {
                let mut whole = Map { size: *size, ..Map::default() };
                for lsn in pages {
                    let entry = self.entry(*lsn)?;
                    let Body::MapPage { map } = &entry.body else { return Err(missing(*lsn)) };
                    append_page(&mut whole, map);
                }
                Ok(whole)
            }
        }
    }

    /// Where every byte of a version is.
    pub(crate) fn full_map(&self, at: Locator) -> Result<Map> {
        resolve(at, |at| self.map_link(at))
    }

    /// Whether a version's bytes need a chunk that `is_lost`, or that isn't listed. A chain that can't be read needs them all.
    pub(crate) fn needs_chunk(
        &self,
        at: Locator,
        is_lost: impl Fn(&ChunkId, &ChunkLocation) -> bool,
    ) -> Result<bool> {
        let map = match self.full_map(at) {
            Ok(map) => map,
            Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Decode(_)) => {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        self.readers.with(|db| {
            for range in &map.ranges {
                let Source::Chunk { chunk, .. } = range.source else { continue };
                let id = &map.chunks[chunk as usize];
                if catalog::find_chunk(db, id)?.is_none_or(|at| is_lost(id, &at)) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// A pack as it was sealed. Its payload is still compressed.
    pub(crate) fn pack(&self, segment: SegmentId, offset: u64, len: u64) -> Result<Pack> {
        self.with_rescue(segment, || {
            let mut record = Vec::new();
            Ok(from_bytes(self.record(segment, offset, len, RecordKind::Pack, &mut record)?.1)?)
        })
    }

    /// The raw bytes of the pack that has a chunk. Where the catalog is wrong, it's where the segments say.
    pub(crate) fn unpacked(&self, id: &ChunkId) -> Result<Unpacked> {
        let listed = self.readers.with(|db| catalog::find_chunk(db, id))?;
        let read = |at: &ChunkLocation| {
            let pack = self.pack(at.segment, at.offset, at.record_len)?;
            check_place(&pack, id, at)?;
            Ok(Unpacked { raw: unpack(&pack)?, chunks: pack.chunks })
        };
        let error = match listed.as_ref().map(read) {
            Some(Err(error @ (VaultError::Damaged { .. } | VaultError::Decode(_)))) => error,
            Some(done) => return done,
            None => unlisted(id),
        };
        let but: HashSet<ChunkLocation> = listed.into_iter().collect();
        let Some(at) = self.search_chunks(&BTreeSet::from([*id]), &but)?.remove(id) else {
            return Err(error);
        };
        self.readers.doubt(Doubt::Rows);
        read(&at)
    }

    /// The map of a node's version at a point: `None` where it has no bytes.
    pub(crate) fn map_at(&self, config: ConfigId, node: NodeId, point: PointSeq) -> Result<Option<Map>> {
        let at = self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT map_lsn, map_op FROM versions WHERE config = ?1 AND node = ?2 AND since <= ?3 AND until > ?3",
            )?;
            let row = query.query_row(rusqlite::params![config.0, node.0, point.0], |row| {
                Ok((row.get::<_, Option<u64>>(0)?, row.get::<_, Option<u32>>(1)?))
            });
            Ok(rusqlite::OptionalExtension::optional(row)?)
        })?;
        match at {
            Some((Some(lsn), Some(op))) => self.full_map(Locator { lsn: Lsn(lsn), op }).map(Some),
            _ => Ok(None),
        }
    }
}

/// A pack's chunks.
pub(crate) struct Unpacked {
    chunks: Vec<ChunkEntry>,
    raw: Vec<u8>,
}

impl Unpacked {
    /// The bytes of a chunk, if they're here.
    pub(crate) fn chunk(&self, id: &ChunkId) -> Option<&[u8]> {
        let mut from = 0;
        for chunk in &self.chunks {
            let to = from + chunk.raw_len as usize;
            if chunk.id == *id {
                return self.raw.get(from..to);
            }
            from = to;
        }
        None
    }
}

/// A map as it's kept: a delta where it has a base.
pub(crate) struct MapLink {
    pub(crate) ordinal: u32,
    pub(crate) base: Option<Locator>,
    pub(crate) map: Map,
}

/// Follows a chain to its full map and puts the deltas on it.
pub(crate) fn resolve(at: Locator, link_at: impl Fn(Locator) -> Result<MapLink>) -> Result<Map> {
    let mut link = link_at(at)?;
    let mut deltas = Vec::new();
    while let Some(base) = link.base {
        let next = link_at(base)?;
        if next.ordinal >= link.ordinal {
            return Err(missing(base.lsn));
        }
        deltas.push(link.map);
        link = next;
    }
    let mut full = link.map;
    while let Some(delta) = deltas.pop() {
        full = compose(&full, &delta, true).map_err(|bad| damaged_map(at.lsn, bad))?;
    }
    full.check_full().map_err(|bad| damaged_map(at.lsn, bad))?;
    Ok(full)
}

/// Joins a page to the map before it. Chunk indices become the whole map's.
pub(crate) fn append_page(whole: &mut Map, page: &Map) {
    use coffer_format::manifest::Source;
    let first = whole.chunks.len() as u32;
    whole.chunks.extend_from_slice(&page.chunks);
    whole.ranges.extend(page.ranges.iter().map(|range| {
        let mut range = *range;
        if let Source::Chunk { chunk, .. } = &mut range.source {
            *chunk += first;
        }
        range
    }));
}

/// Whether a pack has that chunk where the catalog says.
pub(crate) fn check_place(pack: &Pack, id: &ChunkId, at: &ChunkLocation) -> Result<()> {
    let mut raw_offset = 0;
    for chunk in &pack.chunks {
        if raw_offset == at.raw_offset && chunk.id == *id && chunk.raw_len == at.raw_len {
            return Ok(());
        }
        raw_offset += chunk.raw_len;
    }
    let what = "the catalog says of a chunk that it's here, and it isn't".to_owned();
    Err(VaultError::Damaged { segment: at.segment, offset: at.offset, what })
}

/// What there is to say of a chunk that no row names.
pub(crate) fn unlisted(id: &ChunkId) -> VaultError {
    VaultError::Damaged { segment: SegmentId(0), offset: 0, what: format!("chunk {id} isn't in the catalog") }
}

/// Decompresses a pack; checks its length, not its names.
pub(crate) fn unpack(pack: &Pack) -> Result<Vec<u8>> {
    let bad = |_| coffer_format::DecodeError::Invalid { what: "compressed payload of a pack" };
    let raw = match pack.compression {
        Compression::Raw => pack.payload.clone(),
        Compression::Zstd => zstd::bulk::decompress(&pack.payload, pack.raw_len()).map_err(bad)?,
    };
    if raw.len() != pack.raw_len() {
        return Err(coffer_format::DecodeError::Invalid { what: "raw length of a pack" }.into());
    }
    Ok(raw)
}

const NOT_HERE: &str =
    "it's missing: what a copy has of it comes back by itself, and `coffer verify` names what needs it";

fn missing(lsn: Lsn) -> VaultError {
    damaged_map(lsn, "the catalog and the segments disagree: `coffer verify` mends that")
}

fn damaged_map(lsn: Lsn, what: impl std::fmt::Display) -> VaultError {
    VaultError::Damaged { segment: SegmentId(0), offset: 0, what: format!("metadata record {lsn}: {what}") }
}
