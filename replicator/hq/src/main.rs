//! `coffer-hq`: makes an organisation, serves its branches and operators, gives out codes and identities.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use coffer_hq::HqError;
use coffer_link::LinkError;

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coffer-hq: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Documented in `replicator/README.md`; clap itself ends with 2.
fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<HqError>() {
        Some(HqError::Exists { .. }) => 3,
        Some(
            HqError::Damaged { .. }
            | HqError::Identity(_)
            | HqError::Registry(_)
            | HqError::RegistryLost { .. },
        ) => 4,
        Some(HqError::Link(LinkError::Listen { .. })) => 5,
        Some(HqError::Refused { .. }) => 6,
        _ => 1,
    }
}
