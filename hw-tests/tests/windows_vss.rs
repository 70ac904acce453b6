//! The Windows agent's snapshots, seen through its self-test, under wine with a vssapi.dll that does what a script says
//! (agent-win/tests/wine/fake_vss): in which order Windows is asked, what stands in the way is named, nothing is left.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;
mod windows_site;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use support::{Running, wait_until};
use windows_site::{Wine, agent_exe, wine_path};

/// A Windows with two small volumes and some applications.
struct Computer {
    /// Ends before its folder goes.
    wine: Wine,
    dir: tempfile::TempDir,
}

const APPLICATIONS: &str = r#"
snapshots C:\fake-snapshots
writer "System Writer" bootable
  component files "" "System Files"
    file %SystemRoot%\system32 *.dll recursive
  exclude %SystemRoot%\temp * recursive
writer Mail
  component database "" store selectable
    file S:\mail *
writer SqlServerWriter
  component database PC sales selectable
    file S:\sql sales.mdf
    log T:\logs sales.ldf
"#;

/// What the self-test said of snapshots, and what Windows was asked.
struct Seen {
    snapshots: String,
    writers: String,
    log: String,
}

impl Computer {
    fn new() -> Computer {
        let dir = tempfile::tempdir().unwrap();
        let computer = Computer { wine: Wine::new(dir.path().join("wine")), dir };
        support::succeed(&mut computer.program(&["cmd", "/c", "exit"]));
        fs::create_dir(computer.wine.path("drive_s/sql")).unwrap();
        fs::write(computer.wine.path("drive_s/sql/sales.mdf"), b"rows").unwrap();
        computer
    }

    fn program(&self, words: &[&str]) -> Command {
        let mut command = self.wine.program(words);
        command.stdin(Stdio::null());
        command
    }

    /// The self-test with its own script and log.
    fn selftest(&self, name: &str, faults: &str, words: &[&str]) -> Command {
        let (script, log) = (self.dir.path().join(format!("{name}.script")), self.log_path(name));
        fs::write(&script, format!("{APPLICATIONS}{faults}\n")).unwrap();
        let mut all = vec![agent_exe().to_str().unwrap().to_owned(), "selftest".to_owned()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        let mut command = self.program(&all.iter().map(String::as_str).collect::<Vec<_>>());
        command.env("COFFER_FAKE_VSS_SCRIPT", wine_path(&script)).env("COFFER_FAKE_VSS_LOG", wine_path(&log));
        command
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.log_path(name)).unwrap_or_default()
    }

    fn copies(&self) -> usize {
        let folder = self.wine.path("prefix/drive_c/fake-snapshots");
        fs::read_dir(folder).map_or(0, |entries| entries.count())
    }

    /// Runs the self-test to its end. Nothing may be left, and nothing asked that's not to be asked then.
    fn see(&self, name: &str, faults: &str) -> Seen {
        let words = ["--folder", r"S:\", "--limit-seconds", "3"];
        let output = self.selftest(name, faults, &words).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "wine has no links, so not all can be had: {output:?}");
        let table = String::from_utf8(output.stdout).unwrap();
        let log = self.log(name);
        let row =
            |what: &str| table.lines().find_map(|line| line.strip_prefix(what)).unwrap().trim().to_owned();
        for wrong in ["OUT OF ORDER", "LEAKED", "WRONG", "no business", "by themselves", "no sense"] {
            assert!(!log.contains(wrong), "{name}: {wrong}:\n{log}");
        }
        assert!(log.ends_with("nothing leaked\n"), "{name}:\n{log}");
        assert_eq!(self.copies(), 0, "{name}: a snapshot is left:\n{log}");
        Seen { snapshots: row("snapshots"), writers: row("writers"), log }
    }
}

/// The calls' names and what matters of their words, without results.
fn calls(log: &str) -> Vec<&str> {
    let quiet = ["GetWriterStatus", "IsVolumeSupported", "Create", "GatherWriterStatus ended"];
    let lines = log.lines().map(|line| line.split_once(" -> ").map_or(line, |(call, _)| call));
    lines.filter(|line| !quiet.iter().any(|start| line.starts_with(start))).collect()
}

