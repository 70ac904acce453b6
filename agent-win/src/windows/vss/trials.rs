//! Snapshots against a vssapi.dll that does what a script says (tests/wine/fake_vss): what the applications are told, and
//! that nothing is ever left behind.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::*;

/// One at a time: the library's script is the process's.
static TURN: Mutex<()> = Mutex::new(());

const APPLICATIONS: &str = "
writer SqlServerWriter
  component database PC sales selectable
    file S:\\sql sales.mdf
    log T:\\logs sales.ldf
writer Mail
  component database \"\" store selectable
    file S:\\mail *
  component files store index
    file S:\\mail\\index *
writer Elsewhere
  component files \"\" pictures selectable
    file T:\\pictures *
";

struct Fake {
    _turn: MutexGuard<'static, ()>,
    folder: tempfile::TempDir,
}

impl Fake {
    /// The applications, and what's to go wrong.
    fn new(more: &str) -> Fake {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let snapshots = folder.path().join("snapshots");
        let script = format!("snapshots \"{}\"\n{APPLICATIONS}\n{more}\n", snapshots.display());
        fs::write(folder.path().join("script"), script).unwrap();
        fs::create_dir_all(r"S:\sql").expect("S: is a small volume that tests/wine/run makes");
        fs::write(r"S:\sql\sales.mdf", b"rows").unwrap();
        for (name, file) in [("COFFER_FAKE_VSS_SCRIPT", "script"), ("COFFER_FAKE_VSS_LOG", "log")] {
            // SAFETY: Windows' environment may be changed while others read it.
            unsafe { std::env::set_var(name, folder.path().join(file)) };
        }
        Fake { _turn: turn, folder }
    }

    fn take(&self, paths: &[&str], writers: &Writers, truncate_logs: bool) -> Result<Snapshot, VssError> {
        let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let patience = Patience::within(Duration::from_millis(500));
        let coverage = |files: &[FoundFiles]| covered(&paths, files);
        let wanted = Wanted { paths: &paths, coverage: &coverage, writers, truncate_logs };
        take_within(&wanted, &patience, &AtomicBool::new(false))
    }

    /// With all the time that a snapshot has, while somebody wants to stop.
    fn take_while_stopping(&self) -> Result<Snapshot, VssError> {
        let coverage = |_: &[FoundFiles]| Coverage::Whole;
        let paths = [b"/S:".to_vec()];
        let wanted =
            Wanted { paths: &paths, coverage: &coverage, writers: &Writers::All, truncate_logs: false };
        take(&wanted, &AtomicBool::new(true))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn copies(&self) -> usize {
        fs::read_dir(self.folder.path().join("snapshots")).map_or(0, |entries| entries.count())
    }

    /// Nothing is left, and nothing was asked that's not to be asked then.
    fn is_clean(&self) {
        let log = self.log();
        assert_eq!(self.copies(), 0, "{log}");
        for wrong in ["OUT OF ORDER", "LEAKED", "WRONG", "no business", "by themselves"] {
            assert!(!log.contains(wrong), "{wrong}:\n{log}");
        }
        assert_eq!(log.matches("CreateVss").count(), log.matches("Release").count(), "{log}");
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { std::env::remove_var("COFFER_FAKE_VSS_SCRIPT") };
    }
}

/// All of a component is captured where one of its files is on a drive of these paths.
fn covered(paths: &[Vec<u8>], files: &[FoundFiles]) -> Coverage {
    let is_on = |path: &Vec<u8>, one: &FoundFiles| one.folder.get(..3) == path.get(..3);
    match files.iter().any(|one| paths.iter().any(|path| is_on(path, one))) {
        true => Coverage::Whole,
        false => Coverage::Nothing,
    }
}

fn named(writers: &[&str], components: &[&str]) -> Writers {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Writers::Named { writers: owned(writers), components: owned(components) }
}

fn names(refusals: &[crate::vss::Refusal]) -> Vec<&str> {
    refusals.iter().map(|refusal| refusal.writer.as_str()).collect()
}

#[test]
fn a_system_without_snapshots_is_said_to_have_none() {
    let fake = Fake::new("");
    // SAFETY: Windows' environment may be changed while others read it.
    unsafe { std::env::remove_var("COFFER_FAKE_VSS_SCRIPT") };
    assert_eq!(applications().unwrap_err(), VssError::NotHere);
    assert_eq!(fake.take(&["/S:"], &Writers::All, false).unwrap_err(), VssError::NotHere);
}

#[test]
fn applications_tell_what_they_have() {
    let fake = Fake::new("writer \"Old One\" service\n exclude %SystemRoot%\\temp *.tmp recursive");
    let applications = applications().unwrap();
    let names: Vec<&str> = applications.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["SqlServerWriter", "Mail", "Elsewhere", "Old One"]);
    let sales = &applications[0].components[0];
    assert_eq!((sales.full_name().as_str(), sales.selection.for_backup), (r"PC\sales", true));
    assert_eq!(sales.files[0].to_string(), r"S:\sql\sales.mdf");
    assert_eq!(sales.logs[0].to_string(), r"T:\logs\sales.ldf");
    assert!(!applications[1].components[1].selection.for_backup);
    let excluded = &applications[3].excluded[0];
    assert!(excluded.recursive && !excluded.path.contains('%'), "{excluded}");
    fake.is_clean();
}

