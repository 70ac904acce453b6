//! A small agent: changes a tree in memory, and says each change to the vault as a real agent would.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use coffer_format::entry::{Consistency, PointStats};
use coffer_format::manifest::{Map, Range, Source};
use coffer_format::node::{NodeKind, NodeMeta};
use coffer_format::op::{Name, Step, StepContent};
use coffer_format::segment::Stream;
use coffer_format::wire::Close;
use coffer_format::{ComputerId, ConfigId, NodeId, PartNo, PointSeq, limits};
use coffer_vault::{Committed, Result, Session, Vault};

use super::restored::pack_of;
use super::tree::{Object, Paths, Tree};

pub(crate) const PAGE: usize = limits::PAGE;

/// A commit that was tried: what it would make durable.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) point: PointSeq,
    pub(crate) parts: PartNo,
    pub(crate) closed: bool,
    pub(crate) tree: Tree,
}

/// What an agent remembers while no vault is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pub(crate) tree: Tree,
    pub(crate) next_node: u64,
    pub(crate) ticks: i64,
    /// Closed points that the vault acknowledged.
    pub(crate) points: BTreeMap<PointSeq, Paths>,
    /// Everything tried, in order; the first `acked` of them were acknowledged.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) acked: usize,
}

pub(crate) struct Agent {
    pub(crate) vault: Arc<Vault>,
    pub(crate) session: Session,
    pub(crate) config: ConfigId,
    pub(crate) point: PointSeq,
    pub(crate) part: PartNo,
    pub(crate) stream: Stream,
    pub(crate) steps: Vec<Step>,
    chunks: Vec<Vec<u8>>,
    pub(crate) memory: Memory,
}

impl Deref for Agent {
    type Target = Memory;
    fn deref(&self) -> &Memory {
        &self.memory
    }
}
impl DerefMut for Agent {
    fn deref_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }
}

impl Agent {
    pub(crate) fn new(vault: &Arc<Vault>, computer: ComputerId, config: ConfigId) -> Result<Agent> {
        Agent::resume(vault, computer, config, Memory::default())
    }

    /// Goes on where an agent left off; steps that it hadn't committed are forgotten.
    pub(crate) fn resume(
        vault: &Arc<Vault>,
        computer: ComputerId,
        config: ConfigId,
        memory: Memory,
    ) -> Result<Agent> {
        let mut session = Session::new(vault.clone(), computer);
        let standing = session.begin(config)?;
        Ok(Agent {
            vault: vault.clone(),
            session,
            config,
            point: standing.draft.map_or(PointSeq(standing.head.0 + 1), |draft| draft.point),
            part: standing.draft.map_or(PartNo(0), |draft| draft.parts),
            stream: Stream::Fresh,
            steps: Vec::new(),
            chunks: Vec::new(),
            memory: Memory { next_node: memory.next_node.max(standing.next_node.0), ..memory },
        })
    }

    /// Lets the vault go.
    pub(crate) fn leave(self) -> Memory {
        self.memory
    }

    fn number(&mut self) -> NodeId {
        self.next_node += 1;
        NodeId(self.next_node)
    }

    fn put(&mut self, node: NodeId, content: StepContent) {
        self.ticks += 1;
        let memory = &mut self.memory;
        let object = memory.tree.objects.get_mut(&node).unwrap();
        object.mtime_ns = memory.ticks;
        let mut meta = NodeMeta::new(object.kind);
        meta.size = object.bytes.len() as u64;
        meta.mtime_ns = object.mtime_ns;
        self.steps.push(Step::Put { node, meta, content });
    }

    pub(crate) fn link(&mut self, parent: NodeId, name: &str, node: NodeId) {
        self.tree.names.insert((parent, name.into()), node);
        self.steps.push(Step::Link { parent, name: Name::new(name.as_bytes()).unwrap(), node });
    }

