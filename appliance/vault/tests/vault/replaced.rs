//! Somebody else puts something in the place of a file of the vault while it runs: what is acknowledged from then on comes back all the
//! same, and a catalog that isn't the vault's own is never believed.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use coffer_format::event::Place;
use coffer_format::segment::Stream;
use coffer_format::{ComputerId, ConfigId, NodeId};
use coffer_vault::disk::{CrashDisk, Disk, PowerCut};
use coffer_vault::verify::Verdict;
use coffer_vault::{Vault, VaultError};

use crate::absence::verify;
use crate::support::Random;
use crate::support::agent::{Agent, Memory, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::check_point;

fn told(vault: &Vault) -> String {
    vault.reading().audit_log(30).unwrap().into_iter().map(|entry| entry.what + "\n").collect()
}

fn check_all(vault: &Arc<Vault>, config: ConfigId, memory: &Memory, case: &str) {
    for (point, model) in &memory.points {
        if let Err(error) = check_point(vault.reading(), config, *point, model) {
            panic!("{case}: point {point}: {error}");
        }
    }
}

const REPLACEMENTS: [&str; 8] = [
    "a copy",
    "half a copy",
    "nothing",
    "a folder",
    "a pipe",
    "a link to nowhere",
    "a link to itself",
    "/dev/null",
];

fn replace(path: &Path, with: &str) {
    let bytes = std::fs::read(path).unwrap();
    let beside = path.with_extension("seg.beside");
    match with {
        "a copy" => std::fs::write(&beside, &bytes).unwrap(),
        "half a copy" => std::fs::write(&beside, &bytes[..bytes.len() / 2]).unwrap(),
        "nothing" => return std::fs::remove_file(path).unwrap(),
        "a folder" => {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(&beside).unwrap();
        }
        "a pipe" => nix::unistd::mkfifo(&beside, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        "a link to nowhere" => std::os::unix::fs::symlink("/nowhere/at/all", &beside).unwrap(),
        "a link to itself" => std::os::unix::fs::symlink(path, &beside).unwrap(),
        to => std::os::unix::fs::symlink(to, &beside).unwrap(),
    }
    std::fs::rename(&beside, path).unwrap();
}

/// A vault of which all three streams are being written.
struct World {
    fixture: Fixture,
    vault: Arc<Vault>,
    computer: ComputerId,
    config: ConfigId,
    memory: Memory,
    files: [NodeId; 2],
}

fn world(fixture: Fixture) -> World {
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(5);
    let fresh = agent.make_file(NodeId::ROOT, "fresh", random.bytes(3 * PAGE));
    agent.close().unwrap();
    agent.stream = Stream::Bulk;
    let bulk = agent.make_file(NodeId::ROOT, "bulk", random.bytes(4 * PAGE));
    agent.close().unwrap();
    let memory = agent.leave();
    World { fixture, vault, computer, config, memory, files: [fresh, bulk] }
}

impl World {
    /// Something new in each stream.
    fn try_capture(&mut self, seed: u64) -> coffer_vault::Result<()> {
        let mut random = Random::new(seed);
        let memory = std::mem::take(&mut self.memory);
        let mut agent = Agent::resume(&self.vault, self.computer, self.config, memory)?;
        let captured =
            [Stream::Fresh, Stream::Bulk].into_iter().zip(self.files).try_for_each(|(stream, file)| {
                agent.stream = stream;
                agent.overwrite(file, PAGE, &random.bytes(PAGE));
                agent.close().map(drop)
            });
        self.memory = agent.leave();
        captured
    }
}

#[test]
fn what_is_put_in_the_place_of_a_file_that_is_written_to_takes_nothing_with_it() {
    for with in REPLACEMENTS {
        let mut world = world(Fixture::real());
        let states = world.vault.segments().unwrap();
        let streams: Vec<Stream> = states.iter().map(|state| state.stream).collect();
        assert!([Stream::Meta, Stream::Fresh, Stream::Bulk].iter().all(|stream| streams.contains(stream)));
        for state in states {
            let case = format!("{with} in the place of {:?}", state.stream);
            let path = world.fixture.segment_path(state.segment.0);
            replace(&path, with);
            world.try_capture(state.segment.0).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(path.symlink_metadata().unwrap().is_file(), "{case}");
            assert!(told(&world.vault).contains("it was written again"), "{case}: {}", told(&world.vault));
            world.vault.look_at_suspects().unwrap();
            assert_eq!(world.vault.reading().known_damage().unwrap(), [], "{case}");
            check_all(&world.vault, world.config, &world.memory, &case);
        }
        let World { fixture, vault, config, memory, .. } = world;
        drop(vault);
        // What the segments say alone.
        fixture.delete_catalog();
        let vault = fixture.open();
        assert_eq!(verify(&vault).verdict, Verdict::Whole, "{with}");
        check_all(&vault, config, &memory, with);
    }
}

/// Nothing is written meanwhile: it's noticed all the same, and a segment that is closed then is whole.
#[test]
fn a_replaced_file_is_put_right_though_nothing_is_written() {
    let world = world(Fixture::real());
    for state in world.vault.segments().unwrap() {
        replace(&world.fixture.segment_path(state.segment.0), "half a copy");
        assert_eq!(world.vault.keep_files_in_place().unwrap(), 1, "{:?}", state.stream);
        assert_eq!(world.vault.keep_files_in_place().unwrap(), 0, "{:?}", state.stream);
    }
    for state in world.vault.segments().unwrap() {
        replace(&world.fixture.segment_path(state.segment.0), "a copy");
    }
    world.vault.roll().unwrap();
    let World { fixture, vault, config, memory, .. } = world;
    drop(vault);
    fixture.delete_catalog();
    let vault = fixture.open();
    assert_eq!(verify(&vault).verdict, Verdict::Whole);
    check_all(&vault, config, &memory, "closed");
}

/// What was acknowledged after a copy took the file's place is durable under its name, wherever the power is cut.
#[test]
fn a_replaced_file_is_written_again_so_that_no_power_cut_takes_what_was_acknowledged() {
    let run = |cut: Option<u64>, number: usize| {
        let disk = Arc::new(CrashDisk::new());
        let mut world = world(Fixture::on(disk.clone()));
        let segment = world.vault.segments().unwrap()[number].segment;
        let path = world.fixture.segment_path(segment.0);
        let bytes = world.fixture.segment_bytes(segment.0);
        let beside = path.with_extension("seg.beside");
        let file = disk.create(&beside).unwrap();
        file.write_at(0, &bytes).and_then(|()| file.sync()).unwrap();
        disk.rename(&beside, &path).unwrap();
        disk.sync_dir(path.parent().unwrap()).unwrap();
        let before = disk.operations();
        if let Some(after) = cut {
            disk.cut_power(PowerCut { at_operation: before + after, seed: after + 1 });
        }
        let captured = world.try_capture(9);
        assert_eq!(captured.is_ok(), cut.is_none(), "{captured:?}");
        let World { mut fixture, vault, config, memory, .. } = world;
        drop(vault);
        fixture.disk = Arc::new(disk.reboot());
        fixture.delete_catalog();
        let vault = fixture.open();
        check_all(&vault, config, &memory, &format!("segment {number}, cut {cut:?}"));
        disk.operations() - before
    };
    for number in 0..3 {
        for cut in 0..run(None, number) {
            run(Some(cut), number);
        }
    }
}

/// In place, so that the name still stands for the file: what was there is gone, and is known to be at the next capture.
#[test]
fn a_file_that_is_cut_while_it_is_written_to_is_damage_at_once_and_heals() {
    let mut world = world(Fixture::real());
    let state = world.vault.segments().unwrap().into_iter().find(|one| one.stream == Stream::Fresh).unwrap();
    let path = world.fixture.segment_path(state.segment.0);
    let copy = std::fs::read(&path).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(state.bytes / 2).unwrap();
    assert!(world.vault.reading().suspected().unwrap().is_empty());
    world.try_capture(1).unwrap();
    assert!(world.vault.reading().suspected().unwrap().contains_key(&state.segment));
    assert!(world.vault.look_at_suspects().unwrap() > 0);
    assert_eq!(world.vault.reading().known_damage().unwrap()[0].0, state.segment);
    world.vault.mend_segment(state.segment, &copy).unwrap();
    assert_eq!(verify(&world.vault).verdict, Verdict::Whole);
    check_all(&world.vault, world.config, &world.memory, "mended");
}

fn damage_in_place(path: &Path, how: &str) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    match how {
        "a bit of the header" => {
            file.read_exact_at(&mut byte, 11).unwrap();
            file.write_all_at(&[byte[0] ^ 4], 11).unwrap();
        }
        "all but a part of the header" => file.set_len(100).unwrap(),
        "everything" => file.set_len(0).unwrap(),
        half => {
            assert_eq!(half, "half");
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
    }
}

#[test]
fn a_header_that_is_damaged_while_its_segment_is_written_to_costs_nothing() {
    for number in 0..3 {
        for is_captured in [true, false] {
            let case = format!("segment {number}, then a capture: {is_captured}");
            let mut world = world(Fixture::real());
            let state = world.vault.segments().unwrap()[number];
            damage_in_place(&world.fixture.segment_path(state.segment.0), "a bit of the header");
            assert!(!verify(&world.vault).damage.is_empty(), "{case}");
            match is_captured {
                true => world.try_capture(1).unwrap(),
                false => drop(world.vault.keep_files_in_place().unwrap()),
            }
            world.vault.look_at_suspects().unwrap();
            assert_eq!(verify(&world.vault).verdict, Verdict::Whole, "{case}");
            check_all(&world.vault, world.config, &world.memory, &case);
            let World { fixture, vault, config, memory, .. } = world;
            drop(vault);
            fixture.delete_catalog();
            let vault = fixture.open();
            assert_eq!(verify(&vault).verdict, Verdict::Whole, "{case}");
            check_all(&vault, config, &memory, &case);
        }
    }
}

/// What was there is lost where no copy has it; what comes afterwards isn't.
#[test]
fn what_is_captured_into_a_file_that_was_damaged_in_place_comes_back() {
    for number in 0..3 {
        for how in ["a bit of the header", "all but a part of the header", "everything", "half"] {
            let case = format!("{how} of segment {number}");
            let World { fixture, vault, computer, config, memory, .. } = world(Fixture::real());
            let state = vault.segments().unwrap()[number];
            damage_in_place(&fixture.segment_path(state.segment.0), how);
            let mut agent = Agent::resume(&vault, computer, config, memory).unwrap();
            let mut random = Random::new(number as u64);
            for name in ["new1", "new2"] {
                for (stream, ending) in [(Stream::Fresh, "f"), (Stream::Bulk, "b")] {
                    agent.stream = stream;
                    agent.make_file(NodeId::ROOT, &format!("{name}{ending}"), random.bytes(2 * PAGE));
                }
                agent.close().unwrap();
                vault.look_at_suspects().unwrap();
            }
            drop(agent);
            let check = |vault: &Arc<Vault>, when: &str| {
                let report = verify(vault);
                let touched: Vec<_> = report.touched.iter().map(|one| &one.path).collect();
                assert!(!touched.iter().any(|path| path.contains("new")), "{case}, {when}: {touched:?}");
                assert_eq!(how == "a bit of the header", report.verdict == Verdict::Whole, "{case}, {when}");
            };
            check(&vault, "running");
            drop(vault);
            check(&fixture.open(), "opened again");
        }
    }
}

#[test]
fn what_is_no_file_in_a_closed_segments_place_is_missing_and_heals() {
    for with in &REPLACEMENTS[2..] {
        for is_running in [true, false] {
            let case = format!("{with}, running: {is_running}");
            let World { fixture, vault, config, memory, .. } = world(Fixture::real());
            vault.roll().unwrap();
            let state = vault.segments().unwrap().into_iter().find(|one| one.stream == Stream::Bulk).unwrap();
            let place = Place::Hq { name: "branch".into() };
            vault.record_copies(vec![(state.segment, state.hash.unwrap(), place)]).unwrap();
            let path = fixture.segment_path(state.segment.0);
            let copy = std::fs::read(&path).unwrap();
            let vault = match is_running {
                true => vault,
                false => {
                    drop(vault);
                    fixture.open()
                }
            };
            if !is_running {
                drop(vault);
                replace(&path, with);
                let vault = fixture.open();
                check_missing(&vault, &state, &case);
                vault.import_segment(state.segment, &copy).unwrap();
                check_all(&vault, config, &memory, &case);
                continue;
            }
            replace(&path, with);
            // Whatever needs it names it, and the rest comes.
            let read = vault.reading().read_segment(state.segment, 0, &mut [0; 10]);
            assert!(
                matches!(read, Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_)) | Ok(10)),
                "{case}: {read:?}"
            );
            assert_eq!(vault.look_for_missing().unwrap(), 1, "{case}");
            assert!(path.symlink_metadata().is_err(), "{case}: it's moved aside");
            check_missing(&vault, &state, &case);
            vault.import_segment(state.segment, &copy).unwrap();
            assert_eq!(vault.look_for_missing().unwrap(), 0, "{case}");
            assert_eq!(verify(&vault).verdict, Verdict::Whole, "{case}");
            check_all(&vault, config, &memory, &case);
        }
    }
}

