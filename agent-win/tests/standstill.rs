//! Captures of files that stand still: what a point then holds, and what it claims.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::sync::Arc;

use coffer_agent::capture::{CaptureError, Outcome, Target};
use coffer_agent::config::FoundFiles;
use coffer_agent::standstill::{Claim, Enclosures, NamedFiles, Stance, View};
use coffer_format::entry::{Consistency, Remark, RemarkKind};
use support::{Bench, closed, noise};

/// A view of the bench's data as it is now.
fn snapshot(bench: &Bench) -> View {
    let snapshot = bench.folder.path().join("snapshot");
    let copied = Command::new("cp").arg("-a").arg(bench.path("")).arg(&snapshot).status().unwrap();
    assert!(copied.success());
    let data = bench.folder.path().join("data");
    View::with(vec![(data.as_os_str().as_bytes().to_vec(), snapshot)])
}

fn stance(view: View, claim: Claim) -> Stance<'static> {
    Stance { view: Arc::new(view), claim, ..Stance::default() }
}

#[test]
fn a_point_holds_what_the_snapshot_shows_and_the_next_what_came_after() {
    let bench = Bench::new();
    bench.write("folder/report.doc", "as it was");
    bench.write("folder/gone later.txt", "still there");
    bench.write("large.mdf", noise(20 << 20, 1));
    let view = snapshot(&bench);
    bench.write("folder/report.doc", "written meanwhile");
    bench.write("new.txt", "came later");
    fs::remove_file(bench.path("folder/gone later.txt")).unwrap();
    bench.write("large.mdf", noise(20 << 20, 2));

    let first = closed(bench.capture_on(stance(view, Claim::Application), Target::Everything).unwrap());
    assert_eq!(first.consistency, Consistency::Application);
    let file = |name: &str| bench.state().file(&bench.path(name));
    assert_eq!(file("folder/report.doc").unwrap(), b"as it was");
    assert_eq!(file("folder/gone later.txt").unwrap(), b"still there");
    assert_eq!(file("large.mdf").unwrap(), noise(20 << 20, 1));
    assert_eq!(file("new.txt"), None);

    let second = closed(bench.capture());
    assert_eq!(second.consistency, Consistency::Crash);
    bench.assert_all_there();
}

#[test]
fn a_point_claims_no_more_than_was_done() {
    for (claim, consistency) in [
        (Claim::Application, Consistency::Application),
        (Claim::Snapshot, Consistency::Crash),
        (Claim::Quiet, Consistency::Quiet),
        (Claim::None, Consistency::Crash),
    ] {
        let bench = Bench::new();
        bench.write("a", "1");
        let view = if claim == Claim::Quiet { View::default() } else { snapshot(&bench) };
        let said = vec![Remark {
            kind: RemarkKind::Application,
            path: b"SqlServerWriter"[..].into(),
            what: "refused".into(),
        }];
        let stance = Stance { said: said.clone(), ..stance(view, claim) };
        let point = closed(bench.capture_on(stance.clone(), Target::Everything).unwrap());
        assert_eq!((point.consistency, &point.report), (consistency, &said));
        let again = bench.capture_on(stance, Target::Everything).unwrap();
        assert!(matches!(again, Outcome::Unchanged { .. }), "{again:?}");
    }
}