    pub(crate) fn unlink(&mut self, parent: NodeId, name: &[u8]) {
        let node = self.tree.names.remove(&(parent, name.to_vec())).unwrap();
        self.steps.push(Step::Unlink { parent, name: Name::new(name).unwrap() });
        if self.tree.names_of(node).is_empty() {
            self.tree.objects.remove(&node);
        }
    }

    /// Takes a name away and everything below it.
    pub(crate) fn delete(&mut self, parent: NodeId, name: &[u8]) {
        let mut doomed = vec![(parent, name.to_vec())];
        let mut at = 0;
        while at < doomed.len() {
            let node = self.tree.names[&doomed[at]];
            if self.tree.objects[&node].kind == NodeKind::Directory {
                doomed.extend(self.tree.names.keys().filter(|(parent, _)| *parent == node).cloned());
            }
            at += 1;
        }
        doomed.iter().rev().for_each(|(parent, name)| self.unlink(*parent, name));
    }

    /// Gives a node another name; `touched`: with new metadata between the two steps, as a rename changes the time.
    pub(crate) fn rename(&mut self, parent: NodeId, name: &[u8], to: NodeId, new_name: &str, touched: bool) {
        let node = self.tree.names.remove(&(parent, name.to_vec())).unwrap();
        self.steps.push(Step::Unlink { parent, name: Name::new(name).unwrap() });
        if touched {
            self.touch(node);
        }
        self.link(to, new_name, node);
    }

    pub(crate) fn touch(&mut self, node: NodeId) {
        match self.tree.objects[&node].kind {
            NodeKind::File => self.put(node, StepContent::Same),
            _ => self.put(node, StepContent::None),
        }
    }

    pub(crate) fn make(&mut self, kind: NodeKind, parent: NodeId, name: &str) -> NodeId {
        let node = self.number();
        self.tree.objects.insert(node, Object { kind, bytes: Arc::default(), mtime_ns: 0 });
        self.put(node, StepContent::None);
        self.link(parent, name, node);
        node
    }

    pub(crate) fn make_file(&mut self, parent: NodeId, name: &str, bytes: Vec<u8>) -> NodeId {
        let node = self.number();
        self.tree.objects.insert(node, Object { kind: NodeKind::File, bytes: Arc::default(), mtime_ns: 0 });
        self.rewrite(node, bytes);
        self.link(parent, name, node);
        node
    }

    /// Says the whole file again.
    pub(crate) fn rewrite(&mut self, node: NodeId, bytes: Vec<u8>) {
        let mut map = Map { size: bytes.len() as u64, ..Map::default() };
        self.add_chunks(&mut map, 0, &bytes);
        self.set(node, bytes);
        self.put(node, StepContent::Whole { map });
    }

    /// Writes over what is there; may make the file longer, but leaves no gap.
    pub(crate) fn overwrite(&mut self, node: NodeId, at: usize, part: &[u8]) {
        let mut bytes = self.bytes(node);
        bytes.resize(bytes.len().max(at + part.len()), 0);
        bytes[at..at + part.len()].copy_from_slice(part);
        let mut map = Map { size: bytes.len() as u64, ..Map::default() };
        self.add_chunks(&mut map, at as u64, part);
        self.set(node, bytes);
        self.put(node, StepContent::Change { map });
    }

    /// Shifts what follows.
    pub(crate) fn insert(&mut self, node: NodeId, at: usize, part: &[u8]) {
        let mut bytes = self.bytes(node);
        let after = (bytes.len() - at) as u64;
        bytes.splice(at..at, part.iter().copied());
        let mut map = Map { size: bytes.len() as u64, ..Map::default() };
        self.add_chunks(&mut map, at as u64, part);
        let source = Source::Base { offset: at as u64 };
        map.push(Range { at: (at + part.len()) as u64, len: after, source });
        self.set(node, bytes);
        self.put(node, StepContent::Change { map });
    }

