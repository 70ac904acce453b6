//! Somebody does something to HQ's files: what lies in a segment's place is what counts.

use std::fs;
use std::path::{Path, PathBuf};

use coffer_format::segment::Stream;
use coffer_format::wire::RefusalCode;
use coffer_format::{SegmentId, VaultId};
use serde_json::json;

use crate::branch::{Branch, noise};
use crate::mirror::path_of;
use crate::restored::restore;
use crate::world::{LONG, Running, World, ask, select, settings};

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Done {
    Replaced,
    Removed,
    Halved,
    Folder,
    LinkToItself,
}

use Done::{Folder, Halved, LinkToItself, Removed, Replaced};

fn to(file: &Path, done: Done) {
    match done {
        Replaced => {
            let copy = file.with_extension("n");
            fs::copy(file, &copy).unwrap();
            fs::rename(copy, file).unwrap();
        }
        Removed => fs::remove_file(file).unwrap(),
        Halved => {
            let opened = fs::OpenOptions::new().write(true).open(file).unwrap();
            opened.set_len(opened.metadata().unwrap().len() / 2).unwrap();
        }
        Folder => {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
            fs::write(file.join("note"), b"somebody's").unwrap();
        }
        LinkToItself => {
            fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink(file, file).unwrap();
        }
    }
}

fn segments_of(branch: &Branch) -> Vec<(SegmentId, Stream)> {
    branch.vault.segments().unwrap().iter().map(|state| (state.segment, state.stream)).collect()
}

/// No receipt is for bytes that went into a file which has no name any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_segment_whose_file_is_another_comes_again() {
    for done in [Replaced, Removed, Halved, Folder, LinkToItself] {
        for stream in [Stream::Bulk, Stream::Meta] {
            let case = format!("{done:?} {stream:?}");
            let world = World::new().await;
            let enrolled = world.enrol("leeds").await;
            let mut branch = Branch::of(&enrolled);
            let first = branch.back_up(Stream::Bulk, &[("one", noise(1, 300_000))]);
            let settings = settings(world.address, &enrolled.identity, "leeds");
            let running = Running::start(branch.vault.clone(), settings.clone());
            running.until_whole(1, first).await;
            let all = segments_of(&branch);
            let segment = all.iter().find(|(_, of)| *of == stream).unwrap().0;
            let file: PathBuf = world.hq_dir().join(path_of(segment));
            to(&file, done);

            let second = branch.back_up(Stream::Bulk, &[("two", noise(2, 300_000))]);
            let status = running.until_whole(1, second).await;
            assert!(status.held_back.is_empty(), "{case}: {status:?}");
            running.stop().await;
            assert!(fs::read(&file).unwrap() == branch.bytes_of(segment), "{case}: HQ has other bytes");
            let world = world.restart().await;
            let mut operator = world.operator("anna").await;
            select(&mut operator, "leeds").await;
            for point in [first, second] {
                let restored = restore(&mut operator, branch.config, point, &[]).await;
                assert_eq!(restored.as_ref(), Ok(&branch.points[&point]), "{case}");
            }
        }
    }
}

/// What comes while the folder is away isn't taken, and comes once it's there again.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_moved_away_and_back_costs_nothing() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let first = branch.back_up(Stream::Bulk, &[("one", noise(1, 300_000))]);
    let running = Running::start(branch.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
    running.until_whole(1, first).await;
    let folder = world.hq_dir().join("branches/leeds/segments");
    let away = folder.with_extension("away");
    fs::rename(&folder, &away).unwrap();
    let second = branch.back_up(Stream::Bulk, &[("two", noise(2, 300_000))]);
    let status = running.until(|status| status.last_error.is_some()).await;
    assert!(status.whole.iter().all(|whole| whole.point != Some(second)), "{status:?}");
    fs::rename(&away, &folder).unwrap();
    running.until_whole(1, second).await;
    running.stop().await;
    for (segment, _) in segments_of(&branch) {
        let there = fs::read(world.hq_dir().join(path_of(segment))).unwrap();
        assert!(there == branch.bytes_of(segment), "HQ has other bytes of segment {segment}");
    }
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    for point in [first, second] {
        let restored = restore(&mut operator, branch.config, point, &[]).await;
        assert_eq!(restored.as_ref(), Ok(&branch.points[&point]));
    }
}

