//! A branch's vault, and files that are backed up into it.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coffer_format::chunk::{ChunkEntry, Compression, Pack};
use coffer_format::entry::{Consistency, PointStats};
use coffer_format::manifest::{Map, Range, Source};
use coffer_format::node::{NodeKind, NodeMeta};
use coffer_format::op::{Name, Step, StepContent};
use coffer_format::segment::Stream;
use coffer_format::wire::Close;
use coffer_format::{
    ComputerId, ConfigId, FileHash, NodeId, OrgId, PartNo, PointSeq, SegmentId, VaultId, chunk_id,
};
use coffer_link::EnrolledBranch;
use coffer_vault::disk::RealDisk;
use coffer_vault::{BoxKey, Opener, Options, RecoveryPublic, Session, SystemClock, Vault};
use tempfile::TempDir;

/// Files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) struct Branch {
    dir: TempDir,
    pub(crate) vault: Arc<Vault>,
    pub(crate) config: ConfigId,
    session: Session,
    nodes: BTreeMap<String, NodeId>,
    next_node: u64,
    point: u64,
    /// What each point holds.
    pub(crate) points: BTreeMap<u64, Files>,
    files: Files,
    key: BoxKey,
}

impl Branch {
    pub(crate) fn of(enrolled: &EnrolledBranch) -> Branch {
        Branch::with(VaultId([0xb0; 16]), enrolled.org, enrolled.chunk_key, enrolled.recovery_key)
    }

    pub(crate) fn with(vault: VaultId, org: OrgId, chunk_key: [u8; 32], recovery_key: [u8; 32]) -> Branch {
        let dir = TempDir::new().unwrap();
        let key = BoxKey::generate().unwrap();
        let recovery = RecoveryPublic(recovery_key);
        Vault::create(&RealDisk, dir.path(), vault, org, chunk_key, &key, &recovery, &SystemClock).unwrap();
        let vault = open(dir.path(), key.clone());
        let secret = FileHash([7; 32]);
        vault.issue_code(secret, "pc1", u64::MAX >> 1, "test").unwrap();
        let computer = vault.enrol_computer(secret, "linux", |_| Some(FileHash([1; 32]))).unwrap();
        let config = vault.set_configuration(computer, "all", "", "test").unwrap();
        let mut session = Session::new(vault.clone(), computer);
        session.begin(config).unwrap();
        let (nodes, points, files) = (BTreeMap::new(), BTreeMap::new(), Files::new());
        Branch { dir, vault, config, session, nodes, next_node: 2, point: 0, points, files, key }
    }

    /// Backs these files up (whole) as a new point. Returns its number.
    pub(crate) fn back_up(&mut self, stream: Stream, files: &[(&str, Vec<u8>)]) -> u64 {
        let mut steps = Vec::new();
        for (name, bytes) in files {
            let map = self.send(stream, bytes);
            let known = self.nodes.get(*name).copied();
            let node = known.unwrap_or(NodeId(self.next_node));
            let mut meta = NodeMeta::new(NodeKind::File);
            meta.size = bytes.len() as u64;
            steps.push(Step::Put { node, meta, content: StepContent::Whole { map } });
            if known.is_none() {
                self.next_node += 1;
                self.nodes.insert((*name).to_owned(), node);
                let name = Name::new(name.as_bytes()).unwrap();
                steps.push(Step::Link { parent: NodeId::ROOT, name, node });
            }
            self.files.insert((*name).to_owned(), bytes.clone());
        }
        self.point += 1;
        let close = Close {
            captured_ms: 1,
            consistency: Consistency::Crash,
            stats: PointStats::default(),
            remarks: Vec::new(),
        };
        self.session.commit_part(self.config, PointSeq(self.point), PartNo(0), steps, Some(close)).unwrap();
        self.points.insert(self.point, self.files.clone());
        self.point
    }

