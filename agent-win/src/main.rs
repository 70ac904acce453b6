//! The agent's program: enrol, run, capture once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use coffer_agent::capture::{CaptureError, Outcome};
use coffer_agent::line::{self, LineError};
use coffer_agent::restore::RestoreError;
use coffer_agent::state::{StateDir, StateError};
use coffer_agent::wire::WireError;
use coffer_agent::work::{Agent, Done, WorkError};
use coffer_format::PointSeq;
use coffer_format::wire::{Refusal, RefusalCode};
use coffer_link::{EnrolmentCode, LinkError};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

#[cfg(windows)]
mod windows_commands;

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
        /// The box, as host:port.
        #[arg(long)]
        server: String,
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
    /// Brings files back to a folder of this computer, with everything that was kept of them.
    Restore {
        #[arg(long)]
        state: PathBuf,
        #[arg(long)]
        config: String,
        /// The restore point's number; the newest otherwise.
        #[arg(long)]
        point: Option<u64>,
        /// The folder; what's there already stays.
        #[arg(long)]
        to: PathBuf,
        /// The box's address where it has moved, as host:port.
        #[arg(long)]
        server: Option<String>,
        /// What to restore, as the point has it (`/C:/Users/anna`); everything if nothing is named.
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
            enrol(&runtime, &server, &code, &state, name)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { state, server } => {
            let (agent, _lock) = open(state, server)?;
            agent.run()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Capture { state, config, server } => {
            let (agent, _lock) = open(state, server)?;
            let done = agent.capture_once(config.as_deref())?;
            done.iter().for_each(print);
            let is_clean = done.iter().all(|done| done.outcome.report().is_empty());
            Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(3) })
        }
        Command::Restore { state, config, point, to, server, paths } => {
            // Beside an agent at work: a restore needs nothing that only one may have.
            let agent = Agent::open(handle.clone(), StateDir::open(&state)?, server, stop.clone())?;
            let paths = paths.into_iter().map(String::into_bytes).collect();
            let restored = agent.restore(&config, point.map(PointSeq), paths, &to)?;
            println!("{} files, {} bytes restored.", restored.files, restored.bytes);
            for (path, what) in &restored.lacking {
                println!("  {}: {what}", String::from_utf8_lossy(path));
            }
            Ok(if restored.lacking.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
        }
        #[cfg(windows)]
        Command::Windows(command) => windows_commands::run(command),
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn enrol(
    runtime: &Runtime,
    server: &str,
    code: &str,
    state: &Path,
    name: Option<String>,
) -> anyhow::Result<()> {
    let code: EnrolmentCode = code.parse()?;
    let name = name.unwrap_or_else(coffer_agent::computer_name);
    line::enrol(runtime.handle(), server, &code, &name, state)?;
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
    let Done { name, outcome, took } = done;
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

/// See README.md.
fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<WireError>() {
            return match error {
                WireError::Refused(refusal) => of_refusal(refusal),
                WireError::Lost => 4,
                WireError::Unexpected(_) => 12,
            };
        }
        if let Some(code) = cause.downcast_ref::<LinkError>().map(of_link) {
            return code;
        }
        match cause.downcast_ref::<WorkError>() {
            Some(WorkError::NoConfig(_)) => return 6,
            Some(WorkError::Config { .. }) => return 7,
            Some(WorkError::Link(error)) => return of_link(error),
            Some(WorkError::Wire(WireError::Refused(refusal))) => return of_refusal(refusal),
            Some(WorkError::Wire(_)) => return 4,
            Some(WorkError::State(StateError::InUse(_))) => return 8,
            Some(WorkError::State(_)) => return 9,
            Some(WorkError::Capture(error)) => return of_capture(error),
            Some(WorkError::Restore(RestoreError::Target(..))) => return 13,
            // What's below it says more.
            Some(WorkError::Restore(RestoreError::Wire(_))) => {}
            None => {}
        }
        match cause.downcast_ref::<LineError>() {
            Some(LineError::Link(error)) => return of_link(error),
            Some(LineError::State(_)) => return 9,
            None => {}
        }
        match cause.downcast_ref::<StateError>() {
            Some(StateError::InUse(_)) => return 8,
            Some(_) => return 9,
            None => {}
        }
    }
    1
}

fn of_capture(error: &CaptureError) -> u8 {
    match error {
        CaptureError::Wire(WireError::Refused(refusal)) => of_refusal(refusal),
        CaptureError::Wire(_) => 4,
        CaptureError::Stopped => 5,
        CaptureError::Journal(_) | CaptureError::Memory(..) => 9,
        _ => 1,
    }
}

fn of_link(error: &LinkError) -> u8 {
    match error {
        LinkError::Refused(refusal) => of_refusal(refusal),
        LinkError::Unreachable { .. }
        | LinkError::HandshakeTimeout { .. }
        | LinkError::Cut { .. }
        | LinkError::Io { .. } => 4,
        LinkError::WrongClock { .. } => 10,
        LinkError::OtherBox { .. } | LinkError::OtherRole { .. } | LinkError::NotTrusted { .. } => 11,
        LinkError::Identity(_) => 9,
        _ => 12,
    }
}

fn of_refusal(refusal: &Refusal) -> u8 {
    match refusal.code {
        RefusalCode::WrongCode => 20,
        RefusalCode::NotAllowed | RefusalCode::NoSuchComputer => 21,
        RefusalCode::WrongClock => 10,
        RefusalCode::OtherBox | RefusalCode::OtherOrganisation => 11,
        RefusalCode::DiskFull | RefusalCode::ReadOnly => 22,
        RefusalCode::Busy => 23,
        RefusalCode::Version => 12,
        _ => 24,
    }
}
