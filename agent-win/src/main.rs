//! The agent's program: enrol, run, capture once, restore.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand, ValueEnum};
use coffer_agent::capture::Outcome;
use coffer_agent::line;
use coffer_agent::restore::{AT_RESTART, Goal, Restored, Specials};
use coffer_agent::state::StateDir;
use coffer_agent::work::{Agent, Done, Once, WorkError};
use coffer_format::PointSeq;
use coffer_format::wire::ReplaceRule;
use coffer_link::EnrolmentCode;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

mod exit_code;
#[cfg(windows)]
mod hives_command;
#[cfg(windows)]
mod windows_commands;

use exit_code::exit_code;

/// Sends what changes on this computer to its Coffer box.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes this computer known to a box, with a code that the box gave out.
    Enrol {
        /// The box, as host:port; without it the box that the code belongs to is looked for on this network.
        #[arg(long)]
        server: Option<String>,
        #[arg(long)]
        code: String,
        /// The agent's own folder; made where it isn't there.
        #[arg(long)]
        state: PathBuf,
        /// What the box is to call this computer; its own name otherwise.
        #[arg(long)]
        name: Option<String>,
    },
    /// Works until stopped: captures as the configurations say.
    Run {
        #[arg(long)]
        state: PathBuf,
        /// The box's address where it has moved, as host:port.
        #[arg(long)]
        server: Option<String>,
    },
    /// One capture of each configuration now, or of one.
    Capture {
        #[arg(long)]
        state: PathBuf,
        #[arg(long)]
        config: Option<String>,
        /// The box's address where it has moved, as host:port.
        #[arg(long)]
        server: Option<String>,
    },
    /// Brings files back to their place or to a folder of this computer, with everything that was kept of them. What's in place
    /// but not in the restore point always stays.
    Restore {
        #[arg(long)]
        state: PathBuf,
        #[arg(long)]
        config: String,
        /// The restore point's number; the newest otherwise.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        point: Option<u64>,
        /// Restore below this folder; what's there already stays.
        #[arg(long, required_unless_present = "in_place", conflicts_with = "in_place")]
        to: Option<PathBuf>,
        /// Restore to where the files were. A file in use is replaced when the computer next starts (Windows).
        #[arg(long)]
        in_place: bool,
        /// Which files that are there are replaced. `changed` are those that differ in bytes, write time or attributes.
        /// In place `changed` if nothing is said, to a folder `none`.
        #[arg(long, value_enum)]
        replace: Option<Replace>,
        /// The box's address where it has moved, as host:port.
        #[arg(long)]
        server: Option<String>,
        /// What to restore, as the point has it (`/C:/Users/anna`); everything if nothing is named.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        paths: Vec<String>,
    },
    #[cfg(windows)]
    #[command(flatten)]
    Windows(windows_commands::WindowsCommand),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        // A service has no standard error: it sets up its own log.
        #[cfg(windows)]
        Command::Windows(command) => windows_commands::run(command),
        command => {
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
            run(command)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("coffer-agent: {}.", sentences(&error).join(": "));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let stop = Arc::new(AtomicBool::new(false));
    runtime.spawn(stop_on_signal(stop.clone()));
    let handle = runtime.handle().clone();
    let open = |state: PathBuf, server| -> anyhow::Result<_> {
        let state = StateDir::open(&state)?;
        let lock = state.lock()?;
        Ok((Agent::open(handle.clone(), state, server, stop.clone())?, lock))
    };
    match command {
        Command::Enrol { server, code, state, name } => {
            enrol(&runtime, server.as_deref(), &code, &state, name)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { state, server } => {
            let (agent, _lock) = open(state, server)?;
            agent.run()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Capture { state, config, server } => {
            let (agent, _lock) = open(state, server)?;
            let Once { done, failed } = agent.capture_once(config.as_deref())?;
            done.iter().for_each(print);
            let is_clean = done.iter().all(|done| done.outcome.report().is_empty() && done.holds_files);
            Ok(match failed_first(failed) {
                Some(code) => code,
                None if is_clean => ExitCode::SUCCESS,
                None => ExitCode::from(exit_code::PARTLY),
            })
        }
        Command::Restore { state, config, point, to, in_place: _, replace, server, paths } => {
            // Beside an agent at work: a restore needs nothing that only one may have.
            let state = StateDir::open(&state)?;
            let waits = state.waiting_files();
            let agent = Agent::open(handle.clone(), state, server, stop.clone())?;
            let paths = paths.into_iter().map(String::into_bytes).collect();
            let replace = match (replace, &to) {
                (Some(replace), _) => replace.into(),
                (None, Some(_)) => ReplaceRule::Nothing,
                (None, None) => ReplaceRule::Changed,
            };
            // Only its own files come so: in place everything of theirs has its place.
            let specials = if to.is_some() { Specials::LeaveOff } else { Specials::PutBack };
            let goal = Goal::of_agent(to, replace, specials, waits);
            let restored = agent.restore(&config, point.map(PointSeq), paths, goal)?;
            Ok(told(&restored))
        }
        #[cfg(windows)]
        Command::Windows(command) => windows_commands::run(command),
    }
}

/// Which files that are there are replaced.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Replace {
    All,
    Changed,
    None,
}

impl From<Replace> for ReplaceRule {
    fn from(replace: Replace) -> ReplaceRule {
        match replace {
            Replace::All => ReplaceRule::All,
            Replace::Changed => ReplaceRule::Changed,
            Replace::None => ReplaceRule::Nothing,
        }
    }
}

fn told(restored: &Restored) -> ExitCode {
    println!("{} files, {} bytes restored.", restored.files, restored.bytes);
    if restored.alike > 0 {
        println!("{} are as they were then, and were left alone.", restored.alike);
    }
    let later = restored.at_restart.iter().map(|path| (path, AT_RESTART));
    let lacking = restored.left_out.iter().chain(&restored.lacking);
    let lines = lacking.map(|(path, what)| (path, what.as_str())).chain(later);
    lines.for_each(|(path, what)| println!("  {}: {what}", String::from_utf8_lossy(path)));
    if !restored.left_out.is_empty() {
        return ExitCode::from(exit_code::LEFT_OUT);
    }
    match (restored.lacking.len(), restored.at_restart.len()) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(exit_code::AT_RESTART),
        _ => ExitCode::from(exit_code::PARTLY),
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn enrol(
    runtime: &Runtime,
    server: Option<&str>,
    code: &str,
    state: &Path,
    name: Option<String>,
) -> anyhow::Result<()> {
    let code: EnrolmentCode = code.parse()?;
    // The installer passes on what it wasn't given as nothing.
    let server = server.filter(|server| !server.is_empty());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(coffer_agent::computer_name);
    let server = line::enrol(runtime.handle(), server, &code, &name, state)?;
    println!("This computer is enrolled at {server} as \"{name}\".");
    Ok(())
}

async fn stop_on_signal(stop: Arc<AtomicBool>) {
    match coffer_agent::asked_to_stop().await {
        Ok(()) => stop.store(true, Ordering::Relaxed),
        Err(error) => {
            tracing::error!(%error, "the system can't tell the agent to stop; end it by its process")
        }
    }
}

fn print(done: &Done) {
    let Done { name, outcome, holds_files, took } = done;
    let seconds = took.as_secs_f64();
    match outcome {
        Outcome::Unchanged { .. } => println!("{name}: nothing has changed ({seconds:.1} s)"),
        Outcome::Closed(closed) => println!(
            "{name}: point {}, {} files, {} bytes, {} bytes sent, {:?} ({seconds:.1} s)",
            closed.point, closed.files, closed.bytes, closed.sent, closed.consistency
        ),
    }
    for line in outcome.report() {
        println!("  {}: {}", String::from_utf8_lossy(&line.path.0), line.what);
    }
    if !holds_files {
        println!("  the point holds no file at all: check what the configuration includes");
    }
}

/// Says what failed of which configuration; the code is the first one's.
fn failed_first(failed: Vec<(String, WorkError)>) -> Option<ExitCode> {
    let mut first = None;
    for (name, error) in failed {
        let error = anyhow::Error::from(error);
        eprintln!("coffer-agent: {name}: {}.", sentences(&error).join(": "));
        first.get_or_insert_with(|| ExitCode::from(exit_code(&error)));
    }
    first
}

/// The error and its causes, without saying anything twice.
fn sentences(error: &anyhow::Error) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain() {
        let sentence = cause.to_string();
        if said.last() != Some(&sentence) {
            said.push(sentence);
        }
    }
    said
}
