//! What's damaged or not to be had costs a restore its own files: each is named, and all others come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coffer_format::event::Place;
use coffer_format::node::NodeKind;
use coffer_format::segment::Stream;
use coffer_format::wire::{LeftOut, LeftOutWhy, Message};
use coffer_format::{NodeId, PointSeq, SegmentId};
use coffer_vault::disk::CrashDisk;
use coffer_vault::restore::Wanted;
use coffer_vault::{Reading, Vault, reclaim};

use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::{everything, restore_all_there_is};

const FILES: u64 = 6;

/// Each file in a segment of its own, the last one with a second name, all in a folder.
fn world() -> (CrashDisk, Fixture, Arc<Vault>, Memory, Wanted) {
    let disk = CrashDisk::new();
    let fixture = Fixture::on(Arc::new(disk.clone()));
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(3);
    let folder = agent.make(NodeKind::Directory, NodeId::ROOT, "folder");
    for number in 0..FILES {
        let file = agent.make_file(folder, &format!("file-{number}"), random.bytes(2 * PAGE + 7));
        if number + 1 == FILES {
            agent.link(NodeId::ROOT, "another-name", file);
        }
        agent.close().unwrap();
        vault.roll().unwrap();
    }
    let memory = agent.leave();
    (disk, fixture, vault, memory, everything(config, PointSeq(FILES)))
}

/// What's left out, and that all the rest is as it was.
fn left_out(reading: &Arc<Reading>, wanted: &Wanted, memory: &Memory) -> BTreeMap<String, LeftOutWhy> {
    let (found, left_out) = restore_all_there_is(reading, wanted).unwrap();
    let model = &memory.points[&wanted.point];
    for (path, (_, object)) in model {
        let shown = String::from_utf8_lossy(path);
        match (found.get(path), left_out.contains_key(path)) {
            (Some(one), _) => assert!(one.bytes == *object.bytes, "{shown} came back otherwise"),
            (None, true) => {}
            (None, false) => panic!("{shown} vanished without a word"),
        }
    }
    let said = |(path, one): (Vec<u8>, LeftOut)| {
        assert!(one.what.len() > 20, "{}", one.what);
        (String::from_utf8(path).unwrap(), one.why)
    };
    left_out.into_iter().map(said).collect()
}

fn data_segments(vault: &Vault) -> Vec<SegmentId> {
    let all = vault.segments().unwrap();
    all.iter().filter(|state| state.stream != Stream::Meta).map(|state| state.segment).collect()
}

#[test]
fn a_damaged_pack_costs_the_files_it_holds_whether_that_is_known_before_or_not() {
    let (disk, fixture, vault, memory, wanted) = world();
    let segments = data_segments(&vault);
    assert_eq!(segments.len() as u64, FILES);
    for trusted in [true, false] {
        let wanted = Wanted { trusted, ..wanted.clone() };
        for (number, segment) in segments.iter().enumerate() {
            let path = fixture.segment_path(segment.0);
            disk.flip_bit(&path, 800);
            let lost: Vec<String> = left_out(vault.reading(), &wanted, &memory)
                .into_iter()
                .map(|(path, why)| {
                    assert_eq!(why, LeftOutWhy::Damaged);
                    path
                })
                .collect();
            let names = if number as u64 + 1 == FILES { 2 } else { 1 };
            assert!(lost.contains(&format!("folder/file-{number}")) && lost.len() == names, "{lost:?}");
            disk.flip_bit(&path, 800);
        }
    }
    // Once verify has noted it, it's known before anything is read.
    disk.flip_bit(&fixture.segment_path(segments[1].0), 800);
    assert!(!vault.verify(&mut |_| {}).unwrap().damage.is_empty());
    let lost = left_out(vault.reading(), &wanted, &memory);
    assert_eq!(lost, [("folder/file-1".to_owned(), LeftOutWhy::Damaged)].into());
}

#[test]
fn a_damaged_metadata_record_costs_what_it_tells_of_and_a_folder_comes_without_its_own() {
    let (disk, fixture, vault, memory, wanted) = world();
    let metas: Vec<_> =
        vault.segments().unwrap().into_iter().filter(|state| state.stream == Stream::Meta).collect();
    let mut hits = 0;
    for state in metas {
        let path = fixture.segment_path(state.segment.0);
        for at in (600..state.bytes).step_by(97) {
            disk.flip_bit(&path, at);
            vault.reading().inspect(&mut |_| {}).unwrap();
            hits += usize::from(!left_out(vault.reading(), &wanted, &memory).is_empty());
            disk.flip_bit(&path, at);
        }
    }
    assert!(hits > 5, "{hits}");
}

#[test]
fn what_is_elsewhere_is_named_with_what_keeps_it_away_and_the_rest_comes() {
    let (_disk, _fixture, vault, memory, wanted) = world();
    let segments = data_segments(&vault);
    for state in vault.reading().without_copy(|_| true).unwrap() {
        let place = Place::Hq { name: "branch".into() };
        vault.record_copies(vec![(state.segment, state.hash.unwrap(), place)]).unwrap();
    }
    let policy = reclaim::Policy {
        copies_before_eviction: 1,
        free_target_bytes: u64::MAX >> 1,
        compact_below_percent: 0,
    };
    let mut plan = vault.plan_reclaim(policy).unwrap();
    plan.steps.retain(|step| step.segment != segments[2]);
    vault.apply_reclaim(&plan, "test").unwrap();
    let why = [(segments[0], "put tape COF001L6 in".to_owned())].into();
    let mut said = Vec::new();
    let mut nodes = BTreeSet::new();
    vault
        .reading()
        .restore_naming(&wanted, &why, &mut |message| {
            match message {
                Message::RestoreLeftOut { files } => said.extend(files),
                Message::RestoreNodes { nodes: more } => {
                    nodes.extend(more.into_iter().map(|node| String::from_utf8(node.path.0).unwrap()));
                }
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    assert!(nodes.contains("folder/file-2") && !nodes.contains("folder/file-0"), "{nodes:?}");
    let first = said.iter().find(|one| &one.path.0[..] == b"folder/file-0").unwrap();
    assert!(first.what.contains("put tape COF001L6 in"), "{}", first.what);
    let lost = left_out(vault.reading(), &wanted, &memory);
    // The last one has two names.
    assert_eq!(lost.len() as u64, FILES, "{lost:?}");
    assert!(lost.values().all(|why| *why == LeftOutWhy::Away));
}

#[test]
fn a_path_that_is_not_there_is_named_and_the_others_come() {
    let (_disk, _fixture, vault, _memory, wanted) = world();
    let paths = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect::<Vec<_>>();
    let some =
        Wanted { paths: paths(&["folder/file-1", "nowhere", "folder/file-1", "/folder"]), ..wanted.clone() };
    let (found, left_out) = restore_all_there_is(vault.reading(), &some).unwrap();
    assert_eq!(found.len() as u64, 1 + FILES);
    assert_eq!(left_out.into_values().map(|one| one.why).collect::<Vec<_>>(), [LeftOutWhy::NotThere]);
    let none = Wanted { paths: paths(&["nowhere", "neither"]), ..wanted };
    let refused = restore_all_there_is(vault.reading(), &none).unwrap_err();
    assert!(refused.to_string().contains("isn't there at that point"), "{refused}");
}
