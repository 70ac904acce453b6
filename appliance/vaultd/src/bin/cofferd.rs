//! `cofferd`: the box.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use coffer_link::EnrolmentCode;
use coffer_vault::RecoveryKey;
use coffer_vaultd::joining;
use coffer_vaultd::replacement::{self, Replaced, Replacement};
use coffer_vaultd::serve::{Ended, Running};
use coffer_vaultd::settings::Settings;
use coffer_vaultd::setup;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(version, about = "The box: takes in what changes, keeps it, writes tapes, sends it to HQ")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a box in an empty directory.
    Init {
        #[arg(long)]
        dir: PathBuf,
        /// The branch's name.
        #[arg(long)]
        name: String,
        /// Settings to start from (TOML); the defaults work.
        #[arg(long)]
        settings: Option<PathBuf>,
        /// HQ's address, HOST:PORT, with the code that HQ gave out for this branch.
        #[arg(long, requires = "code")]
        hq: Option<String>,
        #[arg(long, requires = "hq")]
        code: Option<String>,
    },
    /// Go on with the vault of a box that is no more: DIR/vault, copied or made from tape, and what HQ has of it. Computers need not be
    /// enrolled again.
    Replace {
        #[arg(long)]
        dir: PathBuf,
        /// The organisation's recovery key file.
        #[arg(long)]
        recovery_key: PathBuf,
        /// Settings in place of those of the box before (TOML).
        #[arg(long)]
        settings: Option<PathBuf>,
        /// HQ's address, HOST:PORT.
        #[arg(long)]
        hq: Option<String>,
        /// HQ's code for the replacement, from `coffer-hq code --replace`.
        #[arg(long, requires = "hq")]
        code: Option<String>,
        /// Go on although HQ can't give everything that it should have, or the tape library can't be asked.
        #[arg(long)]
        incomplete: bool,
        /// Go on although the vault has no escrow: all computers have to be enrolled again.
        #[arg(long)]
        new_authority: bool,
    },
    /// Make a box, which isn't running, a branch of an HQ.
    Join {
        #[arg(long)]
        dir: PathBuf,
        /// The code that HQ gave out for this branch.
        #[arg(long)]
        code: String,
        /// HQ's address, HOST:PORT, unless the settings have it.
        #[arg(long)]
        hq: Option<String>,
    },
    /// Tell a box made by an older version its organisation's recovery key, of which it keeps the public half.
    Escrow {
        #[arg(long)]
        dir: PathBuf,
        /// The organisation's recovery key file.
        #[arg(long)]
        recovery_key: PathBuf,
    },
    /// Run the box.
    Run {
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("COFFER_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cofferd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Begins this program anew with the same words: nothing of this run is left then, and the vault isn't open.
fn start_anew(why: &str) -> Result<()> {
    tracing::warn!("starting anew: {why}");
    let error = std::process::Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).exec();
    Err(error).context("the box couldn't start anew: restart it")
}

/// Prints a line for whoever started us. Nobody may be there to read it, and the box runs all the same.
fn say(line: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        tracing::debug!(%error, line, "nobody reads standard output");
    }
}

fn tell_replaced(dir: &Path, done: &Replaced) {
    println!(
        "The box goes on as {} with {} computers and {} restore points.",
        done.name, done.computers, done.points
    );
    if let Some(from_hq) = &done.from_hq {
        println!("{} segments came from HQ.", from_hq.segments);
        println!(
            "What stays there is read back now; `coffer status` names what of it can't be restored, once the box runs."
        );
        if from_hq.damaged > 0 {
            println!(
                "! {} segments are damaged at HQ: what is sound of them comes once the box runs, and the computers are asked for the rest.",
                from_hq.damaged
            );
        }
        for (segment, why) in &from_hq.lacking {
            println!("! segment {segment} couldn't be had: {why}");
        }
        if let Some(set_aside) = &from_hq.set_aside {
            println!(
                "! The vault here had gone another way than the one that HQ knows. HQ's counts; this one's is kept in {}.",
                set_aside.display()
            );
        }
    }
    if let Some(from_tapes) = done.from_tapes.as_ref().filter(|from| from.segments > 0) {
        println!("{} segments came from the tapes in the library.", from_tapes.segments);
    }
    if let Some(lost) = &done.lost {
        println!("! Not everything is there: {lost}. `coffer verify` names what lacks once the box runs.");
    }
    if let Some(heals) = &done.heals {
        println!(
            "! Part of it is damaged here: {heals}. It comes back from them once the box runs and reaches them; points may be missing until then."
        );
    }
    for newest in &done.newest {
        println!("Newest point of {}: {}, {}.", newest.of, newest.point, time_of(newest.closed_ms));
    }
    println!(
        "What the box before took in after that and sent nowhere is gone with it; the computers send what they still have of it."
    );
    match done.is_known {
        true => println!(
            "Its computers know it: start it where they find it, with `cofferd run --dir {}`.",
            dir.display()
        ),
        false => println!(
            "No computer knows it: start it with `cofferd run --dir {}`, then enrol each again under its name.",
            dir.display()
        ),
    }
    println!(
        "A new operator's identity is {}/operator; the operators' identities before count too.",
        dir.display()
    );
    if done.lacks_hq {
        println!(
            "The box before was a branch of an HQ; this one isn't yet. Get a code with `coffer-hq code --replace`, then run \
             `cofferd join`."
        );
    }
}

