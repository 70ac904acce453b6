//! HQ, a box with a simulated library, and an agent: prepared once, stopped, and copied for each cell.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Running, bytes, contents, program, said, succeed, wait_until};

/// Name of the branch at HQ.
const BRANCH: &str = "branch";

type Tree = BTreeMap<PathBuf, blake3::Hash>;

pub(crate) struct Fleet {
    dir: tempfile::TempDir,
    hq_address: String,
    box_address: String,
    /// What the included folder held at each point.
    pub(crate) points: Vec<(u64, Tree)>,
}

/// Who has what isn't in closed segments yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenEnds {
    /// The box alone; HQ may have some of it.
    Here,
    AtHq,
}

/// Programs that run in one folder.
pub(crate) struct Started<'a> {
    fleet: &'a Fleet,
    pub(crate) dir: PathBuf,
    hq: Option<Running>,
    daemon: Option<Running>,
}

impl Fleet {
    /// Three points: the first two in closed segments that are at HQ and on tape, the third in open ones; with a copy of
    /// everything after the first.
    pub(crate) fn prepare() -> Fleet {
        Fleet::prepare_with(OpenEnds::Here)
    }

    /// The same, and HQ has what is in open segments too.
    pub(crate) fn prepare_open_at_hq() -> Fleet {
        Fleet::prepare_with(OpenEnds::AtHq)
    }

    fn prepare_with(open_ends: OpenEnds) -> Fleet {
        let dir = tempfile::tempdir().unwrap();
        let mut fleet =
            Fleet { hq_address: free_address(), box_address: free_address(), points: Vec::new(), dir };
        let now = fleet.dir.path().join("now");
        fs::create_dir_all(fleet.data()).unwrap();
        fs::create_dir(&now).unwrap();
        succeed(program("coffer-hq").args(["init", "--name", "Example", "--dir"]).arg(now.join("hq")));
        let mut started = Started { fleet: &fleet, dir: now.clone(), hq: None, daemon: None };
        started.start_hq().unwrap();
        let mut code = program("coffer-hq");
        let code = succeed(code.args(["code", "--branch", BRANCH, "--dir"]).arg(now.join("hq"))).stdout;
        let mut desk = program("coffer-hq");
        desk.args(["operator", "--name", "desk", "--dir"])
            .arg(now.join("hq"))
            .arg("--out")
            .arg(now.join("desk"));
        succeed(&mut desk);
        let settings = format!(
            "listen = \"{}\"\npage = \"127.0.0.1:0\"\nreserve_mib = 16\n[tape]\nsimulated = true\n",
            fleet.box_address
        );
        fs::write(now.join("start.toml"), settings).unwrap();
        let mut init = program("cofferd");
        init.args(["init", "--name", "site", "--hq", &fleet.hq_address, "--code"]);
        init.arg(String::from_utf8(code).unwrap().trim()).arg("--settings").arg(now.join("start.toml"));
        succeed(init.arg("--dir").arg(now.join("box")));
        started.start_box().unwrap();
        let code = started.coffer_ok(&["computer", "code", "alpha"]);
        let code = code.lines().next().unwrap().trim().to_owned();
        let mut enrol = started.agent("enrol");
        succeed(enrol.args(["--name", "alpha", "--server", &fleet.box_address, "--code", &code]));
        let config = now.join("files.toml");
        fs::write(&config, format!("include = [{:?}]\nwhen = \"manual\"\n", fleet.data())).unwrap();
        started.coffer_ok(&["config", "set", "alpha", "files", config.to_str().unwrap()]);

        let mut points = Vec::new();
        for number in 0..60 {
            let folder = fleet.data().join(format!("folder-{}", number % 7));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("file-{number}.txt")), bytes(number, 3000 + number as usize * 91))
                .unwrap();
        }
        fs::write(fleet.data().join("large.db"), bytes(1000, 2 << 20)).unwrap();
        points.push((1, started.capture(&fleet.data())));
        started.settle();
        started.stop();
        copy(&now, &fleet.dir.path().join("older"));
        started.start_hq().unwrap();
        started.start_box().unwrap();
        for number in [3, 17, 40] {
            fs::write(fleet.data().join(format!("folder-0/new-{number}.txt")), bytes(2000 + number, 9000))
                .unwrap();
        }
        points.push((2, started.capture(&fleet.data())));
        started.settle();
        // Starting anew closes what is open; then it travels whole.
        started.stop();
        started.start_hq().unwrap();
        started.start_box().unwrap();
        started.settle();
        fs::write(fleet.data().join("folder-1/last.txt"), bytes(3000, 20_000)).unwrap();
        points.push((3, started.capture(&fleet.data())));
        if open_ends == OpenEnds::AtHq {
            started.wait_for_point_at_hq(3);
        }
        started.stop();
        drop(started);
        fleet.points = points;
        fleet
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What is damaged in each cell, and where its older copies are.
    pub(crate) fn now(&self) -> PathBuf {
        self.dir.path().join("now")
    }

    pub(crate) fn older(&self) -> PathBuf {
        self.dir.path().join("older")
    }

    /// A fresh copy of everything, in which nothing runs yet.
    pub(crate) fn copy(&self) -> Started<'_> {
        let dir = self.dir.path().join("cell");
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        copy(&self.now(), &dir);
        Started { fleet: self, dir, hq: None, daemon: None }
    }
}

