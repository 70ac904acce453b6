//! A frame of every kind of message, with something in every field.

use coffer_format::chunk::Compression;
use coffer_format::entry::{Consistency, PointStats, Remark, RemarkKind, ReportLine};
use coffer_format::op::{Step, StepContent};
use coffer_format::segment::Stream;
use coffer_format::update::{UpdateProgress, UpdateReport};
use coffer_format::wire::*;
use coffer_format::*;

use crate::samples::{Sample, chunk, header, map, meta, name, pack, sample, update_head};

/// A message as it lies on the wire: the length of its body, and the body.
#[derive(Debug, PartialEq)]
struct Frame(Message);

impl Encode for Frame {
    fn encode(&self, w: &mut Writer) {
        let body = to_bytes(&self.0);
        (body.len() as u32).encode(w);
        w.bytes(&body);
    }
}
impl Decode for Frame {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = r.count(1, "frame")?;
        from_bytes(r.take(len, "frame")?).map(Frame)
    }
}

/// The kind byte's name; a new kind of message doesn't compile here until it has a sample below.
fn kind(message: &Message) -> &'static str {
    use Message::*;
    match message {
        Hello { .. } => "hello",
        Welcome { .. } => "welcome",
        Refused { .. } => "refused",
        Goodbye => "goodbye",
        Enrol { .. } => "enrol",
        Enrolled { .. } => "enrolled",
        EnrolledBranch { .. } => "enrolled-branch",
        ConfigsWanted => "configs-wanted",
        Configs { .. } => "configs",
        Begin { .. } => "begin",
        Remembers { .. } => "remembers",
        Begun { .. } => "begun",
        CatchupWanted { .. } => "catchup-wanted",
        CatchupPart { .. } => "catchup-part",
        CatchupEnd => "catchup-end",
        PackData { .. } => "pack-data",
        Part { .. } => "part",
        LastPart { .. } => "last-part",
        Committed { .. } => "committed",
        SignatureWanted { .. } => "signature-wanted",
        SignaturePages { .. } => "signature-pages",
        SignatureChunks { .. } => "signature-chunks",
        SignatureEnd { .. } => "signature-end",
        Progress { .. } => "progress",
        CaptureNow { .. } => "capture-now",
        ConfigsChanged => "configs-changed",
        UpToDate { .. } => "up-to-date",
        Exclusions { .. } => "exclusions",
        Resend { .. } => "resend",
        Recall { .. } => "recall",
        CaptureFailed { .. } => "capture-failed",
        Unwatched { .. } => "unwatched",
        RestoreAsked { .. } => "restore-asked",
        RestoreReported { .. } => "restore-reported",
        UpdateOffered { .. } => "update-offered",
        UpdateWanted { .. } => "update-wanted",
        UpdateBytes { .. } => "update-bytes",
        UpdateState { .. } => "update-state",
        RestoreWanted { .. } => "restore-wanted",
        RestoreNodes { .. } => "restore-nodes",
        RestorePack { .. } => "restore-pack",
        RestoreBatchEnd => "restore-batch-end",
        RestoreEnd { .. } => "restore-end",
        RestoreLeftOut { .. } => "restore-left-out",
        Ask { .. } => "ask",
        Answer { .. } => "answer",
        Working { .. } => "working",
        BranchSegments => "branch-segments",
        BranchHas { .. } => "branch-has",
        SegmentBytes { .. } => "segment-bytes",
        Receipt { .. } => "receipt",
        SegmentWanted { .. } => "segment-wanted",
        SegmentForgotten { .. } => "segment-forgotten",
        BranchVault { .. } => "branch-vault",
        BranchContinues => "branch-continues",
        BranchHolds { .. } => "branch-holds",
        OutlineWanted { .. } => "outline-wanted",
        MarksWanted { .. } => "marks-wanted",
        Marks { .. } => "marks",
        BranchIdentity { .. } => "branch-identity",
        BranchOfCode { .. } => "branch-of-code",
        BranchFound { .. } => "branch-found",
    }
}

/// How many kinds `kind` knows.
const KINDS: usize = 62;