    pub(crate) fn truncate(&mut self, node: NodeId, size: usize) {
        let mut bytes = self.bytes(node);
        bytes.truncate(size);
        let map = Map { size: bytes.len() as u64, ..Map::default() };
        self.set(node, bytes);
        self.put(node, StepContent::Change { map });
    }

    /// Makes a hole; may make the file longer, but leaves no gap.
    pub(crate) fn hole(&mut self, node: NodeId, at: usize, len: usize) {
        let mut bytes = self.bytes(node);
        bytes.resize(bytes.len().max(at + len), 0);
        bytes[at..at + len].fill(0);
        let mut map = Map { size: bytes.len() as u64, ..Map::default() };
        map.push(Range { at: at as u64, len: len as u64, source: Source::Zero });
        self.set(node, bytes);
        self.put(node, StepContent::Change { map });
    }

    pub(crate) fn bytes(&self, node: NodeId) -> Vec<u8> {
        self.tree.objects[&node].bytes.to_vec()
    }

    fn set(&mut self, node: NodeId, bytes: Vec<u8>) {
        self.tree.objects.get_mut(&node).unwrap().bytes = Arc::new(bytes);
    }

    fn add_chunks(&mut self, map: &mut Map, at: u64, bytes: &[u8]) {
        let key = self.vault.chunk_key();
        let mut at = at;
        for chunk in bytes.chunks(PAGE) {
            let id = coffer_format::chunk_id(&key, chunk);
            let known = map.chunks.iter().position(|known| *known == id);
            let index = known.unwrap_or_else(|| {
                map.chunks.push(id);
                map.chunks.len() - 1
            });
            let source = Source::Chunk { chunk: index as u32, offset: 0 };
            map.push(Range { at, len: chunk.len() as u64, source });
            at += chunk.len() as u64;
            self.chunks.push(chunk.to_vec());
        }
    }

    /// Sends the chunks of the steps so far.
    pub(crate) fn send_packs(&mut self) -> Result<()> {
        let key = self.vault.chunk_key();
        let mut seen = BTreeSet::new();
        let chunks: Vec<_> =
            self.chunks.iter().filter(|chunk| seen.insert((*chunk).clone())).cloned().collect();
        for group in chunks.chunks(16) {
            self.session.put_pack(self.stream, pack_of(&key, group).0)?;
        }
        self.chunks.clear();
        Ok(())
    }

    /// Commits the steps so far as the next part.
    pub(crate) fn commit(&mut self, closes: bool) -> Result<Committed> {
        self.send_packs()?;
        let steps = std::mem::take(&mut self.steps);
        let parts = PartNo(self.part.0 + 1);
        let tree = self.tree.clone();
        let attempt = Attempt { point: self.point, parts, closed: closes, tree };
        self.attempts.push(attempt);
        let close = closes.then(|| Close {
            captured_ms: 1,
            consistency: Consistency::Crash,
            stats: PointStats::default(),
            remarks: Vec::new(),
        });
        let done = self.session.commit_part(self.config, self.point, self.part, steps, close)?;
        self.acked = self.attempts.len();
        if closes {
            let (point, paths) = (self.point, self.tree.paths());
            self.points.insert(point, paths);
            (self.point, self.part) = (PointSeq(self.point.0 + 1), PartNo(0));
        } else {
            self.part = parts;
        }
        Ok(done)
    }

    pub(crate) fn close(&mut self) -> Result<PointSeq> {
        self.commit(true).map(|done| done.point)
    }

    /// Every acknowledged point reads back as it was.
    pub(crate) fn check_all(&self) -> Result<()> {
        let kept: Vec<_> =
            self.vault.reading().points(self.config)?.iter().rev().map(|point| point.point).collect();
        assert_eq!(kept, self.points.keys().map(|point| point.0).collect::<Vec<_>>(), "kept points");
        for (point, model) in &self.points {
            super::restored::check_point(self.vault.reading(), self.config, *point, model)?;
        }
        Ok(())
    }
}
