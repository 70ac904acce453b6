//! A volume that isn't mounted any more is no deletion of what lies on it. Needs root, and says so where it isn't.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coffer_agent::capture::{Closed, Outcome, Target};
use coffer_format::entry::Consistency;
use support::renumbered::Renumbered;
use support::volume::{Volume, in_own_mounts, unmount};
use support::{Bench, closed, noise};

const BYTES: usize = 200_000;

/// A computer with a volume mounted below what's included, or at it, or above it.
struct Site {
    bench: Bench,
    volume: Volume,
    at: PathBuf,
}

impl Site {
    fn new(include: &[&str], is_disk: bool) -> Site {
        Site::on(include, |store| if is_disk { Volume::disk(store) } else { Volume::folder(store) })
    }

    fn on(include: &[&str], volume: impl FnOnce(&Path) -> Volume) -> Site {
        let mut bench = Bench::new();
        bench.only_includes = include.iter().map(|name| (*name).to_owned()).collect();
        let (at, store) = (bench.path("mnt/vol"), bench.folder.path().join("store"));
        fs::create_dir_all(&at).unwrap();
        bench.write("there/x", "x");
        let volume = volume(&store);
        let site = Site { bench, volume, at };
        site.volume.mount(&site.at);
        fs::remove_dir(site.at.join("lost+found")).ok();
        for number in 0..4 {
            site.bench.write(&format!("mnt/vol/share/{number}"), noise(BYTES / 4, number));
        }
        site
    }

    fn unmount(&self) {
        unmount(&self.at);
    }

    fn mount(&self) {
        self.volume.mount(&self.at);
    }

    /// The point has what's on the volume, bit for bit.
    fn assert_kept(&self) {
        let state = self.bench.state();
        for number in 0..4u64 {
            let file = state.file(&self.at.join(format!("share/{number}")));
            assert!(file.unwrap() == noise(BYTES / 4, number), "{number}");
        }
    }

    fn noticed(&self, name: &str) -> Target {
        let mut target = Target::nothing();
        let path = self.bench.path(name);
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        target.notice(bytes(path.parent().unwrap()), path.file_name().unwrap().as_bytes().to_vec());
        target
    }

    fn capture_of(&self, target: Target) -> Closed {
        closed(self.bench.try_capture(None, target).unwrap())
    }
}

fn assert_missing(point: &Closed, path: &Path) {
    assert_eq!(point.consistency, Consistency::PerFile);
    let line = point.report.iter().find(|line| &line.path.0[..] == path.as_os_str().as_bytes());
    let line = line.unwrap_or_else(|| panic!("nothing is said of {}: {:?}", path.display(), point.report));
    assert!(line.what.contains("has been missing since 2"), "{line:?}");
}

fn is_unchanged(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unchanged { .. })
}

/// Includes that lie above the mount point, at it, and below.
const INCLUDES: [&str; 3] = ["", "mnt/vol", "mnt/vol/share"];

#[test]
fn a_volume_that_is_gone_is_kept_and_costs_nothing_when_it_comes_back() {
    in_own_mounts("a_volume_that_is_gone_is_kept_and_costs_nothing_when_it_comes_back", || {
        for (include, is_disk) in INCLUDES.into_iter().flat_map(|include| [(include, true), (include, false)])
        {
            for is_whole in [true, false] {
                println!("include {include:?}, disk: {is_disk}, whole looks: {is_whole}");
                goes_and_comes(&Site::new(&[include, "there"], is_disk), include, is_whole);
            }
        }
    });
}

