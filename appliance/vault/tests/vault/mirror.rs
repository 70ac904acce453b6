//! HQ's mirror: segments come in whatever order and however far; once all are there it shows what the branch shows.

use std::sync::Arc;

use coffer_format::segment::SegmentHeader;
use coffer_format::{NodeId, SegmentId, from_bytes};
use coffer_vault::disk::RealDisk;
use coffer_vault::mirror::Mirror;

use crate::support::Random;
use crate::support::agent::{Agent, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::check_point;

#[test]
fn segments_may_come_in_any_order_and_in_pieces() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(1);
    let file = agent.make_file(NodeId::ROOT, "file", random.bytes(5 * PAGE));
    for _ in 0..4 {
        agent.overwrite(file, 0, &random.bytes(PAGE));
        agent.close().unwrap();
        agent.insert(file, 3, &random.bytes(30));
        agent.close().unwrap();
        vault.roll().unwrap();
    }
    let segments: Vec<(SegmentId, Vec<u8>)> = vault
        .segments()
        .unwrap()
        .iter()
        .map(|one| (one.segment, fixture.segment_bytes(one.segment.0)))
        .collect();
    let first: SegmentHeader = from_bytes(&segments[0].1[..SegmentHeader::LEN]).unwrap();

    for seed in 0..20 {
        let mut random = Random::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let key = fixture.recovery.0.clone();
        let mirror = Mirror::open(Arc::new(RealDisk), folder.path(), key.clone(), Some(&first)).unwrap();
        let mut sent = vec![0; segments.len()];
        loop {
            let left: Vec<_> = (0..segments.len()).filter(|at| sent[*at] < segments[*at].1.len()).collect();
            if left.is_empty() {
                break;
            }
            let which = left[random.below(left.len())];
            let (segment, bytes) = &segments[which];
            let piece = (SegmentHeader::LEN + random.below(bytes.len())).min(bytes.len() - sent[which]);
            let from = sent[which];
            mirror.append(*segment, from as u64, bytes.len() as u64, &bytes[from..from + piece]).unwrap();
            sent[which] += piece;
            mirror.refresh().unwrap();
        }
        // Metadata that others came before is put in its place.
        if mirror.doubts_catalog().unwrap() {
            mirror.compare_catalog(&mut |_| true).unwrap();
        }
        assert_eq!(mirror.reading().points(config).unwrap().len(), 8, "seed {seed}");
        for (point, model) in &agent.points {
            check_point(mirror.reading(), config, *point, model).unwrap();
        }
        assert_eq!(mirror.whole().unwrap()[0].point, Some(8));
    }
}
