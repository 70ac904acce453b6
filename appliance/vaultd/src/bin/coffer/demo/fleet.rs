//! HQ, box and agent as processes of their own, and what the demo asks of them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use coffer_vault::query::{When, Which};
use coffer_vaultd::client::{Client, Server};
use coffer_vaultd::restorer::{Conflict, Outcome};
use coffer_vaultd::settings::Settings;
use serde_json::{Value, json};

use super::{PATIENCE, say};
use crate::Failure;
use crate::connect::Connection;
use crate::show::{Progress, size};

/// How often the box is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(150);

pub(crate) struct Fleet {
    dir: PathBuf,
    processes: Vec<Child>,
    hq: String,
    server: String,
    connection: Connection,
}

/// What the box says of a point.
pub(crate) struct Point {
    pub(crate) point: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) sent: u64,
    pub(crate) stored: u64,
    pub(crate) seconds: f64,
}

const CONFIG: Which = Which::Number(1);

impl Fleet {
    pub(super) fn start(dir: &Path) -> Result<Fleet> {
        let mut processes = Vec::new();
        let (hq_dir, box_dir) = (dir.join("hq"), dir.join("box"));
        finish(program("coffer-hq")?.args(["init", "--name", "Example", "--dir"]).arg(&hq_dir))?;
        let mut command = program("coffer-hq")?;
        command.args(["serve", "--listen", "127.0.0.1:0", "--print-address", "--dir"]).arg(&hq_dir);
        let hq = start(command, &dir.join("hq.log"), &mut processes)?;
        let code = finish(program("coffer-hq")?.args(["code", "--branch", "leeds", "--dir"]).arg(&hq_dir))?;
        finish(
            program("coffer-hq")?
                .args(["operator", "--name", "desk", "--dir"])
                .arg(&hq_dir)
                .arg("--out")
                .arg(dir.join("desk")),
        )?;
        say(&format!("Headquarters listens on {hq}."));

        let settings = dir.join("start.toml");
        fs::write(&settings, toml::to_string(&demo_settings())?)?;
        let mut init = program("cofferd")?;
        init.args(["init", "--name", "leeds", "--hq", &hq, "--code", code.trim(), "--settings"])
            .arg(&settings)
            .arg("--dir")
            .arg(&box_dir);
        finish(&mut init)?;
        let mut command = program("cofferd")?;
        command.args(["run", "--dir"]).arg(&box_dir);
        let server = start(command, &dir.join("box.log"), &mut processes)?;
        say(&format!("The box joined headquarters and listens on {server}."));

        let runtime = tokio::runtime::Runtime::new()?;
        let client = runtime.block_on(Client::connect(&server, &box_dir.join("operator"), Server::Box))?;
        let mut connection = Connection::of(client, runtime);
        let code =
            connection.ask(json!({ "do": "computer_code", "name": "fileserver", "valid_hours": 1 }))?;
        let code = code["code"].as_str().context("the box gave no code")?.to_owned();
        let state = dir.join("agent");
        let mut enrol = program("coffer-agent")?;
        finish(
            enrol
                .args(["enrol", "--server", &server, "--code", &code, "--name", "fileserver", "--state"])
                .arg(&state),
        )?;
        let mut command = program("coffer-agent")?;
        command.args(["run", "--server", &server, "--state"]).arg(&state);
        processes.push(launch(command, &dir.join("agent.log"))?);
        say("The agent enrolled with a one-time code and is running.");
        Ok(Fleet { dir: dir.into(), processes, hq, server, connection })
    }

    pub(super) fn protect(&mut self, include: &[PathBuf]) -> Result<()> {
        let paths: Vec<String> = include.iter().map(|path| format!("{path:?}")).collect();
        let toml = format!("include = [{}]\nwhen = \"continuous\"\nsettle_seconds = 1\n", paths.join(", "));
        self.connection
            .ask(json!({ "do": "config_set", "computer": "fileserver", "name": "files", "toml": toml }))?;
        Ok(())
    }

