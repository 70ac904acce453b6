//! `coffer restore`: to the place, elsewhere, as a tar stream, or to a computer by its own agent.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use coffer_agent::restore::Specials;
use coffer_format::wire::Message;
use coffer_format::{ConfigId, PointSeq};
use coffer_vault::query::{Query, When, Which};
use coffer_vaultd::client::ExitClass;
use coffer_vaultd::operator::Request;
use coffer_vaultd::restore_on::{Replace, RestoreOn};
use coffer_vaultd::restorer::{Archive, Conflict, Outcome, Restorer, Sink};
use serde_json::{Value, json};

use crate::connect::{Connection, connect};
use crate::show::{self, Progress, size, size_of, text};
use crate::when::{At, which};
use crate::{Cli, Done, Failure};

#[derive(Args)]
pub(crate) struct Options {
    /// COMPUTER/NAME, or a configuration's number.
    config: String,
    /// What to restore; everything if nothing is named.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    paths: Vec<String>,
    /// Restore below this directory.
    #[arg(long, conflicts_with_all = ["in_place", "tar"])]
    to: Option<PathBuf>,
    /// Restore to where the files were, on this machine (or on the computer that `--on` names).
    #[arg(long, conflicts_with = "tar")]
    in_place: bool,
    /// Write a tar archive to standard output.
    #[arg(long)]
    tar: bool,
    /// What to do where something is there already, on this machine.
    #[arg(long, value_enum, default_value = "skip", conflicts_with = "on")]
    conflict: OnConflict,
    /// With `--to`: devices, FIFOs, sockets, set-user-ID and set-group-ID bits and capabilities are restored as well (as rsync's
    /// --devices --specials). With `--in-place` they are anyway.
    #[arg(long, conflicts_with_all = ["on", "tar"])]
    special_files: bool,
    /// Restore to this computer, by its own agent: to the place, or with `--to` to a folder there. Any computer's files can be
    /// restored to any computer so; the audit log says who did it. A file in use is replaced when the computer next starts.
    #[arg(long, value_name = "COMPUTER", conflicts_with = "tar")]
    on: Option<String>,
    /// With `--on`: which files that are there are replaced. `changed`: those that differ in bytes, write time or attributes.
    /// To the place `changed` if nothing is said, to a folder `none`.
    #[arg(long, value_enum, requires = "on")]
    replace: Option<Replace>,
    /// With `--on`: the person at the computer is asked first, and has 5 minutes to answer.
    #[arg(long, requires = "on")]
    ask: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum OnConflict {
    /// Leave it, and name it.
    Skip,
    /// Put the restored one beside it.
    KeepBoth,
    Overwrite,
}

impl From<OnConflict> for Conflict {
    fn from(on: OnConflict) -> Conflict {
        match on {
            OnConflict::Skip => Conflict::Skip,
            OnConflict::KeepBoth => Conflict::KeepBoth,
            OnConflict::Overwrite => Conflict::Overwrite,
        }
    }
}

pub(crate) fn run(cli: &Cli, options: &Options) -> Done {
    if let Some(on) = &options.on {
        return run_on(cli, options, on);
    }
    if options.to.is_none() && !options.in_place && !options.tar {
        let sentence = "say where to: --to DIR (below a folder), --in-place (where the files were), --tar (an archive on standard \
                        output) or --on COMPUTER (by that computer's own agent)";
        return Err(Failure::Told(ExitClass::USAGE, sentence.to_owned()));
    }
    let mut connection = connect(cli)?;
    let (which, when) = (which(&options.config)?, options.at.when()?);
    if options.tar {
        let spool = tempfile::tempdir()?;
        let out = std::io::BufWriter::new(std::io::stdout().lock());
        let mut archive = Archive::new(out, spool.path());
        receive(&mut connection, which, when, &options.paths, &mut archive)?;
        return told(cli, &archive.finish()?);
    }
    let root = options.to.clone().unwrap_or_else(|| PathBuf::from("/"));
    let has_specials = options.in_place || options.special_files;
    let specials = if has_specials { Specials::PutBack } else { Specials::LeaveOff };
    let named: Vec<_> = options.paths.iter().map(|path| path.clone().into_bytes()).collect();
    let restorer = Restorer::with(&root, options.conflict.into(), specials, &named)?;
    told(cli, &run_restorer(&mut connection, which, when, &options.paths, restorer)?)
}

/// Has a computer restore, and waits until it's done.
fn run_on(cli: &Cli, options: &Options, on: &str) -> Done {
    let to = options.to.as_ref().map(|to| to.to_string_lossy().into_owned());
    let usual = if to.is_some() { Replace::None } else { Replace::Changed };
    let request = Request::RestoreOn(RestoreOn {
        config: which(&options.config)?,
        when: options.at.when()?,
        paths: options.paths.clone(),
        on: on.to_owned(),
        to,
        replace: options.replace.unwrap_or(usual),
        ask: options.ask,
    });
    let answer = connect(cli)?.ask(json!(request))?;
    show::print(cli.json, &answer, |answer| {
        let (files, bytes) = (text(answer, "files"), size_of(answer, "bytes"));
        println!("{files} files, {bytes} restored on {on}.");
        for line in answer["lacking"].as_array().into_iter().flatten() {
            println!("! {}: {}", text(line, "path"), text(line, "what"));
        }
    });
    let at_restart = answer["at_restart"].as_u64().unwrap_or(0);
    let lines = answer["lacking"].as_array().map_or(0, Vec::len) as u64;
    if let Some(lines @ 1..) = answer["left_out"].as_u64() {
        return Err(left_out(lines));
    }
    match (lines.saturating_sub(at_restart), at_restart) {
        (0, 0) => Ok(()),
        (0, later) => Err(Failure::Told(
            ExitClass::AT_RESTART,
            format!("{later} files are in use and are replaced when {on} next starts: restart it"),
        )),
        (lacking, _) => Err(Failure::Told(
            ExitClass::PARTLY,
            format!("{lacking} things couldn't be restored, or not all of them; they are named above"),
        )),
    }
}

fn left_out(lines: u64) -> Failure {
    let sentence =
        format!("{lines} files or folders couldn't be had, or not all of them; everything else is restored");
    Failure::Told(ExitClass::LEFT_OUT, sentence)
}

/// Restores below `root`.
pub(crate) fn restore(
    connection: &mut Connection,
    which: Which,
    when: When,
    paths: &[String],
    root: &Path,
    conflict: Conflict,
) -> Result<Outcome, Failure> {
    run_restorer(connection, which, when, paths, Restorer::new(root, conflict)?)
}

/// Whatever ends it, what's there by then is whole and as it should be.
fn run_restorer(
    connection: &mut Connection,
    which: Which,
    when: When,
    paths: &[String],
    mut restorer: Restorer,
) -> Result<Outcome, Failure> {
    let received = receive(connection, which, when, paths, &mut restorer);
    let outcome = restorer.finish();
    if received.is_err() && outcome.files > 0 {
        eprintln!(
            "{} files are restored. The same command again goes on with what isn't there yet.",
            outcome.files
        );
    }
    received.map(|()| outcome)
}

/// Restores into `sink`, with progress on a terminal.
fn receive(
    connection: &mut Connection,
    which: Which,
    when: When,
    paths: &[String],
    sink: &mut dyn Sink,
) -> Result<(), Failure> {
    let found = connection.ask(json!(Query::Resolve { config: which, when }))?;
    let number = |name: &str| found[name].as_u64().unwrap_or(0);
    let (config, point) = (ConfigId(number("config") as u32), PointSeq(number("point")));
    let (progress, started) = (Progress::new(), Instant::now());
    let mut shown = Instant::now();
    let received = connection.client.restore(config, point, paths, &mut |message| {
        if shown.elapsed().as_millis() > 200 {
            shown = Instant::now();
            let rate = sink.bytes() as f64 / started.elapsed().as_secs_f64();
            progress.line(&format!("{} restored, {}/s", size(sink.bytes()), size(rate as u64)));
        }
        match message {
            Message::Working { json } => {
                say_working(&json);
                Ok(())
            }
            message => sink.take(message),
        }
    })?;
    progress.clear();
    received.map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => Failure::Told(ExitClass::PARTLY, error.to_string()),
        _ => error.into(),
    })
}

