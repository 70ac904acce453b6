//! Without a running box: rebuilding a catalog, or a whole vault from its cartridges.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use coffer_tape::options::LibraryOptions;
use coffer_vault::disk::RealDisk;
use coffer_vault::verify::Verdict;
use coffer_vault::{BoxKey, Opener, Options, RecoveryKey, SystemClock, Vault};
use coffer_vaultd::client::ExitClass;
use coffer_vaultd::setup::read_secret;
use coffer_vaultd::tape::{extract_vault, record_lost};

use crate::{Cli, Done, Failure};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a vault's catalog anew from its segments. The box must not be running.
    Rebuild {
        /// The vault's directory.
        #[arg(long)]
        vault: PathBuf,
        #[command(flatten)]
        key: Key,
    },
    /// Make a vault anew from its cartridges alone, on any machine with the library (or its simulation).
    RebuildFromTape {
        /// Where the new vault goes; must not exist.
        #[arg(long)]
        vault: PathBuf,
        #[command(flatten)]
        library: LibraryOptions,
        #[command(flatten)]
        key: Key,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Key {
    /// The box's key file.
    #[arg(long)]
    box_key: Option<PathBuf>,
    /// The organisation's recovery key file.
    #[arg(long)]
    recovery_key: Option<PathBuf>,
}

impl Key {
    pub(crate) fn opener(&self) -> anyhow::Result<Opener> {
        match (&self.box_key, &self.recovery_key) {
            (Some(path), _) => Ok(Opener::Box(BoxKey(read_secret(path)?))),
            (None, Some(path)) => Ok(Opener::Organisation(RecoveryKey(read_secret(path)?))),
            (None, None) => anyhow::bail!("give --box-key or --recovery-key"),
        }
    }
}

pub(crate) fn run(_cli: &Cli, command: &Command) -> Done {
    match command {
        Command::Rebuild { vault, key } => {
            for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
                match std::fs::remove_file(vault.join(name)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
            }
            judge(&open(vault, key)?)
        }
        Command::RebuildFromTape { vault, library, key } => {
            let done = extract_vault(library.source()?, vault)?;
            println!("{} segments read from {} cartridges.", done.segments, done.cartridges);
            for (barcode, why) in &done.failed {
                println!("! tape {barcode} couldn't be used: {why}");
            }
            for lost in &done.lost {
                println!("! segment {} can't be read from tape {}: {}", lost.segment, lost.barcode, lost.why);
            }
            let opened = open(vault, key)?;
            let missing = record_lost(&opened, &done.lost)?;
            judge(&opened)?;
            match missing == 0 && done.failed.is_empty() {
                true => Ok(()),
                false => Err(Failure::Told(
                    ExitClass::LOST,
                    "the tapes didn't give everything; no kept point that is known needs what is lacking. Put the other copies \
                     in and start again, or let HQ fill it in"
                        .into(),
                )),
            }
        }
    }
}

fn open(vault: &Path, key: &Key) -> anyhow::Result<Vault> {
    Vault::open(Arc::new(RealDisk), vault, key.opener()?, Arc::new(SystemClock), Options::default())
        .with_context(|| format!("the vault in {} could not be opened", vault.display()))
}

/// Says what there is, and whether all of it can be restored.
fn judge(vault: &Vault) -> Done {
    let reading = vault.reading();
    let points = || -> coffer_vault::Result<usize> {
        let mut count = 0;
        for config in reading.configurations()? {
            count += reading.points(coffer_format::ConfigId(config.config))?.len();
        }
        Ok(count)
    };
    let computers = reading.computers().map_err(anyhow::Error::from)?.len();
    let points = points().map_err(anyhow::Error::from)?;
    let report = reading.prove().map_err(anyhow::Error::from)?;
    let mut told = serde_json::json!(report);
    told["sentence"] = serde_json::json!(report.sentence());
    if report.verdict == Verdict::Whole {
        println!(
            "The catalog is whole: {computers} computers, {points} restore points; {}.",
            report.sentence()
        );
    } else {
        println!("The catalog was made: {computers} computers, {points} restore points.");
        crate::manage::show_findings(&told);
    }
    crate::manage::verdict(&told)
}
