//! Metadata that HQ had and has no more: what needs it isn't called whole, whatever else is damaged, until the box sends it again.

use std::fs::{self, File};
use std::path::Path;

use coffer_format::SegmentId;
use coffer_format::segment::{SegmentHeader, Stream};
use coffer_link::Link;
use serde_json::{Value, json};

use crate::branch::{Branch, noise};
use crate::mirror::{flip, path_of};
use crate::restored::{restore, restore_what_can, try_restore};
use crate::world::{Running, World, ask, select, settings};

/// A branch with `points` points, each with metadata of its own, whole at HQ; the box is off. Metadata segments come in order.
async fn branch_with(points: u64) -> (World, Branch, coffer_replicator::WanSettings, Vec<SegmentId>) {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let mut last = 0;
    for seed in 0..points {
        if seed > 0 {
            branch.vault.roll().unwrap();
        }
        let name = format!("file-{seed}");
        last = branch.back_up(Stream::Fresh, &[(&name, noise(seed, 9000)), ("all", noise(100 + seed, 5000))]);
    }
    let settings = settings(world.address, &enrolled.identity, "leeds");
    let running = Running::start(branch.vault.clone(), settings.clone());
    running.until_whole(1, last).await;
    running.stop().await;
    let segments = branch.vault.segments().unwrap();
    let metadata = segments.iter().filter(|state| state.stream == Stream::Meta).map(|state| state.segment);
    let metadata = metadata.collect();
    (world, branch, settings, metadata)
}

async fn said(operator: &mut Link) -> (String, Value, Value) {
    let branches = ask(operator, json!({ "hq": "branches" })).await;
    let report = ask(operator, json!({ "do": "verify" })).await;
    (branches[0]["sentence"].as_str().unwrap().to_owned(), branches[0]["configurations"][0].clone(), report)
}

fn remove_catalog(hq: &Path) {
    let catalog = hq.join("branches/leeds/catalog.sqlite");
    for ending in ["", "-wal", "-shm"] {
        let mut name = catalog.as_os_str().to_owned();
        name.push(ending);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }
}

/// A catalog that is made again while metadata in the middle is away has the points behind it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn points_behind_metadata_that_is_away_do_not_vanish() {
    for what in ["gone", "header"] {
        let (world, branch, settings, metadata) = branch_with(4).await;
        let world = world
            .restart_after(|hq| {
                let path = hq.join(path_of(metadata[1]));
                match what {
                    "gone" => fs::remove_file(path).unwrap(),
                    _ => flip(path, 60),
                }
                remove_catalog(hq);
            })
            .await;
        let mut operator = world.operator("anna").await;
        select(&mut operator, "leeds").await;
        let (sentence, config, report) = said(&mut operator).await;
        assert_eq!(config["newest"], 4, "{what}: {config}");
        assert_eq!(config["point"], 1, "{what}: {config}");
        assert_eq!(report["verdict"], "heals", "{what}: {report}");
        assert!(report["from_box"].as_bool().unwrap(), "{what}: {report}");
        assert!(!sentence.contains("whole at HQ"), "{what}: {sentence}");
        assert!(!try_restore(&mut operator, &branch, 4).await, "{what}");

        let running = Running::start(branch.vault.clone(), settings);
        running.until_whole(1, 4).await;
        for point in 1..=4 {
            let restored = restore(&mut operator, branch.config, point, &[]).await;
            assert_eq!(restored.as_ref(), Ok(&branch.points[&point]), "{what}: {point}");
        }
        let (_, _, report) = said(&mut operator).await;
        assert_eq!(report["verdict"], "whole", "{what}: {report}");
        running.stop().await;
    }
}

/// Metadata of a segment that never was whole: what HQ says once, it says as long as it's so.
#[tokio::test(flavor = "multi_thread")]
async fn open_metadata_that_is_cut_off_at_headquarters_is_named_until_it_is_back() {
    for (what, kept) in [("emptied", 0), ("cut", SegmentHeader::LEN as u64 + 20), ("gone", 0)] {
        let (world, branch, settings, metadata) = branch_with(3).await;
        let world = world
            .restart_after(|hq| {
                let path = hq.join(path_of(metadata[2]));
                match what {
                    "gone" => fs::remove_file(path).unwrap(),
                    _ => File::options().write(true).open(path).unwrap().set_len(kept).unwrap(),
                }
            })
            .await;
        let mut operator = world.operator("anna").await;
        select(&mut operator, "leeds").await;
        let mut first = None;
        for _ in 0..3 {
            let (sentence, config, report) = said(&mut operator).await;
            assert!(sentence.contains("damaged or missing at HQ"), "{what}: {sentence}");
            assert_eq!(config["point"], 2, "{what}: {config}");
            assert_eq!(report["verdict"], "heals", "{what}: {report}");
            assert!(report["from_box"].as_bool().unwrap(), "{what}: {report}");
            let touched = report["touched_count"].as_u64().unwrap();
            assert!(touched > 0, "{what}: {report}");
            assert_eq!(*first.get_or_insert(touched), touched, "{what}: {report}");
        }
        assert!(!try_restore(&mut operator, &branch, 3).await, "{what}");
        assert!(try_restore(&mut operator, &branch, 2).await, "{what}");

        let running = Running::start(branch.vault.clone(), settings);
        running.until_whole(1, 3).await;
        let restored = restore(&mut operator, branch.config, 3, &[]).await;
        assert_eq!(restored.as_ref(), Ok(&branch.points[&3]), "{what}");
        let (_, _, report) = said(&mut operator).await;
        assert_eq!(report["verdict"], "whole", "{what}: {report}");
        running.stop().await;
    }
}

