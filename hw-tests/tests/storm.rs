//! Programs that are killed at any moment, again and again: what was acknowledged comes back, byte for byte, and nobody has to do anything.
//!
//! `STORM=1000 cargo test --workspace --test storm -- --nocapture` is the long form: so many kills. `STORM_SEED=N` repeats one.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

#[path = "replace/headquarters.rs"]
#[allow(dead_code, reason = "another test needs more of it")]
mod headquarters;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use headquarters::Headquarters;
use support::{Running, Site, bytes, contents, program, said, succeed, wait_until};

/// Kills of the bounded form.
const KILLS: u64 = 16;
const FILES: u64 = 60;
/// The latest moment of a kill after the work has begun.
const LATEST_MS: u64 = 250;
/// Newest points that are compared at the end; the long form thins the older ones.
const COMPARED: usize = 6;

type Tree = BTreeMap<PathBuf, blake3::Hash>;

/// Numbers that are the same for the same seed.
struct Fate(u64);

impl Fate {
    fn below(&mut self, end: u64) -> u64 {
        self.0 += 1;
        u64::from_le_bytes(bytes(self.0, 8).try_into().unwrap()) % end
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Agent,
    Box,
    Hq,
    All,
}

/// What runs while somebody is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Capture,
    Tape,
    Restore,
}

struct Storm {
    fate: Fate,
    hq: Headquarters,
    site: Site,
    /// What the folder held at each point that was acknowledged.
    points: BTreeMap<u64, Tree>,
}

impl Storm {
    fn round(&mut self) {
        self.change();
        let work = [Work::Capture, Work::Capture, Work::Capture, Work::Tape, Work::Restore]
            [self.fate.below(5) as usize];
        let victim = [Victim::Agent, Victim::Box, Victim::Hq, Victim::All][self.fate.below(4) as usize];
        let moment = Duration::from_millis(self.fate.below(LATEST_MS));
        println!("{work:?}, {victim:?} after {moment:?}");
        let working = self.start(work);
        // No moment is waited for: it's any.
        std::thread::sleep(moment);
        if matches!(victim, Victim::Box | Victim::All) {
            self.site.kill_box();
        }
        if matches!(victim, Victim::Hq | Victim::All) {
            self.hq.stop();
        }
        match victim {
            Victim::Agent | Victim::All => working.kill(),
            Victim::Box | Victim::Hq => self.await_end(working),
        }
        if matches!(victim, Victim::Hq | Victim::All) {
            let dir = self.site.dir.path().to_owned();
            self.hq.start(&dir);
        }
        if matches!(victim, Victim::Box | Victim::All) {
            self.site.start_box();
        }
        self.capture();
    }

    fn start(&self, work: Work) -> Running {
        let mut command = match work {
            Work::Capture => {
                let mut capture = self.site.agent("capture");
                capture.args(["--server", &self.site.server]);
                capture
            }
            Work::Tape => self.site.coffer_command(&["tape", "run"]),
            Work::Restore => {
                let to = self.site.path("restored-in-part");
                self.site.coffer_command(&["restore", "alpha/files", "--to", to.to_str().unwrap()])
            }
        };
        Running::start_logged(command.stdout(Stdio::null()), &self.site.path("work.log"))
    }

    /// However it ends.
    fn await_end(&self, mut working: Running) {
        wait_until("the work ends", &self.site.path("work.log"), || !working.is_running());
    }

    /// A capture that succeeds, whatever was before.
    fn capture(&mut self) {
        let output = self.site.capture();
        assert!(output.status.success(), "{}", said(&output));
        let newest = self.site.points("alpha/files")[0]["point"].as_u64().unwrap();
        let tree = contents(&self.site.data());
        if let Some(before) = self.points.insert(newest, tree.clone()) {
            assert_eq!(before, tree, "point {newest} is of something else");
        }
    }

    fn change(&mut self) {
        for _ in 0..=self.fate.below(8) {
            let name = |number: u64| self.site.data().join(format!("file-{number}"));
            let (one, other) = (name(self.fate.below(FILES)), name(self.fate.below(FILES)));
            let len = self.fate.below(200_000) as usize;
            match self.fate.below(4) {
                0 if one.exists() => fs::remove_file(&one).unwrap(),
                1 if one.exists() => fs::rename(&one, &other).unwrap(),
                _ => fs::write(&one, bytes(self.fate.below(1 << 40), len)).unwrap(),
            }
        }
    }

    /// All that was acknowledged is what a restore gives, here and at headquarters.
    fn prove(&self) {
        self.site.coffer(&["verify"]);
        for (point, tree) in self.points.iter().rev().take(COMPARED) {
            let back = self.site.restore(&["--point", &point.to_string()]);
            assert_eq!(&contents(&back), tree, "point {point}");
        }
        let newest = *self.points.keys().next_back().unwrap();
        self.hq.wait_until_whole(&self.site, newest);
        let desk = self.site.path("desk");
        let mut operator = program("coffer-hq");
        operator
            .args(["operator", "--name", "desk", "--dir"])
            .arg(self.site.path("hq"))
            .arg("--out")
            .arg(&desk);
        succeed(&mut operator);
        let mut verify = program("coffer");
        verify.args(["--hq-branch", headquarters::BRANCH, "verify"]);
        succeed(verify.env("COFFER_SERVER", &self.hq.address).env("COFFER_OPERATOR", &desk));
        let said = self.site.status()["sentences"].to_string();
        assert!(!said.contains("damage") && !said.contains("can't be restored"), "{said}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_whoever_is_killed() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let kills = number("STORM").unwrap_or(KILLS);
    let seed = number("STORM_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("STORM_SEED={seed}");
    let (hq, site) = Headquarters::with_site("[tape]\nsimulated = true\n");
    let mut storm = Storm { fate: Fate(seed << 32), hq, site, points: BTreeMap::new() };
    // A point without any file is no success.
    fs::write(storm.site.data().join("always"), "there").unwrap();
    storm.capture();
    for kill in 1..=kills {
        storm.round();
        if kill % 100 == 0 {
            storm.prove();
        }
    }
    storm.prove();
}
