//! `hw-tests`: puts real tape libraries to the test, and serves the simulated one as if it were real.

mod qualify;
mod serve;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Finds out whether Coffer can use a tape library, and what it lacks.
    Qualify(qualify::Options),
    /// Makes a simulated library this machine's devices while a command runs.
    ServeSimulator(serve::Options),
}

fn main() -> Result<ExitCode> {
    // A library takes its time: whoever waits sees what it's at.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .compact()
        .init();
    match Options::parse().verb {
        Verb::Qualify(options) => qualify::run(&options),
        Verb::ServeSimulator(options) => serve::run(&options),
    }
}
