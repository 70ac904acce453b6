//! Coffer: a box and an agent as processes of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::Tool;
use crate::peers::size_of;

pub(crate) struct Coffer {
    dir: PathBuf,
    data: PathBuf,
    server: String,
    daemon: Option<Child>,
    agent_kib: u64,
}

impl Coffer {
    pub(crate) fn new(dir: &Path, data: &Path) -> Result<Coffer> {
        Ok(Coffer {
            dir: dir.join("coffer"),
            data: data.into(),
            server: String::new(),
            daemon: None,
            agent_kib: 0,
        })
    }

    fn call(&mut self, program: &str, words: &[&str]) -> Result<String> {
        let path = std::env::current_exe()?.with_file_name(program);
        let mut command = Command::new(&path);
        command
            .args(words)
            .env("COFFER_SERVER", &self.server)
            .env("COFFER_OPERATOR", self.dir.join("box/operator"));
        let output = command.stdin(Stdio::null()).output().with_context(|| {
            format!("{} isn't there: build everything first with `cargo build --release`", path.display())
        })?;
        if !output.status.success() {
            bail!("{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn text(&self, below: &str) -> String {
        self.dir.join(below).display().to_string()
    }
}

impl Tool for Coffer {
    fn name(&self) -> String {
        "coffer".into()
    }

    fn prepare(&mut self) -> Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        fs::create_dir_all(&self.dir)?;
        let settings = "listen = \"127.0.0.1:0\"\npage = \"127.0.0.1:0\"\n[tape]\nenabled = false\n";
        fs::write(self.dir.join("start.toml"), settings)?;
        let (start, home) = (self.text("start.toml"), self.text("box"));
        self.call("cofferd", &["init", "--name", "bench", "--settings", &start, "--dir", &home])?;
        let mut command = Command::new(std::env::current_exe()?.with_file_name("cofferd"));
        command
            .args(["run", "--dir", &home])
            .stdout(Stdio::piped())
            .stderr(File::create(self.dir.join("box.log"))?);
        let mut daemon = command.spawn()?;
        let mut lines = BufReader::new(daemon.stdout.take().context("piped")?).lines();
        let line = lines.next().context("cofferd ended at once; see box.log")??;
        self.daemon = Some(daemon);
        self.server = line.rsplit(' ').next().context("an address")?.into();
        let code = self.call("coffer", &["computer", "code", "bench"])?;
        let (server, state) = (self.server.clone(), self.text("agent"));
        self.call(
            "coffer-agent",
            &["enrol", "--server", &server, "--code", code.trim(), "--name", "bench", "--state", &state],
        )?;
        let config = self.text("files.toml");
        fs::write(&config, format!("include = [{:?}]\nwhen = \"manual\"\n", self.data))?;
        self.call("coffer", &["config", "set", "bench", "files", &config])?;
        Ok(())
    }

    fn backup(&mut self) -> Result<()> {
        let (server, state) = (self.server.clone(), self.text("agent"));
        let told = self.call("coffer-agent", &["capture", "--server", &server, "--state", &state])?;
        self.agent_kib = self
            .agent_kib
            .max(nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?.max_rss()
                as u64);
        print!("{told}");
        Ok(())
    }

    fn restore(&mut self, to: &Path) -> Result<()> {
        let to = to.display().to_string();
        self.call("coffer", &["restore", "bench/files", "--to", &to]).map(|_| ())
    }

    fn stored(&self) -> Result<u64> {
        size_of(&self.dir.join("box/vault"))
    }

    fn memory(&self) -> String {
        let status = self.daemon.as_ref().map(|daemon| format!("/proc/{}/status", daemon.id()));
        let status = status.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim().to_owned();
        format!("box {peak}, agent and coffer at most {} MiB", self.agent_kib >> 10)
    }
}

impl Drop for Coffer {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // It's only a bench's own child.
            daemon.kill().and_then(|()| daemon.wait()).ok();
        }
    }
}
