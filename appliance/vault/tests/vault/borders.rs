//! What a computer can't do: read what another one sent, by naming it, reaching for it, or asking cleverly.

use coffer_format::manifest::{Map, Range, Source};
use coffer_format::node::{NodeKind, NodeMeta};
use coffer_format::op::{Name, Step, StepContent};
use coffer_format::segment::Stream;
use coffer_format::wire::{Message, RefusalCode};
use coffer_format::{ChunkId, NodeId, PartNo, PointSeq};
use coffer_vault::restore::Wanted;
use coffer_vault::{Session, VaultError, reclaim};

use crate::support::Random;
use crate::support::agent::{Agent, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::{everything, pack_of, restore};

/// A file that is so many times the same run of one chunk.
fn put(node: u64, id: ChunkId, offset: u32, len: u64, times: u64) -> Vec<Step> {
    let mut map = Map { size: len * times, chunks: vec![id], ranges: Vec::new() };
    for time in 0..times {
        map.ranges.push(Range { at: time * len, len, source: Source::Chunk { chunk: 0, offset } });
    }
    let meta = NodeMeta { size: map.size, ..NodeMeta::new(NodeKind::File) };
    let node = NodeId(node);
    let name = Name::new(format!("file{node}").as_bytes()).unwrap();
    vec![
        Step::Put { node, meta, content: StepContent::Whole { map } },
        Step::Link { parent: NodeId::ROOT, name, node },
    ]
}

fn code(error: &VaultError) -> RefusalCode {
    error.refusal().code
}

#[test]
fn a_computer_names_only_what_it_sent_and_only_as_far_as_it_goes() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (first, config) = enrol(&vault, "first").unwrap();
    let (second, other_config) = enrol(&vault, "second").unwrap();
    let mut random = Random::new(1);
    let chunks = [random.bytes(1000), random.bytes(1000)];
    let (pack, ids) = pack_of(&vault.chunk_key(), &chunks);

    let mut session = Session::new(vault.clone(), first);
    session.begin(config).unwrap();
    session.put_pack(Stream::Fresh, pack.clone()).unwrap();
    let beyond = put(2, ids[0], 500, 1000, 1);
    let error = session.commit_part(config, PointSeq(1), PartNo(0), beyond, None).unwrap_err();
    assert_eq!(code(&error), RefusalCode::BadRequest);
    session.commit_part(config, PointSeq(1), PartNo(0), put(2, ids[0], 500, 500, 1), None).unwrap();

    let mut other = Session::new(vault.clone(), second);
    assert_eq!(code(&other.begin(config).unwrap_err()), RefusalCode::NotAllowed);
    other.begin(other_config).unwrap();
    let error = other
        .commit_part(other_config, PointSeq(1), PartNo(0), put(2, ids[1], 0, 1000, 1), None)
        .unwrap_err();
    assert_eq!(code(&error), RefusalCode::OutOfStep);
    let error = other.commit_part(config, PointSeq(1), PartNo(1), Vec::new(), None).unwrap_err();
    assert_eq!(code(&error), RefusalCode::NotAllowed);
    // A refused part leaves nothing behind.
    assert_eq!(other.begin(other_config).unwrap().draft, None);

    let mut wrong = pack;
    wrong.chunks[0].id = ids[1];
    assert_eq!(code(&other.put_pack(Stream::Fresh, wrong).unwrap_err()), RefusalCode::BadRequest);
}

/// Naming one chunk of a pack often doesn't give a computer the rest of the pack.
#[test]
fn a_computer_gets_only_its_own_chunks_of_a_pack() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (first, config) = enrol(&vault, "first").unwrap();
    let (second, other_config) = enrol(&vault, "second").unwrap();
    let mut random = Random::new(1);
    let (secret, known) = (random.bytes(1000), random.bytes(1000));
    let key = vault.chunk_key();
    let (pack, ids) = pack_of(&key, &[known.clone(), secret.clone()]);
    let mut session = Session::new(vault.clone(), first);
    session.begin(config).unwrap();
    session.put_pack(Stream::Fresh, pack).unwrap();
    session.commit_part(config, PointSeq(1), PartNo(0), put(2, ids[0], 0, 1000, 1), None).unwrap();

    // The second has the known chunk too; the vault keeps it once, beside the secret.
    let mut agent = Agent::new(&vault, second, other_config).unwrap();
    agent.session.put_pack(Stream::Fresh, pack_of(&key, &[known]).0).unwrap();
    agent.steps = put(2, ids[0], 0, 1000, 60_000);
    agent.commit(true).unwrap();

    for trusted in [false, true] {
        let wanted = Wanted { trusted, ..everything(other_config, PointSeq(1)) };
        vault
            .reading()
            .restore(&wanted, &mut |message| {
                assert!(coffer_format::to_bytes(&message).len() <= coffer_format::limits::FRAME_BODY_MAX);
                if let (Message::RestorePack { payload, .. }, false) = (&message, trusted) {
                    assert!(!payload.windows(16).any(|run| *run == secret[..16]), "another computer's bytes");
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(restore(vault.reading(), &wanted).unwrap()[&b"file2"[..]].bytes.len(), 60_000_000);
    }
}

#[test]
fn a_restore_says_which_segments_it_needs_back() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(1);
    for number in 0..3 {
        agent.make_file(NodeId::ROOT, &format!("file{number}"), random.bytes(3 * PAGE));
        agent.close().unwrap();
        vault.roll().unwrap();
    }
    agent.session.begin(config).unwrap();
    let everything = everything(config, PointSeq(3));
    assert!(vault.reading().missing_for(&everything).unwrap().is_empty());
    let mut copies = Vec::new();
    for state in vault.reading().without_copy(|_| true).unwrap() {
        if state.stream != Stream::Meta {
            copies.push((state.segment, fixture.segment_bytes(state.segment.0)));
            let place = coffer_format::event::Place::Hq { name: "branch".into() };
            vault.record_copies(vec![(state.segment, state.hash.unwrap(), place)]).unwrap();
        }
    }
    let free_target_bytes = u64::MAX >> 1;
    let policy = reclaim::Policy { copies_before_eviction: 1, free_target_bytes, compact_below_percent: 0 };
    // Two copies are asked for, one is there: nothing leaves.
    let two = reclaim::Policy { copies_before_eviction: 2, ..policy };
    assert!(vault.plan_reclaim(two).unwrap().steps.is_empty());
    vault.apply_reclaim(&vault.plan_reclaim(policy).unwrap(), "test").unwrap();
    let missing = vault.reading().missing_for(&everything).unwrap();
    assert_eq!(missing, copies.iter().map(|(segment, _)| *segment).collect::<Vec<_>>());
    assert!(matches!(restore(vault.reading(), &everything), Err(VaultError::NotOnDisk(_))));
    for (segment, bytes) in copies {
        vault.import_segment(segment, &bytes).unwrap();
    }
    agent.check_all().unwrap();
}