    /// Waits until there's a point of at least that number, showing how far it is.
    pub(super) fn wait_for_point(&mut self, least: u64, what: &str) -> Result<Point> {
        let started = Instant::now();
        let progress = Progress::new();
        loop {
            if let Some(found) = self.newest_point(started)?.filter(|point| point.point >= least) {
                progress.clear();
                say(&format!(
                    "{what}: {} files, {} read, {} sent, {} stored, {:.1} s",
                    found.files,
                    size(found.bytes),
                    size(found.sent),
                    size(found.stored),
                    found.seconds
                ));
                return Ok(found);
            }
            if started.elapsed() > PATIENCE {
                bail!("{what}: no restore point came in {} s; the logs tell why", PATIENCE.as_secs());
            }
            self.show_progress(&progress, what, started)?;
            std::thread::sleep(ASK_EVERY);
        }
    }

    fn newest_point(&mut self, started: Instant) -> Result<Option<Point>> {
        let points = self.connection.ask(json!({ "query": "points", "config": CONFIG }))?;
        let Some(newest) = points.as_array().and_then(|all| all.first()) else { return Ok(None) };
        let number = |name: &str| newest[name].as_u64().unwrap_or(0);
        Ok(Some(Point {
            point: number("point"),
            files: number("files"),
            bytes: number("bytes"),
            sent: number("sent"),
            stored: number("stored"),
            seconds: started.elapsed().as_secs_f64(),
        }))
    }

    fn show_progress(&mut self, progress: &Progress, what: &str, started: Instant) -> Result<()> {
        let status = self.connection.ask(json!({ "do": "status" }))?;
        let Some(doing) = status["doing"].as_array().and_then(|all| all.first()) else { return Ok(()) };
        let number = |name: &str| doing[name].as_u64().unwrap_or(0);
        let (bytes, expected) = (number("bytes"), number("bytes_expected"));
        let rate = bytes as f64 / started.elapsed().as_secs_f64().max(0.1);
        let left = match expected > bytes {
            true => format!(", {:.0} s left", (expected - bytes) as f64 / rate.max(1.0)),
            false => String::new(),
        };
        let lag = status["hq"]["behind_bytes"].as_u64().unwrap_or(0);
        progress.line(&format!(
            "{what}: {} files, {}, {}/s{left}, HQ {} behind",
            number("files"),
            size(bytes),
            size(rate as u64),
            size(lag)
        ));
        Ok(())
    }

    /// Waits until the agent has taken in what was changed by now: two points may be needed, the last tells.
    pub(super) fn capture_after(&mut self, point: u64, what: &str) -> Result<Point> {
        self.connection.ask(json!({ "do": "capture", "config": CONFIG }))?;
        let mut found = self.wait_for_point(point + 1, what)?;
        // The day's work may have been caught half-way: one more capture after everything was written is whole.
        self.connection.ask(json!({ "do": "capture", "config": CONFIG }))?;
        let last = self.wait_for_point(found.point + 1, what)?;
        found = Point {
            point: last.point,
            files: found.files + last.files,
            bytes: found.bytes + last.bytes,
            sent: found.sent + last.sent,
            stored: found.stored + last.stored,
            seconds: found.seconds + last.seconds,
        };
        Ok(found)
    }

    pub(super) fn write_tapes(&mut self) -> Result<Value> {
        let answer = self.connection.client.ask(&json!({ "do": "tape_run" }), &mut |working| {
            if let Some(doing) = working["doing"].as_str() {
                say(&format!("  {doing}"));
            }
        })?;
        say(&format!(
            "  {} segments, {} on tape.",
            answer["segments"],
            size(answer["bytes"].as_u64().unwrap_or(0))
        ));
        Ok(answer)
    }

