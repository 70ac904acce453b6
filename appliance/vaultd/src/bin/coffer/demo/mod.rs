//! `coffer demo`: the whole job on this machine, with real files, real processes, real TLS and a simulated autoloader.

mod changes;
mod check;
mod database;
mod fleet;
mod folder;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use coffer_vault::query::When;
use coffer_vaultd::client::ExitClass;

use crate::{Done, Failure};
use check::Check;
use database::LiveDatabase;
use fleet::Fleet;

#[derive(Args)]
pub(crate) struct Options {
    /// Protect this folder as well; nothing in it is changed. Without it, a copy of some of this machine's folders is protected.
    #[arg(long, value_name = "DIR")]
    protect: Option<PathBuf>,
    /// Where the demo works; a new temporary directory otherwise.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leave everything running and print how to go on.
    #[arg(long)]
    stay: bool,
    /// Size of the copied folders, in MiB.
    #[arg(long, default_value_t = 150)]
    size_mib: u64,
}

pub(crate) fn run(options: &Options) -> Done {
    let scratch = tempfile::Builder::new().prefix("coffer-demo-").tempdir()?;
    let dir = match &options.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            dir.canonicalize()?
        }
        None => scratch.path().to_owned(),
    };
    let outcome = perform(options, &dir);
    if outcome.is_err() || options.stay {
        // What went wrong can be looked at; what stays must not vanish.
        let kept = scratch.keep();
        if outcome.is_err() {
            eprintln!("Logs and data are in {}.", options.dir.as_ref().unwrap_or(&kept).display());
        }
    }
    outcome
}

fn perform(options: &Options, dir: &std::path::Path) -> Done {
    say(
        "Coffer demo: headquarters, a box with a tape autoloader (simulated) and an agent, on this machine, over TLS.",
    );
    let files = dir.join("server").join("files");
    let copied = folder::copy_some_of_this_machine(&files, options.size_mib << 20)?;
    say(&format!(
        "Protected: {} ({} files, {}), and a database that is written to all the while.",
        files.display(),
        copied.files,
        crate::show::size(copied.bytes)
    ));
    let database = LiveDatabase::start(&dir.join("server").join("orders.sqlite"))?;

    let mut fleet = Fleet::start(dir)?;
    let include: Vec<PathBuf> =
        [Some(dir.join("server")), options.protect.clone()].into_iter().flatten().collect();
    fleet.protect(&include)?;
    let first = fleet.wait_for_point(1, "first copy")?;
    let before = folder::snapshot(&files)?;

    say(
        "\nNow the day's work: pages of a large file in place, insertions, new files, a delete, a renamed tree.",
    );
    let changed = changes::make(&files)?;
    let rows_before = database.rows();
    let second = fleet.capture_after(first.point, "changes")?;
    let after = folder::snapshot(&files)?;

    say("\nTape: everything closed goes to the autoloader.");
    let taped = fleet.write_tapes()?;
    let hq = fleet.wait_for_hq()?;

    say("\nBringing data back, and comparing every byte:");
    let mut check = Check::new(dir);
    check.whole(
        &mut fleet,
        "the files as they were before the changes",
        When::Point(first.point),
        &files,
        &before,
    )?;
    check.whole(&mut fleet, "the files as they are now", When::Point(second.point), &files, &after)?;
    check.one("the deleted file", &files, (&changed.deleted, &before), |paths, to| {
        fleet.restore(When::Point(first.point), paths, to).map(drop)
    })?;
    check.database(&mut fleet, &dir.join("server").join("orders.sqlite"), rows_before)?;
    fleet.evict()?;
    check.whole(
        &mut fleet,
        "everything again, read back from tape",
        When::Point(first.point),
        &files,
        &before,
    )?;
    check.one("a file from headquarters", &files, (&changed.edited, &after), |paths, to| {
        fleet.restore_from_hq(When::Point(second.point), paths, to).map(drop)
    })?;
    drop(database);

    report::print(&changed, &first, &second, &taped, &hq);
    if check.failures > 0 {
        return Err(Failure::Told(ExitClass::OTHER, format!("{} comparisons failed", check.failures)));
    }
    say("\nEverything came back, bit for bit.");
    if options.stay {
        fleet.stay();
    }
    Ok(())
}

pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// How long any one step may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(900);
