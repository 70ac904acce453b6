//! Planning a restore: which nodes there are, and which packs hold their bytes, batch by batch.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use coffer_format::entry::Body;
use coffer_format::manifest::{Map, Source};
use coffer_format::node::{NodeKind, NodeMeta};
use coffer_format::op::{Content, Op};
use coffer_format::wire::{LeftOut, LeftOutWhy, Placement, RefusalCode, RestoreNode};
use coffer_format::{Blob, ChunkId, Locator, Lsn, NodeId, SegmentId};
use rusqlite::{OptionalExtension, params};

use super::loss::Loss;
use super::names::{Link, Names};
use super::tops::tops;
use super::{Restored, Wanted};
use crate::browse::{NodeAt, components};
use crate::catalog::{self, ChunkLocation, Doubt};
use crate::lost_found;
use crate::reading::{Reading, unlisted};
use crate::{Result, VaultError};

/// Most nodes and ranges that are worked on at once.
const BATCH_NODES: usize = 4096;
const BATCH_RANGES: usize = 200_000;
/// How often a restore looks through all segments for chunks that the catalog doesn't know.
const SEARCHES_MAX: usize = 16;

/// A restore being planned.
pub(super) struct Run<'a> {
    reading: &'a Arc<Reading>,
    wanted: &'a Wanted,
    next_index: u32,
    /// First name of each file, for hard links.
    first_names: HashMap<NodeId, u32>,
    /// Files that can't be had: their other names can't either.
    lost: HashMap<NodeId, Loss>,
    waiting: Vec<(Vec<u8>, NodeAt)>,
    left_out: Vec<LeftOut>,
    done: Restored,
    /// Segments that can't be had, and why.
    absent: BTreeMap<SegmentId, String>,
    names: Names,
    /// How often chunks were looked for in all segments.
    searches: usize,
}

/// A pack's place, and what of it goes where.
pub(super) type Packs = BTreeMap<(SegmentId, u64), (u64, Vec<Placed>)>;

/// What goes where of a chunk, and where the catalog says that it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) placement: Placement,
    pub(super) chunk: ChunkId,
    pub(super) at: ChunkLocation,
}