fn check_missing(vault: &Arc<Vault>, state: &coffer_vault::SegmentState, case: &str) {
    assert_eq!(vault.reading().known_damage().unwrap(), [(state.segment, 0)], "{case}");
    let needs = vault.reading().to_heal().unwrap();
    assert_eq!(needs.iter().map(|need| need.segment).collect::<Vec<_>>(), [state.segment], "{case}");
    assert_eq!(vault.reading().prove().unwrap().verdict, Verdict::Heals, "{case}");
}

/// How an older catalog comes to be there.
fn put_catalog(path: &Path, older: &[u8], is_renamed: bool) {
    match is_renamed {
        false => std::fs::write(path, older).unwrap(),
        true => {
            let beside = path.with_extension("older");
            std::fs::write(&beside, older).unwrap();
            std::fs::rename(&beside, path).unwrap();
        }
    }
    // Clocks of file systems tick some hundred times a second: this one writes at another time than the vault did.
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

#[test]
fn an_older_catalog_is_not_believed_and_is_made_again() {
    for (case, is_renamed) in [("written over", false), ("renamed", true)] {
        for next_is_a_capture in [false, true] {
            let case = format!("{case}, then a capture: {next_is_a_capture}");
            let mut world = world(Fixture::real());
            let path = world.fixture.dir().join("catalog.sqlite");
            let older = std::fs::read(&path).unwrap();
            world.try_capture(1).unwrap();
            world.try_capture(2).unwrap();
            put_catalog(&path, &older, is_renamed);
            if next_is_a_capture {
                // Its beginning is refused, and so the agent comes again.
                let memory = world.memory.clone();
                let refused = world.try_capture(3).unwrap_err();
                assert!(refused.to_string().contains("try again"), "{case}: {refused}");
                world.memory = memory;
                world.vault.audit("test", "a commit makes it right").unwrap();
                world.try_capture(3).unwrap();
            } else {
                let refused = world.vault.reading().points(world.config).unwrap_err();
                assert!(refused.to_string().contains("try again"), "{case}: {refused}");
                assert!(world.vault.reading().doubts_catalog().unwrap(), "{case}");
                let report = verify(&world.vault);
                assert_eq!(report.verdict, Verdict::Whole, "{case}: {report:?}");
                assert!(report.sentence().contains("it was made again"), "{case}: {}", report.sentence());
            }
            assert!(
                told(&world.vault).contains("another file was put in its place"),
                "{}",
                told(&world.vault)
            );
            check_all(&world.vault, world.config, &world.memory, &case);
            world.try_capture(4).unwrap();
            check_all(&world.vault, world.config, &world.memory, &case);
            let World { fixture, vault, config, memory, .. } = world;
            drop(vault);
            check_all(&fixture.open(), config, &memory, &case);
        }
    }
}

#[test]
fn a_folder_in_the_catalogs_place_is_moved_aside() {
    for is_running in [true, false] {
        let mut world = world(Fixture::real());
        world.try_capture(1).unwrap();
        let (dir, path) = (world.fixture.dir().to_owned(), world.fixture.dir().join("catalog.sqlite"));
        let put_folder = || {
            for ending in ["", "-wal", "-shm"] {
                let file = dir.join(format!("catalog.sqlite{ending}"));
                if file.exists() {
                    std::fs::remove_file(file).unwrap();
                }
            }
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("note"), b"somebody's").unwrap();
        };
        let World { fixture, vault, config, memory, .. } = world;
        let vault = match is_running {
            true => {
                put_folder();
                vault.audit("test", "a commit makes it right").unwrap();
                vault
            }
            false => {
                drop(vault);
                put_folder();
                fixture.open()
            }
        };
        check_all(&vault, config, &memory, &format!("running: {is_running}"));
        assert_eq!(std::fs::read(dir.join("catalog.folder1/note")).unwrap(), b"somebody's");
        drop(vault);
        check_all(&fixture.open(), config, &memory, &format!("running: {is_running}, opened again"));
    }
}
