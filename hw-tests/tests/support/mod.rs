//! A box and an agent as real processes in a directory of their own.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) server: String,
    daemon: Option<Child>,
}

/// A program that was built with this test.
pub(crate) fn program(name: &str) -> Command {
    let path = std::env::current_exe().unwrap().parent().unwrap().with_file_name(name);
    assert!(
        path.exists(),
        "{} isn't there: run `cargo build --workspace` first, as .ci/test does",
        path.display()
    );
    Command::new(path)
}

impl Site {
    /// A box, an enrolled agent, and a configuration `files` over `dir/data`.
    pub(crate) fn start() -> Site {
        Site::start_with("")
    }

    /// With more in `box.toml`.
    pub(crate) fn start_with(more: &str) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let mut site = Site { dir, server: String::new(), daemon: None };
        fs::create_dir(site.data()).unwrap();
        let port = free_port();
        let settings =
            format!("listen = \"127.0.0.1:{port}\"\npage = \"127.0.0.1:0\"\nreserve_mib = 16\n{more}");
        fs::write(site.path("start.toml"), settings).unwrap();
        let mut init = program("cofferd");
        init.args(["init", "--name", "site", "--settings"])
            .arg(site.path("start.toml"))
            .arg("--dir")
            .arg(site.path("box"));
        succeed(&mut init);
        site.start_box();
        let code = site.coffer(&["computer", "code", "alpha"]);
        let mut enrol = site.agent("enrol");
        succeed(enrol.args(["--name", "alpha", "--server", &site.server, "--code", code.trim()]));
        site.configure(&format!("include = [{:?}]\nwhen = \"manual\"\n", site.data()));
        site
    }

    pub(crate) fn configure(&self, toml: &str) {
        fs::write(self.path("files.toml"), toml).unwrap();
        self.coffer(&["config", "set", "alpha", "files", self.path("files.toml").to_str().unwrap()]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts the box and waits until it listens.
    pub(crate) fn start_box(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("box.log")).unwrap();
        let mut command = program("cofferd");
        command.args(["run", "--dir"]).arg(self.path("box")).stdout(Stdio::piped()).stderr(log);
        let mut daemon = command.spawn().unwrap();
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        let line = match lines.next() {
            Some(line) => line.unwrap(),
            None => panic!("the box ended at once: {}", fs::read_to_string(self.path("box.log")).unwrap()),
        };
        self.daemon = Some(daemon);
        self.server = line.rsplit(' ').next().unwrap().to_owned();
    }

    /// Ends the box as a power cut would.
    pub(crate) fn kill_box(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    /// The most memory that the box has used since it was started.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.daemon.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().split(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn agent(&self, verb: &str) -> Command {
        let mut command = program("coffer-agent");
        command.arg(verb).arg("--state").arg(self.path("agent"));
        command
    }

    /// One capture of everything; its output.
    pub(crate) fn capture(&self) -> Output {
        self.agent("capture").args(["--server", &self.server]).output().unwrap()
    }

    /// Runs `coffer`, which must succeed; its output.
    pub(crate) fn coffer(&self, words: &[&str]) -> String {
        let output = self.try_coffer(words);
        assert!(output.status.success(), "coffer {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn try_coffer(&self, words: &[&str]) -> Output {
        let mut command = program("coffer");
        command
            .args(words)
            .env("COFFER_SERVER", &self.server)
            .env("COFFER_OPERATOR", self.path("box/operator"));
        command.output().unwrap()
    }

    /// Restores everything to a new folder; gives where `data` is there.
    pub(crate) fn restore(&self, words: &[&str]) -> PathBuf {
        let to = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let mut all = vec!["restore", "alpha/files", "--to", to.to_str().unwrap()];
        all.extend(words);
        self.coffer(&all);
        to.join(self.data().strip_prefix("/").unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill_box();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Bytes that are the same in every run.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Every file's bytes below a folder.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.insert(
                    path.strip_prefix(folder).unwrap().to_owned(),
                    blake3::hash(&fs::read(&path).unwrap()),
                );
            }
        }
    }
    found
}