/// What the box does before anything comes, a line each.
fn say_working(json: &[u8]) {
    let said: Option<Value> = serde_json::from_slice(json).ok();
    if let Some(doing) = said.as_ref().and_then(|said| said["doing"].as_str()) {
        eprintln!("{doing}.");
    }
}

fn told(cli: &Cli, outcome: &Outcome) -> Done {
    if cli.json {
        let lines = |lines: &[(PathBuf, String)]| -> Value {
            lines.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect()
        };
        let report = json!({
            "files": outcome.files, "bytes": outcome.bytes, "alike": outcome.alike, "skipped": outcome.skipped,
            "failed": lines(&outcome.failed), "left_out": lines(&outcome.left_out), "told": outcome.told,
        });
        eprintln!("{report}");
    } else {
        eprintln!("{} files, {} restored.", outcome.files, size(outcome.bytes));
        if outcome.alike > 0 {
            eprintln!("{} are there already as they were then, and were left alone.", outcome.alike);
        }
        outcome
            .skipped
            .iter()
            .for_each(|path| eprintln!("! {} was there already and was left alone", path.display()));
        outcome.failed.iter().for_each(|(path, why)| eprintln!("! {}: {why}", path.display()));
        outcome.left_out.iter().for_each(|(path, why)| eprintln!("! {} {why}", path.display()));
        outcome.told.iter().for_each(|sentence| eprintln!("! {sentence}"));
    }
    if !outcome.left_out.is_empty() || !outcome.told.is_empty() {
        return Err(left_out(outcome.left_out.len() as u64));
    }
    match (outcome.skipped.len(), outcome.failed.len()) {
        (0, 0) => Ok(()),
        (skipped, failed) => Err(Failure::Told(
            ExitClass::PARTLY,
            format!("{skipped} files were left alone (see --conflict), {failed} could not be restored"),
        )),
    }
}
