//! `serve-simulator`: a simulated library as devices of this machine's kernel, for as long as a command runs.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use coffer_tape::simulator::{LibraryShape, Simulated};

use hw_tests::tcmu::Served;

#[derive(Args)]
pub(crate) struct Options {
    /// Where the library is, or is to be made.
    #[arg(long)]
    dir: PathBuf,
    /// Room on each cartridge of a library that is made, in MiB.
    #[arg(long, default_value_t = 256)]
    capacity_mib: u64,
    /// What to run; {changer} and {drives} stand for the devices' paths.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Ends as the command ended.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let simulated = open(&options.dir, options.capacity_mib)?;
    let mut devices = vec![simulated.changer()];
    devices.extend(simulated.drives());
    let served = Served::start(devices)?;
    let paths = served.paths()?;
    let words: Vec<String> = options.command.iter().flat_map(|word| fill_in(word, &paths)).collect();
    let (program, arguments) = words.split_first().context("there is no command")?;
    let status = Command::new(program).args(arguments).status().with_context(|| format!("run {program}"))?;
    served.stop()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn open(dir: &Path, capacity_mib: u64) -> Result<Simulated> {
    let shape = LibraryShape {
        slots: 8,
        drives: 2,
        mail_slots: 1,
        cartridges: 6,
        capacity_bytes: capacity_mib << 20,
        ..LibraryShape::default()
    };
    Ok(Simulated::open_or_create(dir, shape)?)
}

fn fill_in(word: &str, paths: &[PathBuf]) -> Vec<String> {
    let named = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect();
    match word {
        "{changer}" => named(&paths[..1]),
        "{drives}" => named(&paths[1..]),
        _ => vec![word.to_owned()],
    }
}
