//! What our parts say to each other: frames inside TLS, each one message.
//!
//! A frame is the length of its body (32 bits) and the body; the body is a kind byte and that message's fields.
//! Agent and box, operator and box, box and HQ all use the same frames; which messages are allowed is decided
//! by the peer's certificate, never by what it says of itself.

use crate::chunk::{Compression, Pack};
use crate::entry::{Consistency, PointStats, Remark, ReportLine};
use crate::node::NodeMeta;
use crate::op::{Name, Step};
use crate::segment::{SegmentHeader, Stream};
use crate::update::{UpdateHead, UpdateReport};
use crate::{
    Blob, ChunkId, ComputerId, ConfigId, FileHash, NodeId, OrgId, PartNo, PointSeq, SegmentId, VaultId,
};

/// Versions of the protocol, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// First: packs, parts, catch-up, signatures, restore, segments to HQ.
    V1 = 1,
}

/// The protocol this program speaks.
pub const PROTOCOL: u16 = Protocol::V1 as u16;

/// Bytes before each body: its length.
pub const FRAME_HEADER_LEN: usize = 4;

kinds! {
    /// Why a peer refused. Each has its own exit code in the programs.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum RefusalCode {
        1 = BadRequest,
        2 = NotAllowed,
        3 = WrongCode,
        4 = WrongClock,
        5 = OtherBox,
        6 = OtherOrganisation,
        7 = NoSuchComputer,
        8 = NoSuchConfiguration,
        9 = NoSuchPoint,
        10 = NoSuchPath,
        11 = DiskFull,
        12 = ReadOnly,
        13 = Busy,
        14 = OutOfStep,
        15 = Damaged,
        16 = CopyNeeded,
        17 = Internal,
        18 = Version,
        19 = BadConfiguration,
        20 = Conflict,
    }
}

layout! {
    /// A refusal: a sentence for a person that ends with what to do.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Refusal { pub code: RefusalCode, pub sentence: String }
}

layout! {
    /// A configuration as its computer gets it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ConfigText { pub config: ConfigId, pub name: String, pub revision: u32, pub toml: String }
}

layout! {
    /// A point that has parts but isn't closed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Draft { pub point: PointSeq, pub parts: PartNo }
}

layout! {
    /// Closes a point: everything that changed is in its parts. `captured_ms` is the agent's clock: data.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Close {
        pub captured_ms: u64,
        pub consistency: Consistency,
        pub stats: PointStats,
        pub remarks: Vec<Remark>,
    }
}

layout! {
    /// The same, as agents sent it before remarks had kinds.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CloseV1 {
        pub captured_ms: u64,
        pub consistency: Consistency,
        pub stats: PointStats,
        pub report: Vec<ReportLine>,
    }
}

impl From<CloseV1> for Close {
    fn from(close: CloseV1) -> Close {
        let CloseV1 { captured_ms, consistency, stats, report } = close;
        Close { captured_ms, consistency, stats, remarks: report.into_iter().map(Remark::from).collect() }
    }
}

kinds! {
    /// What an agent must know of an operation that it sent once and has forgotten.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Recalled {
        1 = Put { node: NodeId, meta: NodeMeta },
        2 = Link { parent: NodeId, name: Name, node: NodeId },
        3 = Unlink { parent: NodeId, name: Name },
    }
}

layout! {
    /// `len` bytes of a file from `at` are exactly this chunk.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ChunkAt { pub at: u64, pub len: u32, pub id: ChunkId }
}

kinds! {
    /// Which memory of a version an agent asks for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum SignatureKind {
        /// A signature of each page.
        1 = Pages,
        /// The chunks that lie whole in the version.
        2 = Chunks,
    }
}

/// How `doing` begins where a computer holds a configuration back for a reason of its own.
pub const WAITS: &str = "waits: ";

layout! {
    /// Where an agent is with a configuration, for the screens.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AgentProgress {
        pub config: ConfigId,
        pub doing: String,
        pub files: u64,
        pub bytes: u64,
        /// 0 where not known.
        pub files_expected: u64,
        pub bytes_expected: u64,
    }
}

layout! {
    /// A node to be restored. `path` is relative to the restored configuration's root, components joined by `/`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RestoreNode {
        pub index: u32,
        pub path: Blob,
        pub meta: NodeMeta,
        /// Another name of the node with this index, which came before.
        pub hard_link_to: Option<u32>,
    }
}

layout! {
    /// `len` bytes from `offset` of a pack's raw run belong at `at` in node `index`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Placement { pub index: u32, pub at: u64, pub len: u32, pub offset: u32 }
}

kinds! {
    /// Why a restore doesn't give all of something.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum LeftOutWhy {
        /// A record that it needs is damaged or missing.
        1 = Damaged,
        /// Its bytes lie where they can't be had now: on a tape, or at HQ.
        2 = Away,
        /// Nothing has that path at the point.
        3 = NotThere,
    }
}

