//! A value of every durable layout, with something in every field.

use coffer_format::chunk::{ChunkEntry, Compression, Pack};
use coffer_format::container::{
    BlockHeader, BlockKind, ContainerEntry, ContainerIndex, Label, decode_block, encode_block,
};
use coffer_format::entry::{
    Body, Consistency, DataUpTo, Entry, PointStats, Remark, RemarkKind, ReportLine, Watermark,
};
use coffer_format::escrow::Escrow;
use coffer_format::event::{CartridgeState, DropReason, Event, Place, Run, Whereabouts};
use coffer_format::manifest::{Map, Range, Source};
use coffer_format::node::{Attr, AttrKind, NodeKind, NodeMeta};
use coffer_format::op::{Content, MapBody, Name, Op};
use coffer_format::segment::{
    BOX_WRAP_LEN, HQ_WRAP_LEN, IndexEntry, KeyEnvelope, RecordHeader, RecordKind, SegmentHeader,
    SegmentIndex, Stream, Trailer,
};
use coffer_format::set_catalog::{CatalogItem, CatalogPage, CopyAt, OutlinePiece};
use coffer_format::update::{Release, UpdateHead};
use coffer_format::*;

/// Decodes; says whether the value is the sample's, and gives the bytes of what was decoded.
type Again = Box<dyn Fn(&[u8]) -> Result<(bool, Vec<u8>), DecodeError>>;

/// A layout's name, its value's bytes, and what a decoder makes of bytes: the same value's bytes again.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) again: Again,
}

pub(crate) fn sample<T: Encode + Decode + PartialEq + 'static>(name: impl Into<String>, value: T) -> Sample {
    let bytes = to_bytes(&value);
    let again = move |bytes: &[u8]| from_bytes::<T>(bytes).map(|found| (found == value, to_bytes(&found)));
    Sample { name: name.into(), bytes, again: Box::new(again) }
}

