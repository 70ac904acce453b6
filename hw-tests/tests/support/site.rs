//! A box and an agent as real processes in a directory of their own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Running, program, succeed, wait_until};

pub(crate) struct Site {
    /// Ends before its folder goes.
    daemon: Option<Running>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) server: String,
    /// Where its status page is.
    pub(crate) page: String,
}

impl Site {
    /// A box, an enrolled agent, and a configuration `files` over `dir/data`.
    pub(crate) fn start() -> Site {
        Site::start_with("")
    }

    /// With more in `box.toml`.
    pub(crate) fn start_with(more: &str) -> Site {
        Site::start_in(tempfile::tempdir().unwrap(), more, &[])
    }

    /// The same in a folder, with more words for `cofferd init`.
    pub(crate) fn start_in(dir: tempfile::TempDir, more: &str, words: &[&str]) -> Site {
        let page = free_port();
        let (server, shown) = (String::new(), format!("https://127.0.0.1:{page}/"));
        let mut site = Site { daemon: None, dir, server, page: shown };
        fs::create_dir(site.data()).unwrap();
        let port = free_port();
        let settings =
            format!("listen = \"127.0.0.1:{port}\"\npage = \"127.0.0.1:{page}\"\nreserve_mib = 16\n{more}");
        fs::write(site.path("start.toml"), settings).unwrap();
        let mut init = program("cofferd");
        init.args(["init", "--name", "site", "--settings"])
            .arg(site.path("start.toml"))
            .arg("--dir")
            .arg(site.path("box"))
            .args(words);
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
        let mut command = program("cofferd");
        command.args(["run", "--dir"]).arg(self.path("box"));
        self.start_box_by(command);
    }

    /// The same, as that command does it.
    pub(crate) fn start_box_by(&mut self, mut command: Command) {
        let log = self.path("box.log");
        command.stdout(Stdio::piped());
        let mut daemon = Running::start_logged(&mut command, &log);
        let Some(line) = daemon.first_line() else {
            panic!("the box ended at once: {}", fs::read_to_string(log).unwrap())
        };
        self.daemon = Some(daemon);
        self.server = line.rsplit(' ').next().unwrap().to_owned();
    }

    /// Starts a box whose whole folder is on a disk that takes no writes.
    pub(crate) fn start_box_read_only(&mut self) {
        let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(self.path("box"));
        command.arg(program("cofferd").get_program()).args(["run", "--dir"]).arg(self.path("box"));
        self.start_box_by(command);
    }

    /// Ends the box as a power cut would.
    pub(crate) fn kill_box(&mut self) {
        self.daemon = None;
    }

    /// The process of the box, or of what was started in its place.
    pub(crate) fn box_id(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// The most memory that the box has used since it was started.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.box_id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().split(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn agent(&self, verb: &str) -> Command {
        let mut command = program("coffer-agent");
        command.arg(verb).arg("--state").arg(self.path("agent"));
        command
    }

    /// An agent that works until it's dropped. Its log goes to `agent.log`.
    pub(crate) fn start_agent(&self) -> Running {
        Running::start_logged(self.agent("run").args(["--server", &self.server]), &self.agent_log())
    }

    pub(crate) fn agent_log(&self) -> PathBuf {
        self.path("agent.log")
    }

    /// Looks again and again until it is so; where it never is, the agent's log tells why.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl FnMut() -> bool) {
        wait_until(what, &self.agent_log(), is_so);
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
        self.coffer_command(words).output().unwrap()
    }

    /// `coffer` with these words; what it says is kept for whoever starts it.
    pub(crate) fn coffer_command(&self, words: &[&str]) -> Command {
        let mut command = program("coffer");
        command
            .args(words)
            .env("COFFER_SERVER", &self.server)
            .env("COFFER_OPERATOR", self.path("box/operator"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// All restore points of `COMPUTER/NAME`, newest first.
    pub(crate) fn points(&self, config: &str) -> Vec<Value> {
        serde_json::from_str(&self.coffer(&["points", config, "--json"])).unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.coffer(&["status", "--json"])).unwrap()
    }

    pub(crate) fn is_connected(&self, computer: &str) -> bool {
        let status = self.status();
        let computers = status["computers"].as_array().unwrap();
        computers.iter().any(|one| one["name"] == computer && one["connected"] == true)
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

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
