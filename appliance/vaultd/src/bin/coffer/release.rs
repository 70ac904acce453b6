//! For whoever releases the agent: a key, and programs signed with it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use coffer_format::update::{Release, Target, Version};
use coffer_format::{FileHash, to_bytes};
use coffer_link::ReleaseSigner;
use coffer_vaultd::setup::{read_secret, write_secret};

use crate::Done;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a key: its private half goes to a file, its public half is printed.
    Keygen {
        #[arg(long)]
        out: PathBuf,
    },
    /// Sign a program, as an update that `coffer agents update` brings to a box.
    Sign {
        #[arg(long)]
        key: PathBuf,
        /// What the program is built for, such as x86_64-pc-windows.
        #[arg(long)]
        target: Target,
        #[arg(long)]
        release_version: Version,
        /// How long a computer waits for the new program to reach its box before it takes the one before back.
        #[arg(long, default_value_t = 600)]
        trial_seconds: u32,
        program: PathBuf,
        #[arg(long)]
        out: PathBuf,
    },
}

pub(crate) fn run(command: &Command) -> Done {
    match command {
        Command::Keygen { out } => {
            let seed = ReleaseSigner::new_seed().map_err(anyhow::Error::from)?;
            write_secret(out, &seed)?;
            println!("{}", ReleaseSigner::from_seed(&seed).key());
            eprintln!(
                "That's the public key; {} is the private one: keep it off every other machine.",
                out.display()
            );
            Ok(())
        }
        Command::Sign { key, target, release_version, trial_seconds, program, out } => {
            let (len, hash) = measure(program)?;
            let (target, version, trial_s) = (target.clone(), *release_version, *trial_seconds);
            let signer = ReleaseSigner::from_seed(&read_secret(key)?);
            let head =
                signer.sign(Release { target, version, trial_s, len, hash }).map_err(anyhow::Error::from)?;
            let written = write(out, &to_bytes(&head), program);
            written.with_context(|| format!("cannot write {}", out.display()))?;
            Ok(())
        }
    }
}

fn measure(program: &Path) -> anyhow::Result<(u64, FileHash)> {
    let cannot_read = || format!("cannot read {}", program.display());
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(program).with_context(cannot_read)?).with_context(cannot_read)?;
    if hasher.count() == 0 {
        bail!("{} is empty: give the program that was built", program.display());
    }
    Ok((hasher.count(), FileHash(*hasher.finalize().as_bytes())))
}

fn write(out: &Path, head: &[u8], program: &Path) -> io::Result<()> {
    let mut file = File::create(out)?;
    file.write_all(head)?;
    io::copy(&mut File::open(program)?, &mut file)?;
    file.sync_all()
}