/// Whatever lies in a closed segment's place that is no file is moved aside, and the segment comes again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_moved_aside() {
    for done in [Folder, LinkToItself, Halved] {
        for restarted in [true, false] {
            let case = format!("{done:?}, restarted: {restarted}");
            let mut world = World::new().await;
            let enrolled = world.enrol("leeds").await;
            let mut branch = Branch::of(&enrolled);
            let point = branch.back_up(Stream::Bulk, &[("one", noise(1, 300_000))]);
            branch.vault.roll().unwrap();
            let settings = settings(world.address, &enrolled.identity, "leeds");
            let running = Running::start(branch.vault.clone(), settings.clone());
            running.until_whole(1, point).await;
            running.stop().await;
            let bulk = segments_of(&branch).iter().find(|(_, of)| *of == Stream::Bulk).unwrap().0;
            let file = world.hq_dir().join(path_of(bulk));
            to(&file, done);
            if restarted {
                world = world.restart().await;
            }
            let mut operator = world.operator("anna").await;
            select(&mut operator, "leeds").await;
            let report = ask(&mut operator, json!({ "do": "verify" })).await;
            assert_eq!(report["verdict"], "heals", "{case}: {report}");

            let running = Running::start(branch.vault.clone(), settings);
            running.until_whole(1, point).await;
            running.stop().await;
            assert!(fs::read(&file).unwrap() == branch.bytes_of(bulk), "{case}");
            let restored = restore(&mut operator, branch.config, point, &[]).await;
            assert_eq!(restored.as_ref(), Ok(&branch.points[&point]), "{case}");
            let is_there = |ending: &&str| file.with_extension(ending).symlink_metadata().is_ok();
            let is_aside = ["folder1", "link1"].iter().any(is_there);
            assert_eq!(is_aside, !matches!(done, Halved), "{case}");
        }
    }
}

