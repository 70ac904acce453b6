//! What the program does on Windows alone: being installed, being removed, and running as a service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use coffer_agent::log_file::LogFile;
use coffer_agent::selftest;
use coffer_agent::service::{self, EventLog, EventLogWriter};
use coffer_agent::state::{StateDir, StateError};
use coffer_agent::update::{self, Swapper, Updater};
use coffer_agent::work::Agent;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::exit_code::PARTLY;
use crate::hives_command::{self, HivesCommand};

const ENROLMENT_POLL: Duration = Duration::from_millis(500);
/// How soon a replacement that ran into something goes on.
const REPLACE_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum WindowsCommand {
    /// Installs the agent as a service and starts it; makes this computer known to a box first where a code is given.
    Install {
        /// The agent's own folder; Coffer in the folder for all programs' data otherwise.
        #[arg(long)]
        state: Option<PathBuf>,
        /// The box, as host:port; without it the box that the code belongs to is looked for on this network.
        #[arg(long, requires = "code")]
        server: Option<String>,
        #[arg(long)]
        code: Option<String>,
        /// What the box is to call this computer; its own name otherwise.
        #[arg(long)]
        name: Option<String>,
    },
    /// Stops and removes the service. The agent's folder stays.
    Uninstall,
    /// Tries out what this computer offers to a backup, and prints a table. Works in a folder of its own, which it removes.
    Selftest {
        /// Where the folder is made: on the volume that's to be tried out.
        #[arg(long, required_unless_present = "writers")]
        folder: Option<PathBuf>,
        /// Lists the applications that are asked before a snapshot instead, with their components, files and exclusions.
        #[arg(long)]
        writers: bool,
        /// No step of a snapshot may take longer; minutes by itself.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
        limit_seconds: Option<u64>,
    },
    /// The registry's hives, which points have where a configuration says `system_state`.
    Hives {
        #[command(subcommand)]
        command: HivesCommand,
    },
    /// Replaces the agent's program: the agent calls it so, as a service.
    #[command(hide = true)]
    FinishUpdate {
        #[arg(long)]
        program: PathBuf,
        #[arg(long)]
        state: PathBuf,
    },
    /// Works as the service: Windows calls it so.
    #[command(hide = true)]
    Service {
        #[arg(long)]
        state: Option<PathBuf>,
    },
}

