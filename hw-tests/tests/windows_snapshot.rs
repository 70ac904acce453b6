//! Captures of the Windows agent from a snapshot, under wine with a vssapi.dll that does what a script says: what a point then
//! holds and claims, and what the applications are told.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;
mod windows_site;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use support::contents;
use windows_site::{WindowsSite, wine_path};

/// A Windows with the small volumes S: and T:, and applications as a script says.
struct Computer {
    windows: WindowsSite,
}

impl Computer {
    fn new(configuration: &str) -> Computer {
        let windows = WindowsSite::new();
        windows.run(&["cmd", "/c", "exit"]);
        windows.enrol();
        windows.configure(configuration);
        let computer = Computer { windows };
        for folder in ["s/mail/tmp", "s/sql", "t/logs"] {
            fs::create_dir_all(computer.drive(folder)).unwrap();
        }
        fs::write(computer.drive("s/mail/inbox"), b"as it was").unwrap();
        fs::write(computer.drive("s/mail/tmp/scratch"), b"nobody wants this").unwrap();
        fs::write(computer.drive("s/sql/sales.mdf"), support::bytes(1, 3 << 20)).unwrap();
        fs::write(computer.drive("s/sql/other.mdf"), b"another database").unwrap();
        fs::write(computer.drive("t/logs/sales.ldf"), b"log").unwrap();
        computer
    }

    /// A path below `s` or `t`, the volumes.
    fn drive(&self, path: &str) -> PathBuf {
        self.windows.wine.path(&format!("drive_{path}"))
    }

    fn capture(&self, script: &str) -> Output {
        let file = self.windows.site.path("vss.script");
        fs::write(&file, format!("snapshots C:\\fake-snapshots\n{script}")).unwrap();
        let log = self.windows.site.path("vss.log");
        if log.exists() {
            fs::remove_file(&log).unwrap();
        }
        let mut agent = self.windows.agent("capture");
        agent.args(["--server", &self.windows.site.server]);
        agent.env("COFFER_FAKE_VSS_SCRIPT", wine_path(&file)).env("COFFER_FAKE_VSS_LOG", wine_path(&log));
        let output = agent.output().unwrap();
        let left = self.windows.drive().join("fake-snapshots");
        assert_eq!(left.read_dir().map_or(0, Iterator::count), 0, "a snapshot is left");
        output
    }

    fn log(&self) -> String {
        fs::read_to_string(self.windows.site.path("vss.log")).unwrap()
    }

    /// Restores everything; gives where a drive is there.
    fn restored(&self) -> PathBuf {
        self.windows.restore(&[]).ancestors().nth(2).unwrap().to_owned()
    }

    fn newest(&self) -> serde_json::Value {
        self.windows.points()[0].clone()
    }
}

const MAIL: &str = r#"
writer Mail
  component files "" store selectable
    file S:\mail * recursive
  exclude S:\mail\tmp * recursive
"#;

const SQL: &str = r#"
writer SqlServerWriter
  component database PC sales selectable
    file S:\sql sales.mdf
    log T:\logs sales.ldf
  component database PC other selectable
    file S:\sql other.mdf
"#;

#[test]
fn a_point_holds_the_instant_of_the_snapshot_and_what_the_applications_told() {
    // The command after the snapshot writes while the point is made: it must not be in it.
    let computer = Computer::new(
        "include = ['S:\\mail']\nwhen = 'manual'\n[database]\nafter = 'echo written since> S:\\mail\\inbox'\n",
    );
    let output = computer.capture(MAIL);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(computer.newest()["consistency"], "application", "{:?}", computer.newest());
    let restored = computer.restored();
    assert_eq!(fs::read(restored.join("S:/mail/inbox")).unwrap(), b"as it was");
    let live = fs::read_to_string(computer.drive("s/mail/inbox")).unwrap();
    assert_eq!(live.trim(), "written since", "the command was not run: this test shows nothing");
    assert!(!restored.join("S:/mail/tmp/scratch").exists(), "what the application leaves out was captured");
    let documents = restored.join("C:/coffer/config-2/enclosed/documents");
    let names: Vec<_> = documents.read_dir().unwrap().map(|one| one.unwrap().file_name()).collect();
    assert!(names.len() >= 2, "the applications' documents aren't in the point: {names:?}");
    assert!(computer.log().ends_with("nothing leaked\n"), "{}", computer.log());

    // What was written since is in the next point; and where nothing was, there's no next point.
    let output = computer.capture(MAIL);
    assert!(output.status.success(), "{output:?}");
    let restored = computer.restored();
    let inbox = fs::read_to_string(restored.join("S:/mail/inbox")).unwrap();
    assert_eq!(inbox.trim(), "written since");
}