#[test]
fn a_snapshot_has_each_volume_that_its_databases_need_and_keeps_its_moment() {
    let fake = Fake::new("");
    let snapshot = fake.take(&["/S:/sql", "/S:/mail"], &Writers::All, false).unwrap();
    fs::write(r"S:\sql\sales.mdf", b"other rows").unwrap();
    let mounts = snapshot.mounts();
    let places: Vec<&[u8]> = mounts.iter().map(|(place, _)| &place[..]).collect();
    assert!(
        places.contains(&&b"/S:"[..]) && places.contains(&&b"/T:"[..]) && places.len() == 2,
        "{places:?}"
    );
    let device = &mounts.iter().find(|(place, _)| place == b"/S:").unwrap().1;
    assert_eq!(fs::read(device.join(r"sql\sales.mdf")).unwrap(), b"rows");
    assert_eq!((snapshot.refusals().len(), snapshot.live().len()), (0, 0));
    let documents = snapshot.documents().unwrap();
    let kept: Vec<&str> = documents.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        kept[0] == "backup.xml" && kept[1].starts_with("SqlServerWriter {") && kept.len() == 4,
        "{kept:?}"
    );
    assert!(documents[1].1.starts_with(b"<WRITER_METADATA"));
    assert_eq!(snapshot.finish(true).unwrap(), []);
    // What lies on T: alone isn't captured, so it isn't said to be.
    assert!(!fake.log().contains("pictures"), "{}", fake.log());
    assert!(fake.log().contains("type=5"), "{}", fake.log());
    fake.is_clean();
}

#[test]
fn logs_begin_anew_only_once_the_data_is_safe() {
    for succeeded in [Some(true), Some(false), None] {
        let fake = Fake::new("");
        let snapshot = fake.take(&["/S:"], &named(&["MAIL"], &[]), true).unwrap();
        match succeeded {
            Some(succeeded) => drop(snapshot.finish(succeeded).unwrap()),
            None => drop(snapshot),
        }
        let log = fake.log();
        let (is_safe, told) =
            (succeeded == Some(true), |word| format!("SetBackupSucceeded database \"\" \"store\" {word}"));
        assert!(log.contains("system-state=0 type=1"), "{log}");
        assert_eq!(log.contains("BackupComplete"), is_safe, "{log}");
        assert_eq!(log.contains("AbortBackup"), !is_safe, "{log}");
        assert_eq!(log.contains(&told("yes")), is_safe, "{log}");
        assert_eq!(log.contains(&told("no")), succeeded == Some(false), "{log}");
        fake.is_clean();
    }
}