fn goes_and_comes(site: &Site, include: &str, is_whole: bool) {
    let look = |name: &str| if is_whole { Target::Everything } else { site.noticed(name) };
    let claim = closed(site.bench.capture()).consistency;
    let before = site.bench.received();
    assert!(is_unchanged(&site.bench.capture()));

    site.unmount();
    let point = site.capture_of(look("mnt/vol"));
    let named = if include.is_empty() { site.at.clone() } else { site.bench.path(include) };
    assert_missing(&point, &named);
    site.assert_kept();
    assert!(is_unchanged(&site.bench.try_capture(None, look("mnt/vol")).unwrap()), "{point:?}");
    site.bench.write("there/x", "changed meanwhile");
    let again = site.capture_of(look("there/x"));
    assert_eq!(again.report, point.report, "the time since when it's missing stays");
    assert_missing(&again, &named);
    site.assert_kept();

    site.mount();
    site.bench.write("mnt/vol/share/new", "came before anybody looked");
    let point = site.capture_of(look("there/x"));
    assert_eq!(point.report, []);
    let came = ["changed meanwhile", "came before anybody looked"].map(str::len);
    assert_eq!(site.bench.received() - before, came.iter().sum::<usize>() as u64);
    assert_eq!(site.bench.state().sent_again, 0);
    support::tree::assert_same(&site.bench.state(), &site.bench.path("mnt/vol/share"));
    assert!(is_unchanged(&site.bench.capture()));
    if is_whole {
        assert_eq!(point.consistency, claim);
    }
    site.unmount();
}

#[test]
fn a_mount_point_that_goes_with_its_volume_is_kept() {
    in_own_mounts("a_mount_point_that_goes_with_its_volume_is_kept", || {
        let site = Site::new(&["", "there"], true);
        site.bench.capture();
        let before = site.bench.received();
        site.unmount();
        fs::remove_dir_all(site.bench.path("mnt")).unwrap();
        assert_missing(&site.capture_of(site.noticed("mnt")), &site.at);
        site.assert_kept();
        assert!(is_unchanged(&site.bench.capture()));
        fs::create_dir_all(&site.at).unwrap();
        site.mount();
        let point = closed(site.bench.capture());
        assert_eq!(point.report, []);
        assert_eq!(site.bench.received(), before);
        site.bench.assert_all_there();
        site.unmount();
    });
}

#[test]
fn a_volume_below_a_folder_that_was_made_anew_is_kept() {
    in_own_mounts("a_volume_below_a_folder_that_was_made_anew_is_kept", || {
        for include in ["", "mnt/vol"] {
            let site = Site::new(&[include, "there"], true);
            site.bench.capture();
            site.unmount();
            fs::remove_dir_all(site.bench.path("mnt")).unwrap();
            site.bench.write("mnt/other", "no folder of that time");
            assert_missing(&closed(site.bench.capture()), &site.at);
            site.assert_kept();
            fs::remove_dir_all(site.bench.path("mnt")).unwrap();
            fs::write(site.bench.path("mnt"), "not even a folder").unwrap();
            let outcome = site.bench.capture();
            let said = outcome.report().iter().map(|line| &line.path.0[..]).collect::<Vec<_>>();
            assert_eq!(
                said,
                ["mnt", "mnt/vol"].map(|name| site.bench.path(name).into_os_string().into_encoded_bytes())
            );
            site.assert_kept();

            fs::remove_file(site.bench.path("mnt")).unwrap();
            fs::create_dir_all(&site.at).unwrap();
            site.mount();
            let before = site.bench.received();
            assert_eq!(closed(site.bench.capture()).report, []);
            assert_eq!(site.bench.received(), before);
            support::tree::assert_same(&site.bench.state(), &site.bench.path("mnt"));
            site.unmount();
        }
    });
}

#[test]
fn what_lies_in_the_bare_folder_is_captured_besides_and_replaces_nothing() {
    in_own_mounts("what_lies_in_the_bare_folder_is_captured_besides_and_replaces_nothing", || {
        for is_disk in [true, false] {
            let site = Site::new(&["", "there"], is_disk);
            site.bench.capture();
            site.unmount();
            site.bench.write("mnt/vol/stray", "written by a program that didn't notice");
            site.bench.write("mnt/vol/share/3", "another file by that name");
            site.bench.write("mnt/vol/share/stray", "also written");
            let point = closed(site.bench.capture());
            assert_missing(&point, &site.at);
            assert!(point.report[0].what.contains("share/3"), "{:?}", point.report);
            site.assert_kept();
            let stray = |name: &str| site.bench.state().file(&site.at.join(name));
            assert_eq!(stray("stray").unwrap(), b"written by a program that didn't notice");
            assert_eq!(stray("share/stray").unwrap(), b"also written");
            assert!(is_unchanged(&site.bench.capture()));

            site.bench.write("mnt/vol/stray", "and changed");
            let point = site.capture_of(site.noticed("mnt/vol/stray"));
            assert_missing(&point, &site.at);
            assert_eq!(stray("stray").unwrap(), b"and changed");
            let outcome = site.bench.try_capture(None, site.noticed("mnt/vol/share/3")).unwrap();
            assert!(is_unchanged(&outcome));
            site.assert_kept();

            let before = site.bench.received();
            site.mount();
            let point = closed(site.bench.capture());
            assert_eq!((point.report, site.bench.received()), (Vec::new(), before));
            site.bench.assert_all_there();
            site.unmount();
        }
    });
}

