//! Taking in what one computer sends. A session can only add, and only to its own computer's configurations.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use coffer_format::chunk::{ChunkEntry, Compression, Pack};
use coffer_format::entry::Body;
use coffer_format::op::{Step, StepContent};
use coffer_format::segment::Stream;
use coffer_format::wire::{Close, Draft, RefusalCode};
use coffer_format::{ChunkId, ComputerId, ConfigId, Encode, NodeId, PartNo, PointSeq, chunk_id, limits};
use rusqlite::{OptionalExtension, params};

use crate::catalog;
use crate::commit::Batch;
use crate::maps::{join_steps, keep_step};
use crate::reading::{Reading, unpack};
use crate::takeover::SessionNo;
use crate::vault::Vault;
use crate::{Result, VaultError};

/// Chunks that a session may name: those it sent before its last few parts. Older ones must be sent again.
const ACCEPTED_MAX: usize = 64 << 10;

/// Names of the chunks that a session has sent, oldest first.
#[derive(Default)]
pub(crate) struct Accepted {
    order: VecDeque<ChunkId>,
    names: HashSet<ChunkId>,
}

impl Accepted {
    fn add(&mut self, id: ChunkId) {
        if self.names.insert(id) {
            self.order.push_back(id);
        }
        while self.order.len() > ACCEPTED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.names.remove(&oldest);
            }
        }
    }
    pub(crate) fn ids(&self) -> impl Iterator<Item = &ChunkId> {
        self.order.iter()
    }
}

/// One computer's connection.
pub struct Session {
    vault: Arc<Vault>,
    computer: ComputerId,
    number: SessionNo,
    accepted: Arc<Mutex<Accepted>>,
    stored: u64,
}

/// Where a configuration's history stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Newest closed point; 0 where there's none. Where records are lost, the newest that they may have closed.
    pub head: PointSeq,
    pub draft: Option<Draft>,
    /// The first number that no node has had.
    pub next_node: NodeId,
}

/// Each time that a configuration goes on without lost records, its nodes get numbers that those didn't have.
const NODES_APART: u64 = 1 << 40;

/// A part that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    pub point: PointSeq,
    pub part: PartNo,
    pub closed: bool,
    pub vault_ms: u64,
}

impl Session {
    pub fn new(vault: Arc<Vault>, computer: ComputerId) -> Session {
        let accepted = Arc::new(Mutex::new(Accepted::default()));
        let mut all = vault.in_flight.lock().expect("nothing panics while it lists sessions");
        all.retain(|session| session.strong_count() > 0);
        all.push(Arc::downgrade(&accepted));
        drop(all);
        let number = vault.begun.new_session();
        Session { vault, computer, number, accepted, stored: 0 }
    }

    /// Starts over: chunks sent before can't be named any more, and parts of sessions before are refused from here on.
    pub fn begin(&mut self, config: ConfigId) -> Result<Standing> {
        *self.accepted.lock().expect("one session, one thread") = Accepted::default();
        self.stored = 0;
        let computer = self.computer;
        self.vault.reading.check_owner(computer, config)?;
        self.vault.begun.begin(config, self.number);
        // A batch at work may hold a part of a session before; where the history stands shows once it's over.
        self.vault.finish_batch()?;
        self.vault.reading.readers.with(|db| standing(db, config))
    }

    /// Takes a pack: checks every chunk's name against its bytes, and keeps the chunks that the vault doesn't have.
    pub fn put_pack(&mut self, stream: Stream, pack: Pack) -> Result<()> {
        self.vault.check_intake()?;
        let raw = unpack(&pack)?;
        self.check_names(&pack, &raw)?;
        let stream = if stream == Stream::Meta { Stream::Fresh } else { stream };
        // Named and looked up behind one gate, so that reclaim can't drop what is found.
        let vault = self.vault.clone();
        let _open = vault.gate.read().map_err(|_| VaultError::ReadOnly)?;
        let mut accepted = self.accepted.lock().expect("one session, one thread");
        pack.chunks.iter().for_each(|chunk| accepted.add(chunk.id));
        drop(accepted);
        let missing = self.vault.missing(&pack)?;
        if missing.is_empty() {
            return Ok(());
        }
        let pack = if missing.len() == pack.chunks.len() { pack } else { repack(&pack, &raw, &missing)? };
        self.stored += self.vault.append_pack(stream, &pack)?;
        Ok(())
    }

    fn check_names(&self, pack: &Pack, raw: &[u8]) -> Result<()> {
        let key = self.vault.chunk_key();
        let mut rest = raw;
        for chunk in &pack.chunks {
            let (bytes, after) = rest.split_at(chunk.raw_len as usize);
            rest = after;
            if chunk_id(&key, bytes) != chunk.id {
                return Err(VaultError::refused(
                    RefusalCode::BadRequest,
                    "a chunk's bytes don't match its name: the data was damaged on its way; it is sent again",
                ));
            }
        }
        Ok(())
    }

