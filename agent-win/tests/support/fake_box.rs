//! A box in memory: does what the protocol says, checks every promise, and can reproduce any file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use coffer_agent::wire::{INCOMING_MAX, OUTGOING_MAX, Wire};
use coffer_format::chunk::{Compression, Pack};
use coffer_format::limits::{FRAME_BODY_MAX, PAGE, PART_OPS_MAX, STEP_RANGES_MAX};
use coffer_format::manifest::{Map, Source, compose};
use coffer_format::node::NodeMeta;
use coffer_format::op::{Step, StepContent};
use coffer_format::wire::{ChunkAt, Close, Draft, Message, Recalled, SignatureKind};
use coffer_format::{ChunkId, NodeId, OrgId, PartNo, PointSeq, VaultId, chunk_id, page_signature, to_bytes};

use super::KEY;

#[derive(Debug, Clone, Default)]
pub struct Node {
    pub meta: Option<NodeMeta>,
    pub map: Option<Map>,
}

/// Everything the box keeps.
#[derive(Debug, Default)]
pub struct BoxState {
    pub chunks: HashMap<ChunkId, Vec<u8>>,
    pub nodes: BTreeMap<NodeId, Node>,
    pub links: BTreeMap<(NodeId, Vec<u8>), NodeId>,
    pub parts: Vec<((PointSeq, PartNo), Vec<Step>)>,
    pub closes: Vec<Close>,
    pub head: u64,
    pub draft_parts: u32,
    /// Counted over all connections.
    pub raw_received: u64,
    pub packs: u64,
    pub signatures_asked: u64,
    pub catchups: u64,
    /// Chunks named by a committed part; receiving one again is counted.
    pub committed: BTreeSet<ChunkId>,
    pub sent_again: u64,
    /// What it asks for again when a capture next begins.
    pub resend: Vec<NodeId>,
}

pub struct FakeBox {
    pub state: Arc<Mutex<BoxState>>,
}

impl FakeBox {
    pub fn new() -> FakeBox {
        FakeBox { state: Arc::default() }
    }

    /// A line that's cut after the agent's message number `cut_after`.
    pub fn connect(&self, cut_after: Option<u64>) -> (Wire, JoinHandle<()>) {
        let (to_box, from_agent) = sync_channel(OUTGOING_MAX);
        let (to_agent, from_box) = sync_channel(INCOMING_MAX);
        let state = self.state.clone();
        let thread = std::thread::spawn(move || serve(&state, &from_agent, &to_agent, cut_after));
        (Wire::new(to_box, from_box), thread)
    }
}

fn serve(
    state: &Mutex<BoxState>,
    from: &Receiver<Message>,
    to: &SyncSender<Message>,
    cut_after: Option<u64>,
) {
    let mut fresh: BTreeSet<ChunkId> = BTreeSet::new();
    for number in 1.. {
        let Ok(message) = from.recv() else { return };
        assert!(to_bytes(&message).len() <= FRAME_BODY_MAX);
        let answers = state.lock().unwrap().answer(message, &mut fresh);
        let is_cut = cut_after.is_some_and(|after| number >= after);
        for answer in answers {
            // Cut right after the commit: the agent never hears of it.
            if is_cut || to.send(answer).is_err() {
                return;
            }
        }
        if is_cut {
            return;
        }
    }
}

