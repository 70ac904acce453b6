//! A box as a native process and the Windows agent under wine, with a `C:` of its own.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part")]

mod wine;

mod ntfs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) use wine::Wine;

#[allow(unused_imports, reason = "each test program uses its own part")]
pub(crate) use ntfs::NtfsDrive;

use crate::support::{Running, Site, succeed, wait_until_logged};

pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const COMPUTER: &str = "winpc";

pub(crate) struct WindowsSite {
    /// Ends before the site does.
    pub(crate) wine: Wine,
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

/// The same as it's shipped, without what's needed to read a crash: wine would load that as well.
fn shipped_exe() -> PathBuf {
    let exe = Path::new(ROOT).join("target/windows/installer/coffer-agent.exe");
    assert!(exe.exists(), "{} isn't there: run agent-win/installer/build, as .ci/test does", exe.display());
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
        windows.configure(&format!(
            "include = ['c:\\DATA']\nwhen = \"{when}\"\nsettle_seconds = 1\nopen_files = 'as they are'\n"
        ));
        windows
    }

    /// A box, and a Windows that knows nothing of it.
    pub(crate) fn new() -> WindowsSite {
        let site = Site::start();
        WindowsSite { wine: Wine::new(site.path("wine")), site }
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

    /// What Windows calls `C:\`.
    pub(crate) fn drive(&self) -> PathBuf {
        self.wine.path("prefix/drive_c")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.drive().join("data")
    }

    /// A Windows program, to be run on this computer.
    pub(crate) fn program(&self, words: &[&str]) -> Command {
        self.wine.program(words)
    }

    /// Runs a Windows program that must succeed; what it said.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&succeed(&mut self.program(words)).stdout).into_owned()
    }

    pub(crate) fn agent(&self, verb: &str) -> Command {
        self.agent_of(&agent_exe(), verb)
    }

    fn agent_of(&self, exe: &Path, verb: &str) -> Command {
        let mut command = self.program(&[exe.to_str().unwrap(), verb, "--state", r"C:\coffer"]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs the agent on nothing of its own, however it ends; what it printed.
    pub(crate) fn agent_plain(&self, words: &[&str]) -> String {
        let exe = agent_exe();
        let all: Vec<&str> = [exe.to_str().unwrap()].into_iter().chain(words.iter().copied()).collect();
        String::from_utf8_lossy(&self.program(&all).output().unwrap().stdout).into_owned()
    }

    /// One capture of everything, however it ends.
    pub(crate) fn capture(&self) -> Output {
        self.agent("capture").args(["--server", &self.site.server]).output().unwrap()
    }

    /// An agent that works until it's killed. Its log goes to `agent.log`.
    pub(crate) fn start_agent(&self) -> Running {
        self.started(self.agent("run"))
    }

    /// The same, of the program that's shipped.
    pub(crate) fn start_shipped_agent(&self) -> Running {
        self.started(self.agent_of(&shipped_exe(), "run"))
    }

    fn started(&self, mut command: Command) -> Running {
        Running::start_logged(command.args(["--server", &self.site.server]), &self.site.agent_log())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.site.agent_log()).unwrap_or_default()
    }

    /// A program that keeps a file to itself until it's killed.
    pub(crate) fn hold(&self, path: &str) -> Running {
        let exe = self.site.path("hold.exe");
        let source = Path::new(ROOT).join("agent-win/tests/wine/hold.c");
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        succeed(compiler.args(["-municode", "-O2", "-o"]).arg(&exe).arg(source));
        let mut command = self.program(&[exe.to_str().unwrap(), path]);
        let mut holder = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        assert_eq!(holder.first_line().as_deref().map(str::trim), Some("held"));
        holder
    }

    /// All restore points, newest first.
    pub(crate) fn points(&self) -> Vec<serde_json::Value> {
        self.site.points("winpc/files")
    }

    /// Restores to a new folder on the box's side; gives where `C:\data` is there.
    pub(crate) fn restore(&self, words: &[&str]) -> PathBuf {
        self.restore_of("C:/data", words)
    }

    /// The same, of another folder.
    pub(crate) fn restore_of(&self, folder: &str, words: &[&str]) -> PathBuf {
        let to = tempfile::tempdir_in(self.site.dir.path()).unwrap().keep();
        let mut all = vec!["restore", "winpc/files", "--to", to.to_str().unwrap()];
        all.extend(words);
        self.site.coffer(&all);
        to.join(folder)
    }

    pub(crate) fn wait_until(&self, what: &str, is_so: impl FnMut() -> bool) {
        wait_until_logged(what, &self.logs(), is_so);
    }

    /// Of the agent that was started by itself, of the service, of the helper that replaces its program, and of the box.
    fn logs(&self) -> [PathBuf; 4] {
        let state = self.drive().join("coffer");
        let helper = state.join("update/agent.log");
        [self.site.agent_log(), state.join("agent.log"), helper, self.site.path("box.log")]
    }
}