pub(crate) fn frames() -> Vec<Sample> {
    let messages: Vec<_> =
        [opening(), capture(), update(), restore(), operator(), branch()].into_iter().flatten().collect();
    let kinds: std::collections::BTreeSet<_> = messages.iter().map(kind).collect();
    assert_eq!((kinds.len(), messages.len()), (KINDS, KINDS), "each kind of message has one sample");
    messages.into_iter().map(|message| sample(format!("frame-{}", kind(&message)), Frame(message))).collect()
}

fn opening() -> Vec<Message> {
    use Message::*;
    let (vault, org, chunk_key) = (VaultId([3; 16]), OrgId([4; 16]), [5; 32]);
    let refusal =
        Refusal { code: RefusalCode::WrongCode, sentence: "this code isn't known here: check it".into() };
    vec![
        Hello { protocol: PROTOCOL, program: "coffer-agent 0.1".into(), clock_ms: 7 },
        Welcome { protocol: PROTOCOL, name: "box".into(), vault, org, vault_ms: 8 },
        Refused { refusal },
        Goodbye,
        Enrol { secret: "abc".into(), name: "desk".into(), os: "linux".into(), csr: "der".into() },
        Enrolled { computer: ComputerId(1), certificate: "der".into(), vault, org, chunk_key },
        EnrolledBranch {
            certificate: "der".into(),
            branch: "harbour".into(),
            org,
            chunk_key,
            recovery_key: [6; 32],
        },
    ]
}

fn capture() -> Vec<Message> {
    use Message::*;
    let (config, point, part, node) = (ConfigId(1), PointSeq(2), PartNo(3), NodeId(4));
    let put = |content| Step::Put { node, meta: meta(), content };
    let steps = vec![
        put(StepContent::None),
        put(StepContent::Same),
        put(StepContent::Whole { map: map() }),
        put(StepContent::Change { map: map() }),
        Step::Link { parent: NodeId::ROOT, name: name("a"), node },
        Step::Unlink { parent: NodeId::ROOT, name: name("b") },
    ];
    let ops = vec![
        Recalled::Put { node, meta: meta() },
        Recalled::Link { parent: NodeId::ROOT, name: name("a"), node },
        Recalled::Unlink { parent: NodeId::ROOT, name: name("b") },
    ];
    let stats = PointStats { files: 1, bytes: 2, sent: 3, stored: 4 };
    let (captured_ms, consistency) = (9, Consistency::PerFile);
    let close_v1 = CloseV1 { captured_ms, consistency, stats, report: vec![report_line()] };
    let ReportLine { path, what } = report_line();
    let remarks = vec![Remark { kind: RemarkKind::Unread, path, what }];
    let close = Close { captured_ms, consistency, stats, remarks };
    let progress = AgentProgress {
        config,
        doing: "reading".into(),
        files: 1,
        bytes: 2,
        files_expected: 3,
        bytes_expected: 4,
    };
    let text = ConfigText { config, name: "all".into(), revision: 2, toml: "a = 1".into() };
    vec![
        ConfigsWanted,
        Configs { configs: vec![text] },
        Begin { config },
        Remembers { config, point, part, vault_ms: 5 },
        Begun { config, head: PointSeq(1), draft: Some(Draft { point, parts: part }), next_node: node },
        CatchupWanted { config, point, part },
        CatchupPart { point, part, ops },
        CatchupEnd,
        PackData { stream: Stream::Bulk, pack: pack(Compression::Raw) },
        Part { config, point, part, steps: steps.clone(), close: Some(close_v1) },
        LastPart { config, point, part, steps, close },
        Committed { config, point, part, closed: true, vault_ms: 5 },
        SignatureWanted { config, node, kind: SignatureKind::Chunks },
        SignaturePages { first_page: 6, signatures: Blob(vec![1; 32]) },
        SignatureChunks { chunks: vec![ChunkAt { at: 1, len: 2, id: chunk(3) }] },
        SignatureEnd { size: 7 },
        Progress { progress },
        CaptureNow { config },
        ConfigsChanged,
        UpToDate { config },
        Resend { config, nodes: vec![node] },
        Recall { config },
        CaptureFailed { config, sentence: "can't be read: check the disk".into() },
        Unwatched { config, minutes: 15, sentence: "no watch is left; raise the limit".into() },
        Exclusions {
            config,
            exclusions: vec![Exclusion {
                pattern: "/*:/pagefile.sys".into(),
                why: "memory that was moved to disk".into(),
                is_applied: true,
            }],
        },
    ]
}

