//! Computers find their box on the LAN by themselves: real programs, on a LAN of network namespaces.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

#[path = "../../../replicator/hq/tests/hq/namespace.rs"]
mod namespace;
mod network;
#[path = "../support/mod.rs"]
mod support;
#[path = "../windows_site/mod.rs"]
mod windows_site;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use network::{Lan, Machine, address};
use support::{Running, program, said, succeed, wait_until};
use tempfile::TempDir;
use windows_site::{Wine, agent_exe};

/// A box on a machine of its own.
struct Office {
    /// Ends before its folder goes.
    daemon: Option<Running>,
    machine: Machine,
    dir: TempDir,
}

impl Office {
    fn start(machine: Machine, name: &str, settings: &str) -> Office {
        let mut office = Office { daemon: None, machine, dir: tempfile::tempdir().unwrap() };
        let chosen = office.path("start.toml");
        fs::write(&chosen, format!("page = \"127.0.0.1:0\"\nreserve_mib = 16\n{settings}")).unwrap();
        let mut init = program("cofferd");
        init.args(["init", "--name", name, "--settings"]).arg(chosen).arg("--dir").arg(office.path("box"));
        succeed(&mut init);
        office.switch_on();
        office
    }

    fn switch_on(&mut self) {
        let log = self.path("box.log");
        let mut command = program("cofferd");
        command.args(["run", "--dir"]).arg(self.path("box"));
        let mut daemon = Running::start_logged(self.machine.run(&command).stdout(Stdio::piped()), &log);
        assert!(daemon.first_line().is_some(), "{}", fs::read_to_string(log).unwrap());
        self.daemon = Some(daemon);
    }

    fn switch_off(&mut self) {
        self.daemon = None;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn coffer(&self, words: &[&str]) -> String {
        let mut command = program("coffer");
        command.args(words).env("COFFER_SERVER", "127.0.0.1:7420");
        command.env("COFFER_OPERATOR", self.path("box/operator"));
        String::from_utf8(succeed(&mut self.machine.run(&command)).stdout).unwrap()
    }

    fn code(&self, computer: &str) -> String {
        self.coffer(&["computer", "code", computer]).trim().to_owned()
    }

    fn points(&self) -> usize {
        let points = self.coffer(&["points", "desk/files", "--json"]);
        serde_json::from_str::<serde_json::Value>(&points).unwrap().as_array().unwrap().len()
    }
}

/// A computer that knows no box yet.
struct Desk {
    machine: Machine,
    dir: TempDir,
}

impl Desk {
    fn new(machine: Machine) -> Desk {
        Desk { machine, dir: tempfile::tempdir().unwrap() }
    }

    fn agent(&self, verb: &str, words: &[&str]) -> Command {
        let mut command = program("coffer-agent");
        command.arg(verb).arg("--state").arg(self.path("agent")).args(words);
        self.machine.run(&command)
    }

