//! Telling an agent what it sent once: after it lost its journal, or died between our commit and its own.

use std::cmp::Ordering;
use std::sync::Arc;

use coffer_format::entry::Body;
use coffer_format::event::Event;
use coffer_format::limits::PAGE;
use coffer_format::manifest::{Map, Source};
use coffer_format::op::Op;
use coffer_format::wire::{ChunkAt, Message, Recalled};
use coffer_format::{
    Blob, ChunkId, ConfigId, Lsn, NodeId, PAGE_SIGNATURE_LEN, PartNo, PointSeq, page_signature,
};
use rusqlite::{OptionalExtension, params};

use crate::catalog;
use crate::provable::readable;
use crate::reading::{Reading, Unpacked, unlisted};
use crate::vault::Vault;
use crate::{Result, VaultError};

/// Pages in one message, and chunks in one message.
const MESSAGE_PAGES: usize = 64 << 10;
const MESSAGE_CHUNKS: usize = 16 << 10;
/// Stands for a page that can't be read.
const UNREADABLE_PAGE: [u8; PAGE_SIGNATURE_LEN] = [0xff; PAGE_SIGNATURE_LEN];

impl Vault {
    /// This line of the vault's history counts from now on, and another was left: agents forget what they know of that.
    pub fn leave_line(&self) -> Result<()> {
        self.record(vec![Event::LineLeft])
    }

    /// The agent has begun to recall the configuration anew: from now on it goes by what the catalog has.
    pub fn note_recalled(&self, config: ConfigId) -> Result<()> {
        self.transact(move |batch| {
            let records = catalog::lacking(batch.db())?;
            batch.write_event(Event::JournalRecalledWithout { config, records }).map(|_| ())
        })
    }

    /// Where metadata is missing that no copy is known to have: all computers are asked to compare everything with what's left, so
    /// that their next points are whole. Returns whether that's new.
    pub fn go_on_without_lost_metadata(&self) -> Result<bool> {
        let mut is_asked = true;
        for config in self.reading.out_of_step()? {
            is_asked &= self.reading.must_recall(config)?;
        }
        if is_asked {
            return Ok(false);
        }
        self.transact(move |batch| {
            batch.audit(
                "box",
                "metadata is missing or came back: all computers compare everything with what the box has",
            )?;
            batch.write_event(Event::LineLeft).map(|_| ())
        })?;
        Ok(true)
    }
}

