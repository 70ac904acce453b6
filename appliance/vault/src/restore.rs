//! Giving versions back: a stream of nodes and packs, in the order in which the packs lie in the segments.

mod sending;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use coffer_format::entry::Body;
use coffer_format::manifest::{Map, Source};
use coffer_format::node::NodeKind;
use coffer_format::op::Op;
use coffer_format::wire::{Message, Placement, RefusalCode, RestoreNode};
use coffer_format::{Blob, ConfigId, Locator, Lsn, NodeId, PointSeq, SegmentId};
use rusqlite::params;

use self::sending::Sending;
use crate::browse::NodeAt;
use crate::catalog::{self, ChunkLocation};
use crate::reading::Reading;
use crate::{Result, VaultError};

/// Most nodes and ranges that are worked on at once.
const BATCH_NODES: usize = 4096;
const BATCH_RANGES: usize = 200_000;
/// Batches that are planned and not sent yet.
const BATCHES_AHEAD: usize = 1;
/// Most nodes in one message.
const MESSAGE_NODES: usize = 256;
/// Most placements in one message: with a whole pack they stay well below the longest frame.
const MESSAGE_PLACEMENTS: usize = 64 << 10;

/// What is to be restored.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub config: ConfigId,
    pub point: PointSeq,
    /// Paths from the configuration's root; none means everything.
    pub paths: Vec<Vec<u8>>,
    /// Whether packs may be sent whole although only part of them is asked for: never to a computer.
    pub trusted: bool,
}

/// What a restore gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    pub nodes: u64,
    pub bytes: u64,
}

type Send<'a> = dyn FnMut(Message) -> Result<()> + 'a;

impl Reading {
    /// Sends everything wanted: `RestoreNodes`, then `RestorePack`s, then `RestoreBatchEnd`, as often as it takes.
    pub fn restore(self: &Arc<Self>, wanted: &Wanted, send: &mut Send<'_>) -> Result<Restored> {
        self.restore_as(wanted, None, send).map(|(restored, _)| restored)
    }

    /// As [`Reading::restore`], leaving out the files that need one of the `absent` segments, or bytes that no known segment
    /// has. Returns their paths too.
    pub fn restore_without(
        self: &Arc<Self>,
        wanted: &Wanted,
        absent: &BTreeSet<SegmentId>,
        send: &mut Send<'_>,
    ) -> Result<(Restored, Vec<Blob>)> {
        self.restore_as(wanted, Some(absent), send)
    }

    fn restore_as(
        self: &Arc<Self>,
        wanted: &Wanted,
        absent: Option<&BTreeSet<SegmentId>>,
        send: &mut Send<'_>,
    ) -> Result<(Restored, Vec<Blob>)> {
        self.check_point(wanted.config, wanted.point)?;
        // The next batch is planned while this one is read and sent.
        let (queue, planned) = sync_channel(BATCHES_AHEAD);
        std::thread::scope(|scope| {
            let planner = scope.spawn(move || Run::new(self, wanted, absent).plan_all(&queue));
            let sent = planned
                .into_iter()
                .try_for_each(|batch| Sending { reading: self, wanted }.batch(batch, send));
            let done = planner.join().map_err(|_| VaultError::ReadOnly)?;
            sent.and(done)
        })
    }

    /// Segments that a restore needs and that aren't on disk.
    pub fn missing_for(self: &Arc<Self>, wanted: &Wanted) -> Result<Vec<SegmentId>> {
        self.check_point(wanted.config, wanted.point)?;
        if self.all_on_disk()? {
            return Ok(Vec::new());
        }
        let (mut missing, none) = (BTreeSet::new(), BTreeSet::new());
        let mut run = Run::new(self, wanted, Some(&none));
        let mut look = |run: &mut Run<'_>| -> Result<()> {
            let (_, packs) = run.take_batch()?;
            missing.extend(packs.keys().map(|pack| pack.0));
            Ok(())
        };
        run.walk_all(&mut look)?;
        while !run.batch.is_empty() {
            look(&mut run)?;
        }
        self.not_on_disk(missing.into_iter().collect())
    }

    fn all_on_disk(&self) -> Result<bool> {
        self.readers.with(|db| {
            Ok(!db.prepare_cached("SELECT 1 FROM segments WHERE on_disk = 0 LIMIT 1")?.exists([])?)
        })
    }

    fn not_on_disk(&self, mut segments: Vec<SegmentId>) -> Result<Vec<SegmentId>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT 1 FROM segments WHERE segment = ?1 AND on_disk = 1")?;
            let mut error = None;
            segments.retain(|segment| match query.exists([segment.0]) {
                Ok(there) => !there,
                Err(e) => {
                    error = Some(e);
                    true
                }
            });
            error.map_or(Ok(()), Err)?;
            Ok(segments)
        })
    }
}

