//! `cofferd`: the box.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use coffer_link::EnrolmentCode;
use coffer_vaultd::serve::Running;
use coffer_vaultd::settings::Settings;
use coffer_vaultd::setup;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(version, about = "The box: takes in what changes, keeps it, writes tapes, sends it to HQ")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a box in an empty directory.
    Init {
        #[arg(long)]
        dir: PathBuf,
        /// The branch's name.
        #[arg(long)]
        name: String,
        /// Settings to start from (TOML); the defaults work.
        #[arg(long)]
        settings: Option<PathBuf>,
        /// HQ's address, HOST:PORT, with the code that HQ gave out for this branch.
        #[arg(long, requires = "code")]
        hq: Option<String>,
        #[arg(long, requires = "hq")]
        code: Option<String>,
    },
    /// Run the box.
    Run {
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("COFFER_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cofferd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line for whoever started us. Nobody may be there to read it, and the box runs all the same.
fn say(line: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        tracing::debug!(%error, line, "nobody reads standard output");
    }
}

#[tokio::main]
async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Init { dir, name, settings, hq, code } => {
            let mut chosen = match settings {
                Some(path) => Settings::load(&path)?,
                None => Settings::default(),
            };
            chosen.name = name;
            let code: Option<EnrolmentCode> =
                code.map(|code| code.parse()).transpose().context("the code for HQ")?;
            setup::init(&dir, &chosen, hq.as_deref().zip(code.as_ref())).await?;
            println!("The box is ready: start it with `cofferd run --dir {}`.", dir.display());
            println!(
                "Its first operator's identity is {}/operator: give it to `coffer --operator`.",
                dir.display()
            );
            if hq.is_none() {
                println!(
                    "Its recovery key is {}/recovery.key: move it to a safe place, off this box.",
                    dir.display()
                );
            }
            Ok(())
        }
        Command::Run { dir } => {
            let running = Running::start(&dir).await?;
            say(&format!("listening on {}", running.address()));
            if let Some(page) = running.page {
                say(&format!("status page on https://{page}"));
            }
            let (tell, stop) = tokio::sync::watch::channel(false);
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::spawn(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
                tell.send(true)
            });
            running.run(stop).await
        }
    }
}
