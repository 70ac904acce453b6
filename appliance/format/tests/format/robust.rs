//! Decoders take anything: they refuse, they never panic, and what they accept they write again as it was.

use coffer_format::chunk::{ChunkEntry, Pack};
use coffer_format::container::{ContainerIndex, Label, decode_block};
use coffer_format::entry::Entry;
use coffer_format::manifest::{Map, Range, Source};
use coffer_format::node::NodeMeta;
use coffer_format::op::{Name, Op, Step};
use coffer_format::segment::{RecordHeader, SegmentHeader, SegmentIndex, Trailer};
use coffer_format::set_catalog::CatalogPage;
use coffer_format::update::UpdateHead;
use coffer_format::wire::Message;
use coffer_format::*;
use proptest::prelude::*;

use crate::golden::{all, kept};

/// Decodes with every decoder there is. What is accepted must come back the same.
fn decode_all(bytes: &[u8]) {
    fn one<T: Encode + Decode>(bytes: &[u8]) {
        if let Ok(value) = from_bytes::<T>(bytes) {
            assert!(to_bytes(&value) == bytes, "accepted, but written differently");
        }
    }
    one::<SegmentHeader>(bytes);
    one::<RecordHeader>(bytes);
    one::<SegmentIndex>(bytes);
    one::<Trailer>(bytes);
    one::<Pack>(bytes);
    one::<Entry>(bytes);
    one::<Op>(bytes);
    one::<Step>(bytes);
    one::<Map>(bytes);
    one::<NodeMeta>(bytes);
    one::<Name>(bytes);
    one::<Label>(bytes);
    one::<ContainerIndex>(bytes);
    one::<CatalogPage>(bytes);
    one::<UpdateHead>(bytes);
    one::<Message>(bytes);
    let _ = decode_block(bytes);
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }
}

/// One of the things that happen to bytes.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(6) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        2 => bytes.truncate(at),
        3 => bytes.insert(at, random.below(256) as u8),
        4 if bytes.len() > 4 => {
            let at = random.below(bytes.len() - 4);
            bytes[at..at + 4]
                .copy_from_slice(&[u32::MAX, u32::MAX >> 1, 1 << 24, 0][random.below(4)].to_le_bytes());
        }
        _ => {
            let piece: Vec<u8> = bytes.iter().skip(at).take(random.below(64)).copied().collect();
            bytes.splice(at..at, piece);
        }
    }
}

/// A short fuzz run from the golden files; `COFFER_FUZZ_ROUNDS` makes it longer.
#[test]
fn mutated_golden_files_never_panic() {
    let rounds: usize =
        std::env::var("COFFER_FUZZ_ROUNDS").map_or(300, |text| text.parse().expect("a number"));
    let seed = std::env::var("COFFER_FUZZ_SEED").map_or(1, |text| text.parse().expect("a number"));
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random(seed);
    for sample in all().iter().filter(|sample| sample.bytes.len() < 10_000) {
        let golden = kept(sample);
        for _ in 0..rounds {
            let mut bytes = golden.clone();
            for _ in 0..=random.below(4) {
                mutate(&mut bytes, &mut random);
            }
            decode_all(&bytes);
        }
    }
}

#[test]
fn every_cut_of_every_golden_file_is_refused() {
    for sample in all() {
        let golden = kept(&sample);
        let step = if golden.len() > 10_000 { 1013 } else { 1 };
        for len in (0..golden.len()).step_by(step) {
            assert!(
                (sample.again)(&golden[..len]).is_err(),
                "{} cut to {len} bytes was accepted",
                sample.name
            );
        }
        let mut longer = golden;
        longer.push(0);
        assert!((sample.again)(&longer).is_err(), "{} with a byte more was accepted", sample.name);
    }
}