    /// Makes a part durable, and with it all packs before it.
    pub fn commit_part(
        &mut self,
        config: ConfigId,
        point: PointSeq,
        part: PartNo,
        steps: Vec<Step>,
        close: Option<Close>,
    ) -> Result<Committed> {
        self.prepare_part(config, point, part, steps, close)?.commit()
    }

    /// Checks a part, so that it can be committed while more packs come in. Parts are committed in their order.
    pub fn prepare_part(
        &mut self,
        config: ConfigId,
        point: PointSeq,
        part: PartNo,
        steps: Vec<Step>,
        close: Option<Close>,
    ) -> Result<PreparedPart> {
        self.vault.check_intake()?;
        self.check_chunks(&steps)?;
        let stored = self.stored;
        if close.is_some() {
            self.stored = 0;
        }
        let (vault, computer, session) = (self.vault.clone(), self.computer, self.number);
        Ok(PreparedPart { vault, computer, session, config, point, part, steps, close, stored })
    }

    /// A computer may only name what it has sent: or it could read another computer's data by guessing names.
    fn check_chunks(&self, steps: &[Step]) -> Result<()> {
        let accepted = self.accepted.lock().expect("one session, one thread");
        let maps = steps.iter().filter_map(|step| match step {
            Step::Put { content: StepContent::Whole { map } | StepContent::Change { map }, .. } => Some(map),
            _ => None,
        });
        for map in maps {
            if map.chunks.iter().any(|id| !accepted.names.contains(id)) {
                return Err(VaultError::refused(
                    RefusalCode::OutOfStep,
                    "a part names a chunk that wasn't sent in this session: the agent begins again",
                ));
            }
            if map.ranges.len() > limits::STEP_RANGES_MAX {
                return Err(VaultError::refused(
                    RefusalCode::BadRequest,
                    "a step is too long: update the agent",
                ));
            }
        }
        Ok(())
    }
}

/// A checked part that isn't durable yet.
pub struct PreparedPart {
    vault: Arc<Vault>,
    computer: ComputerId,
    session: SessionNo,
    config: ConfigId,
    point: PointSeq,
    part: PartNo,
    steps: Vec<Step>,
    close: Option<Close>,
    stored: u64,
}

impl PreparedPart {
    /// Makes it durable, and with it all packs that came before it.
    pub fn commit(self) -> Result<Committed> {
        let PreparedPart { vault, computer, session, config, point, part, steps, close, stored } = self;
        let (closed, all) = (close.is_some(), vault.clone());
        let vault_ms = vault.transact(move |batch| {
            check_owner(batch.db(), computer, config)?;
            all.begun.check(config, session)?;
            check_turn(&standing(batch.db(), config)?, point, part)?;
            write_part(batch, config, point, part, steps)?;
            if let Some(close) = close {
                write_close(batch, config, point, part, close, stored)?;
            }
            Ok(batch.now_ms())
        })?;
        Ok(Committed { point, part, closed, vault_ms })
    }
}

impl Vault {
    /// Chunks of a pack that the vault doesn't have undamaged, by index.
    fn missing(&self, pack: &Pack) -> Result<Vec<usize>> {
        let mut unknown = Vec::new();
        {
            let data = self.data.lock().map_err(|_| VaultError::ReadOnly)?;
            unknown
                .extend((0..pack.chunks.len()).filter(|at| !data.pending.contains_key(&pack.chunks[*at].id)));
        }
        self.reading.readers.with(|db| {
            let mut missing = Vec::new();
            for at in unknown {
                if catalog::has_chunk(db, &pack.chunks[at].id)?.is_none() {
                    missing.push(at);
                }
            }
            Ok(missing)
        })
    }

    /// Appends a pack; it's durable with the next commit. Returns the bytes it took.
    pub(crate) fn append_pack(&self, stream: Stream, pack: &Pack) -> Result<u64> {
        let mut data = self.data.lock().map_err(|_| VaultError::ReadOnly)?;
        let appended = data.open_for(self, stream).and_then(|open| {
            let (offset, record_len) = open.append_pack(pack.chunks.clone(), |w| pack.encode(w))?;
            self.note_damage(open);
            Ok((open.id(), offset, record_len))
        });
        let (segment, offset, record_len) = self.poison_unless_full(appended)?;
        for (id, at) in catalog::pack_locations(segment, offset, record_len, &pack.chunks) {
            data.add_pending(id, at);
        }
        Ok(record_len)
    }
}

