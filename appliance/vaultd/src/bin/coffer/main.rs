//! `coffer`: the operator's program. Exit codes are written down in this crate's README.

mod agents;
mod browse;
mod connect;
mod demo;
mod manage;
mod offline;
mod release;
mod restore;
mod show;
mod tape;
mod tape_read;
mod when;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use coffer_vaultd::client::{ClientError, ExitClass, exit_class};

#[derive(Parser)]
#[command(version, about = "See, restore and look after what Coffer keeps")]
pub(crate) struct Cli {
    /// The box's (or HQ's) address.
    #[arg(long, global = true, env = "COFFER_SERVER", default_value = "127.0.0.1:7420")]
    server: String,
    /// Directory with the operator's identity.
    #[arg(long, global = true, env = "COFFER_OPERATOR", default_value = "/etc/coffer/operator")]
    operator: PathBuf,
    /// Talk to HQ instead of a box, and look at this branch.
    #[arg(long, global = true, value_name = "BRANCH")]
    hq_branch: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show Coffer at work on this machine: HQ, a box, an agent, a simulated autoloader.
    Demo(demo::Options),
    /// How the box is, and what needs doing.
    Status,
    #[command(flatten)]
    Browse(browse::Command),
    #[command(flatten)]
    Manage(manage::Command),
    /// Which program each computer runs; bring updates.
    Agents(agents::Options),
    /// For whoever releases the agent: keys and signed updates.
    #[command(subcommand)]
    Release(release::Command),
    /// Bring files back.
    Restore(restore::Options),
    #[command(flatten)]
    Offline(offline::Command),
}

/// How a command ended.
pub(crate) enum Failure {
    Client(ClientError),
    Told(ExitClass, String),
    Other(anyhow::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Client(error)
    }
}
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Other(error)
    }
}
impl From<coffer_tape::TapeError> for Failure {
    fn from(error: coffer_tape::TapeError) -> Self {
        Failure::Other(error.into())
    }
}
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Other(error.into())
    }
}

pub(crate) type Done = Result<(), Failure>;

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("COFFER_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Demo(options) => demo::run(options),
        Command::Status => browse::status(&cli),
        Command::Browse(command) => browse::run(&cli, command),
        Command::Manage(command) => manage::run(&cli, command),
        Command::Agents(options) => agents::run(&cli, options),
        Command::Release(command) => release::run(command),
        Command::Restore(options) => restore::run(&cli, options),
        Command::Offline(command) => offline::run(&cli, command),
    };
    let (code, sentence) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Client(error)) => (exit_class(&error).0, error.to_string()),
        Err(Failure::Told(class, sentence)) => (class.0, sentence),
        Err(Failure::Other(error)) => (ExitClass::OTHER.0, format!("{error:#}")),
    };
    eprintln!("coffer: {sentence}");
    ExitCode::from(code)
}
