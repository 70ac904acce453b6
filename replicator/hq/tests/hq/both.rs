//! The same segment is damaged at the box and at HQ: each record comes from whichever side has it.

use coffer_format::segment::Stream;
use coffer_format::{OrgId, SegmentId, VaultId};
use coffer_replicator::{WanSettings, fetch_outlines, fetch_what_can};
use coffer_vault::RecoveryKey;
use coffer_vault::mirror::Mirror;
use coffer_vault::verify::Verdict;
use serde_json::json;
use tokio::time::timeout;

use crate::branch::{Branch, noise};
use crate::mirror::{flip, full_mirror_of, path_of};
use crate::restored::restore;
use crate::world::{LONG, Running, World, ask, select, settings};

/// Which side's damage is found first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Box,
    Hq,
    /// The box's is found only when HQ has got it.
    HqAlone,
}

fn bulk_of(branch: &Branch) -> SegmentId {
    let segments = branch.vault.segments().unwrap();
    segments.iter().find(|state| state.stream == Stream::Bulk && state.closed).unwrap().segment
}

/// What a box does by itself where it's damaged.
async fn heal(branch: &Branch, settings: &WanSettings) {
    branch.vault.look_at_suspects().unwrap();
    let needs = branch.vault.reading().to_heal().unwrap();
    let segments: Vec<SegmentId> = needs.iter().map(|need| need.segment).collect();
    let vault = branch.vault.clone();
    let put_back = move |segment, bytes: &[u8]| vault.import_segment(segment, bytes);
    let lacking = fetch_what_can(settings, None, &segments, put_back).await;
    let reading = branch.vault.reading();
    let begun: Vec<SegmentId> =
        lacking.into_keys().filter(|segment| reading.has_beginning(*segment)).collect();
    let vault = branch.vault.clone();
    let put_right = move |segment, bytes: &[u8]| vault.mend_segment(segment, bytes);
    fetch_outlines(settings, None, &begun, put_right).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_comes_from_whichever_side_has_it() {
    // A byte of the segment each: at the box, and at HQ.
    let damages: [(&[u64], &[usize]); 4] = [
        (&[400_000], &[100_000]),
        (&[100_000], &[400_000]),
        (&[200_000, 500_000], &[100_000, 300_000, 550_000]),
        // Its header.
        (&[300_000], &[70]),
    ];
    for first in [First::Box, First::Hq, First::HqAlone] {
        for (at_box, at_hq) in damages {
            let case = format!("{first:?} first, at the box {at_box:?}, at HQ {at_hq:?}");
            let world = World::new().await;
            let enrolled = world.enrol("leeds").await;
            let mut branch = Branch::of(&enrolled);
            let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
            branch.vault.roll().unwrap();
            let settings = settings(world.address, &enrolled.identity, "leeds");
            let running = Running::start(branch.vault.clone(), settings.clone());
            running.until_whole(1, point).await;
            running.stop().await;
            let bulk = bulk_of(&branch);
            let sound = branch.bytes_of(bulk);
            let file = world.hq_dir().join(path_of(bulk));

            at_box.iter().for_each(|at| branch.flip(bulk, *at));
            if first != First::HqAlone {
                branch.vault.verify(&mut |_| {}).unwrap();
            }
            let mut operator = world.operator("anna").await;
            select(&mut operator, "leeds").await;
            at_hq.iter().for_each(|at| flip(file.clone(), *at));
            if first != First::Box {
                assert_ne!(ask(&mut operator, json!({ "do": "verify" })).await["verdict"], "whole", "{case}");
            }
            let running = Running::start(branch.vault.clone(), settings.clone());
            let healed = async {
                loop {
                    let is_recorded = !branch.vault.reading().copies(bulk).unwrap().is_empty();
                    let is_whole = std::fs::read(&file).is_ok_and(|bytes| bytes == sound);
                    if is_whole && first == First::HqAlone {
                        branch.vault.verify(&mut |_| {}).unwrap();
                    }
                    let needs = branch.vault.reading().to_heal().unwrap();
                    if is_whole && is_recorded && needs.is_empty() {
                        break;
                    }
                    heal(&branch, &settings).await;
                    tokio::task::yield_now().await;
                }
            };
            timeout(LONG, healed).await.unwrap_or_else(|_| {
                let (needs, there) =
                    (branch.vault.reading().to_heal(), std::fs::read(&file).map(|bytes| bytes.len()));
                let begun = branch.vault.reading().has_beginning(bulk);
                panic!(
                    "{case}: {needs:?}, at HQ {there:?}, begun {begun}, {:?}",
                    running.job.status().borrow()
                )
            });
            let status = running.until_whole(1, point).await;
            assert!(status.held_back.is_empty(), "{case}: {status:?}");
            running.stop().await;
            assert_eq!(branch.vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole, "{case}");
            assert!(branch.bytes_of(bulk) == sound, "{case}");
            assert_eq!(ask(&mut operator, json!({ "do": "verify" })).await["verdict"], "whole", "{case}");
            let restored = restore(&mut operator, branch.config, point, &[]).await;
            assert_eq!(restored.as_ref(), Ok(&branch.points[&point]), "{case}");
        }
    }
}

/// A file that is nothing but zeros from some place on isn't the file of another line of history: HQ has what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn damage_up_to_the_end_of_a_file_is_no_other_line() {
    for stream in [Stream::Bulk, Stream::Meta] {
        let world = World::new().await;
        let enrolled = world.enrol("leeds").await;
        let mut branch = Branch::of(&enrolled);
        let first = branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
        let second = branch.back_up(Stream::Bulk, &[("more", noise(2, 60_000))]);
        branch.vault.roll().unwrap();
        let settings = settings(world.address, &enrolled.identity, "leeds");
        let running = Running::start(branch.vault.clone(), settings.clone());
        running.until_whole(1, second).await;
        running.stop().await;
        let segments = branch.vault.segments().unwrap();
        let damaged = segments.iter().find(|state| state.stream == stream && state.closed).unwrap().segment;
        let len = branch.bytes_of(damaged).len() as u64;
        branch.zero(damaged, len / 2);
        branch.vault.verify(&mut |_| {}).unwrap();
        // HQ has all records, and not the end of the file.
        let file = world.hq_dir().join(path_of(damaged));
        flip(file.clone(), len as usize - 100);
        let mut operator = world.operator("anna").await;
        select(&mut operator, "leeds").await;
        ask(&mut operator, json!({ "do": "verify" })).await;
        let running = Running::start(branch.vault.clone(), settings.clone());
        let healed = async {
            while !branch.vault.reading().to_heal().unwrap().is_empty() {
                assert!(!running.job.status().borrow().set_back, "{stream:?}");
                heal(&branch, &settings).await;
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, healed).await.unwrap_or_else(|_| {
            panic!("{stream:?}: {:?}, {:?}", branch.vault.reading().to_heal(), running.job.status().borrow())
        });
        running.until_whole(1, second).await;
        running.stop().await;
        let report = branch.vault.verify(&mut |_| {}).unwrap();
        assert_eq!(report.verdict, Verdict::Whole, "{stream:?}: {} {:?}", report.sentence(), report.damage);
        for point in [first, second] {
            let restored = restore(&mut operator, branch.config, point, &[]).await;
            assert_eq!(restored.as_ref(), Ok(&branch.points[&point]), "{stream:?}");
        }
    }
}

/// What neither side has is lost, and nobody says that it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_damage_on_both_sides_is_known_as_lost() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
    branch.vault.roll().unwrap();
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, point).await;
    let bulk = bulk_of(&branch);
    branch.flip(bulk, 200_000);
    flip(world.hq_dir().join(path_of(bulk)), 200_000);
    assert_eq!(branch.vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Heals, "HQ's copy was good");
    heal(&branch, &settings).await;
    let known = async {
        let lost =
            || branch.vault.reading().harm_to_newest().unwrap().get(&branch.config).map(|harm| harm.lost);
        while lost() != Some(1) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, known).await.expect("the box goes on counting on HQ's copy");
    assert!(branch.vault.reading().copies(bulk).unwrap().is_empty());
    // HQ reads in what the box records that it has nothing better.
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    let told = async {
        loop {
            let report = ask(&mut operator, json!({ "do": "verify" })).await;
            if report["from_box"] != true && report["verdict"] != "whole" {
                break report;
            }
        }
    };
    let report = timeout(LONG, told).await.expect("HQ goes on counting on the box");
    assert_eq!(
        (&report["lost_count"], &report["touched"][0]["is_lost"]),
        (&1.into(), &true.into()),
        "{report}"
    );
    let said = report["sentence"].as_str().unwrap();
    assert!(said.contains("nor from the branch's box"), "{said}");
    let branches = ask(&mut operator, json!({ "hq": "branches" })).await;
    let said = branches[0]["sentence"].as_str().unwrap();
    assert!(said.contains("1 of them at the box too"), "{said}");
    running.stop().await;
}