#[test]
fn a_snapshot_is_taken_in_windows_own_order_and_gone_again() {
    let computer = Computer::new();
    let seen = computer.see("well", "");
    assert!(seen.snapshots.starts_with("yes  taken, read and deleted; 4 descriptions"), "{}", seen.snapshots);
    assert_eq!(seen.writers, "yes  3; none refuses");
    let status = ["GatherWriterStatus", "FreeWriterStatus"];
    let mut expected = vec![
        "InitializeForBackup",
        // Released by Windows when the process ends, however it ends; and a copy, so that nobody's log chain breaks.
        "SetContext 0",
        "SetBackupState components=1 system-state=1 type=5 partial=0",
        "GatherWriterMetadata",
        "GatherWriterMetadata ended",
        "AddComponent database \"\" \"store\"",
        "AddComponent database \"PC\" \"sales\"",
        "StartSnapshotSet",
        "AddToSnapshotSet",
        // The database's log lies on a volume that nobody named.
        "AddToSnapshotSet",
        "PrepareForBackup",
        "PrepareForBackup ended",
    ];
    expected.extend(status);
    expected.extend(["DoSnapshotSet", "DoSnapshotSet ended"]);
    expected.extend(status);
    expected.extend(["GetSnapshotProperties", "GetSnapshotProperties", "SaveAsXML"]);
    expected.extend([r#"WriterMetadata.SaveAsXML "System Writer""#, r#"WriterMetadata.SaveAsXML "Mail""#]);
    expected.extend([
        r#"WriterMetadata.SaveAsXML "SqlServerWriter""#,
        "SetBackupSucceeded database \"\" \"store\" yes",
        "SetBackupSucceeded database \"PC\" \"sales\" yes",
        "BackupComplete",
        "BackupComplete ended",
    ]);
    expected.extend(status);
    expected.extend(["FreeWriterMetadata", "DeleteSnapshots 2", "Release"]);
    let asked = calls(&seen.log);
    // Volumes come in no order of importance.
    let asked: Vec<&str> = asked
        .iter()
        .map(|call| match call.split_once(' ') {
            Some((name @ ("AddToSnapshotSet" | "GetSnapshotProperties"), _)) => name,
            _ => call,
        })
        .collect();
    assert_eq!(asked[..expected.len()], expected, "{}", seen.log);

    let listed = support::succeed(&mut computer.selftest("listed", "", &["--writers"]));
    let listed = String::from_utf8(listed.stdout).unwrap();
    for line in [
        "(needed to start Windows)",
        r"    C:\windows\system32\*.dll and below",
        r"  never: C:\windows\temp\* and below",
        r"  database PC\sales ",
        r"    S:\sql\sales.mdf",
        r"    log T:\logs\sales.ldf",
    ] {
        assert!(listed.contains(line), "{line} isn't in:\n{listed}");
    }
    assert!(!computer.log("listed").contains("StartSnapshotSet"), "a snapshot was begun for a list");
}

#[test]
fn what_passes_is_waited_for_and_what_stays_is_named_with_what_to_do() {
    let computer = Computer::new();
    let ends = |seen: &Seen, call: &str| seen.log.matches(&format!("{call} ended")).count();

    let seen = computer.see("refusing", "state FAILED_AT_FREEZE 0x800423F4");
    assert!(seen.snapshots.starts_with("yes"), "{}", seen.snapshots);
    assert!(
        seen.writers.starts_with("no   3; refusing: SqlServerWriter (0x800423F4): it failed while"),
        "{}",
        seen.writers
    );
    assert!(seen.log.contains("\"sales\" no") && seen.log.contains("\"store\" yes"), "{}", seen.log);

    let seen = computer.see("unready once", "state FAILED_AT_FREEZE 0x800423F2 1");
    assert!(seen.snapshots.starts_with("yes") && seen.writers.starts_with("yes"), "{}", seen.writers);
    assert_eq!((ends(&seen, "DoSnapshotSet"), ends(&seen, "BackupComplete")), (2, 1), "{}", seen.log);

    let seen = computer.see("busy twice", "fault StartSnapshotSet 0x80042316 2");
    assert!(seen.snapshots.starts_with("yes"), "{}", seen.snapshots);
    assert_eq!(seen.log.matches("StartSnapshotSet").count(), 3, "{}", seen.log);

    let seen = computer.see("busy", "fault StartSnapshotSet 0x80042316");
    assert!(
        seen.snapshots.contains("another program has been making a snapshot for 3 s; let it end"),
        "{}",
        seen.snapshots
    );

    let seen = computer.see("restless once", "fault DoSnapshotSet 0x80042314 1");
    assert!(seen.snapshots.starts_with("yes"), "{}", seen.snapshots);
    assert_eq!(ends(&seen, "DoSnapshotSet"), 2, "{}", seen.log);

    let seen = computer.see("restless", "fault DoSnapshotSet 0x80042314");
    assert!(seen.snapshots.contains("0x80042314: the disks were too busy"), "{}", seen.snapshots);
    assert_eq!(ends(&seen, "DoSnapshotSet"), 2, "{}", seen.log);

    let seen = computer.see("full", "fault DoSnapshotSet 0x8004231F");
    assert!(
        seen.snapshots.starts_with("no   making the snapshot failed with 0x8004231F"),
        "{}",
        seen.snapshots
    );
    assert!(seen.snapshots.contains("vssadmin resize shadowstorage"), "{}", seen.snapshots);
    assert!(seen.writers.starts_with("yes  3"), "{}", seen.writers);
    assert!(seen.log.contains("AbortBackup") && !seen.log.contains("BackupComplete"), "{}", seen.log);

    let seen = computer.see("forbidden", "fault CreateVssBackupComponentsInternal 0x80070005");
    for row in [&seen.snapshots, &seen.writers] {
        assert!(row.starts_with("no") && row.contains("LocalSystem"), "{row}");
    }

    let seen = computer.see("hanging", "hang PrepareForBackup");
    let said = "no   preparing the applications for the snapshot took longer than 3 s and was given up";
    assert!(seen.snapshots.starts_with(said), "{}", seen.snapshots);
    assert!(seen.log.contains("Cancel PrepareForBackup") && seen.log.contains("AbortBackup"), "{}", seen.log);

    let seen = computer.see("elsewhere", r"unsupported S:\");
    assert!(
        seen.snapshots.starts_with("no   no volume of what's captured can have a snapshot"),
        "{}",
        seen.snapshots
    );

    let mut bare = computer.selftest("none", "", &["--folder", r"S:\"]);
    let table = bare.env_remove("COFFER_FAKE_VSS_SCRIPT").output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&table).contains("this system has no volume shadow copies"));
}

#[test]
fn an_agent_that_is_killed_has_asked_for_a_snapshot_that_ends_with_it() {
    let computer = Computer::new();
    let mut selftest = computer.selftest("killed", "hang BackupComplete", &["--folder", r"S:\"]);
    let mut agent = Running::start(&mut selftest);
    wait_until("the snapshot is there", &computer.log_path("killed"), || {
        let is_there = computer.log("killed").contains("BackupComplete ->");
        assert!(is_there || agent.is_running(), "it ended before the snapshot was there");
        is_there
    });
    agent.kill();
    let log = computer.log("killed");
    // Windows deletes such a snapshot (VSS_CTX_BACKUP) with the process; this library can't, and its copy shows that it
    // was still there.
    assert!(log.contains("SetContext 0 ->") && computer.copies() > 0, "{log}");
    fs::remove_dir_all(computer.wine.path("prefix/drive_c/fake-snapshots")).unwrap();
    // The self-test's own folder is left, too; wine gives the next process the same number.
    for left in fs::read_dir(computer.wine.path("drive_s")).unwrap().map(|left| left.unwrap()) {
        if left.file_name().to_string_lossy().starts_with("coffer-selftest-") {
            fs::remove_dir_all(left.path()).unwrap();
        }
    }
    assert!(computer.see("afterwards", "").snapshots.starts_with("yes"));
}