    fn send(&mut self, stream: Stream, bytes: &[u8]) -> Map {
        let key = self.vault.chunk_key();
        let mut map = Map { size: bytes.len() as u64, ..Map::default() };
        for (index, chunk) in bytes.chunks(32 << 10).enumerate() {
            let id = chunk_id(&key, chunk);
            let chunks = vec![ChunkEntry { id, raw_len: chunk.len() as u32 }];
            let pack = Pack { chunks, compression: Compression::Raw, payload: chunk.to_vec() };
            self.session.put_pack(stream, pack).unwrap();
            let known = map.chunks.iter().position(|known| *known == id);
            let chunk_index = known.unwrap_or_else(|| {
                map.chunks.push(id);
                map.chunks.len() - 1
            });
            let source = Source::Chunk { chunk: chunk_index as u32, offset: 0 };
            map.push(Range { at: index as u64 * (32 << 10), len: chunk.len() as u64, source });
        }
        map
    }

    /// Many files of several sizes, some empty, some the same.
    pub(crate) fn first_copy(&mut self, count: usize, seed: u64) -> u64 {
        let names: Vec<String> = (0..count).map(|at| format!("file-{at:04}")).collect();
        let files: Vec<(&str, Vec<u8>)> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.as_str(), noise(seed + (at % 97) as u64, (at % 97) * 331)))
            .collect();
        self.back_up(Stream::Bulk, &files)
    }

    /// Lets the chunks of this session go, as an agent does when it begins again.
    pub(crate) fn begin_again(&mut self) {
        self.session.begin(self.config).unwrap();
    }

    /// A segment's durable bytes.
    pub(crate) fn bytes_of(&self, segment: SegmentId) -> Vec<u8> {
        let all = self.vault.segments().unwrap();
        let state = all.iter().find(|state| state.segment == segment).unwrap();
        let mut bytes = vec![0; state.bytes as usize];
        self.vault.reading().read_segment(segment, 0, &mut bytes).unwrap();
        bytes
    }

    /// Changes a byte of a segment on the box's disk.
    pub(crate) fn flip(&self, segment: SegmentId, at: u64) {
        let file = std::fs::File::options().read(true).write(true).open(self.path_of(segment)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 8], at).unwrap();
    }

    /// Closes the vault and opens it again, with something done to its segments' files in between.
    pub(crate) fn restart_after(self, meanwhile: impl FnOnce(&dyn Fn(SegmentId) -> PathBuf)) -> Branch {
        let Branch { dir, vault, config, session, nodes, next_node, point, points, files, key } = self;
        drop((session, vault));
        meanwhile(&|segment| dir.path().join(format!("segments/{:016x}.seg", segment.0)));
        let vault = open(dir.path(), key.clone());
        let computer = ComputerId(vault.reading().computers().unwrap()[0].computer);
        let session = Session::new(vault.clone(), computer);
        Branch { dir, vault, config, session, nodes, next_node, point, points, files, key }
    }

    /// Puts zeros in the place of all that comes from there on.
    pub(crate) fn zero(&self, segment: SegmentId, from: u64) {
        let file = std::fs::File::options().write(true).open(self.path_of(segment)).unwrap();
        let len = file.metadata().unwrap().len();
        file.write_all_at(&vec![0; (len - from) as usize], from).unwrap();
    }

    /// Cuts a segment off on the box's disk.
    pub(crate) fn cut(&self, segment: SegmentId, len: u64) {
        std::fs::File::options().write(true).open(self.path_of(segment)).unwrap().set_len(len).unwrap();
    }

    pub(crate) fn path_of(&self, segment: SegmentId) -> PathBuf {
        self.dir.path().join(format!("segments/{:016x}.seg", segment.0))
    }

    /// Bytes of all segments that are durable.
    pub(crate) fn durable_bytes(&self) -> u64 {
        self.vault.segments().unwrap().iter().map(|state| state.bytes).sum()
    }
}

fn open(dir: &Path, key: BoxKey) -> Arc<Vault> {
    let options = Options { reserve_bytes: 0 };
    Arc::new(Vault::open(Arc::new(RealDisk), dir, Opener::Box(key), Arc::new(SystemClock), options).unwrap())
}

/// Bytes that don't compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}