/// Nobody sends again what the branch gave up: damage in it costs its own records, and no others.
#[test]
fn what_was_given_up_keeps_all_that_is_sound() {
    let (key, public) = RecoveryKey::generate().unwrap();
    let mut branch = Branch::with(VaultId([1; 16]), OrgId([2; 16]), [3; 32], public.0);
    branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
    branch.vault.roll().unwrap();
    let bulk = bulk_of(&branch);
    for given_up_first in [true, false] {
        let (dir, mirror) = full_mirror_of(&branch, key.clone());
        let file = dir.path().join(format!("segments/{:016x}.seg", bulk.0));
        flip(file.clone(), 100_000);
        let as_it_is = std::fs::read(&file).unwrap();
        if given_up_first {
            mirror.forget(bulk).unwrap();
            assert!(!mirror.check(bulk).unwrap());
        } else {
            assert!(!mirror.check(bulk).unwrap());
            assert!(mirror.bytes_of(bulk) <= 100_000);
            mirror.forget(bulk).unwrap();
        }
        assert!(std::fs::read(&file).unwrap() == as_it_is, "given up first: {given_up_first}");
        drop(mirror);
        let again =
            Mirror::open(std::sync::Arc::new(coffer_vault::disk::RealDisk), dir.path(), key.clone(), None);
        let again = again.unwrap();
        assert!(std::fs::read(&file).unwrap() == as_it_is, "given up first: {given_up_first}");
        assert!(again.damaged_segments().contains(&bulk));
    }
}

