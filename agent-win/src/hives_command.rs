//! `coffer-agent hives`: putting the registry's hives back.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use coffer_agent::hives::{Gathered, HivesError, Staged, Step, gather, hives_here, plan, take_up_to_restore};

use crate::exit_code::{AT_RESTART, PARTLY};

#[derive(Debug, Subcommand)]
pub(crate) enum HivesCommand {
    /// Puts hives of a restore point in the place of those of this computer. Hives that are loaded are replaced when Windows next
    /// starts. Nothing is changed unless all of them are whole. Those from before stay beside, as `.coffer-before`.
    PutBack {
        /// Whose hive a file is that's called NTUSER.DAT or UsrClass.dat, as `whoami /user` shows it (S-1-...).
        #[arg(long)]
        user: Option<String>,
        /// Doesn't ask.
        #[arg(long)]
        yes: bool,
        /// The folder `registry` of a restore point, as it was restored, or files of it.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

pub(crate) fn run(command: HivesCommand) -> anyhow::Result<ExitCode> {
    let HivesCommand::PutBack { user, yes, paths } = command;
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).init();
    take_up_to_restore().map_err(HivesError::NotAllowed)?;
    let Gathered { hives, left_alone } = gather(&paths, user.as_deref()).context("nothing is changed")?;
    let steps = plan(&hives, &hives_here()?).context("nothing is changed")?;
    steps.iter().for_each(|step| println!("{}", sentence(step)));
    left_alone.iter().for_each(|(path, why)| println!("Left alone: {}: {why}.", path.display()));
    if !yes && !is_confirmed()? {
        anyhow::bail!("nothing is changed; answer \"yes\", or give --yes, to put the hives back");
    }
    let staged = Staged::all(steps).context("nothing is changed")?;
    Ok(put(&staged))
}

fn sentence(step: &Step) -> String {
    let when = if step.is_loaded { "when Windows next starts" } else { "at once" };
    format!("{} takes the place of {} {when}.", step.from.display(), step.place)
}

fn is_confirmed() -> std::io::Result<bool> {
    println!(
        "What was set and installed since the restore point is gone from these hives then, passwords as well."
    );
    print!("Put them back? (yes/no) ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

fn put(staged: &[Staged]) -> ExitCode {
    let (mut done, mut failed) = (Vec::new(), 0);
    for one in staged {
        let name = one.step.hive.file_name();
        match one.put() {
            Ok(()) => {
                let how =
                    if one.step.is_loaded { "waits for the next start of Windows" } else { "is in place" };
                println!("{name}: {how}; the one from before is {}.", one.before.display());
                done.push(one);
            }
            Err(error) => {
                failed += 1;
                eprintln!("coffer-agent: {name} isn't put back: {error}.");
            }
        }
    }
    let waits = done.iter().any(|one| one.step.is_loaded);
    if !done.is_empty() {
        tell_what_next(&done, waits);
    }
    match (failed, waits) {
        (0, false) => ExitCode::SUCCESS,
        (0, true) => ExitCode::from(AT_RESTART),
        _ => ExitCode::from(PARTLY),
    }
}

fn tell_what_next(done: &[&Staged], waits: bool) {
    if waits {
        println!(
            "Restart Windows now (`shutdown /r /t 0`): what's changed until then in the hives that wait is lost."
        );
    }
    println!("To go back{}:", if waits { " after that" } else { "" });
    for one in done {
        println!("  {}", one.way_back());
    }
    if waits {
        println!(
            "Where Windows doesn't start any more, start its recovery console; there `ren` each file to another name, and its \
             .coffer-before to the name without that."
        );
    }
}