layout! {
    /// What a restore doesn't give. `index`: the node that was announced and that's to be thrown away; none where it never was,
    /// or where it came with something lacking. `what` is a sentence, from the path on.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LeftOut { pub index: Option<u32>, pub path: Blob, pub why: LeftOutWhy, pub what: String }
}

kinds! {
    /// What a restore does where something is already.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ReplaceRule {
        1 = All,
        /// What differs from the point in size, write time or attributes.
        2 = Changed,
        3 = Nothing,
    }
}

kinds! {
    /// How far a restore that was asked for is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum RestoreState {
        1 = Begun,
        2 = Done,
        /// Not, or not any further; the sentence says why.
        3 = Refused,
    }
}

layout! {
    /// What an agent tells of a restore that was asked for.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RestoreReport {
        pub job: u64,
        pub state: RestoreState,
        pub files: u64,
        pub bytes: u64,
        /// Lines of `lacking` that say nothing worse than that a file is replaced when the computer next starts.
        pub at_restart: u64,
        pub lacking: Vec<ReportLine>,
        /// What it's doing; or why it was refused.
        pub sentence: String,
    }
}

layout! {
    /// How much of a segment a place has, durably.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct SegmentHas { pub segment: SegmentId, pub bytes: u64, pub closed: bool }
}

layout! {
    /// What HQ holds of a segment; `hash`, the one in its trailer, once it's whole. The salt, which is random, tells it from one that
    /// got the same number elsewhere.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct SegmentHeld { pub segment: SegmentId, pub stream: Stream, pub bytes: u64, pub hash: Option<FileHash>, pub salt: [u8; 16] }
}

layout! {
    /// What tells a segment at HQ from another of that number: its random salt, and the BLAKE3 of its first `bytes` bytes (which are
    /// all before the trailer of one that is whole).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct SegmentMark { pub segment: SegmentId, pub salt: [u8; 16], pub bytes: u64, pub is_whole: bool, pub hash: FileHash }
}

layout! {
    /// A pattern of paths that a computer leaves out, or that is recommended to be.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Exclusion { pub pattern: String, pub why: String, pub is_applied: bool }
}

