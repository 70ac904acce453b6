//! The agent's installer under wine: installed and enrolled silently, upgraded in place, removed.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;
mod windows_site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{contents, succeed};
use windows_site::{ROOT, WindowsSite, wine_path};

/// The installer that's shipped, or the same program with another version.
fn installer(site: &WindowsSite, version: &str) -> PathBuf {
    let msi = site.site.path(&format!("coffer-agent-{version}.msi"));
    succeed(Command::new(Path::new(ROOT).join("agent-win/installer/build")).arg(version).arg(&msi));
    msi
}

fn msiexec(site: &WindowsSite, words: &[&str]) {
    let mut all = vec!["msiexec"];
    all.extend(words);
    all.push("/qn");
    site.run(&all);
}

fn is_service_there(site: &WindowsSite) -> bool {
    site.program(&["sc", "query", "CofferAgent"]).output().unwrap().status.success()
}

/// Windows' installer waits until a service that it stops has ended; wine's goes on at once.
fn stop_service(site: &WindowsSite) {
    site.run(&["sc", "stop", "CofferAgent"]);
    let is_stopped = || site.run(&["sc", "query", "CofferAgent"]).contains("STOPPED");
    site.wait_until("the service stops", is_stopped);
}

#[test]
fn an_installed_agent_works_as_a_service_through_an_upgrade_until_it_is_removed() {
    let site = WindowsSite::new();
    // Wine ends its services with the last program of a user's; Windows doesn't.
    let _somebody_at_work = site.hold(r"C:\somebody.txt");
    let (old, new) = (installer(&site, "1.2.3"), installer(&site, "1.2.4"));
    let code = site.code();
    let server = format!("SERVER={}", site.site.server);
    msiexec(&site, &["/i", &wine_path(&old), &server, &format!("CODE={code}"), "NAME=winpc"]);
    site.configure("include = ['C:\\data']\nwhen = \"continuous\"\nsettle_seconds = 1\n");
    let data = site.data();
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("first.txt"), b"written before the upgrade").unwrap();
    let is_like_data = || !site.points().is_empty() && contents(&site.restore(&[])) == contents(&data);
    site.wait_until("the service captures", is_like_data);

    let state = site.drive().join("ProgramData/Coffer");
    let log = || fs::read_to_string(state.join("agent.log")).unwrap_or_default();
    assert!(!state.join("identity/key.pem").exists(), "the private key lies open");
    assert!(
        !fs::read_to_string(state.join("chunk.key")).is_ok_and(|key| key.len() == 64),
        "so does the chunk key"
    );

    stop_service(&site);
    msiexec(&site, &["/i", &wine_path(&new)]);
    assert!(log().contains("stopped"), "the upgrade didn't let the agent end:\n{}", log());
    fs::write(data.join("second.txt"), b"written after the upgrade").unwrap();
    site.wait_until("the upgraded service captures", is_like_data);

    stop_service(&site);
    let program = site.drive().join("Program Files/Coffer");
    fs::write(program.join("coffer-agent.old.exe"), b"left by an update").unwrap();
    msiexec(&site, &["/x", &wine_path(&new)]);
    assert!(!is_service_there(&site), "the service is still there");
    assert!(!program.exists(), "the program is still there, or something beside it");
    assert!(state.join("identity").exists(), "who this computer is was forgotten without a word");
}

#[test]
fn a_service_that_was_installed_first_starts_to_work_once_the_computer_is_enrolled() {
    let site = WindowsSite::new();
    let _somebody_at_work = site.hold(r"C:\somebody.txt");
    let exe = windows_site::agent_exe();
    let exe = exe.to_str().unwrap();
    site.run(&[exe, "install", "--state", r"C:\coffer"]);
    assert!(is_service_there(&site));
    site.enrol();
    fs::create_dir_all(site.data()).unwrap();
    fs::write(site.data().join("file.txt"), b"a file").unwrap();
    site.configure("include = ['C:\\data']\nwhen = \"continuous\"\nsettle_seconds = 1\n");
    site.wait_until("the service captures", || {
        !site.points().is_empty() && contents(&site.restore(&[])) == contents(&site.data())
    });
    site.run(&[exe, "uninstall"]);
    assert!(!is_service_there(&site));
}