/// A catalog that is made again without the newer metadata: nothing says what that held, but that it's away shows.
#[tokio::test(flavor = "multi_thread")]
async fn segments_of_which_nothing_is_there_are_said_to_be_missing() {
    let (world, branch, settings, metadata) = branch_with(3).await;
    let world = world
        .restart_after(|hq| {
            // The data of the third point is numbered between them.
            metadata[1..].iter().for_each(|segment| fs::remove_file(hq.join(path_of(*segment))).unwrap());
            remove_catalog(hq);
        })
        .await;
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    let (sentence, config, report) = said(&mut operator).await;
    assert_eq!(config["newest"], 1, "{config}");
    assert!(sentence.contains("newer restore points may be missing"), "{sentence}");
    assert_eq!((&report["verdict"], &report["absent"]), (&"heals".into(), &1.into()), "{report}");
    assert!(report["sentence"].as_str().unwrap().contains("points may be missing from the list"), "{report}");

    let running = Running::start(branch.vault.clone(), settings);
    running.until_whole(1, 3).await;
    let restored = restore(&mut operator, branch.config, 3, &[]).await;
    assert_eq!(restored.as_ref(), Ok(&branch.points[&3]));
    let (_, _, report) = said(&mut operator).await;
    assert_eq!(report["verdict"], "whole", "{report}");
    running.stop().await;
}

/// A damaged metadata record costs what it says alone, while the box is away and whether or not HQ is started in between.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sound_behind_damaged_metadata_is_restored_while_the_box_is_away() {
    for what in ["running", "restarted", "without a catalog"] {
        let world = World::new().await;
        let enrolled = world.enrol("leeds").await;
        let mut branch = Branch::of(&enrolled);
        let mut last = 0;
        for number in 0..6 {
            last = branch.back_up(Stream::Fresh, &[(&format!("file-{number}"), noise(number, 9000))]);
        }
        branch.vault.roll().unwrap();
        let settings = settings(world.address, &enrolled.identity, "leeds");
        let running = Running::start(branch.vault.clone(), settings.clone());
        running.until_whole(1, last).await;
        running.stop().await;
        let segments = branch.vault.segments().unwrap();
        let metadata = segments.iter().find(|state| state.stream == Stream::Meta).unwrap().segment;
        let bytes = branch.bytes_of(metadata);
        // The files' records come before the index.
        let records: Vec<usize> =
            bytes.windows(4).enumerate().filter(|(_, four)| four == b"CREC").map(|(at, _)| at).collect();
        let damaged = records[records.len() - 5] + 40;
        flip(world.hq_dir().join(path_of(metadata)), damaged);
        let mut operator = world.operator("anna").await;
        select(&mut operator, "leeds").await;
        let mut report = ask(&mut operator, json!({ "do": "verify" })).await;
        let _world = match what {
            "running" => world,
            _ => {
                drop(operator);
                let world = world
                    .restart_after(|hq| {
                        if what == "without a catalog" {
                            remove_catalog(hq);
                        }
                    })
                    .await;
                operator = world.operator("anna").await;
                select(&mut operator, "leeds").await;
                report = ask(&mut operator, json!({ "do": "verify" })).await;
                world
            }
        };
        assert_eq!(report["verdict"], "heals", "{what}: {report}");
        let mut lacks = 0;
        for (name, content) in &branch.points[&last] {
            let restored = restore_what_can(&mut operator, branch.config, last, &[name]).await;
            let Some(restored) = restored.ok().filter(|restored| restored.files.contains_key(name)) else {
                lacks += 1;
                continue;
            };
            assert_eq!(restored.files.get(name), Some(content), "{what}: {name}");
            // Where nothing says which file is missing, each restore says that some may be.
            assert_eq!(restored.left_out.is_empty(), what != "without a catalog", "{what}: {name}");
        }
        assert_eq!(lacks, 1, "{what}: so many files don't come back");
        let (sentence, config, _) = said(&mut operator).await;
        assert!(sentence.contains("damaged or missing at HQ"), "{what}: {sentence}");
        assert!(config["point"].as_u64() < Some(last), "{what}: {config}");

        let running = Running::start(branch.vault.clone(), settings);
        running.until_whole(1, last).await;
        let restored = restore(&mut operator, branch.config, last, &[]).await;
        assert_eq!(restored.as_ref(), Ok(&branch.points[&last]), "{what}");
        let (_, _, report) = said(&mut operator).await;
        assert_eq!(report["verdict"], "whole", "{what}: {report}");
        running.stop().await;
    }
}