pub(crate) fn chunk(byte: u8) -> ChunkId {
    ChunkId([byte; 32])
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

pub(crate) fn map() -> Map {
    let mut map = Map { size: 30_000, chunks: vec![chunk(1), chunk(2)], ranges: Vec::new() };
    map.push(Range { at: 0, len: 8192, source: Source::Chunk { chunk: 1, offset: 7 } });
    map.push(Range { at: 8192, len: 100, source: Source::Zero });
    map.push(Range { at: 10_000, len: 5000, source: Source::Base { offset: 20_000 } });
    map
}

pub(crate) fn meta() -> NodeMeta {
    let attr = |kind, name: &str| Attr { kind, name: name.into(), value: Blob(vec![1, 2, 3]) };
    NodeMeta {
        size: 30_000,
        mode: 0o640,
        uid: 1000,
        gid: 100,
        mtime_ns: -5,
        ctime_ns: 6,
        btime_ns: 7,
        device: 8,
        inode: 9,
        rdev: 10,
        sparse: true,
        attrs: vec![attr(AttrKind::Xattr, "user.note"), attr(AttrKind::NtBasic, "")],
        ..NodeMeta::new(NodeKind::File)
    }
}

pub(crate) fn update_head() -> UpdateHead {
    let release = Release {
        target: "x86_64-pc-windows".parse().unwrap(),
        version: "1.20.3".parse().unwrap(),
        trial_s: 600,
        len: 12_345_678,
        hash: FileHash([8; 32]),
    };
    UpdateHead { release, signature: [9; 64] }
}

pub(crate) fn header() -> SegmentHeader {
    SegmentHeader {
        stream: Stream::Fresh,
        segment: SegmentId(0x0102_0304),
        vault: VaultId([3; 16]),
        org: OrgId([4; 16]),
        salt: [5; 16],
        created_ms: 1_767_571_200_000,
        keys: KeyEnvelope { epoch: 1, for_box: [6; BOX_WRAP_LEN], for_hq: [7; HQ_WRAP_LEN] },
    }
}

fn chunks() -> Vec<ChunkEntry> {
    vec![ChunkEntry { id: chunk(1), raw_len: 4 }, ChunkEntry { id: chunk(2), raw_len: 2 }]
}

pub(crate) fn pack(compression: Compression) -> Pack {
    Pack { chunks: chunks(), compression, payload: b"abcdef".to_vec() }
}

fn index() -> SegmentIndex {
    let entry =
        |offset, kind, lsn, chunks| IndexEntry { offset, kind, lsn: Lsn(lsn), record_len: 200, chunks };
    SegmentIndex {
        records: vec![entry(512, RecordKind::Pack, 0, chunks()), entry(712, RecordKind::Meta, 9, vec![])],
    }
}

fn ops() -> Vec<Op> {
    let put = |content| Op::Put { node: NodeId(5), meta: meta(), content };
    let base = Some(Locator { lsn: Lsn(3), op: 2 });
    vec![
        put(Content::None),
        put(Content::Same { map_at: Locator { lsn: Lsn(2), op: 1 } }),
        put(Content::Map { ordinal: 6, base, body: MapBody::Inline { map: map() } }),
        put(Content::Map {
            ordinal: 0,
            base: None,
            body: MapBody::Pages { size: 99, pages: vec![Lsn(7), Lsn(8)] },
        }),
        Op::Link { parent: NodeId::ROOT, name: name("letter.txt"), node: NodeId(5) },
        Op::Unlink { parent: NodeId::ROOT, name: name("old") },
    ]
}

fn bodies() -> Vec<(&'static str, Body)> {
    let mark = |segment, bytes| Watermark { segment: SegmentId(segment), bytes };
    let stats = PointStats { files: 5, bytes: 6, sent: 7, stored: 8 };
    let data = DataUpTo { fresh: mark(9, 10), bulk: mark(11, 12) };
    let closed_v1 = Body::PointClosedV1 {
        config: ConfigId(1),
        point: PointSeq(2),
        parts: PartNo(3),
        captured_ms: 4,
        consistency: Consistency::Application,
        stats,
        data,
        report: vec![ReportLine { path: "a/b".into(), what: "changed while it was read".into() }],
    };
    let remark = |kind, what: &str| Remark { kind, path: "a/b".into(), what: what.into() };
    let closed = Body::PointClosed {
        config: ConfigId(1),
        point: PointSeq(2),
        parts: PartNo(3),
        captured_ms: 4,
        consistency: Consistency::PerFile,
        stats,
        data,
        remarks: vec![
            remark(RemarkKind::Missing, "isn't there"),
            remark(RemarkKind::Changed, "changed while it was read"),
        ],
    };
    vec![
        ("part", Body::Part { config: ConfigId(1), point: PointSeq(2), part: PartNo(3), ops: ops() }),
        ("point-closed", closed_v1),
        ("point-closed-2", closed),
        ("map-page", Body::MapPage { map: map() }),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let (segment, hash) = (SegmentId(3), FileHash([4; 32]));
    let tape = Place::Tape { barcode: "CF0001L8".into(), container: 2, block: 300 };
    let computer = ComputerId(7);
    vec![
        ("code-issued", Event::CodeIssued { secret: hash, computer_name: "desk".into(), expires_ms: 5 }),
        (
            "computer-added",
            Event::ComputerAdded {
                computer,
                name: "desk".into(),
                os: "linux".into(),
                certificate: hash,
                secret: hash,
            },
        ),
        ("computer-revoked", Event::ComputerRevoked { computer }),
        (
            "config-set",
            Event::ConfigSet {
                config: ConfigId(1),
                computer,
                name: "all".into(),
                revision: 2,
                toml: "a = 1".into(),
            },
        ),
        (
            "points-expired",
            Event::PointsExpired { config: ConfigId(1), points: vec![PointSeq(2), PointSeq(4)] },
        ),
        ("segment-dropped", Event::SegmentDropped { segment, reason: DropReason::Compacted }),
        ("copy-recorded", Event::CopyRecorded { segment, hash, place: tape }),
        ("copy-lost", Event::CopyLost { segment, place: Place::Hq { name: "branch".into() } }),
        (
            "cartridge-set",
            Event::CartridgeSet {
                barcode: "CF0001L8".into(),
                state: CartridgeState::Filling,
                set: "daily".into(),
                number: 1,
                containers: 2,
                written: 3,
            },
        ),
        ("audit", Event::Audit { who: "anna".into(), what: "looked".into(), previous: hash }),
        ("segment-returned", Event::SegmentReturned { segment }),
        ("record-damaged", Event::RecordDamaged { segment, offset: 512, detail: "tag".into() }),
        ("copies-gone", Event::CopiesGone { barcode: "CF0001L8".into() }),
        (
            "cartridge-moved",
            Event::CartridgeMoved { barcode: "CF0001L8".into(), whereabouts: Whereabouts::Leaving },
        ),
        (
            "tape-used",
            Event::TapeUsed {
                barcode: "CF0001L8".into(),
                drive: "CFDRV00001".into(),
                loads: 1,
                written: 2,
                read: 3,
                errors: 4,
            },
        ),
        ("drive-cleaned", Event::DriveCleaned { drive: "CFDRV00001".into(), cleaner: "CLN001L1".into() }),
        (
            "stretch-damaged",
            Event::StretchDamaged { segment, offset: 512, len: 4096, detail: "no tag".into() },
        ),
        ("verified", Event::Verified { segments: 5, bytes: 6, touched: 2, lost: 1 }),
        ("line-left", Event::LineLeft),
        ("journal-recalled", Event::JournalRecalled { config: ConfigId(3) }),
        (
            "journal-recalled-without",
            Event::JournalRecalledWithout {
                config: ConfigId(3),
                records: vec![Run { first: Lsn(7), last: Lsn(9) }, Run { first: Lsn(12), last: Lsn(12) }],
            },
        ),
        (
            "escrowed",
            Event::Escrowed { digest: hash, encapsulated: [5; 32], sealed: Blob(b"ciphertext".to_vec()) },
        ),
        ("cartridge-simulated", Event::CartridgeSimulated { barcode: "CF0001L8".into() }),
    ]
}

/// A tape block is a function, not a type: whole blocks, header and payload.
fn block() -> Sample {
    let header = BlockHeader {
        kind: BlockKind::Segment,
        cartridge: [9; 16],
        container: 2,
        number: 3,
        payload_len: 5,
        segment: SegmentId(4),
    };
    let again = move |bytes: &[u8]| {
        decode_block(bytes).map(|(found, payload)| {
            let same = (found, payload) == (header, &b"hello"[..]);
            (same, encode_block(&found, payload))
        })
    };
    Sample { name: "tape-block".into(), bytes: encode_block(&header, b"hello"), again: Box::new(again) }
}

fn catalog_page() -> CatalogPage {
    let barcode = || "CF0001L8".to_owned();
    let copies = vec![CopyAt { segment: SegmentId(3), container: 2, block: 300 }];
    let piece = OutlinePiece {
        segment: SegmentId(4),
        stream: Stream::Fresh,
        total: 900,
        offset: 512,
        bytes: Blob(b"outline".to_vec()),
    };
    CatalogPage {
        items: vec![
            CatalogItem::Begin { vault: VaultId([3; 16]), at_ms: 5, after: 4 },
            CatalogItem::Cartridge {
                barcode: barcode(),
                set: "daily".into(),
                number: 1,
                state: CartridgeState::Full,
            },
            CatalogItem::Copies { barcode: barcode(), number: 1, copies },
            CatalogItem::Outline { piece },
            CatalogItem::End,
        ],
    }
}

pub(crate) fn durable() -> Vec<Sample> {
    let record = |kind, lsn| RecordHeader { kind, lsn: Lsn(lsn), sealed_len: 1000, nonce: [8; 12] };
    let trailer = Trailer { index_offset: 912, file_len: 1200, records: 2, hash: FileHash([1; 32]) };
    let entry = |body| Entry { vault_ms: 1_767_571_200_000, batch: Lsn(6), body };
    let container_entry =
        ContainerEntry { segment: SegmentId(3), first_block: 4, bytes: 1200, hash: FileHash([2; 32]) };
    let label = Label {
        cartridge: [9; 16],
        barcode: "CF0001L8".into(),
        vault: VaultId([3; 16]),
        org: OrgId([4; 16]),
        set: "daily".into(),
        number: 1,
        created_ms: 5,
    };
    let mut all = vec![
        sample("segment-header", header()),
        sample("record-header-pack", record(RecordKind::Pack, 0)),
        sample("record-header-meta", record(RecordKind::Meta, 7)),
        sample("record-header-index", record(RecordKind::Index, 0)),
        sample("segment-index", index()),
        sample("segment-trailer", trailer),
        sample("pack-raw", pack(Compression::Raw)),
        sample("pack-zstd", pack(Compression::Zstd)),
        block(),
        sample("tape-label", label),
        sample("container-index", ContainerIndex { container: 2, entries: vec![container_entry] }),
        sample("catalog-page", catalog_page()),
        sample("update-head", update_head()),
        sample(
            "escrow",
            Escrow {
                certificate: Blob(b"certificate".to_vec()),
                key: Blob(b"key".to_vec()),
                settings: "name = \"leeds\"\n".into(),
            },
        ),
    ];
    all.extend(bodies().into_iter().map(|(name, body)| sample(format!("entry-{name}"), entry(body))));
    all.extend(
        events()
            .into_iter()
            .map(|(name, event)| sample(format!("event-{name}"), entry(Body::Event { event }))),
    );
    all
}