fn update() -> Vec<Message> {
    use Message::*;
    let head = update_head();
    let report = UpdateReport {
        target: head.release.target.clone(),
        running: "0.1.0".parse().unwrap(),
        progress: UpdateProgress::Failed,
        of: Some(head.release.version),
        sentence: "it isn't signed: sign it".into(),
    };
    vec![
        UpdateOffered { head },
        UpdateWanted { hash: FileHash([8; 32]), from: 2 },
        UpdateBytes { at: 2, bytes: "abc".into() },
        UpdateState { report },
    ]
}

fn report_line() -> ReportLine {
    ReportLine { path: "a/b".into(), what: "couldn't be read".into() }
}

fn restore() -> Vec<Message> {
    use Message::*;
    let node = RestoreNode { index: 1, path: "a/b".into(), meta: meta(), hard_link_to: Some(0) };
    vec![
        RestoreWanted { config: ConfigId(1), point: PointSeq(2), paths: vec!["a/b".into(), "c".into()] },
        RestoreNodes { nodes: vec![node] },
        RestorePack {
            compression: Compression::Raw,
            raw_len: 3,
            placements: vec![Placement { index: 1, at: 2, len: 3, offset: 0 }],
            payload: "abc".into(),
        },
        RestoreAsked {
            job: 6,
            config: ConfigId(1),
            point: PointSeq(2),
            paths: vec!["a/b".into()],
            to: Some("/c".into()),
            replace: ReplaceRule::Changed,
            ask_user: true,
        },
        RestoreReported {
            report: RestoreReport {
                job: 6,
                state: RestoreState::Done,
                files: 7,
                bytes: 8,
                at_restart: 1,
                lacking: vec![report_line()],
                sentence: "done".into(),
            },
        },
        RestoreBatchEnd,
        RestoreEnd { nodes: 4, bytes: 5, failed: vec![report_line()] },
        RestoreLeftOut {
            files: vec![LeftOut {
                index: Some(1),
                path: "a/b".into(),
                why: LeftOutWhy::Damaged,
                what: "is damaged".into(),
            }],
        },
    ]
}

fn operator() -> Vec<Message> {
    use Message::*;
    vec![Ask { json: "{}".into() }, Answer { json: "[]".into() }, Working { json: "1".into() }]
}

fn branch() -> Vec<Message> {
    use Message::*;
    let segment = SegmentId(1);
    vec![
        BranchSegments,
        BranchHas { segments: vec![SegmentHas { segment, bytes: 2, closed: true }] },
        SegmentBytes { segment, offset: 2, closed_len: 9, bytes: "abc".into() },
        Receipt { segment, bytes: 9, hash: Some(FileHash([8; 32])) },
        SegmentWanted { segment, offset: 3 },
        SegmentForgotten { segment },
        BranchVault { vault: VaultId([3; 16]), org: OrgId([4; 16]) },
        BranchContinues,
        BranchHolds {
            segments: vec![SegmentHeld {
                segment,
                stream: Stream::Bulk,
                bytes: 7,
                hash: Some(FileHash([8; 32])),
                salt: [5; 16],
            }],
        },
        OutlineWanted { segment, offset: 3 },
        MarksWanted { segments: vec![segment] },
        Marks {
            segments: vec![SegmentMark {
                segment,
                salt: [5; 16],
                bytes: 7,
                is_whole: true,
                hash: FileHash([8; 32]),
            }],
        },
        BranchIdentity { header: header() },
        BranchOfCode { secret: vec![9; 10].into() },
        BranchFound {
            branch: "leeds".into(),
            org: OrgId([4; 16]),
            vault: Some(VaultId([3; 16])),
            marks: vec![SegmentMark {
                segment,
                salt: [5; 16],
                bytes: 7,
                is_whole: true,
                hash: FileHash([8; 32]),
            }],
        },
    ]
}