    pub(super) fn wait_for_hq(&mut self) -> Result<Value> {
        let started = Instant::now();
        let progress = Progress::new();
        loop {
            let waiting = self.connection.ask(json!({ "do": "status" }))?["not_at_hq"].as_u64();
            let status = self.connection.ask(json!({ "do": "hq_status" }))?;
            let bytes = |name: &str| size(status[name].as_u64().unwrap_or(0));
            if waiting == Some(0) {
                progress.clear();
                say(&format!(
                    "Headquarters has confirmed everything: {} over the wire.",
                    bytes("sent_bytes")
                ));
                return Ok(status);
            }
            if started.elapsed() > PATIENCE {
                bail!(
                    "headquarters didn't get everything in {} s: {}",
                    PATIENCE.as_secs(),
                    status["last_error"]
                );
            }
            progress.line(&format!("Headquarters is {} behind", bytes("behind_bytes")));
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// Takes everything off the disk that is safe elsewhere, so that the next restore must read tapes.
    pub(super) fn evict(&mut self) -> Result<()> {
        let answer = self.connection.ask(json!({ "do": "reclaim_apply", "evict": true }))?;
        say(&format!(
            "  (took {} off the box's disk: its copies on tape are verified)",
            size(answer["freed_bytes"].as_u64().unwrap_or(0))
        ));
        Ok(())
    }

    pub(super) fn restore(&mut self, when: When, paths: &[String], to: &Path) -> Result<Outcome, Failure> {
        crate::restore::restore(&mut self.connection, CONFIG, when, paths, to, Conflict::Skip)
    }

    /// The same from HQ, as its help desk.
    pub(super) fn restore_from_hq(
        &self,
        when: When,
        paths: &[String],
        to: &Path,
    ) -> Result<Outcome, Failure> {
        let runtime = tokio::runtime::Runtime::new()?;
        let server = Server::Hq { branch: Some("leeds".into()) };
        let client = runtime.block_on(Client::connect(&self.hq, &self.dir.join("desk"), server))?;
        let mut connection = Connection::of(client, runtime);
        crate::restore::restore(&mut connection, CONFIG, when, paths, to, Conflict::Skip)
    }

    /// Leaves everything running.
    pub(super) fn stay(mut self) {
        let programs = std::env::current_exe().unwrap_or_else(|_| "coffer".into());
        say(&format!(
            "\nEverything goes on running. Go on with:\n  export COFFER_SERVER={} COFFER_OPERATOR={}",
            self.server,
            self.dir.join("box/operator").display()
        ));
        for words in ["status", "points fileserver/files", "ls fileserver/files /", "tape list", "hq status"]
        {
            say(&format!("  {} {words}", programs.display()));
        }
        let numbers: Vec<String> = self.processes.iter().map(|child| child.id().to_string()).collect();
        say(&format!("Stop it with: kill {}", numbers.join(" ")));
        self.processes.clear();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().rev() {
            let id = nix::unistd::Pid::from_raw(child.id() as i32);
            if nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).is_ok() {
                // It ends by itself; its exit status says nothing that a demo needs.
                child.wait().ok();
            }
        }
    }
}

fn demo_settings() -> Settings {
    let mut settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        page: Some(([127, 0, 0, 1], 0).into()),
        ..Settings::default()
    };
    settings.reserve_mib = 64;
    settings.tape.simulated = true;
    settings.tape.every_minutes = 24 * 60;
    settings.tape.start_at_mib = 1 << 20;
    settings
}

/// A program that was built beside this one.
fn program(name: &str) -> Result<Command> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!("{} isn't there: build everything first with `cargo build --release`", path.display());
    }
    Ok(Command::new(path))
}

/// Runs a program to its end; returns what it printed.
fn finish(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn launch(mut command: Command, log: &Path) -> Result<Child> {
    let log = File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot start {command:?}"))
}

/// Starts a server and waits until it prints where it listens.
fn start(mut command: Command, log: &Path, processes: &mut Vec<Child>) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(log)?);
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let stdout = child.stdout.take().context("its output is piped")?;
    processes.push(child);
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if let Some(address) =
            line.split_whitespace().find(|word| word.parse::<std::net::SocketAddr>().is_ok())
        {
            return Ok(address.to_owned());
        }
    }
    bail!("{command:?} ended before it listened: {}", fs::read_to_string(log).unwrap_or_default().trim())
}
