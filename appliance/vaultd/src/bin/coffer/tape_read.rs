//! `coffer tape read`: files from cartridges on a machine without the box.

use std::io::BufRead;
use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use coffer_format::ConfigId;
use coffer_vault::restore::Wanted;
use coffer_vaultd::client::ExitClass;
use coffer_vaultd::restorer::{Outcome, Restorer, Sink};
use coffer_vaultd::tape::{FromTape, Needed, Source, TapeVault, Tapes};
use serde_json::json;

use crate::offline::Key;
use crate::restore::OnConflict;
use crate::show::{size, table, time};
use crate::when::{At, which};
use crate::{Cli, Done, Failure};

#[derive(Args)]
pub(crate) struct Options {
    /// COMPUTER/NAME, or a configuration's number; without it the tapes' computers and points are listed.
    config: Option<String>,
    /// What to restore; everything if nothing is named.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    paths: Vec<String>,
    /// Restore below this directory. Without it only the tapes are named that would be needed.
    #[arg(long, requires = "config")]
    to: Option<PathBuf>,
    /// What to do where something is there already.
    #[arg(long, value_enum, default_value = "skip")]
    conflict: OnConflict,
    #[command(flatten)]
    at: At,
    /// The changer's device, such as /dev/sg3; without one, tapes are put into the drive by hand.
    #[arg(long)]
    changer: Option<PathBuf>,
    /// The drives' devices.
    #[arg(long, required_unless_present = "simulated")]
    drive: Vec<PathBuf>,
    /// A simulated library's directory.
    #[arg(long, conflicts_with_all = ["changer", "drive"])]
    simulated: Option<PathBuf>,
    /// The tape that was written last; without it the labels of all in the library are looked at.
    #[arg(long)]
    newest: Option<String>,
    /// An empty directory for what is read on the way (as large as what is restored).
    #[arg(long)]
    work: Option<PathBuf>,
    #[command(flatten)]
    key: Key,
}

pub(crate) fn run(cli: &Cli, options: &Options) -> Done {
    let scratch = tempfile::tempdir()?;
    let work = options.work.as_deref().unwrap_or(scratch.path());
    let tapes = tapes(options)?;
    let opener = options.key.opener()?;
    let mut vault = TapeVault::open(tapes, options.newest.as_deref(), work, opener, &mut say)?;
    let Some(config) = &options.config else { return list(cli, &vault) };
    let reading = vault.reading();
    let config = reading.which(&which(config)?).map_err(anyhow::Error::from)?;
    let point = reading.when(config, options.at.when()?).map_err(anyhow::Error::from)?;
    let paths = options.paths.iter().map(|path| path.clone().into_bytes()).collect();
    let wanted = Wanted { config, point, paths, trusted: true };
    let needed = vault.needed(&wanted)?;
    let Some(to) = &options.to else { return show_needed(cli, &needed) };
    say_needed(&needed);
    let mut restorer = Restorer::new(to, options.conflict.into())?;
    let done = vault.restore(&wanted, &mut say, &mut |message| restorer.take(message))?;
    told(cli, &restorer.finish(), &done)
}

fn tapes(options: &Options) -> anyhow::Result<Tapes> {
    let ask = Box::new(ask);
    match (&options.changer, &options.simulated, &options.drive[..]) {
        (None, None, [drive]) => Tapes::of_drive(drive, ask),
        (None, None, _) => {
            anyhow::bail!("several drives need their changer: give --changer, or one --drive alone")
        }
        (changer, simulated, drives) => {
            Tapes::of_library(&Source::new(changer.as_deref(), drives, simulated.as_deref())?, ask)
        }
    }
}

/// Asks the person at the terminal, or whatever feeds standard input; its end means no.
fn ask(sentence: &str) -> bool {
    eprintln!("{sentence} and press Enter (or type `no` if you don't have it).");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    matches!(read, Ok(1..)) && !answer.trim().eq_ignore_ascii_case("no")
}

fn say(sentence: String) {
    eprintln!("{sentence}.");
}

fn list(cli: &Cli, vault: &TapeVault) -> Done {
    let reading = vault.reading();
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for config in reading.configurations().map_err(anyhow::Error::from)? {
        let points = reading.points(ConfigId(config.config)).map_err(anyhow::Error::from)?;
        let name = format!("{}/{}", config.computer_name, config.name);
        let ends = points.last().zip(points.first());
        let shown = |ms: u64| time(ms as i64);
        rows.push(vec![
            name.clone(),
            points.len().to_string(),
            ends.map_or_else(|| "-".into(), |(oldest, _)| shown(oldest.closed_ms)),
            ends.map_or_else(|| "-".into(), |(_, newest)| shown(newest.closed_ms)),
        ]);
        all.push(json!({ "config": name, "points": points }));
    }
    match cli.json {
        true => println!("{:#}", json!(all)),
        false => table(&["CONFIGURATION", "POINTS", "OLDEST", "NEWEST"], &rows),
    }
    Ok(())
}

fn show_needed(cli: &Cli, needed: &[Needed]) -> Done {
    if cli.json {
        println!("{:#}", json!(needed));
        return Ok(());
    }
    let row = |one: &Needed| {
        let place = if one.away { "put it in" } else { "in the library" };
        vec![one.barcode.clone(), place.into(), one.segments.to_string(), size(one.bytes)]
    };
    table(&["TAPE", "WHERE", "SEGMENTS", "TO READ"], &needed.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn say_needed(needed: &[Needed]) {
    let names: Vec<&str> = needed.iter().map(|one| one.barcode.as_str()).collect();
    let bytes = needed.iter().map(|one| one.bytes).sum();
    match names.len() {
        0 => say("Nothing more has to be read from tape".into()),
        _ => say(format!("{} are read, in this order: {}", size(bytes), names.join(", "))),
    }
    let away: Vec<&str> = needed.iter().filter(|one| one.away).map(|one| one.barcode.as_str()).collect();
    if !away.is_empty() {
        say(format!("Have these at hand, they'll be asked for: {}", away.join(", ")));
    }
}

fn told(cli: &Cli, outcome: &Outcome, done: &FromTape) -> Done {
    let FromTape { mounts, bytes, missing, .. } = done;
    if cli.json {
        let report = json!({
            "files": outcome.files, "bytes": outcome.bytes, "skipped": outcome.skipped,
            "failed": outcome.failed.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect::<Vec<_>>(),
            "mounts": mounts, "read_bytes": bytes, "missing": missing,
        });
        println!("{report:#}");
    } else {
        eprintln!(
            "{} files, {} restored; {} read from tape with {mounts} mounts.",
            outcome.files,
            size(outcome.bytes),
            size(*bytes)
        );
        outcome
            .skipped
            .iter()
            .for_each(|path| eprintln!("! {} was there already and was left alone", path.display()));
        outcome.failed.iter().for_each(|(path, why)| eprintln!("! {}: {why}", path.display()));
        missing.segments.iter().for_each(|(segment, why)| eprintln!("! segment {segment}: {why}"));
        outcome.left_out.iter().for_each(|(path, why)| eprintln!("! missing: {} {why}", path.display()));
    }
    if !missing.files.is_empty() {
        let sentence = format!(
            "{} files are missing: the tapes they lie on couldn't be had or read",
            missing.files.len()
        );
        return Err(Failure::Told(ExitClass::TAPE_MISSING, sentence));
    }
    match (outcome.skipped.len(), outcome.failed.len()) {
        (0, 0) => Ok(()),
        (skipped, failed) => Err(Failure::Told(
            ExitClass::PARTLY,
            format!("{skipped} files were left alone (see --conflict), {failed} could not be restored"),
        )),
    }
}
