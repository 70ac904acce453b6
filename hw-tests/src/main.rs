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
    match Options::parse().verb {
        Verb::Qualify(options) => qualify::run(&options),
        Verb::ServeSimulator(options) => serve::run(&options),
    }
}