fn time_of(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| ms.to_string(), |time| time.strftime("%F %R UTC").to_string())
}

#[tokio::main]
async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Init { dir, name, settings, hq, code } => {
            let mut chosen = match settings {
                Some(path) => Settings::load(&path)?,
                None => Settings::default(),
            };
            chosen.name = name;
            let code: Option<EnrolmentCode> =
                code.map(|code| code.parse()).transpose().context("the code for HQ")?;
            setup::init(&dir, &chosen, hq.as_deref().zip(code.as_ref())).await?;
            println!("The box is ready: start it with `cofferd run --dir {}`.", dir.display());
            println!(
                "Its first operator's identity is {}/operator: give it to `coffer --operator`.",
                dir.display()
            );
            if hq.is_none() {
                println!(
                    "Its recovery key is {}/recovery.key: move it to a safe place, off this box.",
                    dir.display()
                );
            }
            Ok(())
        }
        Command::Replace { dir, recovery_key, settings, hq, code, incomplete, new_authority } => {
            let code: Option<EnrolmentCode> =
                code.map(|code| code.parse()).transpose().context("the code for HQ")?;
            let with = Replacement {
                recovery: RecoveryKey(setup::read_secret(&recovery_key)?),
                settings: settings.map(|path| Settings::load(&path)).transpose()?,
                hq: hq.as_deref().map(|address| (address, code.as_ref())),
                new_authority,
                incomplete,
            };
            tell_replaced(&dir, &replacement::replace(&dir, with).await?);
            Ok(())
        }
        Command::Join { dir, code, hq } => {
            let code: EnrolmentCode = code.parse().context("the code for HQ")?;
            let joined = joining::join(&dir, hq.as_deref(), &code).await?;
            println!(
                "The box is branch {} now: start it with `cofferd run --dir {}`.",
                joined.branch,
                dir.display()
            );
            if joined.takes_up {
                println!(
                    "! HQ knows more of this vault, or another history of it, than is here. When the box starts it goes on where HQ is. What the box \
                     has of its own since the two parted is kept in {}/vault.set-aside-…; its computers send it what is new there. A computer that was \
                     enrolled since then has to be enrolled again.",
                    dir.display()
                );
            }
            if joined.is_new_organisation {
                println!(
                    "HQ's recovery key opens its vault from now on. Keep the box's own one until all tapes of before are gone: alone they open with that."
                );
            }
            Ok(())
        }
        Command::Escrow { dir, recovery_key } => {
            let recovery = RecoveryKey(setup::read_secret(&recovery_key)?);
            setup::note_recovery_key(&dir, &recovery)?;
            println!("Noted: the escrow is sealed for it when the box starts next.");
            Ok(())
        }
        Command::Run { dir } => {
            let running = Running::start(&dir).await?;
            say(&format!("listening on {}", running.address()));
            if let Some(page) = running.page {
                say(&format!("status page on https://{page}"));
            }
            let (tell, stop) = tokio::sync::watch::channel(false);
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::spawn(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
                tell.send(true)
            });
            match running.run(stop).await? {
                Ended::Stopped => Ok(()),
                Ended::SetBack => start_anew("what HQ knows is taken up"),
                Ended::DiskRecovered => start_anew("the disk takes writes again"),
            }
        }
    }
}
