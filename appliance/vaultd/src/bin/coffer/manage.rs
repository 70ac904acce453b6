//! Looking after a box: computers, configurations, verification, retention, tapes, HQ.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use coffer_vault::query::Query;
use coffer_vaultd::client::ExitClass;
use serde_json::{Value, json};

use crate::connect::{connect, connect_hq};
use crate::show::{self, rows, size_of, table, text, time_of};
use crate::when::which;
use crate::{Cli, Done, Failure};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Give out codes, take computers off.
    #[command(subcommand)]
    Computer(Computer),
    /// Backup configurations.
    #[command(subcommand)]
    Config(Config),
    /// Capture a configuration (COMPUTER/NAME) now.
    Capture { config: String },
    /// Read everything back and name what damage touches.
    Verify,
    /// Which points are kept.
    #[command(subcommand)]
    Retention(PlanOrApply),
    /// Disk space that can be taken back.
    #[command(subcommand)]
    Reclaim(Reclaim),
    /// Tapes.
    #[command(subcommand)]
    Tape(crate::tape::Command),
    /// How far headquarters is.
    #[command(subcommand)]
    Hq(Hq),
    /// The box's clock.
    #[command(subcommand)]
    Clock(Clock),
}

#[derive(Subcommand)]
pub(crate) enum Clock {
    /// Say that the box's clock is right after it leapt, so that what is old is given up again.
    Accept,
}

#[derive(Subcommand)]
pub(crate) enum Computer {
    /// A one-time code with which a computer of that name enrols.
    Code {
        name: String,
        #[arg(long, default_value_t = 24)]
        valid_hours: u64,
    },
    /// Refuse this computer from now on; its history stays.
    Revoke { name: String },
}