#[test]
fn an_application_is_safe_only_where_each_file_that_it_names_is_in_the_point() {
    let bench = Bench { toml_more: "exclude = [\"**/*.old\"]\n".to_owned(), ..Bench::new() };
    for name in ["sql/Sales.mdf", "sql/sales[1].ldf", "mail/store.edb", "mail/logs/e00.log", "mail/last.old"]
    {
        bench.write(name, name);
    }
    fs::create_dir(bench.path("sql/empty")).unwrap();
    std::os::unix::fs::symlink("Sales.mdf", bench.path("sql/link.mdf")).unwrap();
    let files = |folder: &str, pattern: &str, is_recursive| FoundFiles {
        folder: bench.path(folder).as_os_str().as_bytes().to_vec(),
        pattern: pattern.to_owned(),
        is_recursive,
        is_log: false,
    };
    let number = std::cell::Cell::new(0);
    let capture = |files: Vec<FoundFiles>| {
        number.set(number.get() + 1);
        bench.write("news", number.get().to_string());
        let named = [NamedFiles { whose: "the database \"sales\" of SqlServerWriter".to_owned(), files }];
        let stance = Stance { named: &named, ..stance(snapshot(&bench), Claim::Application) };
        let point = closed(bench.capture_on(stance, Target::Everything).unwrap());
        fs::remove_dir_all(bench.folder.path().join("snapshot")).unwrap();
        let name = |line: &Remark| {
            assert!(line.what.contains("the database \"sales\" of SqlServerWriter"), "{}", line.what);
            let path = String::from_utf8_lossy(&line.path.0).into_owned();
            path.rsplit_once("data/").map_or(line.what.clone(), |(_, name)| name.to_owned())
        };
        (point.consistency, point.report.iter().map(name).collect::<Vec<_>>())
    };
    let is_safe = (Consistency::Application, vec![]);
    assert_eq!(capture(vec![files("sql", "SALES.MDF", false), files("sql", "sales[1].LDF", false)]), is_safe);
    assert_eq!(capture(vec![files("mail", "*.edb", false), files("mail/logs", "*", true)]), is_safe);
    // A pattern that nothing there is meant by asks for nothing.
    assert_eq!(capture(vec![files("sql", "*.trn", false), files("sql/empty", "*", true)]), is_safe);
    for (named, lacking) in [
        (files("sql", "other.mdf", false), "sql/other.mdf"),
        (files("sql", "empty", false), "sql/empty"),
        // What it leads to may be anywhere.
        (files("sql", "link.mdf", false), "sql/link.mdf"),
        (files("none", "*", true), "none/*"),
        (files("mail", "*", true), "mail/last.old"),
    ] {
        let expected = (Consistency::Crash, vec![lacking.to_owned()]);
        assert_eq!(capture(vec![files("sql", "sales.mdf", false), named]), expected);
    }
    let many = (0..14).map(|number| files("sql", &format!("{number}.ndf"), false)).collect();
    let (consistency, lines) = capture(many);
    assert_eq!((consistency, lines.len()), (Consistency::Crash, 11));
    assert!(lines[10].starts_with("4 more files"), "{lines:?}");
}

#[test]
fn a_snapshot_that_is_lost_makes_no_point_and_another_goes_on() {
    let bench = Bench::new();
    for number in 0..300 {
        bench.write(&format!("{}/{number}", number % 20), noise(100_000, number));
    }
    let root = bench.folder.path().join("snapshot");
    let lose = |view: View, before: u64| {
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while bench.received() < before {
                    std::thread::yield_now();
                }
                fs::rename(&root, bench.folder.path().join("gone")).unwrap();
            });
            let captured = bench.capture_on(stance(view, Claim::Application), Target::Everything);
            fs::remove_dir_all(bench.folder.path().join("gone")).unwrap();
            let error = captured.unwrap_err();
            assert!(matches!(error, CaptureError::SnapshotLost(_)), "{error}");
        });
    };
    // Before anything was read, and in the middle.
    let view = snapshot(&bench);
    fs::rename(&root, bench.folder.path().join("before")).unwrap();
    let error = bench.capture_on(stance(view, Claim::Application), Target::Everything).unwrap_err();
    assert!(matches!(error, CaptureError::SnapshotLost(_)), "{error}");
    lose(snapshot(&bench), 1);
    assert!(bench.state().closes.is_empty(), "a point of half a snapshot");

    let point =
        closed(bench.capture_on(stance(snapshot(&bench), Claim::Application), Target::Everything).unwrap());
    assert_eq!((point.consistency, point.report), (Consistency::Application, vec![]));
    bench.assert_all_there();
    // What's gone with a snapshot isn't removed from the next point.
    fs::remove_dir_all(&root).unwrap();
    bench.write("large", noise(20 << 20, 1));
    let received = bench.received();
    lose(snapshot(&bench), received + 1);
    assert_eq!(bench.state().closes.len(), 1);
    closed(bench.capture_on(stance(snapshot(&bench), Claim::Snapshot), Target::Everything).unwrap());
    bench.assert_all_there();
}

#[test]
fn a_change_below_a_folder_is_found_in_the_snapshot_by_its_path() {
    let bench = Bench::new();
    bench.write("one/two/three/file", "first");
    bench.capture();
    bench.write("one/two/three/file", "second, and longer");
    let view = snapshot(&bench);
    bench.write("one/two/three/file", "third");
    let mut target = Target::nothing();
    target.notice(bench.path("one/two/three").as_os_str().as_bytes().to_vec(), b"file".to_vec());
    closed(bench.capture_on(stance(view, Claim::Snapshot), target).unwrap());
    assert_eq!(bench.state().file(&bench.path("one/two/three/file")).unwrap(), b"second, and longer");
}