#[test]
fn a_volume_whose_server_is_gone_is_kept_though_it_is_mounted() {
    let name = "a_volume_whose_server_is_gone_is_kept_though_it_is_mounted";
    if !Renumbered::is_possible(name) {
        return;
    }
    in_own_mounts(name, || {
        for include in INCLUDES {
            let site = Site::new(&[include, "there"], false);
            let store = site.bench.folder.path().join("store");
            site.unmount();
            let server = Renumbered::mount(&store, &site.at, 1);
            site.bench.capture();
            let before = site.bench.received();
            server.abort(&site.at);
            site.bench.write("there/x", "changed meanwhile");
            let point = site.capture_of(site.noticed("there/x"));
            let named = if include.is_empty() { site.at.clone() } else { site.bench.path(include) };
            assert_missing(&point, &named);
            site.assert_kept();
            site.bench.write("there/x", "and again");
            assert_missing(&closed(site.bench.capture()), &named);
            site.assert_kept();

            site.unmount();
            let server = Renumbered::mount(&store, &site.at, 2);
            let point = closed(site.bench.capture());
            let came = ["changed meanwhile", "and again"].map(str::len).iter().sum::<usize>();
            assert_eq!((point.report, site.bench.received() - before), (Vec::new(), came as u64));
            site.assert_kept();
            server.unmount();
        }
    });
}

#[test]
fn a_volume_that_is_no_longer_asked_for_is_deleted() {
    in_own_mounts("a_volume_that_is_no_longer_asked_for_is_deleted", || {
        let mut site = Site::new(&["", "there"], true);
        site.bench.capture();
        site.unmount();
        assert_missing(&closed(site.bench.capture()), &site.at);
        site.bench.toml_more = format!("exclude = [{:?}]\n", site.at);
        let point = closed(site.bench.capture());
        assert_eq!(point.report, []);
        assert_eq!(site.bench.state().find(&site.at), None);
        site.bench.toml_more.clear();
        // Asked for again: by now it's a folder like any other.
        assert_eq!(closed(site.bench.capture()).report, []);
    });
}

#[test]
fn a_volume_that_was_never_there_is_a_remark_only() {
    in_own_mounts("a_volume_that_was_never_there_is_a_remark_only", || {
        let site = Site::new(&["mnt/vol/share", "there"], true);
        site.unmount();
        let point = closed(site.bench.capture());
        assert_eq!(point.consistency, Consistency::PerFile);
        assert!(point.report[0].what.contains("can't be found"), "{:?}", point.report);
        assert!(is_unchanged(&site.bench.capture()));
        site.mount();
        assert_eq!(closed(site.bench.capture()).report, []);
        site.assert_kept();
        site.unmount();
    });
}

#[test]
fn where_the_journal_is_lost_or_an_older_one_the_volume_is_known_by_its_device() {
    in_own_mounts("where_the_journal_is_lost_or_an_older_one_the_volume_is_known_by_its_device", || {
        for is_lost in [true, false] {
            let site = Site::new(&["", "there"], true);
            site.bench.capture();
            let before = site.bench.received();
            site.unmount();
            if is_lost {
                site.bench.forget();
            } else {
                let journal = rusqlite::Connection::open(site.bench.state_dir.join("journal.db")).unwrap();
                journal.execute_batch("DROP TABLE mounts; DROP TABLE absent;").unwrap();
            }
            assert_missing(&closed(site.bench.capture()), &site.at);
            site.assert_kept();
            assert!(is_unchanged(&site.bench.capture()));
            site.mount();
            assert_eq!(closed(site.bench.capture()).report, []);
            assert_eq!(site.bench.received(), before);
            site.bench.assert_all_there();
            site.unmount();
        }
    });
}

