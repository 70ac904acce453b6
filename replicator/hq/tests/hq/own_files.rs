//! HQ's own files: what changed by itself is found at start, and mended from a second copy or from what boxes sent, or said.

use std::fs;
use std::path::{Path, PathBuf};

use coffer_format::segment::Stream;
use coffer_hq::{HqError, Organisation, Registry};
use coffer_link::Role;

use crate::branch::{Branch, noise};
use crate::world::{Running, World, settings};

/// What may happen to a file.
fn damages(good: &[u8]) -> [Option<Vec<u8>>; 4] {
    let mut flipped = good.to_vec();
    // A digit that stays a digit: nothing but the value is another.
    let at = good.iter().position(u8::is_ascii_digit).unwrap_or(good.len() / 2);
    flipped[at] ^= 1;
    [Some(flipped), Some(good[..good.len() / 2].to_vec()), Some(Vec::new()), None]
}

fn damage(path: &Path, bad: Option<&Vec<u8>>) {
    match bad {
        Some(bytes) => fs::write(path, bytes).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        ["organisation.toml", "chunk.key", "recovery.key"].iter().map(|name| dir.join(name)).collect();
    for folder in ["authority", "identity"] {
        files.extend(fs::read_dir(dir.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    assert!(files.len() >= 7, "{files:?}");
    files
}

#[test]
fn each_file_of_hq_comes_back_from_its_second_copy() {
    let dir = tempfile::tempdir().unwrap();
    Organisation::create(dir.path(), "Example").unwrap();
    for path in files(dir.path()) {
        let good = fs::read(&path).unwrap();
        for bad in damages(&good) {
            damage(&path, bad.as_ref());
            Organisation::open(dir.path()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(fs::read(&path).unwrap() == good, "{}", path.display());
        }
        // A damaged copy costs nothing either.
        let copy = dir.path().join("second").join(path.strip_prefix(dir.path()).unwrap());
        for bad in damages(&good) {
            damage(&copy, bad.as_ref());
            Organisation::open(dir.path()).unwrap();
            assert!(fs::read(&copy).unwrap() == good, "{}", copy.display());
        }
        // Neither is as it was: that's said, with the name.
        let mut bad = damages(&good).into_iter();
        damage(&path, bad.next().unwrap().as_ref());
        damage(&copy, bad.next().unwrap().as_ref());
        let Err(error) = Organisation::open(dir.path()) else { panic!("{} is damaged", path.display()) };
        assert!(matches!(&error, HqError::Damaged { path: named } if *named == path), "{error}");
        fs::write(&path, &good).unwrap();
        Organisation::open(dir.path()).unwrap();
    }
    let sums = dir.path().join("second/BLAKE3SUMS");
    let good = fs::read(&sums).unwrap();
    for bad in damages(&good) {
        damage(&sums, bad.as_ref());
        Organisation::open(dir.path()).unwrap();
        assert!(fs::read(&sums).unwrap() == good);
    }
}

/// Puts something that is no file in a file's place.
fn replace(path: &Path, what: &str) {
    fs::remove_file(path).unwrap();
    match what {
        "folder" => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("note"), b"somebody's").unwrap();
        }
        "pipe" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        _ => std::os::unix::fs::symlink("/nowhere/x", path).unwrap(),
    }
}

#[test]
fn what_lies_in_the_place_of_a_file_of_hq_gives_way_to_the_second_copy() {
    let dir = tempfile::tempdir().unwrap();
    Organisation::create(dir.path(), "Example").unwrap();
    let second = dir.path().join("second");
    for what in ["folder", "pipe", "link"] {
        for path in files(dir.path()).into_iter().filter(|path| path.is_file()) {
            let copy = second.join(path.strip_prefix(dir.path()).unwrap());
            for place in [&path, &copy, &second.join("BLAKE3SUMS")] {
                let case = format!("a {what} for {}", place.display());
                let good = fs::read(place).unwrap();
                replace(place, what);
                Organisation::open(dir.path()).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert!(fs::read(place).unwrap() == good, "{case}");
            }
            // Without a copy it's said what lies there.
            let good = fs::read(&path).unwrap();
            replace(&path, what);
            replace(&copy, what);
            let Err(error) = Organisation::open(dir.path()) else { panic!("{} is lost", path.display()) };
            let shown = format!("{:#}", anyhow::Error::from(error));
            assert!(shown.contains(&*path.to_string_lossy()), "{shown}");
            assert!(what == "link" || shown.contains(&format!("a {what} lies in its place")), "{shown}");
            match what {
                "folder" => fs::remove_dir_all(&path).unwrap(),
                _ => fs::remove_file(&path).unwrap(),
            }
            fs::write(&path, &good).unwrap();
            Organisation::open(dir.path()).unwrap();
        }
        for place in [dir.path().join("hq.sqlite"), second.join("hq.sqlite")] {
            replace(&place, what);
            Registry::open(dir.path()).unwrap();
            assert!(place.symlink_metadata().unwrap().is_file(), "a {what} for {}", place.display());
        }
    }
}

#[test]
fn the_registry_comes_back_from_its_second_copy_or_its_loss_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let organisation = Organisation::create(dir.path(), "Example").unwrap();
    let out = dir.path().join("anna");
    organisation.issue_operator(&Registry::open(dir.path()).unwrap(), "anna", &out).unwrap();
    let certificate = coffer_link::Identity::load(&out).unwrap().certificate_hash();
    let anna = Role::Operator("anna".into());
    let (path, copy) = (dir.path().join("hq.sqlite"), dir.path().join("second/hq.sqlite"));
    let good = fs::read(&path).unwrap();
    // Nothing is wrong with its form: only a certificate is another.
    let mut flipped = good.clone();
    let at = good.windows(32).position(|window| window == certificate.0).unwrap();
    flipped[at + 7] ^= 1;
    let cut = good[..good.len() / 3].to_vec();
    for bad in [Some(flipped), None, Some(cut), Some(Vec::new()), Some(vec![7; 5000])] {
        damage(&path, bad.as_ref());
        Registry::open(dir.path()).unwrap().check_holder(&anna, &certificate).unwrap();
    }
    for bad in [None, Some(Vec::new()), Some(vec![7; 5000])] {
        damage(&copy, bad.as_ref());
        Registry::open(dir.path()).unwrap().check_holder(&anna, &certificate).unwrap();
    }
    for bad in [None, Some(Vec::new()), Some(vec![7; 5000])] {
        let good = fs::read(&copy).unwrap();
        damage(&path, bad.as_ref());
        damage(&copy, bad.as_ref());
        let Err(error) = Registry::open(dir.path()) else { panic!("the registry is lost") };
        assert!(error.to_string().contains("coffer-hq new-registry"), "{error}");
        fs::write(&copy, good).unwrap();
        Registry::open(dir.path()).unwrap().check_holder(&anna, &certificate).unwrap();
    }
    let empty = Registry::anew(dir.path()).unwrap();
    empty.check_holder(&anna, &certificate).unwrap_err();
    organisation.issue_operator(&empty, "anna", &out).unwrap();
}

/// Whatever is done to the registry while HQ runs: it goes on from the second copy, and another program sees the same one.
#[test]
fn a_registry_that_is_damaged_while_it_is_open_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let organisation = Organisation::create(dir.path(), "Example").unwrap();
    let registry = Registry::open(dir.path()).unwrap();
    let path = dir.path().join("hq.sqlite");
    let holds = |registry: &Registry, name: &str, of: &coffer_format::FileHash| {
        registry.check_holder(&Role::Operator(name.into()), of).is_ok()
    };
    let issue = |name: &str, case: &str| {
        let out = dir.path().join(name);
        organisation.issue_operator(&registry, name, &out).unwrap_or_else(|error| panic!("{case}: {error}"));
        coffer_link::Identity::load(&out).unwrap().certificate_hash()
    };
    let mut known = vec![("anna".to_owned(), issue("anna", "at first"))];
    let cases = ["cut", "emptied", "removed", "a folder", "garbage", "garbage in its pages"];
    for (number, what) in cases.iter().enumerate() {
        for is_asked_first in [true, false] {
            let case = format!("{what}, asked first: {is_asked_first}");
            // What was written lately may lie in the journal alone.
            drop(Registry::open(dir.path()).unwrap());
            match *what {
                "cut" => fs::File::options().write(true).open(&path).unwrap().set_len(5000).unwrap(),
                "emptied" => fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap(),
                "removed" => fs::remove_file(&path).unwrap(),
                "a folder" => replace(&path, "folder"),
                "garbage" => fs::write(&path, vec![7; 30_000]).unwrap(),
                _ => {
                    let mut bytes = fs::read(&path).unwrap();
                    bytes[4096..].fill(0x5a);
                    fs::write(&path, bytes).unwrap();
                }
            }
            if is_asked_first {
                assert!(known.iter().all(|(name, of)| holds(&registry, name, of)), "{case}");
            }
            let name = format!("bert-{number}-{is_asked_first}");
            let of = issue(&name, &case);
            known.push((name, of));
            assert!(known.iter().all(|(name, of)| holds(&registry, name, of)), "{case}");
            let again = Registry::open(dir.path()).unwrap();
            assert!(known.iter().all(|(name, of)| holds(&again, name, of)), "{case}: another program");
        }
    }
}

/// The box goes on as if nothing had been, whatever of HQ's folder had to be mended.
#[tokio::test(flavor = "multi_thread")]
async fn a_box_goes_on_after_hq_has_mended_its_files() {
    let mut world = World::new().await;
    let enrolled = world.enrol("leeds").await;
    let mut branch = Branch::of(&enrolled);
    let settings = settings(world.address, &enrolled.identity, "leeds");
    for (number, name) in ["hq.sqlite", "branches/leeds/vault.id", "chunk.key"].into_iter().enumerate() {
        for how in 0..3 {
            let bytes = noise(number as u64 * 10 + how, 9000);
            let point = branch.back_up(Stream::Fresh, &[(&format!("file-{number}"), bytes)]);
            let running = Running::start(branch.vault.clone(), settings.clone());
            running.until_whole(1, point).await;
            running.stop().await;
            world = world
                .restart_after(|hq| {
                    let path = hq.join(name);
                    let good = fs::read(&path).unwrap();
                    match how {
                        0 => fs::remove_file(&path).unwrap(),
                        1 => fs::write(&path, &good[..good.len() / 2]).unwrap(),
                        _ => {
                            let mut bytes = good;
                            bytes[20] ^= 1;
                            fs::write(&path, bytes).unwrap();
                        }
                    }
                })
                .await;
        }
    }
    let last = branch.back_up(Stream::Fresh, &[("last", noise(99, 9000))]);
    let running = Running::start(branch.vault.clone(), settings.clone());
    let status = running.until_whole(1, last).await;
    assert!(status.refused.is_none() && status.held_back.is_empty(), "{status:?}");
    running.stop().await;
    let again = world.enrol("york").await;
    assert_eq!(again.chunk_key, enrolled.chunk_key);
}
