//! Real programs in a directory of their own: what all tests of everything together use.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod held_line;
mod laptop;
mod running;
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub(crate) use held_line::HeldLine;
pub(crate) use laptop::Laptop;
pub(crate) use running::Running;
pub(crate) use site::Site;

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that was built with this test.
pub(crate) fn program(name: &str) -> Command {
    let path = std::env::current_exe().unwrap().parent().unwrap().with_file_name(name);
    assert!(
        path.exists(),
        "{} isn't there: run `cargo build --workspace` first, as .ci/test does",
        path.display()
    );
    Command::new(path)
}

pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Everything that a program said.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Looks again and again until it is so. Where it never is, the log tells why.
pub(crate) fn wait_until(what: &str, log: &Path, is_so: impl FnMut() -> bool) {
    wait_until_logged(what, &[log.to_owned()], is_so);
}

/// The same, with several logs.
pub(crate) fn wait_until_logged(what: &str, logs: &[PathBuf], mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "never happened: {what}\n{}", read_logs(logs));
        std::thread::park_timeout(pause_after(started.elapsed()));
    }
}

/// Those that are there.
fn read_logs(logs: &[PathBuf]) -> String {
    let read = |log: &PathBuf| Some(format!("{}:\n{}\n", log.display(), fs::read_to_string(log).ok()?));
    logs.iter().filter_map(read).collect()
}

/// What passes quickly isn't missed, and what takes long isn't kept from working by being looked at.
fn pause_after(waited: Duration) -> Duration {
    (waited / 50).clamp(Duration::from_millis(5), Duration::from_millis(250))
}

/// Bytes that are the same in every run.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Every file's bytes below a folder.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.insert(
                    path.strip_prefix(folder).unwrap().to_owned(),
                    blake3::hash(&fs::read(&path).unwrap()),
                );
            }
        }
    }
    found
}