/// A pack of some of a pack's chunks.
fn repack(pack: &Pack, raw: &[u8], keep: &[usize]) -> Result<Pack> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut chunks: Vec<ChunkEntry> = Vec::with_capacity(keep.len());
    let mut at = 0;
    for (index, chunk) in pack.chunks.iter().enumerate() {
        if keep.binary_search(&index).is_ok() {
            bytes.extend_from_slice(&raw[at..at + chunk.raw_len as usize]);
            chunks.push(*chunk);
        }
        at += chunk.raw_len as usize;
    }
    let packed = zstd::bulk::compress(&bytes, 3).map_err(VaultError::io("compress", "a pack"))?;
    Ok(match packed.len() < bytes.len() {
        true => Pack { chunks, compression: Compression::Zstd, payload: packed },
        false => Pack { chunks, compression: Compression::Raw, payload: bytes },
    })
}

impl Reading {
    /// Refuses what isn't the computer's own.
    pub fn check_owner(&self, computer: ComputerId, config: ConfigId) -> Result<()> {
        self.readers.with(|db| check_owner(db, computer, config))
    }
}

fn check_owner(db: &rusqlite::Connection, computer: ComputerId, config: ConfigId) -> Result<()> {
    let mut query = db.prepare_cached("SELECT 1 FROM configurations WHERE config = ?1 AND computer = ?2")?;
    match query.exists(params![config.0, computer.0])? {
        true => Ok(()),
        false => Err(VaultError::refused(
            RefusalCode::NotAllowed,
            format!(
                "configuration {config} isn't one of this computer's: a computer can only add to its own"
            ),
        )),
    }
}

/// Numbers that a lost record may have given aren't given again: it may come back.
fn standing(db: &rusqlite::Connection, config: ConfigId) -> Result<Standing> {
    let newest = db
        .prepare_cached(
            "SELECT point, parts, closed_ms IS NOT NULL FROM points WHERE config = ?1 ORDER BY point DESC LIMIT 1",
        )?
        .query_row([config.0], |row| Ok((PointSeq(row.get(0)?), PartNo(row.get(1)?), row.get::<_, bool>(2)?)))
        .optional()?;
    let unknown = catalog::unknown_since_newest_part(db, config)?;
    // A draft of which a part is lost can't be finished: its number is used up.
    let is_all_there = match newest {
        Some((point, parts, false)) => catalog::has_parts(db, config, point, parts)?,
        _ => true,
    };
    let (head, draft) = match newest {
        Some((point, parts, false)) if unknown == 0 && is_all_there => {
            let head: Option<u64> = db
                .prepare_cached("SELECT MAX(point) FROM points WHERE config = ?1 AND closed_ms IS NOT NULL")?
                .query_row([config.0], |row| row.get(0))?;
            (PointSeq(head.unwrap_or(0)), Some(Draft { point, parts }))
        }
        newest => (PointSeq(newest.map_or(0, |(point, _, _)| point.0) + unknown), None),
    };
    let node: Option<u64> = db
        .prepare_cached("SELECT MAX(node) FROM versions WHERE config = ?1")?
        .query_row([config.0], |row| row.get(0))?;
    let free = catalog::times_gone_on_without(db, config)? * NODES_APART;
    Ok(Standing { head, draft, next_node: NodeId((node.unwrap_or(1).max(1) + 1).max(free)) })
}

fn check_turn(standing: &Standing, point: PointSeq, part: PartNo) -> Result<()> {
    let expected = match standing.draft {
        Some(draft) => (draft.point, draft.parts),
        None => (PointSeq(standing.head.0 + 1), PartNo(0)),
    };
    if (point, part) == expected {
        return Ok(());
    }
    Err(VaultError::refused(
        RefusalCode::OutOfStep,
        format!(
            "part {part} of point {point} was sent, part {} of point {} is due: the agent catches up",
            expected.1, expected.0
        ),
    ))
}

fn write_part(
    batch: &mut Batch<'_>,
    config: ConfigId,
    point: PointSeq,
    part: PartNo,
    steps: Vec<Step>,
) -> Result<()> {
    if steps.len() > limits::PART_OPS_MAX {
        return Err(VaultError::refused(RefusalCode::BadRequest, "a part is too long: update the agent"));
    }
    let ops = join_steps(steps)?
        .into_iter()
        .map(|step| keep_step(batch, config, step))
        .collect::<Result<Vec<_>>>()?;
    batch.write(Body::Part { config, point, part, ops }).map(|_| ())
}

fn write_close(
    batch: &mut Batch<'_>,
    config: ConfigId,
    point: PointSeq,
    part: PartNo,
    close: Close,
    stored: u64,
) -> Result<()> {
    let Close { captured_ms, consistency, mut stats, mut remarks } = close;
    stats.stored = stored;
    remarks.truncate(limits::REPORT_LINES_MAX);
    let data = batch.data;
    let parts = PartNo(part.0 + 1);
    batch
        .write(Body::PointClosed { config, point, parts, captured_ms, consistency, stats, data, remarks })
        .map(|_| ())
}
