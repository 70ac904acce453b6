//! A file system that is full for a moment: what was refused didn't happen, and the vault goes on once there's room.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use coffer_format::NodeId;
use coffer_vault::disk::RealDisk;

use crate::support::Random;
use crate::support::agent::{Agent, Memory};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::check_point;

/// Says in which process the test goes on in a table of mounts of its own.
const INSIDE: &str = "COFFER_TEST_OWN_MOUNTS";

#[test]
fn a_file_system_that_is_full_for_a_moment_stops_nothing() {
    let test = "full_disk::a_file_system_that_is_full_for_a_moment_stops_nothing";
    if std::env::var_os(INSIDE).is_some() {
        return fill_it_again_and_again();
    }
    let can = Command::new("unshare").args(["--mount", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {test} needs root and unshare(1), to mount a file system");
        return;
    }
    run(Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1"));
}

fn fill_it_again_and_again() {
    let place = tempfile::tempdir().unwrap();
    let (image, at) = (place.path().join("image"), place.path().join("at"));
    std::fs::File::create(&image).unwrap().set_len(24 << 20).unwrap();
    std::fs::create_dir(&at).unwrap();
    run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at));

    let mut fixture = Fixture::empty(Arc::new(RealDisk));
    fixture.folder = tempfile::tempdir_in(&at).unwrap();
    fixture.create().unwrap();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(5);
    let (mut kept, mut refused) = (Vec::new(), 0);
    for number in 0..60_u64 {
        let room = number % 30 * 4096;
        let ballast = fill(&at, room);
        let what = format!("{number} {}", "x".repeat(random.below(6000)));
        match vault.audit("filler", &what) {
            Ok(()) => kept.push(short(&what)),
            Err(error) => {
                assert!(error.is_disk_full(), "{room}: {error}");
                refused += 1;
            }
        }
        agent.make_file(NodeId::ROOT, &format!("file{number}"), random.bytes(20_000));
        let closed = agent.close().map(|_| ()).and_then(|()| vault.roll());
        if let Err(error) = closed {
            assert!(error.is_disk_full(), "{room}: {error}");
            refused += 1;
        }
        assert!(!vault.is_read_only(), "{room}");
        // Whoever asks now gets an answer.
        let report = vault.verify(&mut |_| {}).unwrap();
        assert!(report.damage.is_empty(), "{room}: {report:?}");
        std::fs::remove_file(ballast).unwrap();
        vault.audit("filler", "there's room again").unwrap();
        kept.push(short("there's room again"));
        agent = start_over(agent, computer);
    }
    assert!(refused > 20, "{refused}");
    agent.check_all().unwrap();
    let report = vault.verify(&mut |_| {}).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    let memory = agent.leave();
    kept.reverse();
    let audited = |vault: &coffer_vault::Vault| -> Vec<String> {
        let log = vault.reading().audit_log(1000).unwrap();
        log.into_iter().filter(|one| one.who == "filler").map(|one| short(&one.what)).collect()
    };
    assert_eq!(audited(&vault), kept);
    drop(vault);
    for keeps_catalog in [true, false] {
        if !keeps_catalog {
            fixture.delete_catalog();
        }
        let vault = fixture.open();
        assert_eq!(audited(&vault), kept);
        for (point, model) in &memory.points {
            check_point(vault.reading(), config, *point, model).unwrap();
        }
    }
    drop(fixture);
    run(Command::new("umount").arg(&at));
}

/// Its beginning and its length.
fn short(what: &str) -> String {
    format!("{:.12} {}", what, what.len())
}

/// What the agent would do: connect again, see what is there, send the rest again.
fn start_over(agent: Agent, computer: coffer_format::ComputerId) -> Agent {
    let (vault, config) = (agent.vault.clone(), agent.config);
    let mut agent = agent;
    let acked = agent.acked;
    let tree = agent.attempts[..acked].last().map(|one| one.tree.clone()).unwrap_or_default();
    agent.attempts.truncate(acked);
    let memory = Memory { tree, ..agent.leave() };
    Agent::resume(&vault, computer, config, memory).unwrap()
}

/// Leaves that much room, and gives the file that takes the rest.
fn fill(at: &Path, room: u64) -> std::path::PathBuf {
    let path = at.join("ballast");
    let mut file = std::fs::File::create(&path).unwrap();
    for piece in [1 << 20, 4096, 512, 1] {
        while file.write(&vec![0; piece]).is_ok_and(|written| written > 0) {}
    }
    let size = file.metadata().unwrap().len();
    file.set_len(size.saturating_sub(room)).unwrap();
    file.sync_all().unwrap();
    path
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}