pub(crate) fn run(command: WindowsCommand) -> anyhow::Result<ExitCode> {
    match command {
        WindowsCommand::Install { state, server, code, name } => {
            let state = state.unwrap_or_else(service::default_state);
            if let Some(code) = code {
                crate::enrol(&crate::runtime()?, server.as_deref(), &code, &state, name)?;
            }
            service::install(&std::env::current_exe()?, &state)?;
            println!("The agent is installed and works as the service {}.", service::NAME);
        }
        WindowsCommand::Uninstall => {
            match service::remove()? {
                true => println!("The service {} is removed. The agent's folder stays.", service::NAME),
                false => println!("There is no service {}.", service::NAME),
            }
            service::remove_helper()?;
            update::tidy(&std::env::current_exe()?);
        }
        WindowsCommand::Selftest { folder, writers, limit_seconds } => {
            return selftest(folder.filter(|_| !writers), limit_seconds.map(Duration::from_secs));
        }
        WindowsCommand::Hives { command } => return hives_command::run(command),
        WindowsCommand::FinishUpdate { program, state } => {
            service::run(Box::new(move |stop| finish_update(&program, &state, &stop)))
                .context("only Windows starts this; the agent sees to it")?;
        }
        WindowsCommand::Service { state } => {
            let state = state.unwrap_or_else(service::default_state);
            service::run(Box::new(move |stop| serve(&state, stop)))
                .context("only Windows starts the service; use `coffer-agent run` instead")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Tries everything in a folder, or lists the applications where there's none. Exit code 3 where something can't be had.
fn selftest(folder: Option<PathBuf>, limit: Option<Duration>) -> anyhow::Result<ExitCode> {
    let Some(folder) = folder else {
        selftest::applications(limit)?.iter().for_each(|line| println!("{line}"));
        return Ok(ExitCode::SUCCESS);
    };
    let rows = selftest::run(&folder, limit).context("the folder for trying out can't be made")?;
    for row in &rows {
        println!("{:<28} {:<4} {}", row.what, if row.works { "yes" } else { "no" }, row.detail);
    }
    Ok(if rows.iter().all(|row| row.works) { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

/// The service's whole life; its exit code.
fn serve(state: &Path, stop: Arc<AtomicBool>) -> u32 {
    let events = EventLog::open().ok().map(Arc::new);
    let inform = |text: &str| events.iter().for_each(|events| events.inform(text));
    match work(state, stop, events.clone(), &inform) {
        Ok(()) => {
            inform("The Coffer agent has stopped.");
            0
        }
        Err(error) => {
            let said = crate::sentences(&error).join(": ");
            tracing::error!("{said}");
            events.iter().for_each(|events| events.warn(&format!("The Coffer agent has ended: {said}.")));
            crate::exit_code(&error).into()
        }
    }
}

fn work(
    state: &Path,
    stop: Arc<AtomicBool>,
    events: Option<Arc<EventLog>>,
    inform: &dyn Fn(&str),
) -> anyhow::Result<()> {
    if !wait_until_enrolled(state, &stop, inform) {
        return Ok(());
    }
    let state = StateDir::open(state)?;
    let _lock = state.lock()?;
    log_to(LogFile::open(state.path())?, events);
    let runtime = crate::runtime()?;
    let updater = updater(&state);
    let agent = Agent::open(runtime.handle().clone(), state, None, stop)?;
    let agent = match updater {
        Ok(updater) => agent.updating(updater),
        Err(error) => {
            tracing::error!("this program isn't updated from the box: {error:#}");
            agent
        }
    };
    inform("The Coffer agent works.");
    Ok(agent.run()?)
}

fn updater(state: &StateDir) -> anyhow::Result<Updater> {
    let folder = state.path().to_owned();
    let launch = move |helper: &Path, program: &Path| {
        service::launch_helper(helper, program, &folder).map_err(|error| error.to_string())
    };
    Ok(Updater::open(&std::env::current_exe()?, state.path(), Box::new(launch))?)
}

/// The helper's whole life. It doesn't give up: without it a computer may be left without an agent.
fn finish_update(program: &Path, state: &Path, stop: &AtomicBool) -> u32 {
    if let Ok(file) = LogFile::open(&state.join("update")) {
        log_to(file, EventLog::open().ok().map(Arc::new));
    }
    let is_stopped = || stop.load(Ordering::Relaxed);
    while !is_stopped() {
        let done =
            Swapper::open(program, state).and_then(|mut swapper| swapper.run(&mut service::act, &is_stopped));
        match done {
            Ok(()) => break,
            Err(error) => tracing::warn!(%error, "replacing the program goes on soon"),
        }
        std::thread::park_timeout(REPLACE_AGAIN);
    }
    if !is_stopped()
        && let Err(error) = service::remove_helper()
    {
        tracing::warn!(%error, "this helper stays until the next update");
    }
    0
}

/// An agent that's installed before it's enrolled waits for that; false where it was stopped meanwhile.
fn wait_until_enrolled(state: &Path, stop: &AtomicBool, inform: &dyn Fn(&str)) -> bool {
    // While somebody enrols the computer, the folder is locked.
    let is_ready = |state: StateDir| state.server().is_ok() && state.lock().is_ok();
    let is_enrolled = || StateDir::open(state).is_ok_and(is_ready);
    if !is_enrolled() {
        let shown = state.display();
        let why = match StateDir::open(state) {
            Err(StateError::NotPrivate(error)) => {
                format!("The Coffer agent doesn't use its folder: {error}.")
            }
            _ => "This computer isn't enrolled at a box yet.".to_owned(),
        };
        inform(&format!(
            "{why} Run `coffer-agent enrol --state \"{shown}\"` with a code that a box gave out. The Coffer agent waits \
             for that."
        ));
    }
    while !is_enrolled() && !stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(ENROLMENT_POLL);
    }
    !stop.load(Ordering::Relaxed)
}

/// Everything goes to the file; what a person must see to goes to the event log as well.
fn log_to(file: LogFile, events: Option<Arc<EventLog>>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let to_file = fmt::layer().with_ansi(false).with_writer(move || file.clone()).with_filter(filter);
    let to_events = events.map(|events| {
        let writer = move || EventLogWriter(events.clone());
        fmt::layer().with_ansi(false).without_time().with_writer(writer).with_filter(LevelFilter::ERROR)
    });
    tracing_subscriber::registry().with(to_file).with(to_events).init();
}