struct Run<'a> {
    reading: &'a Arc<Reading>,
    wanted: &'a Wanted,
    next_index: u32,
    /// First name of each file, for hard links.
    first_names: HashMap<NodeId, u32>,
    batch: Vec<(Vec<u8>, NodeAt)>,
    done: Restored,
    /// Segments that can't be had; `None` fails where anything is missing.
    absent: Option<&'a BTreeSet<SegmentId>>,
    /// Files left out because they need what is absent.
    left_out: Vec<Blob>,
    /// Of the batch: files with bytes that no known segment has.
    unknown: BTreeSet<u32>,
}

/// A pack's place, and what of it goes where.
type Packs = BTreeMap<(SegmentId, u64), (u64, Vec<Placement>)>;

/// What is worked on at once.
type Batch = (Vec<RestoreNode>, Packs);

impl<'a> Run<'a> {
    fn new(
        reading: &'a Arc<Reading>,
        wanted: &'a Wanted,
        absent: Option<&'a BTreeSet<SegmentId>>,
    ) -> Run<'a> {
        Run {
            reading,
            wanted,
            next_index: 0,
            first_names: HashMap::new(),
            batch: Vec::new(),
            done: Restored::default(),
            absent,
            left_out: Vec::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// Collects nodes; calls `full` whenever a batch is.
    fn walk_all(&mut self, full: &mut dyn FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let (reading, wanted) = (self.reading, self.wanted);
        let everything = [Vec::new()];
        let paths = if wanted.paths.is_empty() { &everything[..] } else { &wanted.paths[..] };
        let mut parents_sent = std::collections::HashSet::new();
        for path in paths {
            let mut above = Vec::new();
            for name in crate::browse::components(path) {
                if !above.is_empty() {
                    above.push(b'/');
                }
                above.extend_from_slice(name);
                if parents_sent.insert(above.clone()) {
                    let node = reading.lookup(wanted.config, wanted.point, &above)?;
                    self.batch.push((above.clone(), node));
                }
            }
            let top = reading.lookup(wanted.config, wanted.point, path)?;
            if top.kind != NodeKind::Directory {
                continue;
            }
            reading.walk(wanted.config, wanted.point, top.node, &mut |below, listing| {
                let mut whole = above.clone();
                if !whole.is_empty() {
                    whole.push(b'/');
                }
                whole.extend_from_slice(below);
                if !parents_sent.is_empty() && parents_sent.contains(&whole) {
                    return Ok(());
                }
                let since = PointSeq(listing.since);
                let node = NodeAt {
                    node: listing.node,
                    kind: listing.kind,
                    size: listing.size,
                    mtime_ns: listing.mtime_ns,
                    since,
                };
                self.batch.push((whole, node));
                if self.batch.len() >= BATCH_NODES { full(self) } else { Ok(()) }
            })?;
        }
        Ok(())
    }

    /// Plans everything wanted, batch by batch; ends early where nobody takes the batches any more.
    fn plan_all(mut self, queue: &SyncSender<Batch>) -> Result<(Restored, Vec<Blob>)> {
        let mut plan = |run: &mut Self| -> Result<()> {
            while !run.batch.is_empty() {
                let batch = run.take_batch()?;
                queue
                    .send(batch)
                    .map_err(|_| VaultError::refused(RefusalCode::Busy, "the restore was ended"))?;
            }
            Ok(())
        };
        self.walk_all(&mut plan)?;
        plan(&mut self)?;
        Ok((self.done, self.left_out))
    }

    /// Takes as many collected nodes as fit, and finds which packs hold their bytes.
    fn take_batch(&mut self) -> Result<Batch> {
        let mut nodes = Vec::new();
        let mut packs = Packs::new();
        let mut ranges = 0;
        let waiting = std::mem::take(&mut self.batch);
        let mut waiting = waiting.into_iter();
        for (path, node) in waiting.by_ref() {
            let index = self.next_index;
            self.next_index += 1;
            let is_file = node.kind == NodeKind::File;
            let earlier = if is_file { self.first_names.get(&node.node).copied() } else { None };
            let (meta, map) = self.version(&node)?;
            self.done.nodes += 1;
            nodes.push(RestoreNode { index, path: Blob(path), meta, hard_link_to: earlier });
            if earlier.is_some() || !is_file {
                continue;
            }
            self.first_names.insert(node.node, index);
            if let Some(map) = map {
                ranges += map.ranges.len();
                self.done.bytes += map.size;
                match self.place(index, &map, &mut packs) {
                    Err(VaultError::Damaged { .. }) if self.absent.is_some() => {
                        self.unknown.insert(index);
                    }
                    placed => placed?,
                }
            }
            if ranges >= BATCH_RANGES {
                break;
            }
        }
        self.batch = waiting.collect();
        self.leave_out_absent(&mut nodes, &mut packs);
        Ok((nodes, packs))
    }

    /// A file is restored whole or not at all.
    fn leave_out_absent(&mut self, nodes: &mut Vec<RestoreNode>, packs: &mut Packs) {
        let Some(absent) = self.absent else { return };
        let mut without = std::mem::take(&mut self.unknown);
        packs.retain(|(segment, _), (_, placements)| {
            let absent = absent.contains(segment);
            if absent {
                without.extend(placements.iter().map(|placement| placement.index));
            }
            !absent
        });
        packs.values_mut().for_each(|(_, placements)| placements.retain(|one| !without.contains(&one.index)));
        packs.retain(|_, (_, placements)| !placements.is_empty());
        nodes.retain(|node| {
            let stays = !without.contains(&node.index);
            if !stays {
                self.done.nodes -= 1;
                self.done.bytes -= node.meta.size.min(self.done.bytes);
                self.left_out.push(node.path.clone());
            }
            stays
        });
    }

    fn version(&self, node: &NodeAt) -> Result<(coffer_format::node::NodeMeta, Option<Map>)> {
        let row = self.reading.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT lsn, op, map_lsn, map_op FROM versions WHERE config = ?1 AND node = ?2 AND since = ?3",
            )?;
            Ok(query.query_row(params![self.wanted.config.0, node.node.0, node.since.0], |row| {
                let at = Locator { lsn: Lsn(row.get(0)?), op: row.get(1)? };
                Ok((at, row.get::<_, Option<u64>>(2)?, row.get::<_, Option<u32>>(3)?))
            })?)
        })?;
        let (at, map_lsn, map_op) = row;
        let (entry, op) = self.reading.op(at)?;
        let Body::Part { ops, .. } = &entry.body else { unreachable!("`op` gives parts") };
        let Op::Put { meta, .. } = &ops[op] else {
            return Err(VaultError::Damaged {
                segment: SegmentId(0),
                offset: 0,
                what: format!("metadata record {}", at.lsn),
            });
        };
        let map = match (map_lsn, map_op) {
            (Some(lsn), Some(op)) => Some(self.reading.full_map(Locator { lsn: Lsn(lsn), op })?),
            _ => None,
        };
        Ok((meta.clone(), map))
    }

    fn place(&self, index: u32, map: &Map, packs: &mut Packs) -> Result<()> {
        self.reading.readers.with(|db| {
            for range in &map.ranges {
                let Source::Chunk { chunk, offset } = range.source else { continue };
                let id = map.chunks[chunk as usize];
                let at = catalog::find_chunk(db, &id)?.ok_or_else(|| VaultError::Damaged {
                    segment: SegmentId(0),
                    offset: 0,
                    what: format!("chunk {id} isn't in the catalog"),
                })?;
                let placement =
                    Placement { index, at: range.at, len: range.len as u32, offset: at.raw_offset + offset };
                let ChunkLocation { segment, offset, record_len, .. } = at;
                packs.entry((segment, offset)).or_insert((record_len, Vec::new())).1.push(placement);
            }
            Ok(())
        })
    }
}