impl Started<'_> {
    /// Starts HQ; what it said where it ended at once.
    pub(crate) fn start_hq(&mut self) -> Result<(), String> {
        let mut command = program("coffer-hq");
        command.args(["serve", "--listen", &self.fleet.hq_address, "--print-address", "--dir"]);
        command.arg(self.dir.join("hq")).stdout(Stdio::piped());
        let log = self.dir.join("hq.log");
        let mut hq = Running::start_logged(&mut command, &log);
        if hq.first_line().is_none() {
            return Err(fs::read_to_string(&log).unwrap_or_default());
        }
        self.hq = Some(hq);
        Ok(())
    }

    /// Starts the box; what it said where it ended at once.
    pub(crate) fn start_box(&mut self) -> Result<(), String> {
        let mut command = program("cofferd");
        command.args(["run", "--dir"]).arg(self.dir.join("box")).stdout(Stdio::piped());
        let log = self.dir.join("box.log");
        let mut daemon = Running::start_logged(&mut command, &log);
        if daemon.first_line().is_none() {
            return Err(fs::read_to_string(&log).unwrap_or_default());
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    pub(crate) fn stop(&mut self) {
        self.daemon = None;
        self.hq = None;
    }

    pub(crate) fn agent(&self, verb: &str) -> Command {
        let mut command = program("coffer-agent");
        command.arg(verb).arg("--state").arg(self.dir.join("agent"));
        command
    }

    pub(crate) fn capture_output(&self) -> Output {
        self.agent("capture").args(["--server", &self.fleet.box_address]).output().unwrap()
    }

    fn capture(&self, data: &Path) -> Tree {
        let output = self.capture_output();
        assert!(output.status.success(), "{}", said(&output));
        contents(data)
    }

    pub(crate) fn coffer(&self, words: &[&str]) -> Output {
        let mut command = program("coffer");
        command.args(words).env("COFFER_SERVER", &self.fleet.box_address);
        command.env("COFFER_OPERATOR", self.dir.join("box/operator")).output().unwrap()
    }

    /// The same at HQ, about the branch.
    pub(crate) fn desk(&self, words: &[&str]) -> Output {
        let mut command = program("coffer");
        command.args(["--hq-branch", BRANCH]).args(words).env("COFFER_SERVER", &self.fleet.hq_address);
        command.env("COFFER_OPERATOR", self.dir.join("desk")).output().unwrap()
    }

    /// Reads the cartridges without the box.
    pub(crate) fn tape_read(&self, point: u64, to: &Path) -> Output {
        let mut read = program("coffer");
        read.args(["tape", "read", "alpha/files", "--point", &point.to_string(), "--simulated"]);
        read.arg(self.dir.join("box/simulated-library")).arg("--recovery-key");
        read.arg(self.dir.join("hq/recovery.key")).arg("--to").arg(to).output().unwrap()
    }

    fn coffer_ok(&self, words: &[&str]) -> String {
        let output = self.coffer(words);
        assert!(output.status.success(), "coffer {words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn status(&self) -> Option<Value> {
        let output = self.coffer(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until HQ and the tapes have everything that is closed.
    fn settle(&self) {
        self.coffer_ok(&["tape", "run"]);
        self.wait_for_hq();
    }

    /// Waits until HQ has all of a point, also what lies in open segments.
    fn wait_for_point_at_hq(&self, point: u64) {
        wait_until("HQ has the point", &self.dir.join("box.log"), || {
            self.status().is_some_and(|status| status["hq"]["whole"][0]["point"] == point)
        });
    }

    /// Waits until HQ has everything.
    pub(crate) fn wait_for_hq(&self) {
        wait_until("HQ has it all", &self.dir.join("box.log"), || {
            self.status().is_some_and(|status| status["hq"]["behind_bytes"] == 0 && status["not_at_hq"] == 0)
        });
    }
}

fn copy(from: &Path, to: &Path) {
    succeed(Command::new("cp").arg("-a").arg(from).arg(to));
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
