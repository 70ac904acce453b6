//! The arithmetic on maps, against files whole in memory; and what long chains of versions cost.

use coffer_format::manifest::{Map, Range, Source, base_ordinal, compose};
use coffer_format::{ChunkId, NodeId};
use proptest::prelude::*;

use crate::support::Random;
use crate::support::agent::{Agent, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored;

/// Byte `offset` of chunk `id`, as this test's chunks go.
fn byte_of(id: &ChunkId, offset: u64) -> u32 {
    1 + u32::from(id.0[0]) * 1000 + offset as u32
}

/// What a map says of each byte, over a base: the slow way.
fn naive(base: &[u32], map: &Map) -> Vec<u32> {
    let mut out: Vec<u32> =
        (0..map.size as usize).map(|at| base.get(at).copied().unwrap_or(u32::MAX)).collect();
    for range in &map.ranges {
        for step in 0..range.len {
            out[(range.at + step) as usize] = match range.source {
                Source::Zero => 0,
                Source::Base { offset } => base[(offset + step) as usize],
                Source::Chunk { chunk, offset } => {
                    byte_of(&map.chunks[chunk as usize], u64::from(offset) + step)
                }
            };
        }
    }
    out
}

/// A piece of a delta: how far after the one before, how long, and from where.
type Piece = (u64, u64, u8, u64);

/// A valid delta on a file of `base_size` bytes, from whatever numbers there are.
fn delta_on(base_size: u64, pieces: &[Piece], shorter: u64) -> Map {
    let mut map = Map::default();
    let mut at = 0;
    for (gap, len, source, from) in pieces {
        at += if at <= base_size { (*gap).min(base_size - at) } else { 0 };
        let source = match source % 4 {
            0 => Source::Zero,
            1 if base_size > *len => Source::Base { offset: from % (base_size - len) },
            kind => {
                map.chunks.push(ChunkId([from.to_le_bytes()[0].wrapping_mul(kind); 32]));
                Source::Chunk { chunk: map.chunks.len() as u32 - 1, offset: (from % 50) as u32 }
            }
        };
        map.ranges.push(Range { at, len: *len, source });
        at += len;
    }
    map.size = at.max(base_size.saturating_sub(shorter));
    map
}

fn pieces() -> impl Strategy<Value = (Vec<Piece>, u64)> {
    (prop::collection::vec((0..40u64, 1..60u64, any::<u8>(), 0..1000u64), 0..12), 0..200u64)
}

fn whole(len: u64) -> Map {
    let mut map = Map { size: len, chunks: vec![ChunkId([255; 32])], ranges: Vec::new() };
    map.push(Range { at: 0, len, source: Source::Chunk { chunk: 0, offset: 0 } });
    map
}

proptest! {
    #[test]
    fn composing_is_what_happens_to_the_bytes(
        size in 0..400u64,
        steps in prop::collection::vec(pieces(), 1..6),
        folds in prop::collection::vec(any::<bool>(), 6),
    ) {
        let mut bytes = naive(&[], &whole(size));
        let mut full = whole(size);
        // A delta of several steps folded together, and the full map it's on.
        let mut folded: Option<(Map, Map)> = None;
        for ((pieces, shorter), fold) in steps.iter().zip(folds) {
            let delta = delta_on(full.size, pieces, *shorter);
            delta.check_delta(full.size).unwrap();
            bytes = naive(&bytes, &delta);
            folded = Some(match folded {
                Some((base, before)) if fold => (base, compose(&before, &delta, false).unwrap()),
                _ => (full.clone(), delta.clone()),
            });
            full = compose(&full, &delta, true).unwrap();
            full.check_full().unwrap();
            prop_assert_eq!(&naive(&[], &full), &bytes);
            let (base, delta) = folded.as_ref().unwrap();
            delta.check_delta(base.size).unwrap();
            let again = compose(base, delta, true).unwrap();
            again.check_full().unwrap();
            prop_assert_eq!(&naive(&[], &again), &bytes);
        }
    }

    #[test]
    fn composing_never_panics(a in any_map(), b in any_map(), full in any::<bool>()) {
        if a.check().is_ok() && b.check().is_ok() {
            let _ = compose(&a, &b, full);
        }
    }
}

fn any_map() -> impl Strategy<Value = Map> {
    let source = prop_oneof![
        Just(Source::Zero),
        (0..500u64).prop_map(|offset| Source::Base { offset }),
        (0..4u32, 0..500u32).prop_map(|(chunk, offset)| Source::Chunk { chunk, offset }),
    ];
    let range = (0..300u64, 1..50u64, source).prop_map(|(at, len, source)| Range { at, len, source });
    (0..400u64, prop::collection::vec(range, 0..5)).prop_map(|(size, mut ranges)| {
        ranges.sort_by_key(|range| range.at);
        Map { size, chunks: vec![ChunkId([1; 32]), ChunkId([2; 32])], ranges }
    })
}

#[test]
fn a_chain_is_never_longer_than_the_logarithm_of_its_number() {
    for ordinal in 0..100_000_u32 {
        let mut links = 0;
        let mut at = ordinal;
        while at != 0 {
            assert!(base_ordinal(at) < at);
            at = base_ordinal(at);
            links += 1;
        }
        assert!(links <= 32 - ordinal.leading_zeros());
    }
}

/// Bytes of all metadata records so far.
fn metadata_bytes(vault: &coffer_vault::Vault) -> u64 {
    let meta = |state: &coffer_vault::SegmentState| state.stream == coffer_format::segment::Stream::Meta;
    vault.segments().unwrap().into_iter().filter(meta).map(|state| state.bytes).sum()
}

#[test]
fn hundreds_of_versions_cost_what_changed_and_come_back() {
    const PAGES: usize = 500;
    const VERSIONS: usize = 300;
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(11);
    let file = agent.make_file(NodeId::ROOT, "data.db", random.bytes(PAGES * PAGE));
    let first = agent.close().unwrap();
    let before = metadata_bytes(&vault);
    let mut models = vec![(first, agent.bytes(file))];
    let mut stored = 0;
    for version in 0..VERSIONS {
        agent.overwrite(file, random.below(PAGES) * PAGE, &random.bytes(PAGE));
        let point = agent.close().unwrap();
        stored += vault.reading().points(config).unwrap()[0].stored;
        if version % 17 == 0 || version + 5 > VERSIONS {
            models.push((point, agent.bytes(file)));
        }
    }
    for (point, bytes) in &models {
        assert!(restored::read(vault.reading(), config, *point, file).unwrap() == *bytes, "point {point}");
    }
    // One page each, sealed, and nothing else.
    assert!(stored < (VERSIONS * (PAGE + 200)) as u64, "{stored} bytes were stored");
    // Each changed range is kept at most log2(300) times, 60 bytes of map each, besides a constant per version: far
    // below the full map, which is some 30 KB each time.
    let per_version = (metadata_bytes(&vault) - before) / VERSIONS as u64;
    assert!(per_version < 1500, "{per_version} bytes of metadata per changed page");
}