#[test]
fn an_application_that_refuses_is_named_and_the_point_claims_no_more_than_it_may() {
    let computer = Computer::new("include = ['S:\\']\nwhen = 'manual'\n");
    let output = computer.capture(&format!("{MAIL}  state FAILED_AT_FREEZE 0x800423F4\n"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Mail"), "nobody says who refused: {said}");
    assert_eq!(computer.newest()["consistency"], "crash");
    assert_eq!(fs::read(computer.restored().join("S:/mail/inbox")).unwrap(), b"as it was");

    // No snapshot at all: the files are captured all the same, and why not is said.
    fs::write(computer.drive("s/mail/inbox"), b"without a snapshot").unwrap();
    let output = computer.capture(&format!("{MAIL}fault DoSnapshotSet 0x8004231F\n"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("no snapshot could be taken") && said.contains("0x8004231F"), "{said}");
    assert_eq!(fs::read(computer.restored().join("S:/mail/inbox")).unwrap(), b"without a snapshot");
    assert_eq!(computer.newest()["consistency"], "quiet");
}

#[test]
fn a_databases_files_are_found_through_its_writer_and_its_logs_go_only_once_the_point_is_durable() {
    let computer = Computer::new(
        "when = 'manual'\n[database]\napplication = 'sql-server'\nnames = ['sales']\ntruncate_logs = true\n",
    );
    let output = computer.capture(SQL);
    assert!(output.status.success(), "{output:?}");
    let restored = computer.restored();
    let files = |drive: &str| contents(&restored.join(drive)).into_keys().collect::<Vec<_>>();
    assert_eq!(files("S:"), [PathBuf::from("sql/sales.mdf")]);
    assert_eq!(files("T:"), [PathBuf::from("logs/sales.ldf")]);
    assert_eq!(fs::read(restored.join("S:/sql/sales.mdf")).unwrap(), support::bytes(1, 3 << 20));
    let log = computer.log();
    let at = |call: &str| log.find(call).unwrap_or_else(|| panic!("no {call} in:\n{log}"));
    assert!(
        at("DoSnapshotSet") < at("SetBackupSucceeded") && at("SetBackupSucceeded") < at("BackupComplete")
    );
    assert!(!log.contains("other.mdf") || !restored.join("S:/sql/other.mdf").exists());

    // Nobody tells of the files any more: nothing is captured, and nothing is taken for removed.
    let output = computer.capture("");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("SqlServerWriter"), "{output:?}");
    assert_eq!(computer.windows.points().len(), 1);
}

#[test]
fn files_are_found_however_their_application_writes_their_names() {
    let computer =
        Computer::new("when = 'manual'\n[database]\napplication = 'sql-server'\nnames = ['sales']\n");
    fs::create_dir_all(computer.drive("s/Daten der Zentrale/BÜCHER")).unwrap();
    fs::write(computer.drive("s/Daten der Zentrale/BÜCHER/Bücher[1].mdf"), b"rows").unwrap();
    let named = |folder: &str, name: &str| {
        format!(
            "writer SqlServerWriter\n component database PC sales selectable\n  file \"{folder}\" \"{name}\"\n  log T:\\LOGS SALES.LDF\n"
        )
    };
    for (folder, name) in [
        (r"s:\daten der zentrale\bücher", "BÜCHER[1].MDF"),
        (r"\\?\S:\DATEN DER ZENTRALE\Bücher", "bücher[1].mdf"),
        (r"S:\Daten der Zentrale.\.\Bücher\", "*.MDF"),
        (r"S:/Daten der Zentrale/x/../Bücher", "Bücher[1].mdf."),
    ] {
        // There's news for each point.
        fs::write(computer.drive("s/Daten der Zentrale/BÜCHER/Bücher[1].mdf"), folder).unwrap();
        let output = computer.capture(&named(folder, name));
        assert!(output.status.success(), "{folder} {name}: {output:?}");
        assert_eq!(computer.newest()["consistency"], "application", "{folder} {name}");
        let restored = computer.restored();
        let file = restored.join("S:/Daten der Zentrale/BÜCHER/Bücher[1].mdf");
        assert_eq!(fs::read(file).unwrap(), folder.as_bytes(), "{folder} {name}");
        assert!(restored.join("T:/logs/sales.ldf").exists());
        assert!(computer.log().contains("\"sales\" yes"), "{}", computer.log());
    }
}

#[test]
fn an_application_that_names_a_file_which_is_not_captured_is_never_told_that_it_is_safe() {
    let computer = Computer::new(
        "when = 'manual'\n[database]\napplication = 'sql-server'\nnames = ['sales']\ntruncate_logs = true\n",
    );
    let gone = SQL.replace("log T:", "file S:\\sql gone.ndf\n    log T:");
    let output = computer.capture(&gone);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("gone.ndf") && said.contains("the database \"PC\\sales\" of SqlServerWriter"),
        "{said}"
    );
    assert_eq!(computer.newest()["consistency"], "crash");
    assert!(
        computer.log().contains("\"sales\" no") && !computer.log().contains("BackupComplete"),
        "{}",
        computer.log()
    );
    assert!(computer.restored().join("S:/sql/sales.mdf").exists());

    // A part of one is captured, and all of another; of the third nothing is, and it isn't even asked.
    let computer = Computer::new("include = ['S:\\mail', 'S:\\sql\\sales.mdf']\nwhen = 'manual'\n");
    let output = computer.capture(&format!("{MAIL}{SQL}"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("only a part of its database \"PC\\sales\" is included"), "{said}");
    assert_eq!(computer.newest()["consistency"], "crash");
    let log = computer.log();
    assert!(log.contains("\"sales\" no") && log.contains("\"store\" yes"), "{log}");
    assert!(!log.contains("\"other\""), "{log}");
}

#[test]
fn a_volume_without_room_for_a_snapshot_costs_the_other_nothing() {
    let computer = Computer::new("include = ['S:\\', 'T:\\']\nwhen = 'manual'\n");
    let output = computer.capture(&format!("{MAIL}full T:\\\n"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("T:\\ can't have a snapshot") && said.contains("vssadmin resize"), "{said}");
    assert_eq!(computer.newest()["consistency"], "per file", "{:?}", computer.newest());
    let restored = computer.restored();
    assert!(restored.join("S:/mail/inbox").exists() && restored.join("T:/logs/sales.ldf").exists());
    assert!(computer.log().contains("\"store\" yes"), "{}", computer.log());
}

#[test]
fn a_snapshot_that_is_lost_is_taken_anew() {
    let lose = "if exist S:\\lose (del S:\\lose & rd /s /q C:\\fake-snapshots\\HarddiskVolumeShadowCopy1)";
    let computer =
        Computer::new(&format!("include = ['S:\\mail']\nwhen = 'manual'\n[database]\nafter = '{lose}'\n"));
    fs::write(computer.drive("s/lose"), b"").unwrap();
    let output = computer.capture(MAIL);
    assert!(!computer.drive("s/lose").exists(), "no snapshot was lost: this test shows nothing");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(computer.log().matches("DoSnapshotSet ended").count(), 2, "{}", computer.log());
    assert_eq!(computer.windows.points().len(), 1);
    assert_eq!(computer.newest()["consistency"], "application");
    assert_eq!(fs::read(computer.restored().join("S:/mail/inbox")).unwrap(), b"as it was");
}

#[test]
fn the_systems_state_is_in_the_point_as_files_and_as_hives() {
    let computer = Computer::new("include = ['S:\\mail']\nwhen = 'manual'\nsystem_state = true\n");
    let system = r#"
writer "COM+ REGDB Writer" bootable
  component files "" "COM+ REGDB"
    file S:\sql other.mdf
"#;
    let output = computer.capture(system);
    assert!(output.status.success(), "{output:?}");
    let restored = computer.restored();
    assert!(restored.join("S:/sql/other.mdf").exists(), "the system's own files aren't there");
    for hive in ["SYSTEM", "SOFTWARE"] {
        let path = restored.join("C:/coffer/config-2/enclosed/registry").join(hive);
        assert!(path.metadata().is_ok_and(|one| one.len() > 0), "no hive {hive}");
    }
}

#[test]
fn a_path_of_another_system_is_refused() {
    let computer = Computer::new("include = ['/srv/data']\nwhen = 'manual'\n");
    let output = computer.windows.agent("capture").args(["--server", &computer.windows.site.server]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("can't be a path of this computer"),
        "{output:?}"
    );
}

#[test]
fn without_snapshots_nobody_may_write_for_a_while() {
    let computer = Computer::new("include = ['S:\\mail']\nwhen = 'manual'\n");
    let output = computer.windows.agent("capture").args(["--server", &computer.windows.site.server]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(computer.newest()["consistency"], "quiet");
}