/// What a verification finds comes again without a restart or a restore, closed or not.
#[tokio::test(flavor = "multi_thread")]
async fn what_verify_finds_at_hq_is_sent_again() {
    for closed in [false, true] {
        let world = World::new().await;
        let enrolled = world.enrol("leeds").await;
        let mut branch = Branch::of(&enrolled);
        let point = branch.back_up(Stream::Bulk, &[("one", noise(1, 300_000))]);
        if closed {
            branch.vault.roll().unwrap();
        }
        let running =
            Running::start(branch.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
        running.until_whole(1, point).await;
        let bulk = segments_of(&branch).iter().find(|(_, of)| *of == Stream::Bulk).unwrap().0;
        let file = world.hq_dir().join(path_of(bulk));
        let opened = fs::OpenOptions::new().write(true).open(&file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&opened, b"not what came", 100_000).unwrap();
        let mut operator = world.operator("anna").await;
        select(&mut operator, "leeds").await;
        let found = ask(&mut operator, json!({ "do": "verify" })).await;
        let healed =
            async { while ask(&mut operator, json!({ "do": "verify" })).await["verdict"] != "whole" {} };
        tokio::time::timeout(LONG, healed)
            .await
            .unwrap_or_else(|_| panic!("closed: {closed}: never healed: {found}"));
        running.until_whole(1, point).await;
        running.stop().await;
        assert!(fs::read(&file).unwrap() == branch.bytes_of(bulk), "closed: {closed}");
    }
}

/// What can't be read costs what needs it, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_gone_costs_no_other_point() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let first = branch.back_up(Stream::Bulk, &[("one", noise(1, 300_000))]);
    branch.vault.roll().unwrap();
    let second = branch.back_up(Stream::Bulk, &[("two", noise(2, 300_000))]);
    let running = Running::start(branch.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
    running.until_whole(1, second).await;
    running.stop().await;
    let newest = segments_of(&branch).into_iter().filter(|(_, of)| *of == Stream::Bulk).max().unwrap().0;
    let file = world.hq_dir().join(path_of(newest));
    let world = world.restart_after(|_| fs::remove_file(&file).unwrap()).await;
    let mut operator = world.operator("anna").await;
    select(&mut operator, "leeds").await;
    let restored = restore(&mut operator, branch.config, first, &[]).await;
    assert_eq!(restored.as_ref(), Ok(&branch.points[&first]));
}

/// What is done to a branch's folders while HQ runs.
fn take_away(hq: &Path, what: &str) {
    let branches = hq.join("branches");
    let branch = branches.join("leeds");
    match what {
        "all branches" => fs::remove_dir_all(&branches).unwrap(),
        "the branch" => fs::remove_dir_all(&branch).unwrap(),
        "its segments" => fs::remove_dir_all(branch.join("segments")).unwrap(),
        "moved" => fs::rename(&branch, hq.join("x")).unwrap(),
        "a file for the branch" => {
            fs::remove_dir_all(&branch).unwrap();
            fs::write(&branch, b"somebody's").unwrap();
        }
        "a file for its segments" => {
            fs::remove_dir_all(branch.join("segments")).unwrap();
            fs::write(branch.join("segments"), b"somebody's").unwrap();
        }
        other => panic!("{other}"),
    }
}

/// HQ goes on with a folder that it makes anew, takes back what it has said of the one before, and gets all of it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_branchs_folder_that_is_gone_while_hq_runs_is_made_anew_and_filled() {
    let all = [
        "all branches",
        "the branch",
        "its segments",
        "moved",
        "a file for the branch",
        "a file for its segments",
    ];
    let cases = all.map(|what| {
        tokio::spawn(async move {
            let world = World::new().await;
            let enrolled = world.enrol("leeds").await;
            let mut branch = Branch::of(&enrolled);
            let first = branch.back_up(Stream::Bulk, &[("one", noise(1, 300_000))]);
            branch.vault.roll().unwrap();
            let second = branch.back_up(Stream::Fresh, &[("two", noise(2, 9000))]);
            let running =
                Running::start(branch.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
            running.until_whole(1, second).await;
            take_away(&world.hq_dir(), what);
            let files: Vec<PathBuf> =
                segments_of(&branch).iter().map(|(id, _)| world.hq_dir().join(path_of(*id))).collect();
            let mut operator = world.operator("anna").await;
            let filled = async {
                while !files.iter().all(|file| file.is_file()) {
                    match what {
                        // HQ looks by itself, though a little later.
                        "the branch" => tokio::task::yield_now().await,
                        _ => drop(ask(&mut operator, json!({ "hq": "branches" })).await),
                    }
                }
            };
            tokio::time::timeout(LONG, filled).await.unwrap_or_else(|_| panic!("{what}: never made anew"));
            let third = branch.back_up(Stream::Bulk, &[("three", noise(3, 300_000))]);
            let status = running.until_whole(1, third).await;
            assert!(status.held_back.is_empty(), "{what}: {status:?}");
            let copies = branch.vault.reading().all_copies().unwrap();
            let whole = branch.vault.segments().unwrap().iter().filter(|state| state.closed).count();
            assert_eq!(copies.len(), whole, "{what}: {copies:?}");
            running.stop().await;
            select(&mut operator, "leeds").await;
            let report = ask(&mut operator, json!({ "do": "verify" })).await;
            assert_eq!(report["verdict"], "whole", "{what}: {report}");
            for point in [first, second, third] {
                let restored = restore(&mut operator, branch.config, point, &[]).await;
                assert_eq!(restored.as_ref(), Ok(&branch.points[&point]), "{what}");
            }
        })
    });
    for case in cases {
        case.await.unwrap();
    }
}

/// Another file, or none, in the place of a branch's catalog while HQ runs: nothing is said from it, and it's made anew by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_branchs_catalog_that_is_replaced_while_hq_runs_is_made_anew() {
    let cases = ["an older one", "a folder", "gone"].map(|what| {
        tokio::spawn(async move {
            let world = World::new().await;
            let enrolled = world.enrol("leeds").await;
            let mut branch = Branch::of(&enrolled);
            let first = branch.back_up(Stream::Bulk, &[("one", noise(1, 30_000))]);
            let settings = settings(world.address, &enrolled.identity, "leeds");
            let running = Running::start(branch.vault.clone(), settings.clone());
            running.until_whole(1, first).await;
            running.stop().await;
            let path = world.hq_dir().join("branches/leeds/catalog.sqlite");
            let mut older = None;
            let world = world.restart_after(|_| older = Some(fs::read(&path).unwrap())).await;
            let second = branch.back_up(Stream::Fresh, &[("two", noise(2, 9000))]);
            let running = Running::start(branch.vault.clone(), settings);
            running.until_whole(1, second).await;
            match what {
                "an older one" => {
                    fs::write(path.with_extension("x"), older.unwrap()).unwrap();
                    fs::rename(path.with_extension("x"), &path).unwrap();
                }
                "a folder" => {
                    fs::remove_file(&path).unwrap();
                    fs::create_dir(&path).unwrap();
                }
                _ => fs::remove_file(&path).unwrap(),
            }
            let mut operator = world.operator("anna").await;
            select(&mut operator, "leeds").await;
            let healed = async {
                loop {
                    match restore(&mut operator, branch.config, second, &[]).await {
                        Ok(restored) => break restored,
                        Err(refusal) => {
                            assert_eq!(refusal.code, RefusalCode::Busy, "{what}: {}", refusal.sentence);
                        }
                    }
                    tokio::task::yield_now().await;
                }
            };
            let restored = tokio::time::timeout(LONG, healed).await.unwrap_or_else(|_| panic!("{what}"));
            assert_eq!(restored, branch.points[&second], "{what}");
            let report = ask(&mut operator, json!({ "do": "verify" })).await;
            assert_eq!(report["verdict"], "whole", "{what}: {report}");
            let third = branch.back_up(Stream::Fresh, &[("three", noise(3, 9000))]);
            running.until_whole(1, third).await;
            running.stop().await;
            let world = world.restart().await;
            let mut operator = world.operator("bert").await;
            select(&mut operator, "leeds").await;
            for point in [first, second, third] {
                let restored = restore(&mut operator, branch.config, point, &[]).await;
                assert_eq!(restored.as_ref(), Ok(&branch.points[&point]), "{what}");
            }
        })
    });
    for case in cases {
        case.await.unwrap();
    }
}

