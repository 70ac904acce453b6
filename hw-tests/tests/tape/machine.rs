//! The virtual machine (`vm/`): real SCSI devices on any computer.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::site::{DEVICES, THROUGH_KERNEL};

const QUALIFY: &str = env!("CARGO_BIN_EXE_hw-tests");

/// Where the machine was set up. What is missing for that fails the test: a skipped one would look like a passed one.
fn machine() -> &'static Path {
    static MACHINE: OnceLock<PathBuf> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm");
        let output = Command::new(script("setup")).arg(&dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        dir
    })
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vm").join(name)
}

/// A command in a machine with `devices`.
fn inside(devices: &str) -> Command {
    let mut command = Command::new(script("run"));
    command.arg(machine()).arg(devices);
    command
}

/// Runs a command, which must succeed; what it printed.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    text
}

/// The report a run left.
fn report(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
}

#[test]
fn an_emulated_library_of_others_is_usable_with_its_limits() {
    let out = tempfile::tempdir().unwrap();
    let mut command = inside("tgt");
    command.args([QUALIFY, "qualify", "--impatient", "--json", "/out/report.json"]);
    command.args(["--changer", "/dev/sg3", "--scratch", "TGT001L6", "TGT002L6"]).env("OUT", out.path());
    let text = succeed(&mut command);
    assert!(text.contains("This library can be used by Coffer: yes, with these limits:"), "{text}");
    let report = report(out.path());
    assert_eq!(report["drives"].as_array().unwrap().len(), 2, "both drives are found by serial number");
    let limits = report["verdict"]["limits"].to_string();
    assert!(limits.contains("LOCATE") && limits.contains("READ POSITION"), "{limits}");
}

#[test]
fn an_emulated_library_with_one_drive_and_no_mail_slot_fills_a_cartridge() {
    let mut command = inside("tgt");
    command.arg(std::env::current_exe().unwrap()).args(["--test-threads=1", "full::"]);
    command.envs([("COFFER_DRIVES", "1"), ("COFFER_MAIL_SLOTS", "0"), ("COFFER_SLOTS", "3")]);
    command.envs([("COFFER_TAPE_MB", "8"), ("COFFER_PREFIX", "COF"), (DEVICES, "/dev/sg2,/dev/sg1")]);
    let text = succeed(&mut command);
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn the_simulated_library_is_usable_through_the_kernel() {
    let out = tempfile::tempdir().unwrap();
    let mut command = inside("tcmu");
    command.args([QUALIFY, "serve-simulator", "--dir", "/tmp/library", "--"]);
    command.args([QUALIFY, "qualify", "--impatient", "--json", "/out/report.json"]);
    command.args(["--changer", "{changer}", "--scratch", "COF001L6", "COF002L6"]).env("OUT", out.path());
    let text = succeed(&mut command);
    assert!(text.contains("This library can be used by Coffer: yes"), "{text}");
    assert_eq!(report(out.path())["drives"].as_array().unwrap().len(), 2);
}

#[test]
fn faults_come_through_the_kernel_as_they_are() {
    let mut command = inside("tcmu");
    command.arg(std::env::current_exe().unwrap()).args(["--test-threads=1", "faults::", "full::", "power::"]);
    let text = succeed(command.env(THROUGH_KERNEL, "1"));
    assert!(text.contains("test result: ok") && !text.contains("running 0 tests"), "{text}");
}
