//! A box as a native process and the Windows agent under wine, with a `C:` of its own.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Site, succeed};

pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const COMPUTER: &str = "winpc";
/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct WindowsSite {
    pub(crate) site: Site,
}

/// The agent's program for Windows.
pub(crate) fn agent_exe() -> PathBuf {
    let exe = Path::new(ROOT).join("target/windows/x86_64-pc-windows-gnu/release/coffer-agent.exe");
    assert!(
        exe.exists(),
        "{} isn't there: run `/usr/bin/cargo --config agent-win/windows.toml build --release -p coffer-agent`, as .ci/test does",
        exe.display()
    );
    exe
}

/// What Windows calls a path of this machine.
pub(crate) fn wine_path(path: &Path) -> String {
    format!("Z:{}", path.to_str().unwrap().replace('/', r"\"))
}

impl WindowsSite {
    /// A box, an enrolled agent, and a configuration `files` over `C:\data`.
    pub(crate) fn start(when: &str) -> WindowsSite {
        let windows = WindowsSite::new();
        windows.run(&["cmd", "/c", "md", r"C:\data"]);
        windows.enrol();
        windows.configure(&format!("include = ['c:\\DATA']\nwhen = \"{when}\"\nsettle_seconds = 1\n"));
        windows
    }

    /// A box, and a Windows that knows nothing of it.
    pub(crate) fn new() -> WindowsSite {
        WindowsSite { site: Site::start() }
    }

    /// A code to enrol this computer with.
    pub(crate) fn code(&self) -> String {
        self.site.coffer(&["computer", "code", COMPUTER]).trim().to_owned()
    }

    /// Enrols the agent whose folder is `C:\coffer`.
    pub(crate) fn enrol(&self) {
        let code = self.code();
        succeed(self.agent("enrol").args([
            "--name",
            COMPUTER,
            "--server",
            &self.site.server,
            "--code",
            &code,
        ]));
    }

    pub(crate) fn configure(&self, toml: &str) {
        let path = self.site.path("windows.toml");
        fs::write(&path, toml).unwrap();
        self.site.coffer(&["config", "set", COMPUTER, "files", path.to_str().unwrap()]);
    }

    fn wine(&self) -> PathBuf {
        self.site.path("wine")
    }

    /// What Windows calls `C:\`.
    pub(crate) fn drive(&self) -> PathBuf {
        self.wine().join("prefix/drive_c")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.drive().join("data")
    }

    /// A Windows program, to be run on this computer.
    pub(crate) fn program(&self, words: &[&str]) -> Command {
        let runner = Path::new(ROOT).join("agent-win/tests/wine/run");
        let mut command = Command::new(runner);
        command.args(words).env("COFFER_WINE", self.wine()).env("RUST_LOG", "info");
        command
    }

    /// Runs a Windows program that must succeed; what it said.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&succeed(&mut self.program(words)).stdout).into_owned()
    }

    pub(crate) fn agent(&self, verb: &str) -> Command {
        let mut command = self.program(&[agent_exe().to_str().unwrap(), verb, "--state", r"C:\coffer"]);
        command.stdin(Stdio::null());
        command
    }

    /// One capture of everything, however it ends.
    pub(crate) fn capture(&self) -> Output {
        self.agent("capture").args(["--server", &self.site.server]).output().unwrap()
    }

    /// An agent that works until it's killed. Its log goes to `agent.log`.
    pub(crate) fn start_agent(&self) -> Running {
        let log = fs::File::options().create(true).append(true).open(self.site.path("agent.log")).unwrap();
        let mut command = self.agent("run");
        Running(command.args(["--server", &self.site.server]).stderr(log).spawn().unwrap())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.site.path("agent.log")).unwrap_or_default()
    }

    /// A program that keeps a file to itself until it's killed.
    pub(crate) fn hold(&self, path: &str) -> Running {
        let exe = self.site.path("hold.exe");
        let source = Path::new(ROOT).join("agent-win/tests/wine/hold.c");
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        succeed(compiler.args(["-municode", "-O2", "-o"]).arg(&exe).arg(source));
        let mut command = self.program(&[exe.to_str().unwrap(), path]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "held");
        Running(child)
    }

    /// All restore points, newest first.
    pub(crate) fn points(&self) -> Vec<serde_json::Value> {
        let points = self.site.coffer(&["points", "winpc/files", "--json"]);
        serde_json::from_str(&points).unwrap()
    }

    /// Restores to a new folder on the box's side; gives where `C:\data` is there.
    pub(crate) fn restore(&self, words: &[&str]) -> PathBuf {
        let to = tempfile::tempdir_in(self.site.dir.path()).unwrap().keep();
        let mut all = vec!["restore", "winpc/files", "--to", to.to_str().unwrap()];
        all.extend(words);
        self.site.coffer(&all);
        to.join("C:/data")
    }

    /// Looks again and again until it is so.
    pub(crate) fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < PATIENCE, "never happened: {what}\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(250));
        }
    }
}

impl Drop for WindowsSite {
    fn drop(&mut self) {
        let prefix = self.wine().join("prefix");
        let ended = Command::new("/usr/lib/wine/wineserver64").arg("-k").env("WINEPREFIX", prefix).status();
        drop(ended);
    }
}

/// A process that's killed when it's no longer wanted.
pub(crate) struct Running(Child);

impl Running {
    /// As a power cut would.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    fn end(&mut self) {
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
