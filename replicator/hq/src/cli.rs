//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use coffer_hq::{CodeFor, HqError, Organisation, Registry, Server};
use coffer_tape::Source;
use coffer_tape::options::LibraryOptions;
use tokio::signal::unix::{SignalKind, signal};

/// Headquarters of Coffer: keeps a copy of every branch's vault.
#[derive(Debug, Parser)]
#[command(name = "coffer-hq", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a new organisation with its keys in an empty folder.
    Init {
        #[arg(long)]
        dir: PathBuf,
        /// Name of the organisation, for people.
        #[arg(long)]
        name: String,
    },
    /// Serves branches and operators until SIGTERM or SIGINT.
    Serve {
        #[arg(long)]
        dir: PathBuf,
        /// host:port; port 0 takes a free one.
        #[arg(long)]
        listen: String,
        /// Prints the address that was bound on one line of standard output.
        #[arg(long)]
        print_address: bool,
    },
    /// Prints a one-time code with which a box joins as this branch.
    Code {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        branch: String,
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=24 * 366))]
        valid_hours: u32,
        /// The code takes the place of the box that is enrolled as this branch: HQ refuses that one from then on.
        #[arg(long)]
        replace: bool,
    },
    /// Reads a branch's cartridges in, such as a first copy that came by post. HQ must not be serving.
    Import {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        branch: String,
        #[command(flatten)]
        library: LibraryOptions,
    },
    /// Makes an empty registry in place of one that is lost with its second copy: every box and every operator is to be enrolled again. HQ must
    /// not be serving.
    NewRegistry {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Writes an identity with which an operator's program connects to HQ.
    Operator {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        name: String,
        /// Folder for the identity; hand it over by a safe way.
        #[arg(long)]
        out: PathBuf,
    },
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Init { dir, name } => {
                let organisation = Organisation::create(&dir, &name)?;
                println!("organisation {} ({}) is in {}", organisation.name, organisation.org, dir.display());
                let key = dir.join("recovery.key");
                eprintln!(
                    "\nIMPORTANT: copy {} to paper or an offline medium NOW, and keep it safe, apart from this machine.\n\
                     It opens every vault and every cartridge of the organisation. If it's lost with HQ and the boxes, no \
                     backup can be read any more; whoever finds it can read them all.\n",
                    key.display()
                );
                Ok(())
            }
            Verb::Serve { dir, listen, print_address } => {
                serve(Organisation::open(&dir)?, &listen, print_address)
            }
            Verb::Code { dir, branch, valid_hours, replace } => {
                let valid = Duration::from_secs(u64::from(valid_hours) * 3600);
                let purpose = if replace { CodeFor::Replacement } else { CodeFor::NewBranch };
                code(&Organisation::open(&dir)?, &branch, valid, purpose)
            }
            Verb::Import { dir, branch, library } => {
                import(&Organisation::open(&dir)?, &branch, &library.source()?)
            }
            Verb::NewRegistry { dir } => {
                Organisation::open(&dir)?;
                Registry::anew(&dir)?;
                println!(
                    "The registry is empty. Give each box a code with `coffer-hq code`, and each operator an identity with `coffer-hq operator`."
                );
                Ok(())
            }
            Verb::Operator { dir, name, out } => {
                let organisation = Organisation::open(&dir)?;
                organisation.issue_operator(&Registry::open(&dir)?, &name, &out)?;
                println!("identity of operator {name} is in {}", out.display());
                Ok(())
            }
        }
    }
}

fn code(organisation: &Organisation, branch: &str, valid: Duration, purpose: CodeFor) -> anyhow::Result<()> {
    let registry = Registry::open(&organisation.dir)?;
    let code = registry.issue_code(organisation.authority(), branch, valid, purpose)?;
    if purpose == CodeFor::Replacement && registry.is_in_use(branch)? {
        eprintln!(
            "IMPORTANT: once this code is used, the box that is branch {branch} now is refused by HQ. HQ goes on with that box's \
             vault only: before a box with a new vault uses the code, move {} to a safe place.",
            organisation.dir.join("branches").join(branch).display()
        );
    }
    println!("{code}");
    Ok(())
}

fn import(organisation: &Organisation, branch: &str, source: &Source) -> anyhow::Result<()> {
    let (mut library, _simulated) = source.open()?;
    let imported =
        coffer_hq::import_cartridges(organisation, branch, &mut library, &mut |line| eprintln!("{line}"))?;
    println!(
        "{} segments ({} bytes) read from {} cartridges into branch {branch}; {} were here already.",
        imported.segments, imported.bytes, imported.cartridges, imported.known
    );
    imported.foreign.iter().for_each(|barcode| println!("! tape {barcode} is another vault's"));
    imported.failed.iter().for_each(|failed| println!("! tape {}: {}", failed.barcode, failed.error));
    for lost in &imported.lost {
        println!("! tape {}: segment {} can't be read; the line will bring it", lost.barcode, lost.segment);
    }
    Ok(())
}

#[tokio::main]
async fn serve(organisation: Organisation, listen: &str, print_address: bool) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).map_err(signal_error)?;
    let mut int = signal(SignalKind::interrupt()).map_err(signal_error)?;
    let server = Server::bind(organisation, listen).await?;
    if print_address {
        println!("{}", server.local_addr());
    }
    tracing::info!(address = %server.local_addr(), "HQ serves");
    let shutdown = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    server.run(shutdown).await?;
    tracing::info!("HQ has stopped");
    Ok(())
}

fn signal_error(source: std::io::Error) -> HqError {
    HqError::Io { doing: "listen for", path: "signals".into(), source }
}