#[derive(Subcommand)]
pub(crate) enum Config {
    List,
    /// Print a configuration's TOML.
    Show {
        config: String,
    },
    /// Add or change a computer's configuration from a TOML file (`-` is standard input).
    Set {
        computer: String,
        name: String,
        file: PathBuf,
    },
    /// Edit a configuration with $EDITOR.
    Edit {
        config: String,
    },
    /// What its computer leaves out by itself, and what's recommended for the applications on it.
    Exclusions {
        config: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum PlanOrApply {
    Plan,
    Apply,
}

#[derive(Subcommand)]
pub(crate) enum Reclaim {
    Plan {
        /// Also what could leave the disk because enough verified copies are elsewhere.
        #[arg(long)]
        evict: bool,
    },
    Apply {
        #[arg(long)]
        evict: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum Hq {
    /// From a box: its line to HQ.
    Status,
    /// From HQ (with --server of HQ): all branches.
    Branches,
}

pub(crate) fn run(cli: &Cli, command: &Command) -> Done {
    match command {
        Command::Computer(Computer::Code { name, valid_hours }) => {
            let request = json!({ "do": "computer_code", "name": name, "valid_hours": valid_hours });
            simple(cli, request, |answer| {
                println!("{}", text(answer, "code"));
                eprintln!(
                    "On {name}: coffer-agent enrol --server ADDRESS --code CODE (until {})",
                    time_of(answer, "expires_ms")
                );
            })
        }
        Command::Computer(Computer::Revoke { name }) => {
            simple(cli, json!({ "do": "computer_revoke", "name": name }), |_| {
                println!("{name} is refused from now on.")
            })
        }
        Command::Config(command) => config(cli, command),
        Command::Capture { config } => {
            simple(cli, json!({ "do": "capture", "config": which(config)? }), |_| {
                println!("The computer was asked to capture now.")
            })
        }
        Command::Verify => verify(cli),
        Command::Retention(PlanOrApply::Plan) => {
            simple(cli, json!({ "do": "retention_plan" }), show_retention)
        }
        Command::Retention(PlanOrApply::Apply) => {
            simple(cli, json!({ "do": "retention_apply" }), show_retention)
        }
        Command::Reclaim(Reclaim::Plan { evict }) => {
            simple(cli, json!({ "do": "reclaim_plan", "evict": evict }), show_reclaim)
        }
        Command::Reclaim(Reclaim::Apply { evict }) => {
            simple(cli, json!({ "do": "reclaim_apply", "evict": evict }), |answer| {
                show_reclaim(answer);
                println!("{} taken back.", size_of(answer, "freed_bytes"));
            })
        }
        Command::Tape(command) => crate::tape::run(cli, command),
        Command::Clock(Clock::Accept) => simple(cli, json!({ "do": "clock_accept" }), |answer| {
            println!("The box's clock ({}) counts as right.", time_of(answer, "now_ms"))
        }),
        Command::Hq(Hq::Status) => simple(cli, json!({ "do": "hq_status" }), |answer| println!("{answer:#}")),
        Command::Hq(Hq::Branches) => {
            let answer = connect_hq(cli)?.ask(json!({ "hq": "branches" }))?;
            show::print(cli.json, &answer, |answer| println!("{answer:#}"));
            Ok(())
        }
    }
}

pub(crate) fn simple(cli: &Cli, request: Value, people: impl FnOnce(&Value)) -> Done {
    let answer = connect(cli)?.ask(request)?;
    show::print(cli.json, &answer, people);
    Ok(())
}

fn config(cli: &Cli, command: &Config) -> Done {
    match command {
        Config::List => simple(cli, json!(Query::Configurations), |list| {
            let row = |one: &Value| {
                vec![
                    text(one, "config"),
                    format!("{}/{}", text(one, "computer_name"), text(one, "name")),
                    text(one, "revision"),
                ]
            };
            table(&["NUMBER", "CONFIGURATION", "REVISION"], &rows(list, row));
        }),
        Config::Show { config } => {
            let found = find_config(cli, config)?;
            show::print(cli.json, &found, |found| print!("{}", text(found, "toml")));
            Ok(())
        }
        Config::Set { computer, name, file } => {
            let toml = match file.as_os_str() == "-" {
                true => std::io::read_to_string(std::io::stdin())?,
                false => std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?,
            };
            set(cli, computer, name, &toml)
        }
        Config::Exclusions { config } => {
            let request = json!({ "do": "exclusions", "config": which(config)? });
            simple(cli, request, |list| {
                let state = |one: &Value| if one["applied"] == true { "left out" } else { "recommended" };
                let row = |one: &Value| vec![state(one).to_owned(), text(one, "pattern"), text(one, "why")];
                table(&["STATE", "PATTERN", "WHY"], &rows(list, row));
            })
        }
        Config::Edit { config } => {
            let found = find_config(cli, config)?;
            let mut draft = tempfile::Builder::new().suffix(".toml").tempfile()?;
            std::io::Write::write_all(&mut draft, text(&found, "toml").as_bytes())?;
            let editor = std::env::var("EDITOR").unwrap_or_else(|_| "vi".into());
            let status = std::process::Command::new(&editor).arg(draft.path()).status();
            let status = status.with_context(|| format!("cannot start {editor}: set EDITOR"))?;
            if !status.success() {
                return Err(Failure::Told(
                    ExitClass::OTHER,
                    format!("{editor} ended with an error: nothing was changed"),
                ));
            }
            let edited = std::fs::read_to_string(draft.path())?;
            set(cli, &text(&found, "computer_name"), &text(&found, "name"), &edited)
        }
    }
}

fn find_config(cli: &Cli, config: &str) -> Result<Value, Failure> {
    use coffer_vault::query::Which;
    let wanted = which(config)?;
    let all = connect(cli)?.ask(json!(Query::Configurations))?;
    let found = all.as_array().into_iter().flatten().find(|one| match &wanted {
        Which::Number(number) => one["config"] == *number,
        Which::Named { computer, name } => one["computer_name"] == **computer && one["name"] == **name,
    });
    found.cloned().ok_or_else(|| {
        Failure::Told(
            ExitClass(28),
            format!("there's no configuration {config}: `coffer config list` shows what there is"),
        )
    })
}

fn set(cli: &Cli, computer: &str, name: &str, toml: &str) -> Done {
    let request = json!({ "do": "config_set", "computer": computer, "name": name, "toml": toml });
    simple(cli, request, |answer| match answer["computer_told"] == true {
        true => println!("Set; {computer} has been told."),
        false => println!("Set; {computer} isn't connected and hears of it when it is."),
    })
}

fn verify(cli: &Cli) -> Done {
    let report = connect(cli)?.ask(json!({ "do": "verify" }))?;
    show::print(cli.json, &report, show_report);
    verdict(&report)
}

/// How a verification ends.
pub(crate) fn verdict(report: &Value) -> Done {
    let sentence = text(report, "sentence");
    match report["verdict"].as_str() {
        Some("whole") => Ok(()),
        Some("heals") if report["from_box"] == true => Err(Failure::Told(ExitClass::DAMAGE, sentence)),
        Some("unread") => Err(Failure::Told(
            ExitClass::DAMAGE,
            format!(
                "{sentence}: see that those tapes and their drives are well, then restore something of them"
            ),
        )),
        Some("heals") if report["restores_from_hq"] == true => Err(Failure::Told(
            ExitClass::DAMAGE,
            format!(
                "{sentence}; the box can't heal itself while its disk takes no writes, but a restore takes from HQ what HQ has of it: see that HQ is reached, \
                 restore what is needed and have the disk checked"
            ),
        )),
        Some("heals") if report["heals"] == false => Err(Failure::Told(
            ExitClass::DAMAGE,
            format!(
                "{sentence}; the box can't heal itself while its disk takes no writes: restore from the copy (`coffer tape read`, or from HQ with \
                 `coffer --hq-branch`) and have the disk checked"
            ),
        )),
        Some("heals") => Err(Failure::Told(
            ExitClass::DAMAGE,
            format!(
                "{sentence}; the box heals itself from them: see that the tapes are in, or that HQ is reached"
            ),
        )),
        _ if report["until_stopped"].as_u64().is_some_and(|places| places > 0) => {
            Err(Failure::Told(ExitClass::LOST, sentence))
        }
        // Nothing of a file is lost, and the sentence says what to do.
        _ if report["lost_count"] == 0
            && report["known_by_catalog"].as_u64().is_some_and(|known| known > 0) =>
        {
            Err(Failure::Told(ExitClass::LOST, sentence))
        }
        _ => Err(Failure::Told(
            ExitClass::LOST,
            format!("{sentence}: have the computers that still have those files capture them again"),
        )),
    }
}

fn show_report(report: &Value) {
    println!(
        "{} segments, {} read; {} contents of kept files looked up, {} of them partly on tape or at HQ.",
        text(report, "segments"),
        size_of(report, "bytes"),
        text(report, "contents"),
        text(report, "elsewhere")
    );
    show_findings(report);
}

/// Damage, and the versions that it touches.
pub(crate) fn show_findings(report: &Value) {
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    for one in list("damage") {
        println!("! segment {} at {}: {}", text(&one, "segment"), text(&one, "offset"), text(&one, "what"));
    }
    for one in list("gaps") {
        println!("! metadata records {} to {} are missing", text(&one, "first"), text(&one, "last"));
    }
    for one in report["unread"]["first"].as_array().into_iter().flatten() {
        let (computer, path) = (text(one, "computer"), text(one, "path"));
        println!("! {computer} {path}: only on a tape that couldn't be read");
    }
    for one in list("touched") {
        let from: Vec<_> = one["from"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let whence = match one["is_lost"] == true {
            true => "can't be restored from anywhere".into(),
            false => format!("can't be restored from this disk, but from {}", from.join(", ")),
        };
        println!(
            "! configuration {}: {} from point {} {whence}",
            text(&one, "config"),
            text(&one, "path"),
            text(&one, "since")
        );
    }
    let named = list("touched").len() as u64;
    let more = report["touched_count"].as_u64().unwrap_or(named).saturating_sub(named);
    if more > 0 {
        println!("! and {more} more versions");
    }
    println!("{}.", text(report, "sentence"));
}

fn show_retention(plans: &Value) {
    let count = |plan: &Value, name: &str| plan[name].as_array().map_or(0, Vec::len).to_string();
    let row = |plan: &Value| vec![text(plan, "config"), count(plan, "keep"), count(plan, "expire")];
    table(&["CONFIGURATION", "KEPT", "GIVEN UP"], &rows(plans, row));
}

fn show_reclaim(plan: &Value) {
    let row = |step: &Value| {
        vec![
            text(step, "segment"),
            text(step, "action"),
            size_of(step, "bytes"),
            size_of(step, "needed_bytes"),
        ]
    };
    table(&["SEGMENT", "ACTION", "SIZE", "STILL NEEDED"], &rows(&plan["steps"], row));
}