/// What lies in the place of the files that a branch's folder has beside its segments.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_place_of_a_branchs_small_files_is_moved_aside_at_a_start() {
    for name in ["vault.id", "lock"] {
        for what in ["folder", "pipe", "link"] {
            let case = format!("a {what} for {name}");
            let world = World::new().await;
            let enrolled = world.enrol("leeds").await;
            let mut branch = Branch::of(&enrolled);
            let first = branch.back_up(Stream::Bulk, &[("one", noise(1, 30_000))]);
            let settings = settings(world.address, &enrolled.identity, "leeds");
            let running = Running::start(branch.vault.clone(), settings.clone());
            running.until_whole(1, first).await;
            running.stop().await;
            let folder = world.hq_dir().join("branches/leeds");
            let path = folder.join(name);
            let world = world
                .restart_after(|_| {
                    fs::remove_file(&path).unwrap();
                    match what {
                        "folder" => fs::create_dir(&path).unwrap(),
                        "pipe" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                        _ => std::os::unix::fs::symlink("/nowhere/x", &path).unwrap(),
                    }
                })
                .await;
            let mut operator = world.operator("anna").await;
            select(&mut operator, "leeds").await;
            let restored = restore(&mut operator, branch.config, first, &[]).await;
            assert_eq!(restored.as_ref(), Ok(&branch.points[&first]), "{case}");
            let second = branch.back_up(Stream::Fresh, &[("two", noise(2, 9000))]);
            let running = Running::start(branch.vault.clone(), settings);
            running.until_whole(1, second).await;
            running.stop().await;
            assert!(path.symlink_metadata().unwrap().is_file(), "{case}");
            assert!(path.with_extension(format!("{what}1")).symlink_metadata().is_ok(), "{case}");
        }
    }
}