impl Reading {
    /// Whether what the agent knows of a configuration may be of another line of history.
    pub fn must_recall(&self, config: ConfigId) -> Result<bool> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT 1 FROM state WHERE key = ?1 || ?2")?;
            Ok(query.exists(params![catalog::RECALL, config.0])?)
        })
    }

    /// Whether that part was committed here at that time: what an agent remembers may be of another line of history, in which
    /// the same numbers were given to other parts.
    pub fn has_part(&self, config: ConfigId, point: PointSeq, part: PartNo, vault_ms: u64) -> Result<bool> {
        let lsn = self.readers.with(|db| {
            let mut query =
                db.prepare_cached("SELECT lsn FROM parts WHERE config = ?1 AND point = ?2 AND part = ?3")?;
            let row = query.query_row(params![config.0, point.0, part.0], |row| Ok(Lsn(row.get(0)?)));
            Ok(row.optional()?)
        })?;
        match lsn.map(|lsn| self.entry(lsn)).transpose() {
            Ok(entry) => Ok(entry.is_some_and(|entry| entry.vault_ms == vault_ms)),
            // Nobody can tell: the agent's memory isn't worse than the box's.
            Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Decode(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether this history has a record of exactly that time, as it has of whatever it ever said that it had taken in. Where it has, it
    /// wasn't set back to before that.
    pub fn has_record_of(&self, vault_ms: u64) -> Result<bool> {
        let (mut low, mut high) = (1, self.readers.with(catalog::applied)?.0);
        while low <= high {
            let middle = low + (high - low) / 2;
            let Some(entry) = readable(self.entry(Lsn(middle)))? else { return Ok(false) };
            match entry.vault_ms.cmp(&vault_ms) {
                Ordering::Equal => return Ok(true),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle - 1,
            }
        }
        Ok(false)
    }

    /// Sends every part from that one on, drafts included, then `CatchupEnd`.
    pub fn recall(
        &self,
        config: ConfigId,
        point: PointSeq,
        part: PartNo,
        send: &mut dyn FnMut(Message) -> Result<()>,
    ) -> Result<()> {
        let parts: Vec<(PointSeq, PartNo, Lsn)> = self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT point, part, lsn FROM parts WHERE config = ?1 AND (point, part) >= (?2, ?3) ORDER BY point, part",
            )?;
            let rows = query.query_map(params![config.0, point.0, part.0], |row| {
                Ok((PointSeq(row.get(0)?), PartNo(row.get(1)?), Lsn(row.get(2)?)))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        for (point, part, lsn) in parts {
            let entry = self.entry(lsn)?;
            let Body::Part { ops, .. } = &entry.body else { continue };
            send(Message::CatchupPart { point, part, ops: ops.iter().map(recalled).collect() })?;
        }
        send(Message::CatchupEnd)
    }

    /// Sends the signature of each page of a node's newest version, then `SignatureEnd`. A page that can't be read here gets one that
    /// no page has, so that it comes again.
    pub fn sign_pages(
        self: &Arc<Self>,
        config: ConfigId,
        node: NodeId,
        send: &mut dyn FnMut(Message) -> Result<()>,
    ) -> Result<()> {
        let (size, map) = self.newest_map(config, node)?;
        let key = self.files.keys().chunk;
        let mut source = map.as_ref().map(|map| Bytes { reading: self, map, last: None });
        let mut signatures = Vec::new();
        let (mut at, mut first_page) = (0, 0);
        let mut page = [0; PAGE];
        let zero_page = page_signature(&key, &page);
        while at < size {
            let len = (size - at).min(PAGE as u64) as usize;
            let is_hole = len == PAGE && map.as_ref().is_some_and(|map| is_hole(map, at, at + len as u64));
            let mut sign = || -> Result<[u8; PAGE_SIGNATURE_LEN]> {
                let read =
                    source.as_mut().map_or(Ok(None), |source| readable(source.read(at, &mut page[..len])))?;
                Ok(read.map_or(UNREADABLE_PAGE, |()| page_signature(&key, &page[..len])))
            };
            signatures.extend_from_slice(&if is_hole { zero_page } else { sign()? });
            at += len as u64;
            if signatures.len() >= MESSAGE_PAGES * PAGE_SIGNATURE_LEN || at == size {
                let full = std::mem::take(&mut signatures);
                let pages = (full.len() / PAGE_SIGNATURE_LEN) as u64;
                send(Message::SignaturePages { first_page, signatures: Blob(full) })?;
                first_page += pages;
            }
        }
        send(Message::SignatureEnd { size })
    }

    /// Sends the chunks that lie whole and undamaged in a node's newest version, then `SignatureEnd`.
    pub fn sign_chunks(
        &self,
        config: ConfigId,
        node: NodeId,
        send: &mut dyn FnMut(Message) -> Result<()>,
    ) -> Result<()> {
        let (size, map) = self.newest_map(config, node)?;
        let map = map.unwrap_or_default();
        let mut chunks = Vec::new();
        for range in &map.ranges {
            let Source::Chunk { chunk, offset: 0 } = range.source else { continue };
            let id = map.chunks[chunk as usize];
            // What is damaged isn't named, so that it comes again.
            let known = self.readers.with(|db| catalog::has_chunk(db, &id))?;
            if known.is_some_and(|at| u64::from(at.raw_len) == range.len) {
                chunks.push(ChunkAt { at: range.at, len: range.len as u32, id });
            }
            if chunks.len() >= MESSAGE_CHUNKS {
                send(Message::SignatureChunks { chunks: std::mem::take(&mut chunks) })?;
            }
        }
        send(Message::SignatureChunks { chunks })?;
        send(Message::SignatureEnd { size })
    }

    /// Size and map of a node's newest version; no map where its records can't be read.
    fn newest_map(&self, config: ConfigId, node: NodeId) -> Result<(u64, Option<Map>)> {
        let head = self.readers.with(|db| catalog::find_head(db, config, node))?;
        match head.and_then(|head| Some((head.size, head.chain?))) {
            Some((size, chain)) => Ok((size, readable(self.full_map(chain.at))?)),
            None => Err(VaultError::refused(
                coffer_format::wire::RefusalCode::OutOfStep,
                format!("the vault has no version of node {node}: the agent sends it whole"),
            )),
        }
    }

    /// The bytes of a file's version at a point, a piece at a time.
    pub fn read_file(
        self: &Arc<Self>,
        config: ConfigId,
        point: PointSeq,
        node: NodeId,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        let Some(map) = self.map_at(config, node, point)? else { return Ok(0) };
        let mut source = Bytes { reading: self, map: &map, last: None };
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < map.size {
            let len = (map.size - at).min(buffer.len() as u64) as usize;
            source.read(at, &mut buffer[..len])?;
            out(&buffer[..len])?;
            at += len as u64;
        }
        Ok(map.size)
    }
}

fn recalled(op: &Op) -> Recalled {
    match op {
        Op::Put { node, meta, .. } => Recalled::Put { node: *node, meta: meta.clone() },
        Op::Link { parent, name, node } => {
            Recalled::Link { parent: *parent, name: name.clone(), node: *node }
        }
        Op::Unlink { parent, name } => Recalled::Unlink { parent: *parent, name: name.clone() },
    }
}

/// Whether a full map has nothing but zeros there, in one range.
fn is_hole(map: &Map, at: u64, end: u64) -> bool {
    let first = map.ranges.partition_point(|range| range.end() <= at);
    map.ranges.get(first).is_some_and(|range| range.source == Source::Zero && range.end() >= end)
}

/// Reads a full map's bytes in ascending order, one pack at hand.
struct Bytes<'a> {
    reading: &'a Arc<Reading>,
    map: &'a Map,
    last: Option<Unpacked>,
}

impl Bytes<'_> {
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<()> {
        let end = at + out.len() as u64;
        let first = self.map.ranges.partition_point(|range| range.end() <= at);
        for range in self.map.ranges[first..].iter().take_while(|range| range.at < end) {
            let (from, to) = (range.at.max(at), range.end().min(end));
            let part = &mut out[(from - at) as usize..(to - at) as usize];
            match range.source {
                Source::Chunk { chunk, offset } => {
                    let id = self.map.chunks[chunk as usize];
                    let start = offset as usize + (from - range.at) as usize;
                    let bytes = self.chunk(&id)?.get(start..start + part.len());
                    part.copy_from_slice(bytes.ok_or_else(|| unlisted(&id))?);
                }
                Source::Zero | Source::Base { .. } => part.fill(0),
            }
        }
        Ok(())
    }

    fn chunk(&mut self, id: &ChunkId) -> Result<&[u8]> {
        if self.last.as_ref().is_none_or(|last| last.chunk(id).is_none()) {
            self.last = Some(self.reading.unpacked(id)?);
        }
        self.last.as_ref().and_then(|last| last.chunk(id)).ok_or_else(|| unlisted(id))
    }
}