/// What is worked on at once.
pub(super) struct Batch {
    /// By rising index.
    pub(super) nodes: Vec<RestoreNode>,
    pub(super) packs: Packs,
    pub(super) left_out: Vec<LeftOut>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        reading: &'a Arc<Reading>,
        wanted: &'a Wanted,
        absent: BTreeMap<SegmentId, String>,
    ) -> Run<'a> {
        Run {
            reading,
            wanted,
            next_index: 0,
            first_names: HashMap::new(),
            lost: HashMap::new(),
            waiting: Vec::new(),
            left_out: Vec::new(),
            done: Restored::default(),
            absent,
            names: Names::default(),
            searches: 0,
        }
    }

    /// Plans everything wanted, batch by batch; ends early where nobody takes the batches any more.
    pub(super) fn plan_all(mut self, queue: &SyncSender<Batch>) -> Result<Restored> {
        self.walk_all(&mut |run| {
            let batch = run.take_batch()?;
            queue.send(batch).map_err(|_| VaultError::refused(RefusalCode::Busy, "the restore was ended"))
        })?;
        Ok(self.done)
    }

    /// Collects nodes; calls `full` whenever a batch is, and for what's left.
    pub(super) fn walk_all(&mut self, full: &mut dyn FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let (reading, wanted) = (self.reading, self.wanted);
        let (tops, missing) = tops(reading, wanted)?;
        self.done.left_out += missing.len() as u64;
        self.left_out = missing;
        let mut parents_sent = HashSet::new();
        if tops.iter().any(|(path, _)| path.is_empty()) {
            self.check_names()?;
        }
        if reading.is_doubtful(wanted.config, wanted.point)? {
            self.done.left_out += 1;
            self.left_out.push(LeftOut {
                index: None,
                path: Blob(b"/".to_vec()),
                why: LeftOutWhy::Damaged,
                what: "may be older than it was at this point, or lack files: metadata of the time before it is missing. `coffer verify` says \
                       whether a copy has it: then restore it again in a while, else from an earlier point"
                    .into(),
            });
        }
        if tops.iter().any(|(path, top)| path.is_empty() || top.node == lost_found::NODE) {
            self.tell_strays()?;
        }
        for (path, top) in tops {
            self.collect_way(&path, &mut parents_sent)?;
            if top.kind != NodeKind::Directory {
                continue;
            }
            let above = if path.is_empty() { path } else { [&path[..], b"/"].concat() };
            reading.walk(wanted.config, wanted.point, top.node, &mut |below, listing| {
                self.waiting.push(([&above[..], below].concat(), NodeAt::from(listing)));
                if self.waiting.len() >= BATCH_NODES { full(self) } else { Ok(()) }
            })?;
        }
        while !self.waiting.is_empty() || !self.left_out.is_empty() {
            full(self)?;
        }
        Ok(())
    }

    /// A name that the catalog has lost comes to nobody's mind; where all is wanted, its order and its index show it.
    fn check_names(&mut self) -> Result<()> {
        let Some(found) = self.reading.readers.with(catalog::wrong_names)? else { return Ok(()) };
        tracing::error!(found, "the catalog's names aren't what was written");
        self.reading.readers.doubt(Doubt::Pages);
        let what = "may lack files: the catalog's names aren't what was written. They're made again by themselves: restore it again in a minute";
        self.done.left_out += 1;
        self.left_out.push(LeftOut {
            index: None,
            path: Blob(b"/".to_vec()),
            why: LeftOutWhy::Damaged,
            what: what.into(),
        });
        Ok(())
    }

    /// What is given without the names that lead to it.
    fn tell_strays(&mut self) -> Result<()> {
        let found = self.reading.lookup(self.wanted.config, self.wanted.point, lost_found::NAME.as_bytes());
        if !found.is_ok_and(|found| found.node == lost_found::NODE) {
            return Ok(());
        }
        self.done.left_out += 1;
        self.left_out.push(LeftOut {
            index: None,
            path: Blob(lost_found::NAME.into()),
            why: LeftOutWhy::Damaged,
            what: "holds what nothing leads to any more, each by a number: the metadata that says what it's called, or what the folder is called \
                   that it was in, is missing"
                .into(),
        });
        Ok(())
    }

    /// The folders down to what's named, and itself.
    fn collect_way(&mut self, path: &[u8], sent: &mut HashSet<Vec<u8>>) -> Result<()> {
        let mut above = Vec::new();
        for name in components(path) {
            if !above.is_empty() {
                above.push(b'/');
            }
            above.extend_from_slice(name);
            if sent.insert(above.clone()) {
                let node = self.reading.lookup(self.wanted.config, self.wanted.point, &above)?;
                self.waiting.push((above.clone(), node));
            }
        }
        Ok(())
    }

    /// Takes as many collected nodes as fit, and finds which packs hold their bytes.
    pub(super) fn take_batch(&mut self) -> Result<Batch> {
        let (mut nodes, mut packs, mut ranges) = (Vec::new(), Packs::new(), 0);
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        for (path, node) in waiting.by_ref() {
            let index = self.next_index;
            self.next_index += 1;
            match self.try_plan(index, &path, &node, &mut packs)? {
                Plan::Given(Planned { meta, hard_link_to, ranges: more }) => {
                    ranges += more;
                    self.done.nodes += 1;
                    nodes.push(RestoreNode { index, path: Blob(path), meta, hard_link_to });
                }
                Plan::Lost(loss) => nodes.extend(self.leave_out(index, path, &node, loss)),
            }
            if ranges >= BATCH_RANGES {
                break;
            }
        }
        self.waiting = waiting.collect();
        Ok(Batch { nodes, packs, left_out: std::mem::take(&mut self.left_out) })
    }

    /// Names it. A folder comes all the same: what's in it needs it.
    fn leave_out(&mut self, index: u32, path: Vec<u8>, node: &NodeAt, loss: Loss) -> Option<RestoreNode> {
        self.done.left_out += 1;
        if node.kind != NodeKind::Directory {
            self.left_out.push(loss.of_file(None, path));
            self.lost.insert(node.node, loss);
            return None;
        }
        self.left_out.push(loss.of_folder(path.clone()));
        self.done.nodes += 1;
        let meta = NodeMeta { mode: 0o700, mtime_ns: node.mtime_ns, ..NodeMeta::new(NodeKind::Directory) };
        Some(RestoreNode { index, path: Blob(path), meta, hard_link_to: None })
    }

    /// A file is restored whole or not at all.
    fn try_plan(&mut self, index: u32, path: &[u8], node: &NodeAt, packs: &mut Packs) -> Result<Plan> {
        if let Some(loss) = self.lost.get(&node.node) {
            return Ok(Plan::Lost(loss.clone()));
        }
        match self.plan(index, path, node, packs) {
            Ok(planned) => Ok(Plan::Given(planned)),
            Err(VaultError::NotOnDisk(segments)) => {
                let known = segments.iter().find_map(|segment| self.absent.get(segment)).cloned();
                Ok(Plan::Lost(known.map_or_else(|| Loss::not_on_disk(&segments), Loss::away)))
            }
            Err(error) => Loss::of(error).map(Plan::Lost),
        }
    }

    fn plan(&mut self, index: u32, path: &[u8], node: &NodeAt, packs: &mut Packs) -> Result<Planned> {
        if lost_found::is_stand_in(node) {
            let meta = NodeMeta { mode: 0o700, ..NodeMeta::new(NodeKind::Directory) };
            return Ok(Planned { meta, hard_link_to: None, ranges: 0 });
        }
        let Version { at, meta, map } = self.version(node)?;
        if meta.kind != node.kind {
            return Err(self.contradicted("of what kind it is"));
        }
        self.check_name(path, node, at)?;
        let earlier = match node.kind {
            NodeKind::Directory => None,
            _ => self.first_names.get(&node.node).copied(),
        };
        let (Some(map), NodeKind::File, None) = (map, node.kind, earlier) else {
            if node.kind != NodeKind::Directory {
                self.first_names.entry(node.node).or_insert(index);
            }
            return Ok(Planned { meta, hard_link_to: earlier, ranges: 0 });
        };
        self.place(index, &map, packs)?;
        self.first_names.insert(node.node, index);
        self.done.bytes += map.size;
        Ok(Planned { meta, hard_link_to: None, ranges: map.ranges.len() })
    }

    /// What the record of a version says; the catalog only says where that is.
    fn version(&self, node: &NodeAt) -> Result<Version> {
        let row = self.reading.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT lsn, op, map_lsn, map_op FROM versions WHERE config = ?1 AND node = ?2 AND since = ?3",
            )?;
            let row = query.query_row(params![self.wanted.config.0, node.node.0, node.since.0], |row| {
                let at = Locator { lsn: Lsn(row.get(0)?), op: row.get(1)? };
                let map = row.get::<_, Option<u64>>(2)?.map(Lsn).zip(row.get(3)?);
                Ok((at, map.map(|(lsn, op)| Locator { lsn, op })))
            });
            Ok(row.optional()?)
        })?;
        let Some((at, listed)) = row else {
            return Err(match self.reading.is_doubtful(self.wanted.config, self.wanted.point)? {
                true => unlisted_row("the metadata that says what it held is missing".to_owned()),
                false => self.contradicted("which versions it has"),
            });
        };
        let (entry, op) = match self.reading.op(at) {
            // Another part, or none, is where it should be.
            Err(VaultError::Damaged { segment: SegmentId(0), .. }) => {
                return Err(self.contradicted("where it is"));
            }
            other => other?,
        };
        let Body::Part { config, point, ops, .. } = &entry.body else { unreachable!("`op` gives parts") };
        let Op::Put { node: put, meta, content } = &ops[op] else {
            return Err(self.contradicted("where it is"));
        };
        if (*config, *point, *put) != (self.wanted.config, node.since, node.node) {
            return Err(self.contradicted("which file it is"));
        }
        let map = match content {
            Content::None => None,
            Content::Same { map_at } => Some(*map_at),
            Content::Map { .. } => Some(at),
        };
        if (meta.size, meta.mtime_ns, map) != (node.size, node.mtime_ns, listed) {
            // The record has it all; only the catalog must be mended.
            self.reading.readers.doubt(Doubt::Rows);
        }
        let map = map.map(|at| self.reading.full_map(at)).transpose()?;
        Ok(Version { at: at.lsn, meta: meta.clone(), map })
    }

    /// Whether the record says too that this is its name.
    fn check_name(&mut self, path: &[u8], node: &NodeAt, version: Lsn) -> Result<()> {
        let Some(name) =
            components(path).last().filter(|_| node.node != NodeId::ROOT && node.parent != lost_found::NODE)
        else {
            return Ok(());
        };
        let link = Link { parent: node.parent, name, node: node.node };
        match self.names.is_linked(self.reading, self.wanted.config, node.linked, version, &link)? {
            Some(false) => Err(self.contradicted("what its name is")),
            // What can't be read can't contradict.
            Some(true) | None => Ok(()),
        }
    }

    fn contradicted(&self, what: &str) -> VaultError {
        self.reading.readers.doubt(Doubt::Rows);
        unlisted_row(format!(
            "the catalog doesn't say what the records do ({what}); it's being mended by itself: restore it again in a minute"
        ))
    }

    /// Nothing is placed where any of it can't be had.
    fn place(&mut self, index: u32, map: &Map, packs: &mut Packs) -> Result<()> {
        let places = self.find_chunks(map)?;
        let mut placed = Vec::with_capacity(map.ranges.len());
        for range in &map.ranges {
            let Source::Chunk { chunk, offset } = range.source else { continue };
            let at = places[chunk as usize].ok_or_else(|| unlisted(&map.chunks[chunk as usize]))?;
            let placement = Placement {
                index,
                at: range.at,
                len: range.len as u32,
                offset: at.raw_offset.wrapping_add(offset),
            };
            placed.push(Placed { placement, chunk: map.chunks[chunk as usize], at });
        }
        if let Some(one) = placed.iter().find(|one| self.absent.contains_key(&one.at.segment)) {
            return Err(VaultError::NotOnDisk(vec![one.at.segment]));
        }
        for one in placed {
            let ChunkLocation { segment, offset, record_len, .. } = one.at;
            packs.entry((segment, offset)).or_insert((record_len, Vec::new())).1.push(one);
        }
        Ok(())
    }

    /// Where the chunks lie that a map's ranges use. Those that the catalog doesn't know are looked for in the segments.
    fn find_chunks(&mut self, map: &Map) -> Result<Vec<Option<ChunkLocation>>> {
        let mut places = vec![None; map.chunks.len()];
        let mut unknown = BTreeSet::new();
        self.reading.readers.with(|db| {
            for range in &map.ranges {
                let Source::Chunk { chunk, .. } = range.source else { continue };
                let (place, id) = (&mut places[chunk as usize], map.chunks[chunk as usize]);
                if place.is_none() {
                    *place = catalog::find_chunk(db, &id)?;
                    if place.is_none() {
                        unknown.insert(id);
                    }
                }
            }
            Ok(())
        })?;
        if unknown.is_empty() || self.searches == SEARCHES_MAX {
            return Ok(places);
        }
        self.searches += 1;
        let found = self.reading.search_chunks(&unknown, &HashSet::new())?;
        if !found.is_empty() {
            self.reading.readers.doubt(Doubt::Rows);
        }
        for (place, id) in places.iter_mut().zip(&map.chunks) {
            *place = place.or_else(|| found.get(id).copied());
        }
        Ok(places)
    }
}

/// A version as its record says.
struct Version {
    at: Lsn,
    meta: NodeMeta,
    map: Option<Map>,
}

/// What becomes of a node.
enum Plan {
    Given(Planned),
    Lost(Loss),
}

/// What's sent of a node.
struct Planned {
    meta: NodeMeta,
    hard_link_to: Option<u32>,
    ranges: usize,
}

fn unlisted_row(what: String) -> VaultError {
    VaultError::Damaged { segment: SegmentId(0), offset: 0, what }
}