#[test]
fn a_volume_that_moved_within_what_is_asked_for_has_one_name() {
    in_own_mounts("a_volume_that_moved_within_what_is_asked_for_has_one_name", || {
        let site = Site::on(&["", "there"], |store| Volume::disk(store).attached());
        site.bench.capture();
        let before = site.bench.received();
        site.unmount();
        let elsewhere = site.bench.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        site.volume.mount(&elsewhere);
        let point = closed(site.bench.capture());
        assert_eq!(site.bench.received(), before);
        assert_eq!(point.report, [], "it isn't missing");
        site.bench.assert_all_there();
        let outcome = site.bench.capture();
        assert!(is_unchanged(&outcome), "{outcome:?}");
        unmount(&elsewhere);
    });
}

/// What's kept of a volume goes along with the folder that it was mounted in, with its bare folder or without.
#[test]
fn a_missing_volume_stays_in_a_folder_that_gets_another_name() {
    in_own_mounts("a_missing_volume_stays_in_a_folder_that_gets_another_name", || {
        let ways = [true, false].map(|is_disk| [true, false].map(|is_kept_before| (is_disk, is_kept_before)));
        for (is_disk, is_kept_before) in ways.into_iter().flatten() {
            let mut site = Site::new(&["", "there"], is_disk);
            site.bench.capture();
            let old = site.at.clone();
            site.unmount();
            if is_kept_before {
                assert_missing(&closed(site.bench.capture()), &site.at);
            }
            fs::rename(site.bench.path("mnt"), site.bench.path("renamed")).unwrap();
            site.at = site.bench.path("renamed/vol");
            let point = closed(site.bench.capture());
            assert_missing(&point, &site.at);
            assert!(
                point.report.iter().all(|line| line.path.0 != old.as_os_str().as_bytes()),
                "{:?}",
                point.report
            );
            site.assert_kept();
            assert!(is_unchanged(&site.bench.capture()));
            site.assert_kept();
            // Without the bare folder, and by what was noticed.
            fs::remove_dir(&site.at).unwrap();
            site.bench.write("renamed/new", "file");
            closed(site.bench.try_capture(None, site.noticed("renamed/new")).unwrap());
            site.bench.capture();
            site.assert_kept();
            let before = site.bench.received();
            fs::create_dir(site.bench.path("there/in")).unwrap();
            fs::rename(site.bench.path("renamed"), site.bench.path("there/in/mnt")).unwrap();
            site.at = site.bench.path("there/in/mnt/vol");
            assert_missing(&closed(site.bench.capture()), &site.at);
            site.assert_kept();

            fs::create_dir(&site.at).unwrap();
            site.mount();
            assert_eq!(closed(site.bench.capture()).report, []);
            assert_eq!(site.bench.received(), before);
            site.bench.assert_all_there();
            site.unmount();
        }
    });
}

/// The folder that it was mounted in leaves what's asked for, but for a part of it.
#[test]
fn a_missing_volume_that_is_kept_no_longer_is_named() {
    in_own_mounts("a_missing_volume_that_is_kept_no_longer_is_named", || {
        let site = Site::new(&["", "mnt/part"], false);
        site.bench.write("mnt/part/x", "x");
        site.bench.capture();
        site.unmount();
        site.bench.capture();
        site.assert_kept();
        let away = site.bench.folder.path().join("away");
        fs::create_dir(&away).unwrap();
        fs::rename(site.bench.path("mnt"), away.join("mnt")).unwrap();
        std::os::unix::fs::symlink(away.join("mnt"), site.bench.path("mnt")).unwrap();
        let point = closed(site.bench.capture());
        let is_told = point.report.iter().any(|line| &line.path.0[..] == site.at.as_os_str().as_bytes());
        let is_kept = site.bench.state().file(&site.at.join("share/0")).is_some();
        assert!(is_told && point.consistency == Consistency::PerFile, "{is_kept} {point:?}");
    });
}

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Everything below a folder that's a file, by its path there.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false => drop(
                    found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap()),
                ),
            }
        }
    }
    found
}

