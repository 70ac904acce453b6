//! The agent's program replaces itself under wine: a good update, also where the box is away meanwhile, one that doesn't start,
//! and everything that's refused.
//!
//! The newer program is the same one with a few bytes behind its end, which Windows doesn't read: what version it is says the
//! signed head, as for any update. The one that fails is a program of one line.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;
mod windows_site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{HeldLine, succeed};
use windows_site::{WindowsSite, agent_exe};

const TARGET: &str = "x86_64-pc-windows";

/// A vendor's key, and an agent installed in `C:\Agent` that trusts it.
struct Fleet {
    windows: WindowsSite,
    key: PathBuf,
}

impl Fleet {
    fn start() -> Fleet {
        let windows = WindowsSite::new();
        let key = windows.site.path("release.key");
        let public = windows.site.coffer(&["release", "keygen", "--out", key.to_str().unwrap()]);
        fs::write(windows.site.path("box/release.keys"), &public).unwrap();
        windows.run(&["cmd", "/c", "md", r"C:\Agent"]);
        let fleet = Fleet { windows, key };
        fs::copy(agent_exe(), fleet.installed()).unwrap();
        fs::write(fleet.installed().with_file_name("release.keys"), &public).unwrap();
        fleet
    }

    fn install(&self, server: &str) {
        let code = self.windows.code();
        let program = r"C:\Agent\coffer-agent.exe";
        self.windows.run(&[
            program,
            "install",
            "--state",
            r"C:\coffer",
            "--server",
            server,
            "--code",
            &code,
            "--name",
            "winpc",
        ]);
    }

    fn installed(&self) -> PathBuf {
        self.windows.drive().join("Agent/coffer-agent.exe")
    }

    /// An update with these bytes.
    fn signed(&self, key: &Path, version: &str, program: &[u8]) -> PathBuf {
        self.signed_for(key, version, program, "60")
    }

    /// The same, with so many seconds to prove itself.
    fn signed_for(&self, key: &Path, version: &str, program: &[u8], trial_s: &str) -> PathBuf {
        let (path, out) =
            (self.windows.site.path("program"), self.windows.site.path(&format!("{version}.up")));
        fs::write(&path, program).unwrap();
        let words = ["release", "sign", "--target", TARGET, "--trial-seconds", trial_s];
        let mut all: Vec<&str> = words.to_vec();
        all.extend(["--release-version", version, "--key", key.to_str().unwrap()]);
        all.extend(["--out", out.to_str().unwrap(), path.to_str().unwrap()]);
        self.windows.site.coffer(&all);
        out
    }

    fn bring(&self, update: &Path) {
        self.windows.site.coffer(&["agents", "update", update.to_str().unwrap()]);
    }

    /// What the box knows of the computer's program.
    fn program(&self) -> Value {
        let all = self.windows.site.coffer(&["agents", "--json"]);
        let all: Value = serde_json::from_str(&all).unwrap();
        let found = all["agents"].as_array().unwrap().iter().find(|one| one["computer"] == "winpc");
        found.unwrap()["program"].clone()
    }

    fn wait_for(&self, program: &str, update: &str) {
        let mut last = Value::Null;
        self.windows.wait_until(&format!("{program} is {update}"), || {
            let now = self.program();
            if now != last {
                println!("{now}");
                last = now;
            }
            last["program"] == program && last["update"] == update
        });
    }

    /// What a box that somebody else controls offers: nothing checks it there.
    fn smuggle(&mut self, update: &Path, len: usize) {
        let bytes = fs::read(update).unwrap();
        self.windows.site.kill_box();
        let place = self.windows.site.path(&format!("box/updates/{TARGET}.coffer-update"));
        fs::write(place, &bytes[..len.min(bytes.len())]).unwrap();
        self.windows.site.start_box();
    }

    fn wait_for_sentence(&self, sentence: &str) {
        let is_told = || self.windows.site.coffer(&["status"]).contains(sentence);
        self.windows.wait_until(&format!("the box says: {sentence}"), is_told);
    }
}

/// The program at work as a later version would be.
fn later() -> Vec<u8> {
    [fs::read(agent_exe()).unwrap(), b"a later version".to_vec()].concat()
}