/// Each box finds the other's segments under its branch's name: HQ says so of both, and goes on once they're put back.
#[tokio::test(flavor = "multi_thread")]
async fn folders_of_two_branches_that_are_swapped_are_told() {
    let world = World::new().await;
    let mut branches = Vec::new();
    for (name, vault) in [("leeds", 1), ("york", 2)] {
        let enrolled = world.enrol(name).await;
        let mut branch =
            Branch::with(VaultId([vault; 16]), enrolled.org, enrolled.chunk_key, enrolled.recovery_key);
        let point = branch.back_up(Stream::Bulk, &[("one", noise(vault.into(), 30_000))]);
        let settings = settings(world.address, &enrolled.identity, name);
        let running = Running::start(branch.vault.clone(), settings.clone());
        running.until_whole(1, point).await;
        running.stop().await;
        branches.push((branch, settings));
    }
    let swap = |hq: &Path| {
        let of = |name: &str| hq.join("branches").join(name);
        fs::rename(of("leeds"), of("x")).unwrap();
        fs::rename(of("york"), of("leeds")).unwrap();
        fs::rename(of("x"), of("york")).unwrap();
    };
    let world = world.restart_after(swap).await;
    let mut operator = world.operator("anna").await;
    for (branch, settings) in &branches {
        let running = Running::start(branch.vault.clone(), settings.clone());
        running.until(|status| status.refused.is_some()).await;
        running.stop().await;
    }
    let told = ask(&mut operator, json!({ "hq": "branches" })).await;
    for branch in told.as_array().unwrap() {
        let said = branch["sentence"].as_str().unwrap();
        assert!(said.contains("another box's"), "{said}");
    }
    let world = world.restart_after(swap).await;
    let mut operator = world.operator("bert").await;
    for (branch, settings) in &mut branches {
        let point = branch.back_up(Stream::Fresh, &[("two", noise(9, 9000))]);
        let running = Running::start(branch.vault.clone(), settings.clone());
        running.until_whole(1, point).await;
        running.stop().await;
    }
    let told = ask(&mut operator, json!({ "hq": "branches" })).await;
    for branch in told.as_array().unwrap() {
        let said = branch["sentence"].as_str().unwrap();
        assert!(!said.contains("another box's"), "{said}");
    }
}

/// A link leads to a disk that may be away: it's left alone, both sides say it, and the box goes on once it's gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_nowhere_is_said_and_costs_nothing_once_it_is_gone() {
    let world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let folder = world.hq_dir().join("branches/leeds");
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/nowhere/x", &folder).unwrap();
    let point = branch.back_up(Stream::Bulk, &[("one", noise(1, 30_000))]);
    let running = Running::start(branch.vault.clone(), settings(world.address, &enrolled.identity, "leeds"));
    let status = running.until(|status| status.not_taken.is_some()).await;
    let why = status.not_taken.unwrap().why;
    assert!(why.contains("a link lies in its place"), "{why}");
    let mut operator = world.operator("anna").await;
    let branches = ask(&mut operator, json!({ "hq": "branches" })).await;
    let said = branches[0]["sentence"].as_str().unwrap();
    assert!(
        said.contains("nothing of it can be taken in") && said.contains("a link lies in its place"),
        "{said}"
    );
    fs::remove_file(&folder).unwrap();
    let status = running.until_whole(1, point).await;
    assert_eq!(status.not_taken, None);
    running.stop().await;
}