kinds! {
    /// One message.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Message {
        // Opening.
        1 = Hello { protocol: u16, program: String, clock_ms: u64 },
        2 = Welcome { protocol: u16, name: String, vault: VaultId, org: OrgId, vault_ms: u64 },
        3 = Refused { refusal: Refusal },
        4 = Goodbye,

        // Enrolment: the only messages without a client certificate.
        /// `csr`: PKCS#10, DER. The secret is the first half of the code, see the link's enrolment.
        10 = Enrol { secret: Blob, name: String, os: String, csr: Blob },
        11 = Enrolled { computer: ComputerId, certificate: Blob, vault: VaultId, org: OrgId, chunk_key: [u8; 32] },
        /// For a box at HQ: `recovery_key` is the organisation's public key.
        12 = EnrolledBranch { certificate: Blob, branch: String, org: OrgId, chunk_key: [u8; 32], recovery_key: [u8; 32] },
        /// From a box at HQ that has a vault already: what is there of the branch that the code is for? The code stays as it is.
        15 = BranchOfCode { secret: Blob },

        // Agent and box.
        20 = ConfigsWanted,
        21 = Configs { configs: Vec<ConfigText> },
        22 = Begin { config: ConfigId },
        /// Before `Begin`: the last part that the agent knows of, and when the box said it committed that. Where the box has another
        /// there, or none, their histories have parted: it asks for a recall.
        56 = Remembers { config: ConfigId, point: PointSeq, part: PartNo, vault_ms: u64 },
        /// `head`: newest closed point, 0 where there's none yet.
        23 = Begun { config: ConfigId, head: PointSeq, draft: Option<Draft>, next_node: NodeId },
        /// Everything from that part of that point on.
        24 = CatchupWanted { config: ConfigId, point: PointSeq, part: PartNo },
        25 = CatchupPart { point: PointSeq, part: PartNo, ops: Vec<Recalled> },
        26 = CatchupEnd,
        /// Not answered by itself; the next `Committed` covers it.
        27 = PackData { stream: Stream, pack: Pack },
        /// `close`: of agents that know nothing of `LastPart`.
        28 = Part { config: ConfigId, point: PointSeq, part: PartNo, steps: Vec<Step>, close: Option<CloseV1> },
        /// A part that closes its point.
        49 = LastPart { config: ConfigId, point: PointSeq, part: PartNo, steps: Vec<Step>, close: Close },
        /// Durable: all packs and parts up to this one.
        29 = Committed { config: ConfigId, point: PointSeq, part: PartNo, closed: bool, vault_ms: u64 },
        30 = SignatureWanted { config: ConfigId, node: NodeId, kind: SignatureKind },
        /// Page signatures one after another, from that page on.
        31 = SignaturePages { first_page: u64, signatures: Blob },
        32 = SignatureChunks { chunks: Vec<ChunkAt> },
        33 = SignatureEnd { size: u64 },
        34 = Progress { progress: AgentProgress },
        /// From the box, at any time.
        35 = CaptureNow { config: ConfigId },
        36 = ConfigsChanged,
        /// Looked, and nothing differs from the newest point.
        37 = UpToDate { config: ConfigId },
        /// From the box, at any time. Without `to` each path goes to its place.
        38 = RestoreAsked { job: u64, config: ConfigId, point: PointSeq, paths: Vec<Blob>, to: Option<Blob>, replace: ReplaceRule, ask_user: bool },
        /// From the agent; the last one comes back from the box once it's noted.
        39 = RestoreReported { report: RestoreReport },
        /// What the computer leaves out of a configuration by itself, for the screens.
        45 = Exclusions { config: ConfigId, exclusions: Vec<Exclusion> },

        /// From the box, before `Begun`: content of these nodes is damaged in its newest version. The agent reads them again and
        /// sends what the box lacks. Also at any time, without nodes: then the agent is to begin, and is told of them.
        46 = Resend { config: ConfigId, nodes: Vec<NodeId> },
        /// From the box, before `Begun`: nothing that the agent knows of this configuration counts, all of it is recalled. Also right
        /// after `Remembers`, where the box doesn't have that: then the agent is to begin.
        47 = Recall { config: ConfigId },
        /// From the agent: why captures of a configuration fail; an empty sentence once one ended well. Said again on each connection.
        48 = CaptureFailed { config: ConfigId, sentence: String },
        /// From the agent: changes of a configuration can't be watched, and are looked for every so many minutes; an empty sentence once
        /// they're watched again. It holds for as long as the connection.
        57 = Unwatched { config: ConfigId, minutes: u32, sentence: String },

        // The agent's own program.
        /// From the box: what it has for this computer.
        40 = UpdateOffered { head: UpdateHead },
        /// The program's bytes from there on; `hash` names the program.
        41 = UpdateWanted { hash: FileHash, from: u64 },
        /// At most 1 MiB; none where there are no more. Also from an operator, who brings an update: then all of the file.
        42 = UpdateBytes { at: u64, bytes: Blob },
        /// From an agent that replaces its program by itself: first after the greeting, then whenever it changes.
        43 = UpdateState { report: UpdateReport },

        // Restore.
        /// Point 0, from a computer: the newest.
        50 = RestoreWanted { config: ConfigId, point: PointSeq, paths: Vec<Blob> },
        51 = RestoreNodes { nodes: Vec<RestoreNode> },
        52 = RestorePack { compression: Compression, raw_len: u32, placements: Vec<Placement>, payload: Blob },
        /// Every node so far has all its bytes.
        53 = RestoreBatchEnd,
        /// `failed`: what's to be said of the restore as a whole, such as which tape to put in.
        54 = RestoreEnd { nodes: u64, bytes: u64, failed: Vec<ReportLine> },
        /// Before the end of a batch, any number of times; everything else comes all the same.
        55 = RestoreLeftOut { files: Vec<LeftOut> },

        // Operator: JSON documents, so that screens and programs see the same.
        60 = Ask { json: Blob },
        61 = Answer { json: Blob },
        /// Before the answer, any number of times: what a long job is doing.
        62 = Working { json: Blob },

        // Box and HQ.
        70 = BranchSegments,
        71 = BranchHas { segments: Vec<SegmentHas> },
        /// `closed_len`: the file's whole length once it is closed, 0 before.
        72 = SegmentBytes { segment: SegmentId, offset: u64, closed_len: u64, bytes: Blob },
        /// Durable at HQ up to `bytes`; `hash` once whole and verified.
        73 = Receipt { segment: SegmentId, bytes: u64, hash: Option<FileHash> },
        74 = SegmentWanted { segment: SegmentId, offset: u64 },
        /// From a box: it has given this segment up. From HQ: it isn't whole here.
        75 = SegmentForgotten { segment: SegmentId },
        /// From a box, before anything about its segments: whose they are. Refused where they don't belong.
        76 = BranchVault { vault: VaultId, org: OrgId },
        /// From a box that takes the branch over. HQ cuts off what doesn't decrypt at the end of open segments, then answers.
        77 = BranchContinues,
        78 = BranchHolds { segments: Vec<SegmentHeld> },
        /// Answered with `SegmentBytes`, whose `closed_len` is the outline's; of a segment that isn't whole at HQ all there is.
        79 = OutlineWanted { segment: SegmentId, offset: u64 },
        /// From a box, on each connection: is it still HQ's line of history that it's on? Of segments that HQ lacks nothing comes.
        80 = MarksWanted { segments: Vec<SegmentId> },
        81 = Marks { segments: Vec<SegmentMark> },
        /// From a box of which HQ has nothing yet, as `vault.id` has it: its older segments may be of another organisation.
        82 = BranchIdentity { header: SegmentHeader },
        /// Answers `BranchOfCode`. `vault`: whose segments HQ has of the branch, if it has any; `marks`: what tells the newest of them from
        /// others of their numbers.
        83 = BranchFound { branch: String, org: OrgId, vault: Option<VaultId>, marks: Vec<SegmentMark> },
    }
}