/// A program that ends at once.
fn broken(windows: &WindowsSite) -> Vec<u8> {
    let (source, exe) = (windows.site.path("broken.c"), windows.site.path("broken.exe"));
    fs::write(&source, "int main(void) { return 3; }\n").unwrap();
    succeed(Command::new("x86_64-w64-mingw32-gcc").arg("-o").arg(&exe).arg(&source));
    fs::read(exe).unwrap()
}

#[test]
fn the_agent_replaces_itself_and_goes_back_where_that_does_not_work() {
    let mut fleet = Fleet::start();
    let _somebody_at_work = fleet.windows.hold(r"C:\somebody.txt");
    fleet.install(&fleet.windows.site.server);
    fleet.wait_for(concat!("coffer-agent ", env!("CARGO_PKG_VERSION")), "current");

    let newer = later();
    fleet.bring(&fleet.signed(&fleet.key, "9.2.0", &newer));
    fleet.wait_for("coffer-agent 9.2.0", "current");
    assert!(fs::read(fleet.installed()).unwrap() == newer, "another program is at work");
    let is_helper_there =
        || fleet.windows.program(&["sc", "query", "CofferAgentUpdate"]).output().unwrap().status.success();
    fleet.windows.wait_until("the helper is gone", || !is_helper_there());
    fs::create_dir_all(fleet.windows.data()).unwrap();
    fs::write(fleet.windows.data().join("file.txt"), b"a file").unwrap();
    fleet.windows.configure("include = ['C:\\data']\nwhen = \"continuous\"\nsettle_seconds = 1\n");
    fleet.windows.wait_until("the new program captures", || !fleet.windows.points().is_empty());

    fleet.bring(&fleet.signed(&fleet.key, "9.3.0", &broken(&fleet.windows)));
    fleet.wait_for("coffer-agent 9.2.0", "failed");
    fleet.wait_for_sentence("version 9.3.0 doesn't start");
    assert!(fs::read(fleet.installed()).unwrap() == newer, "the old program isn't back");

    let strange = fleet.windows.site.path("strange.key");
    fleet.windows.site.coffer(&["release", "keygen", "--out", strange.to_str().unwrap()]);
    let forged = fleet.signed(&strange, "9.9.0", &newer);
    let refused = fleet.windows.site.try_coffer(&["agents", "update", forged.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("isn't signed"), "{refused:?}");
    fleet.smuggle(&forged, usize::MAX);
    fleet.wait_for_sentence("version 9.9.0 isn't signed with a key that is trusted here");

    let (older, whole) =
        (fleet.signed(&fleet.key, "9.1.5", &newer), fleet.signed(&fleet.key, "9.4.0", &newer));
    fleet.smuggle(&older, usize::MAX);
    fleet.wait_for_sentence("version 9.1.5 is older than 9.2.0");
    fleet.smuggle(&whole, 1_000_000);
    fleet.wait_for_sentence("the box has only 999744 of the");
    fleet.wait_for("coffer-agent 9.2.0", "failed");
    assert!(fs::read(fleet.installed()).unwrap() == newer, "something was installed after all");
}

#[test]
fn a_box_that_is_away_during_a_trial_costs_no_update() {
    let fleet = Fleet::start();
    let _somebody_at_work = fleet.windows.hold(r"C:\somebody.txt");
    let line = HeldLine::to(&fleet.windows.site.server);
    fleet.install(&line.address);
    fleet.wait_for(concat!("coffer-agent ", env!("CARGO_PKG_VERSION")), "current");

    line.close();
    fleet.bring(&fleet.signed_for(&fleet.key, "9.2.0", &later(), "10"));
    let trials = || {
        let log = fs::read_to_string(fleet.windows.drive().join("coffer/update/agent.log"));
        log.unwrap_or_default().matches("replacing the program step=NoteTrial").count()
    };
    let is_back = || trials() == 1 && fs::read(fleet.installed()).unwrap() == fs::read(agent_exe()).unwrap();
    fleet.windows.wait_until("the new program is taken back", is_back);
    line.open();
    fleet.wait_for("coffer-agent 9.2.0", "current");
    assert!(trials() > 1);
}