/// What a volume mounted at a folder is on Windows, a symbolic link is here: a link that something else is seen in the place of.
#[test]
fn what_is_mounted_on_the_way_to_an_included_folder_is_followed_and_nothing_else() {
    let bench = Bench::new();
    let volume = bench.folder.path().join("volume");
    fs::create_dir_all(volume.join("wanted")).unwrap();
    fs::write(volume.join("wanted/file"), "on another volume").unwrap();
    fs::write(volume.join("beside"), "not asked for").unwrap();
    let around = bench.folder.path().join("around");
    fs::create_dir(&around).unwrap();
    let wanted = around.join("mnt/wanted").to_str().unwrap().to_owned();
    let bench = Bench { more_includes: vec![wanted], ..bench };
    // On Linux an included path is where the links on the way to it lead; here they stand for mount points.
    let bench = Bench { earlier_scope: Some(bench.scope()), ..bench };
    for name in ["mnt", "other"] {
        std::os::unix::fs::symlink(&volume, around.join(name)).unwrap();
    }
    bench.write("kept", "x");
    std::os::unix::fs::symlink(&volume, bench.path("link")).unwrap();
    let links = [around.join("mnt"), around.join("other"), bench.path("link")];
    let mounted =
        |path: &[u8]| links.iter().any(|link| link.as_os_str().as_bytes() == path).then(|| volume.clone());

    let view = || View::default().over_mount_points(&bench.scope(), mounted);
    closed(bench.capture_on(stance(view(), Claim::None), Target::Everything).unwrap());
    let file = |path: std::path::PathBuf| bench.state().file(&path);
    assert_eq!(file(around.join("mnt/wanted/file")).unwrap(), b"on another volume");
    assert_eq!(file(around.join("mnt/beside")), None);
    assert!(bench.state().find(&around.join("other")).is_none());
    let link = bench.state().find(&bench.path("link")).unwrap();
    assert!(bench.state().nodes[&link].meta.as_ref().unwrap().link_target().is_some(), "a link was followed");

    fs::write(volume.join("wanted/file"), "changed there").unwrap();
    closed(bench.capture_on(stance(view(), Claim::None), Target::Everything).unwrap());
    assert_eq!(file(around.join("mnt/wanted/file")).unwrap(), b"changed there");
    let again = bench.capture_on(stance(view(), Claim::None), Target::Everything).unwrap();
    assert!(matches!(again, Outcome::Unchanged { .. }), "{again:?}");

    // The volume is gone, and the mount point leads nowhere.
    let before = bench.received();
    let gone = bench.capture_on(stance(View::default(), Claim::None), Target::Everything).unwrap();
    assert_eq!(closed(gone).consistency, Consistency::PerFile);
    assert_eq!(file(around.join("mnt/wanted/file")).unwrap(), b"changed there");
    let back = closed(bench.capture_on(stance(view(), Claim::None), Target::Everything).unwrap());
    assert_eq!((back.report, bench.received()), (Vec::new(), before));
}

#[test]
fn what_is_enclosed_and_gone_after_the_capture_is_no_change() {
    let mut bench = Bench::new();
    let folder = bench.state_dir.join("enclosed");
    bench.enclosed = Some(folder.clone());
    let document = folder.join("documents/writers.xml");
    let capture = |documents: &[&str]| {
        let mut enclosures = Enclosures::prepare(&folder, false).unwrap();
        enclosures
            .enclose(documents.iter().map(|name| (name.to_string(), name.as_bytes().to_vec())).collect());
        let stance = Stance { enclosures: Some(&enclosures), ..Stance::default() };
        bench.capture_on(stance, Target::Everything).unwrap()
    };
    let kept = |name: &str| bench.state().file(&folder.join("documents").join(name));
    bench.write("a", "1");
    closed(capture(&["writers.xml", "system.hive"]));
    assert_eq!(kept("system.hive").unwrap(), b"system.hive");

    fs::remove_file(&document).unwrap();
    fs::remove_file(folder.join("documents/system.hive")).unwrap();
    let unchanged = capture(&["writers.xml"]);
    assert!(matches!(unchanged, Outcome::Unchanged { .. }), "{unchanged:?}");
    assert_eq!(kept("system.hive").unwrap(), b"system.hive", "taken for removed");

    bench.write("a", "2");
    closed(capture(&["writers.xml"]));
    assert_eq!(kept("writers.xml").unwrap(), b"writers.xml");
    assert_eq!(kept("system.hive"), None, "the new point hasn't got it");
}

#[test]
fn copies_of_the_registry_do_not_outlive_their_capture() {
    let dir = tempfile::tempdir().unwrap();
    let hive = dir.path().join("registry/SAM");
    fs::create_dir(dir.path().join("registry")).unwrap();
    fs::write(&hive, "secrets").unwrap();
    let enclosures = Enclosures::prepare(dir.path(), true).unwrap();
    assert!(!hive.exists(), "left by a capture that was cut off");
    fs::write(&hive, "secrets").unwrap();
    enclosures.clear();
    assert!(!hive.exists());
}