/// Where a volume belongs, the volume, whether it's mounted, and what it held when it was captured last.
type Kept = (PathBuf, Volume, bool, BTreeMap<PathBuf, Vec<u8>>);

/// A computer at work, and a slow and simple idea of what its newest point must hold.
struct Model<'a> {
    bench: &'a Bench,
    dice: Dice,
    volumes: Vec<Kept>,
    noticed: Target,
    writes: u64,
    /// A folder that no volume is in.
    plain: PathBuf,
    /// Whether that and the first volume's have changed places.
    is_swapped: bool,
}

impl Model<'_> {
    fn notice(&mut self, path: &Path) {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        self.noticed.notice(bytes(path.parent().unwrap()), path.file_name().unwrap().as_bytes().to_vec());
    }

    fn step(&mut self) {
        let volume = self.dice.below(self.volumes.len());
        let at = self.volumes[volume].0.clone();
        let folder = [at.clone(), at.join("d"), at.join("d/deep"), self.bench.path("there")]
            [self.dice.below(4)]
        .clone();
        let file = folder.join(self.dice.below(4).to_string());
        match self.dice.below(9) {
            0..=2 => {
                fs::create_dir_all(&folder).unwrap();
                self.writes += 1;
                fs::write(&file, noise(3000, self.writes)).unwrap();
                folder.ancestors().take(3).for_each(|path| self.notice(path));
                self.notice(&file);
            }
            3 => {
                fs::remove_file(&file).ok();
                self.notice(&file);
            }
            4 => {
                let (from, to) = [("d", "e"), ("e", "d")][self.dice.below(2)];
                fs::rename(at.join(from), at.join(to)).ok();
                for name in [from, to] {
                    self.notice(&at.join(name));
                }
            }
            5 => self.rename_folder_above(),
            _ => self.mount_or_unmount(volume),
        }
    }

    /// Whatever is mounted there, or was.
    fn rename_folder_above(&mut self) {
        let from = self.volumes[0].0.parent().unwrap().to_owned();
        let names = ["mnt", "other", "there/mnt"].map(|name| self.bench.path(name));
        let to = names[self.dice.below(names.len())].clone();
        if self.dice.below(2) == 0 {
            self.is_swapped = true;
            let beside = self.bench.path("beside");
            for (from, to) in [(&from, &beside), (&self.plain, &from), (&beside, &self.plain)] {
                fs::rename(from, to).unwrap();
            }
            let to = std::mem::replace(&mut self.plain, from.clone());
            self.volume_is_in(&to);
            [from, to].iter().for_each(|path| self.notice(path));
        } else if !to.exists() {
            fs::rename(&from, &to).unwrap();
            self.volume_is_in(&to);
            [from, to].iter().for_each(|path| self.notice(path));
        }
    }

    fn volume_is_in(&mut self, folder: &Path) {
        let at = folder.join("one");
        // What was mounted is noticed where it is now.
        if self.volumes[0].2 {
            self.noticed.notice_all(at.as_os_str().as_bytes().to_vec());
        }
        self.volumes[0].0 = at;
    }

    fn mount_or_unmount(&mut self, volume: usize) {
        let (at, what, is_mounted, _) = &mut self.volumes[volume];
        if *is_mounted {
            unmount(at)
        } else {
            what.mount(at)
        }
        *is_mounted = !*is_mounted;
        let (at, is_mounted) = (at.clone(), *is_mounted);
        self.notice(&at);
        if is_mounted {
            self.noticed.notice_all(at.as_os_str().as_bytes().to_vec());
        }
    }

    /// All of them mounted, or none.
    fn all(&mut self, are_mounted: bool) {
        for volume in 0..self.volumes.len() {
            if self.volumes[volume].2 != are_mounted {
                self.mount_or_unmount(volume);
            }
        }
    }

    /// Whether what's missing is kept where its own folder is: another one may go on as that, by its name.
    fn capture(&mut self) -> bool {
        let mut is_with_its_folder = true;
        let noticed = std::mem::replace(&mut self.noticed, Target::nothing());
        let target = if self.dice.below(3) == 0 { Target::Everything } else { noticed };
        let outcome = self.bench.try_capture(None, target).unwrap();
        let state = self.bench.state();
        let own = state.file(&self.plain.join("own"));
        assert!(own.is_some_and(|own| own == fs::read(self.plain.join("own")).unwrap()), "{:?}", self.plain);
        let is_mixed = self.volumes.iter().any(|(_, _, is_mounted, _)| !*is_mounted);
        if !is_mixed {
            support::tree::assert_same(&state, &self.bench.path("there"));
            support::tree::assert_same(&state, &self.plain);
        }
        // A folder may go on as another one that took its name.
        let folders = ["mnt", "other", "there/mnt", "plain", "there/plain"];
        let places = folders.map(|folder| self.bench.path(folder).join("one"));
        for (at, volume, is_mounted, held) in &mut self.volumes {
            let may_be_elsewhere = self.is_swapped && at.ends_with("one");
            if *is_mounted {
                *held = files(at);
                support::tree::assert_same(&state, at);
            } else if !held.is_empty() {
                let is_said = |place: &Path| {
                    outcome.report().iter().any(|line| &line.path.0[..] == place.as_os_str().as_bytes())
                };
                let has_all = |place: &Path| {
                    held.iter().all(|(name, bytes)| state.file(&place.join(name)).as_ref() == Some(bytes))
                };
                let others = places.iter().filter(|_| may_be_elsewhere);
                let mut places = others.chain([&*at]);
                let is_kept = places.any(|place| is_said(place) && has_all(place));
                assert!(is_kept, "{} isn't kept, or nothing is said of it: {outcome:?}", at.display());
                if !(is_said(at) && has_all(at)) {
                    is_with_its_folder = false;
                    continue;
                }
            }
            for (name, bytes) in files(at).into_iter().filter(|(name, _)| !held.contains_key(name)) {
                let is_over = held.keys().any(|kept| kept.starts_with(&name) || name.starts_with(kept));
                // On one device, what a bare folder had by a name before isn't told from what the volume had.
                let is_there = state.file(&at.join(&name)) == Some(bytes);
                assert!(is_over || is_there || volume.is_folder(), "{} in {}", name.display(), at.display());
            }
        }
        is_with_its_folder
    }
}