#[test]
fn an_application_that_refuses_is_named_and_not_told_that_it_is_safe() {
    for (state, told_later) in [
        ("FAILED_AT_PREPARE_BACKUP", false),
        ("FAILED_AT_FREEZE", false),
        ("FAILED_AT_BACKUP_COMPLETE", true),
    ] {
        let fake = Fake::new(&format!(
            "writer Bad\n component database \"\" broken selectable\n file S:\\bad *\n state {state} 0x800423F4"
        ));
        let snapshot = fake.take(&["/S:"], &Writers::All, true).unwrap();
        let before = snapshot.refusals();
        assert_eq!(names(&before), if told_later { vec![] } else { vec!["Bad"] }, "{state}");
        let after = snapshot.finish(true).unwrap();
        assert_eq!(names(&after), if told_later { vec!["Bad"] } else { vec![] }, "{state}");
        let told = if told_later { "\"broken\" yes" } else { "\"broken\" no" };
        assert!(
            fake.log().contains(told) && fake.log().contains("\"store\" yes"),
            "{state}:\n{}",
            fake.log()
        );
        fake.is_clean();
    }
}

#[test]
fn one_that_cannot_say_what_it_has_is_named_and_one_that_has_nothing_here_is_not() {
    let fake =
        Fake::new("state FAILED_AT_FREEZE 0x800423F4\nwriter Mute\n state FAILED_AT_IDENTIFY 0x800423F4");
    let snapshot = fake.take(&["/S:/mail"], &named(&["Mail"], &[]), false).unwrap();
    assert_eq!(names(&snapshot.refusals()), ["Mute"], "{}", fake.log());
    drop(snapshot);
    fake.is_clean();
}

#[test]
fn what_cannot_have_a_snapshot_is_named() {
    let fake = Fake::new("unsupported T:\\");
    let snapshot = fake.take(&["/S:", "/T:/x", "/UNC/server/share"], &Writers::All, false).unwrap();
    let live = snapshot.live().join("; ");
    assert!(live.contains(r"T:\ can't have a snapshot") && live.contains("/UNC/server/share"), "{live}");
    assert_eq!(snapshot.mounts().len(), 1);
    // The database's log lies there; so does everything of the other's.
    assert_eq!(names(&snapshot.refusals()), ["SqlServerWriter", "Elsewhere"]);
    drop(snapshot);
    assert!(matches!(fake.take(&["/T:"], &Writers::All, false), Err(VssError::NoVolume(_))));
    fake.is_clean();
}

#[test]
fn whatever_fails_is_said_and_leaves_nothing_behind() {
    let calls = [
        "CreateVssBackupComponentsInternal",
        "InitializeForBackup",
        "SetContext",
        "SetBackupState",
        "GatherWriterMetadata",
        "AddComponent",
        "StartSnapshotSet",
        "AddToSnapshotSet",
        "PrepareForBackup",
        "GatherWriterStatus",
        "DoSnapshotSet",
        "SaveAsXML",
        "SetBackupSucceeded",
        "BackupComplete",
    ];
    for call in calls {
        let fake = Fake::new(&format!("fault {call} 0x80070005"));
        let all = fake.take(&["/S:"], &Writers::All, true).and_then(|snapshot| {
            snapshot.documents()?;
            snapshot.finish(true)
        });
        assert_eq!(all.unwrap_err(), VssError::NotAllowed, "{call}:\n{}", fake.log());
        let log = fake.log();
        let begun = log.contains("StartSnapshotSet -> 0x00000000");
        assert_eq!(log.contains("AbortBackup"), begun, "{call}:\n{log}");
        assert!(!log.contains("BackupComplete ended -> 0x00000000"), "{call}:\n{log}");
        if call != "CreateVssBackupComponentsInternal" {
            assert!(log.trim_end().ends_with("Release"), "{call}:\n{log}");
        }
        assert_eq!(fake.copies(), 0, "{call}:\n{log}");
        for wrong in ["OUT OF ORDER", "LEAKED", "WRONG", "by themselves"] {
            assert!(!log.contains(wrong), "{call}: {wrong}:\n{log}");
        }
    }
}

