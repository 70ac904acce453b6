//! `qualify` as the technician runs it.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_simulated_library_qualifies_and_nothing_is_touched_without_scratch() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("report.json");
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hw-tests"));
        command.args(["qualify", "--simulated"]).arg(dir.path().join("library")).arg("--json").arg(&json);
        let output = command.args(more).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        (text, report)
    };
    let touched = || -> Vec<String> {
        let entries = std::fs::read_dir(dir.path().join("library")).unwrap().map(|entry| entry.unwrap());
        let tapes = entries.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "tape"));
        let written = tapes.filter(|tape| tape.metadata().unwrap().len() > 0);
        written.map(|tape| tape.file_name().into_string().unwrap()).collect()
    };
    let (text, report) = run(&[]);
    assert!(text.contains("Nothing was moved or written"), "{text}");
    assert_eq!(report["verdict"]["usable"], "untried");
    assert_eq!(touched(), [""; 0], "a tape was written to");

    let (text, report) = run(&["--scratch", "COF001L6"]);
    assert!(text.contains("This library can be used by Coffer: yes"), "{text}");
    assert!(report["steps"].as_array().unwrap().iter().any(|step| step["name"] == "load"));
    assert!(touched().iter().all(|name| name == "COF001L6.tape"), "only the one given up was written to");
}

#[test]
fn a_tape_that_isnt_there_is_refused_before_anything_moves() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hw-tests"));
    command.args(["qualify", "--scratch", "NOT001L6", "--simulated"]).arg(dir.path().join("library"));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("tape NOT001L6 is not in the library"), "{told}");
}