impl BoxState {
    fn answer(&mut self, message: Message, fresh: &mut BTreeSet<ChunkId>) -> Vec<Message> {
        match message {
            Message::Hello { .. } => vec![Message::Welcome {
                protocol: 1,
                name: "fake".into(),
                vault: VaultId([1; 16]),
                org: OrgId([2; 16]),
                vault_ms: 0,
            }],
            Message::Remembers { .. } => Vec::new(),
            Message::Begin { config } => {
                fresh.clear();
                let draft = Draft { point: PointSeq(self.head + 1), parts: PartNo(self.draft_parts) };
                let next_node = NodeId(self.nodes.keys().last().map_or(2, |last| last.0 + 1));
                let draft = (self.draft_parts > 0).then_some(draft);
                let begun = Message::Begun { config, head: PointSeq(self.head), draft, next_node };
                match std::mem::take(&mut self.resend) {
                    nodes if nodes.is_empty() => vec![begun],
                    nodes => vec![Message::Resend { config, nodes }, begun],
                }
            }
            Message::CatchupWanted { point, part, .. } => self.catch_up((point, part)),
            Message::PackData { pack, .. } => {
                self.pack(&pack, fresh);
                Vec::new()
            }
            Message::Part { config, point, part, steps, close } => {
                assert!(close.is_none(), "an agent of today says `LastPart`");
                self.commit((point, part), steps, fresh);
                vec![Message::Committed { config, point, part, closed: false, vault_ms: 0 }]
            }
            Message::LastPart { config, point, part, steps, close } => {
                self.commit((point, part), steps, fresh);
                self.closes.push(close);
                self.head += 1;
                self.draft_parts = 0;
                vec![Message::Committed { config, point, part, closed: true, vault_ms: 0 }]
            }
            Message::SignatureWanted { node, kind, .. } => {
                self.signatures_asked += 1;
                self.signatures(node, kind)
            }
            Message::Progress { .. } | Message::UpToDate { .. } | Message::Goodbye => Vec::new(),
            other => panic!("the agent said {other:?}"),
        }
    }

    fn catch_up(&mut self, from: (PointSeq, PartNo)) -> Vec<Message> {
        self.catchups += 1;
        let later = self.parts.iter().filter(|(at, _)| *at >= from);
        let recalled = later.map(|((point, part), steps)| Message::CatchupPart {
            point: *point,
            part: *part,
            ops: steps.iter().map(recall).collect(),
        });
        recalled.chain([Message::CatchupEnd]).collect()
    }

    fn pack(&mut self, pack: &Pack, fresh: &mut BTreeSet<ChunkId>) {
        let raw = match pack.compression {
            Compression::Raw => pack.payload.clone(),
            Compression::Zstd => zstd::bulk::decompress(&pack.payload, pack.raw_len()).unwrap(),
        };
        assert_eq!(raw.len(), pack.raw_len());
        let mut at = 0;
        for chunk in &pack.chunks {
            let bytes = &raw[at..at + chunk.raw_len as usize];
            at += bytes.len();
            assert_eq!(chunk_id(&KEY, bytes), chunk.id);
            self.sent_again += u64::from(self.committed.contains(&chunk.id)) * bytes.len() as u64;
            self.chunks.insert(chunk.id, bytes.to_vec());
            fresh.insert(chunk.id);
        }
        self.raw_received += raw.len() as u64;
        self.packs += 1;
    }

    fn commit(&mut self, at: (PointSeq, PartNo), steps: Vec<Step>, fresh: &BTreeSet<ChunkId>) {
        assert_eq!(at, (PointSeq(self.head + 1), PartNo(self.draft_parts)));
        assert!(steps.len() <= PART_OPS_MAX);
        self.part(at, steps, fresh);
        self.draft_parts += 1;
    }

    fn part(&mut self, at: (PointSeq, PartNo), steps: Vec<Step>, fresh: &BTreeSet<ChunkId>) {
        for step in &steps {
            match step {
                Step::Put { node, meta, content } => self.put(*node, meta, content, fresh),
                Step::Link { parent, name, node } => {
                    assert!(self.nodes.contains_key(node), "a link to an unknown node");
                    assert!(
                        *parent == NodeId::ROOT || self.nodes.contains_key(parent),
                        "a link in an unknown node"
                    );
                    let before = self.links.insert((*parent, name.as_bytes().to_vec()), *node);
                    assert!(before.is_none(), "a name given twice");
                }
                Step::Unlink { parent, name } => {
                    let gone = self.links.remove(&(*parent, name.as_bytes().to_vec()));
                    assert!(gone.is_some(), "no such name");
                }
            }
        }
        self.parts.push((at, steps));
    }