#[test]
fn a_flipped_bit_in_what_has_a_checksum_is_refused() {
    for sample in all() {
        if !["segment-header", "segment-trailer", "tape-block"].contains(&sample.name.as_str()) {
            continue;
        }
        let golden = kept(&sample);
        // What fills a tape block up carries nothing.
        for at in 0..golden.len().min(600) {
            let mut bytes = golden.clone();
            bytes[at] ^= 16;
            let filling = sample.name == "tape-block" && at >= 69;
            assert!(filling || (sample.again)(&bytes).is_err(), "{}: byte {at}", sample.name);
        }
    }
}

fn any_map() -> impl Strategy<Value = Map> {
    let source = prop_oneof![
        Just(Source::Zero),
        (0..1u64 << 56).prop_map(|offset| Source::Base { offset }),
        (0..1000u32, 0..1u32 << 19).prop_map(|(chunk, offset)| Source::Chunk { chunk, offset }),
    ];
    let range =
        (0..1u64 << 56, 0..1u64 << 19, source).prop_map(|(at, len, source)| Range { at, len, source });
    let chunks = prop::collection::vec(any::<[u8; 32]>().prop_map(ChunkId), 0..5);
    (any::<u64>(), chunks, prop::collection::vec(range, 0..9)).prop_map(|(size, chunks, ranges)| Map {
        size,
        chunks,
        ranges,
    })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        decode_all(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_kind_never_panic(kind in 0..80u8, bytes in prop::collection::vec(prop_oneof![Just(0u8), 0..4u8, any::<u8>()], 0..200)) {
        let mut message = vec![kind];
        message.extend(bytes);
        decode_all(&message);
    }

    #[test]
    fn maps_come_back(map in any_map()) {
        prop_assert_eq!(from_bytes::<Map>(&to_bytes(&map)).unwrap(), map.clone());
        let _ = map.check_full();
        let _ = map.check_delta(1000);
    }

    #[test]
    fn record_headers_and_trailers_come_back(
        lsn in any::<u64>(),
        sealed_len in 16..=limits::RECORD_SEALED_MAX as u32,
        nonce in any::<[u8; 12]>(),
        index_offset in 512..limits::SEGMENT_MAX - 1000,
        hash in any::<[u8; 32]>(),
    ) {
        let header = RecordHeader { kind: segment::RecordKind::Meta, lsn: Lsn(lsn), sealed_len, nonce };
        prop_assert_eq!(from_bytes::<RecordHeader>(&to_bytes(&header)).unwrap(), header);
        let file_len = index_offset + 500;
        let trailer = Trailer { index_offset, file_len, records: lsn as u32, hash: FileHash(hash) };
        prop_assert_eq!(from_bytes::<Trailer>(&to_bytes(&trailer)).unwrap(), trailer);
    }

    #[test]
    fn packs_come_back(chunks in prop::collection::vec((any::<[u8; 32]>(), 0..300u32), 0..20), zstd in any::<bool>()) {
        let chunks: Vec<_> = chunks.into_iter().map(|(id, raw_len)| ChunkEntry { id: ChunkId(id), raw_len }).collect();
        let raw: usize = chunks.iter().map(|chunk| chunk.raw_len as usize).sum();
        let compression = if zstd { chunk::Compression::Zstd } else { chunk::Compression::Raw };
        let payload = vec![7; if zstd { raw / 2 } else { raw }];
        let pack = Pack { chunks, compression, payload };
        prop_assert_eq!(from_bytes::<Pack>(&to_bytes(&pack)).unwrap(), pack);
    }

    #[test]
    fn names_are_single_components(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        match Name::new(&bytes) {
            Ok(name) => {
                prop_assert!(!bytes.contains(&b'/') && !bytes.contains(&0) && !bytes.is_empty());
                prop_assert_eq!(from_bytes::<Name>(&to_bytes(&name)).unwrap(), name);
            }
            Err(_) => prop_assert!(from_bytes::<Name>(&to_bytes(&Blob(bytes))).is_err()),
        }
    }
}
