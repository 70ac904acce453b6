//! The real Windows agent, under wine: restores to the place, files in use among them, and as the help desk asks for them.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;
mod windows_site;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use support::{bytes, contents, said};
use windows_site::WindowsSite;

fn fill(data: &Path) {
    for number in 0..60 {
        let folder = data.join(format!("folder {}", number % 5));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("Grüße-{number}.txt")), bytes(number, 700)).unwrap();
    }
    fs::write(data.join("mail.ost"), bytes(1000, 5 << 20)).unwrap();
    fs::write(data.join("read only.txt"), b"kept").unwrap();
    fs::set_permissions(data.join("read only.txt"), fs::Permissions::from_mode(0o444)).unwrap();
}

fn damage(data: &Path) {
    for path in contents(data).into_keys() {
        let path = data.join(path);
        let permissions = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, b"locked; pay").unwrap();
        fs::set_permissions(&path, permissions).unwrap();
    }
}

fn captured(windows: &WindowsSite) {
    let output = windows.capture();
    assert!(output.status.success(), "{output:?}");
}

/// A computer that was captured, what it had then, and none of which is as it was.
fn damaged() -> (WindowsSite, BTreeMap<PathBuf, blake3::Hash>) {
    let windows = WindowsSite::start("manual");
    let data = windows.data();
    fill(&data);
    captured(&windows);
    let before = contents(&data);
    damage(&data);
    (windows, before)
}

fn restore_in_place(windows: &WindowsSite) -> Output {
    let words = ["--config", "files", "--in-place", "--server", &windows.site.server];
    windows.agent("restore").args(words).output().unwrap()
}

#[test]
fn a_file_in_use_is_replaced_at_the_next_start_and_all_others_at_once() {
    let (windows, before) = damaged();
    let data = windows.data();
    fs::write(data.join(".coffer-restoring-7b1f0c5e2a94d863-5-5"), b"left by a restore that was broken off")
        .unwrap();
    fs::write(data.join("new.txt"), b"not in the point").unwrap();

    let held = windows.hold(r"C:\data\mail.ost");
    let output = restore_in_place(&windows);
    assert_eq!(output.status.code(), Some(14), "{}", said(&output));
    let sentence = "mail.ost: is in use; it's replaced when the computer next starts";
    assert!(said(&output).contains(sentence), "{}", said(&output));
    let mut now = contents(&data);
    assert_eq!(fs::read(data.join("mail.ost")).unwrap(), b"locked; pay", "a file in use was written to");
    let (ost, waiting) = (Path::new("mail.ost"), Path::new("mail.ost.coffer-at-restart"));
    assert_eq!(now.remove(waiting), Some(before[ost]), "the new one isn't whole");
    now.insert(ost.into(), before[ost]);
    assert!(now.remove(Path::new("new.txt")).is_some());
    assert_eq!(now, before);
    let mode = fs::metadata(data.join("read only.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o222, 0, "it isn't read-only any more");
    held.kill();
    windows.wine.restart();
    fs::remove_file(data.join("new.txt")).unwrap();
    let _agent = windows.start_agent();
    windows.wait_until("the file is replaced at the next start", || contents(&data) == before);
}

#[test]
fn what_is_restored_once_it_is_free_is_not_replaced_by_something_older() {
    let windows = WindowsSite::start("manual");
    let data = windows.data();
    fs::write(data.join("mail.ost"), b"first").unwrap();
    captured(&windows);
    fs::write(data.join("mail.ost"), b"the second").unwrap();
    captured(&windows);
    fs::write(data.join("mail.ost"), b"damaged").unwrap();
    // Without a program that runs, wine would end, and the next one would be its next start.
    let goes_on = windows.hold(r"C:\something else.txt");
    let held = windows.hold(r"C:\data\mail.ost");
    let mut first = windows.agent("restore");
    first.args(["--config", "files", "--in-place", "--point", "1", "--server", &windows.site.server]);
    assert_eq!(first.output().unwrap().status.code(), Some(14));
    held.kill();
    let second = restore_in_place(&windows);
    assert_eq!(second.status.code(), Some(0), "{}", said(&second));
    goes_on.kill();
    windows.wine.restart();
    let _agent = windows.start_agent();
    windows.wait_until("the agent connects", || windows.site.is_connected("winpc"));
    assert_eq!(fs::read(data.join("mail.ost")).unwrap(), b"the second");
}

#[test]
fn the_help_desk_starts_it_from_the_box() {
    let (windows, before) = damaged();
    let data = windows.data();
    let _agent = windows.start_agent();
    windows.wait_until("the agent connects", || windows.site.is_connected("winpc"));
    let words = ["restore", "winpc/files", "--on", "winpc"];
    let held = windows.hold(r"C:\data\mail.ost");
    let output = windows.site.try_coffer(&words);
    assert_eq!(output.status.code(), Some(10), "{}", said(&output));
    assert!(said(&output).contains("mail.ost: is in use"), "{}", said(&output));
    held.kill();
    let output = windows.site.try_coffer(&words);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(contents(&data), before);
    windows.site.coffer(&[&words[..], &["--to", r"C:\back"]].concat());
    assert_eq!(contents(&windows.drive().join("back/C/data")), before);
    // Nobody can answer here, so nothing is restored.
    damage(&data);
    let damaged = contents(&data);
    let output = windows.site.try_coffer(&[&words[..], &["--ask"]].concat());
    assert_eq!(output.status.code(), Some(22), "{}", said(&output));
    assert!(
        said(&output).contains("asked") && said(&output).contains("winpc didn't restore"),
        "{}",
        said(&output)
    );
    assert_eq!(contents(&data), damaged);
}