/// What the box sends is written over what is damaged: all that is sound stays where it is meanwhile, and once a damaged place was
/// sent, the box goes on at the next, whether or not it had something better.
#[test]
fn what_comes_again_is_written_over_what_is_damaged() {
    let (key, public) = RecoveryKey::generate().unwrap();
    let mut branch = Branch::with(VaultId([1; 16]), OrgId([2; 16]), [3; 32], public.0);
    branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
    branch.vault.roll().unwrap();
    let bulk = bulk_of(&branch);
    let sound = branch.bytes_of(bulk);
    let len = sound.len() as u64;
    let flipped = |at: &[usize]| {
        let mut bytes = sound.clone();
        at.iter().for_each(|at| bytes[*at] ^= 1);
        bytes
    };
    for box_has_it in [true, false] {
        let (dir, mirror) = full_mirror_of(&branch, key.clone());
        let file = dir.path().join(format!("segments/{:016x}.seg", bulk.0));
        let at_box = if box_has_it { sound.clone() } else { flipped(&[100_000]) };
        std::fs::write(&file, flipped(&[100_000, 400_000])).unwrap();
        assert!(!mirror.check(bulk).unwrap());
        let mut from = mirror.bytes_of(bulk);
        assert!(from < 100_000);
        mirror.take_news();
        // Pieces that end in the middle of records.
        while mirror.bytes_of(bulk) == from && from < 200_000 {
            let until = from + 10_000;
            mirror.append(bulk, from, len, &at_box[from as usize..until as usize]).unwrap();
            // Whoever looks at it meanwhile doesn't make it begin again.
            let due = mirror.bytes_of(bulk);
            mirror.check(bulk).unwrap();
            assert!(mirror.bytes_of(bulk) >= due);
            assert!(!mirror.take_news() || mirror.bytes_of(bulk) > until);
            let there = std::fs::read(&file).unwrap();
            assert!(
                there[until as usize..] == flipped(&[400_000])[until as usize..],
                "what is sound has gone"
            );
            from = until;
        }
        let due = mirror.bytes_of(bulk);
        assert!((360_000..400_000).contains(&due), "it doesn't go on at the next damage: {due}");
        if box_has_it {
            let (_, hash) = mirror.append(bulk, due, len, &at_box[due as usize..]).unwrap();
            assert!(hash.is_some());
            assert!(std::fs::read(&file).unwrap() == sound);
            assert!(mirror.damaged_segments().is_empty());
        }
    }
}

/// What an earlier version kept beside a segment that it had cut off where its damage begins is put back.
#[test]
fn what_was_kept_beside_a_segment_comes_back_into_it() {
    let (key, public) = RecoveryKey::generate().unwrap();
    let mut branch = Branch::with(VaultId([1; 16]), OrgId([2; 16]), [3; 32], public.0);
    let point = branch.back_up(Stream::Bulk, &[("big", noise(1, 600_000))]);
    branch.vault.roll().unwrap();
    let bulk = bulk_of(&branch);
    let sound = branch.bytes_of(bulk);
    for is_damaged in [true, false] {
        let (dir, mirror) = full_mirror_of(&branch, key.clone());
        drop(mirror);
        let file = dir.path().join(format!("segments/{:016x}.seg", bulk.0));
        let mut kept = sound.clone();
        if is_damaged {
            kept[100_000] ^= 1;
        }
        std::fs::write(file.with_extension("rest"), &kept).unwrap();
        std::fs::write(&file, &kept[..90_000]).unwrap();
        let disk = std::sync::Arc::new(coffer_vault::disk::RealDisk);
        let again = Mirror::open(disk, dir.path(), key.clone(), None).unwrap();
        assert!(std::fs::read(&file).unwrap() == kept);
        assert!(!file.with_extension("rest").exists());
        assert_eq!(again.damaged_segments().contains(&bulk), is_damaged);
        assert_eq!(again.whole().unwrap()[0].point, (!is_damaged).then_some(point));
    }
}