    fn put(&mut self, node: NodeId, meta: &NodeMeta, content: &StepContent, fresh: &BTreeSet<ChunkId>) {
        assert_ne!(node, NodeId::ROOT);
        let named = |map: &Map| {
            assert!(map.ranges.len() <= STEP_RANGES_MAX);
            assert!(map.chunks.iter().all(|id| fresh.contains(id)), "a chunk that wasn't sent");
        };
        let entry = self.nodes.entry(node).or_default();
        match content {
            StepContent::None => entry.map = None,
            StepContent::Same => assert!(entry.map.is_some()),
            StepContent::Whole { map } => {
                named(map);
                map.check_full().unwrap();
                entry.map = Some(map.clone());
            }
            StepContent::Change { map } => {
                named(map);
                let base = entry.map.as_ref().expect("a change of nothing");
                map.check_delta(base.size).unwrap();
                entry.map = Some(compose(base, map, true).unwrap());
            }
        }
        if let Some(map) = &entry.map {
            assert_eq!(map.size, meta.size);
            self.committed.extend(map.chunks.iter().copied());
        }
        entry.meta = Some(meta.clone());
    }

    fn signatures(&self, node: NodeId, kind: SignatureKind) -> Vec<Message> {
        let map = self.nodes[&node].map.clone().unwrap();
        let end = Message::SignatureEnd { size: map.size };
        if kind == SignatureKind::Pages {
            let bytes = self.bytes(&map);
            let pages = bytes.chunks(PAGE).flat_map(|page| page_signature(&KEY, page));
            let signatures = pages.collect::<Vec<u8>>().into();
            return vec![Message::SignaturePages { first_page: 0, signatures }, end];
        }
        let whole = map.ranges.iter().filter_map(|range| match range.source {
            Source::Chunk { chunk, offset: 0 } => {
                let id = map.chunks[chunk as usize];
                // What is lost isn't named.
                let len = self.chunks.get(&id)?.len() as u64;
                (len == range.len).then_some(ChunkAt { at: range.at, len: len as u32, id })
            }
            _ => None,
        });
        vec![Message::SignatureChunks { chunks: whole.collect() }, end]
    }

    pub fn bytes(&self, map: &Map) -> Vec<u8> {
        map.check_full().unwrap();
        let mut out = Vec::with_capacity(map.size as usize);
        for range in &map.ranges {
            match range.source {
                Source::Zero => out.resize(out.len() + range.len as usize, 0),
                Source::Chunk { chunk, offset } => {
                    let chunk = &self.chunks[&map.chunks[chunk as usize]];
                    out.extend_from_slice(&chunk[offset as usize..][..range.len as usize]);
                }
                Source::Base { .. } => panic!("a full map names a base"),
            }
        }
        out
    }

    pub fn find(&self, path: &Path) -> Option<NodeId> {
        use std::os::unix::ffi::OsStrExt;
        let names = path.as_os_str().as_bytes().split(|b| *b == b'/').filter(|name| !name.is_empty());
        let mut names = names;
        names.try_fold(NodeId::ROOT, |node, name| self.links.get(&(node, name.to_vec())).copied())
    }

    pub fn file(&self, path: &Path) -> Option<Vec<u8>> {
        let node = &self.nodes[&self.find(path)?];
        node.map.as_ref().map(|map| self.bytes(map))
    }

    pub fn last_steps(&self) -> Vec<&Step> {
        let point = PointSeq(self.head);
        self.parts.iter().filter(|((at, _), _)| *at == point).flat_map(|(_, steps)| steps).collect()
    }
}

fn recall(step: &Step) -> Recalled {
    match step.clone() {
        Step::Put { node, meta, .. } => Recalled::Put { node, meta },
        Step::Link { parent, name, node } => Recalled::Link { parent, name, node },
        Step::Unlink { parent, name } => Recalled::Unlink { parent, name },
    }
}