#[test]
fn whatever_is_mounted_unmounted_and_written_nothing_is_lost() {
    in_own_mounts("whatever_is_mounted_unmounted_and_written_nothing_is_lost", || {
        let mut ends = 0;
        'histories: for seed in 0..25 {
            println!("seed {seed}");
            let bench = Bench::new();
            let mut volumes = Vec::new();
            for (name, is_disk) in [("mnt/one", true), ("two", false)] {
                let (at, store) = (bench.path(name), bench.folder.path().join(name.replace('/', "-")));
                fs::create_dir_all(&at).unwrap();
                let volume = if is_disk { Volume::disk(&store) } else { Volume::folder(&store) };
                volume.mount(&at);
                fs::remove_dir(at.join("lost+found")).ok();
                fs::create_dir(at.join("d")).unwrap();
                volumes.push((at, volume, true, BTreeMap::new()));
            }
            bench.write("there/0", "x");
            bench.write("plain/own", "in a folder of its own");
            bench.capture();
            let plain = bench.path(["plain", "there/plain"][seed as usize % 2]);
            if seed % 2 == 1 {
                fs::rename(bench.path("plain"), &plain).unwrap();
                bench.capture();
            }
            let (dice, noticed) = (Dice(seed), Target::nothing());
            let mut model =
                Model { bench: &bench, dice, volumes, noticed, writes: 1000, plain, is_swapped: false };
            for _ in 0..12 {
                (0..=model.dice.below(5)).for_each(|_| model.step());
                if !model.capture() {
                    // Whose volume it is when it's back is for a person to say.
                    model.all(false);
                    continue 'histories;
                }
                ends += 1;
            }
            model.all(true);
            bench.capture();
            bench.assert_all_there();
            model.all(false);
            bench.capture();
            let before = bench.received();
            model.all(true);
            assert_eq!(closed(bench.capture()).report, []);
            assert_eq!(bench.received(), before, "what came back was sent again");
            bench.assert_all_there();
            assert!(is_unchanged(&bench.capture()));
            model.volumes.iter().for_each(|(at, ..)| unmount(at));
        }
        assert!(ends > 150, "{ends} captures were compared with the model to the end");
    });
}