    fn enrol(&self, code: &str) -> Output {
        self.agent("enrol", &["--code", code, "--name", "desk"]).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the agent takes its box to be.
    fn server(&self) -> String {
        fs::read_to_string(self.path("agent/server")).unwrap()
    }
}

#[test]
fn a_computer_finds_its_box_and_finds_it_again_where_it_has_moved() {
    let mut lan = Lan::new();
    let mut office = Office::start(lan.machine(1), "harbour", "");
    let desk = Desk::new(lan.machine(50));
    let enrolled = desk.enrol(&office.code("desk"));
    assert!(enrolled.status.success() && said(&enrolled).contains("harbour"), "{enrolled:?}");
    assert_eq!(desk.server(), format!("{}:7420", address(1)));

    let data = desk.path("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("first.txt"), "before").unwrap();
    let config = office.path("files.toml");
    fs::write(&config, format!("include = [{data:?}]\nwhen = \"continuous\"\nsettle_seconds = 1\n")).unwrap();
    office.coffer(&["config", "set", "desk", "files", config.to_str().unwrap()]);
    let log = desk.path("agent.log");
    let _agent = Running::start_logged(&mut desk.agent("run", &[]), &log);
    wait_until("the first capture", &log, || office.points() == 1);

    office.switch_off();
    office.machine.take_address(77);
    fs::write(data.join("second.txt"), "while the box was away").unwrap();
    office.switch_on();
    wait_until("a capture at the new address", &log, || office.points() == 2);
    assert_eq!(desk.server(), format!("{}:7420", address(77)));
}

#[test]
fn one_capture_by_hand_finds_a_box_that_has_moved() {
    let mut lan = Lan::new();
    let mut office = Office::start(lan.machine(1), "harbour", "");
    let desk = Desk::new(lan.machine(50));
    assert!(desk.enrol(&office.code("desk")).status.success());
    let config = office.path("files.toml");
    fs::write(&config, format!("include = [{:?}]\nwhen = \"manual\"\n", desk.dir.path())).unwrap();
    fs::write(desk.dir.path().join("file.txt"), "to be captured").unwrap();
    office.coffer(&["config", "set", "desk", "files", config.to_str().unwrap()]);
    office.switch_off();
    office.machine.take_address(77);
    office.switch_on();
    let captured = desk.agent("capture", &[]).output().unwrap();
    assert!(captured.status.success(), "{}", said(&captured));
    assert_eq!(desk.server(), format!("{}:7420", address(77)));
}

#[test]
fn the_code_picks_the_right_box_among_several_of_the_same_name() {
    let mut lan = Lan::new();
    let offices = [1, 2, 3].map(|host| Office::start(lan.machine(host), "branch", ""));
    for (office, host) in offices.iter().zip([51, 52, 53]) {
        let desk = Desk::new(lan.machine(host));
        let enrolled = desk.enrol(&office.code("desk"));
        assert!(enrolled.status.success(), "{}", said(&enrolled));
        let listed = office.coffer(&["computers"]);
        assert!(listed.contains("desk"), "another box took it: {listed}");
    }
}

/// One box isn't advertised, the other one isn't the code's.
#[test]
fn where_the_box_does_not_answer_a_person_hears_of_it_soon() {
    let mut lan = Lan::new();
    let hidden = Office::start(lan.machine(1), "hidden", "advertise = false\n");
    let _other = Office::start(lan.machine(2), "somebody-else", "");
    let desk = Desk::new(lan.machine(50));
    let code = hidden.code("desk");
    let started = Instant::now();
    let enrolled = desk.enrol(&code);
    assert!(started.elapsed() < Duration::from_secs(20), "took {:?}", started.elapsed());
    let said = said(&enrolled);
    assert_eq!(enrolled.status.code(), Some(4), "{said}");
    assert!(said.contains("--server HOST:PORT") && said.contains("somebody-else"), "{said}");
    let by_hand =
        desk.agent("enrol", &["--code", &code, "--server", &format!("{}:7420", address(1))]).output();
    assert!(by_hand.unwrap().status.success(), "the code was used up by looking for its box");
}

/// The agent for Windows does the same. Its traffic goes through wine's sockets.
#[test]
fn a_windows_computer_finds_its_box_and_finds_it_again() {
    let mut lan = Lan::new();
    let mut office = Office::start(lan.machine(1), "harbour", "");
    let desk = Desk::new(lan.machine(50));
    let (exe, wine) = (agent_exe(), Wine::new(desk.path("wine")));
    let agent = |words: &[&str]| {
        let mut command = wine.program(&[exe.to_str().unwrap()]);
        command.args(words).args(["--state", r"C:\coffer"]);
        desk.machine.run(&command).stdin(Stdio::null()).output().unwrap()
    };
    let enrolled = agent(&["enrol", "--code", &office.code("desk"), "--name", "desk"]);
    assert!(enrolled.status.success() && said(&enrolled).contains("harbour"), "{}", said(&enrolled));

    let config = office.path("files.toml");
    fs::write(&config, "include = ['C:\\coffer']\nwhen = \"manual\"\n").unwrap();
    office.coffer(&["config", "set", "desk", "files", config.to_str().unwrap()]);
    office.switch_off();
    office.machine.take_address(77);
    office.switch_on();
    let captured = agent(&["capture"]);
    assert!(said(&captured).contains("the box has moved"), "{}", said(&captured));
    assert_eq!(office.points(), 1, "{}", said(&captured));
}