#[test]
fn what_hangs_is_cancelled() {
    for call in ["GatherWriterMetadata", "PrepareForBackup", "GatherWriterStatus", "DoSnapshotSet"] {
        let fake = Fake::new(&format!("hang {call}"));
        let taken = fake.take(&["/S:"], &Writers::All, false).map(drop);
        assert!(matches!(taken, Err(VssError::TimedOut { .. })), "{call}: {taken:?}");
        assert!(fake.log().contains(&format!("Cancel {call}")), "{}", fake.log());
        fake.is_clean();
    }
}

#[test]
fn a_wish_to_stop_ends_whatever_is_waited_for() {
    for (script, expected) in [
        ("hang GatherWriterMetadata", "Cancel GatherWriterMetadata"),
        ("hang PrepareForBackup", "Cancel PrepareForBackup"),
        ("hang GatherWriterStatus", "Cancel GatherWriterStatus"),
        ("hang DoSnapshotSet", "Cancel DoSnapshotSet"),
        // Another program's snapshot, and a failure that's worth another try.
        ("fault StartSnapshotSet 0x80042316", "StartSnapshotSet"),
        ("fault DoSnapshotSet 0x80042314", "AbortBackup"),
    ] {
        let fake = Fake::new(script);
        let began = Instant::now();
        let taken = fake.take_while_stopping().map(drop);
        assert_eq!(taken, Err(VssError::Stopped), "{script}:\n{}", fake.log());
        assert!(began.elapsed() < Duration::from_secs(30), "{script}");
        assert!(fake.log().contains(expected), "{script}:\n{}", fake.log());
        fake.is_clean();
    }
}

#[test]
fn a_snapshot_that_cannot_be_deleted_is_said_to_be_there_and_goes_with_the_backup() {
    let fake = Fake::new("fault DeleteSnapshots 0x80042302");
    let snapshot = fake.take(&["/S:"], &Writers::All, false).unwrap();
    let error = snapshot.finish(true).unwrap_err();
    assert!(error.to_string().starts_with("deleting the snapshot failed with 0x80042302"), "{error}");
    assert!(fake.log().contains("by themselves") && !fake.log().contains("AbortBackup"), "{}", fake.log());
    assert_eq!(fake.copies(), 0);
}

#[test]
fn a_volume_that_refuses_costs_the_others_nothing() {
    let fake = Fake::new("full T:\\");
    let snapshot = fake.take(&["/S:", "/T:"], &Writers::All, false).unwrap();
    let places: Vec<&[u8]> = snapshot.mounts().iter().map(|(place, _)| &place[..]).collect();
    assert_eq!(places, [b"/S:"]);
    let live = snapshot.live().join("; ");
    assert!(live.starts_with(r"T:\ can't have a snapshot: ") && live.contains("0x8004231F"), "{live}");
    // What needs it doesn't take part; what doesn't does, and may be told so.
    assert_eq!(names(&snapshot.refusals()), ["SqlServerWriter", "Elsewhere"]);
    assert_eq!(snapshot.finish(true).unwrap(), []);
    let log = fake.log();
    assert!(log.contains(r#"SetBackupSucceeded database "" "store" yes"#), "{log}");
    assert!(!log.contains(r#"SetBackupSucceeded database "PC" "sales""#), "{log}");
    fake.is_clean();
    // There's one at a time.
    drop(fake);

    let fake = Fake::new("full S:\\\nfull T:\\");
    let error = fake.take(&["/S:", "/T:"], &Writers::All, false).unwrap_err();
    assert!(matches!(error, VssError::Failed { .. }), "{error}");
    fake.is_clean();
}
