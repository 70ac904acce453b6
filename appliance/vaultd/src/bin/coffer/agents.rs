//! The agents' own programs: which runs where, and updates for them.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::connect::connect;
use crate::manage::simple;
use crate::show::{self, rows, size_of, table, text};
use crate::{Cli, Done};

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Bring a signed update (`.coffer-update`) to the box; connected computers install it at once, the others when they're back.
    Update {
        file: PathBuf,
        /// For this computer alone, to try it out.
        #[arg(long)]
        computer: Option<String>,
    },
    /// Take back the updates that wait on the box.
    Withdraw,
}

pub(crate) fn run(cli: &Cli, options: &Options) -> Done {
    match &options.command {
        None => simple(cli, json!({ "do": "agents" }), show_agents),
        Some(Command::Update { file, computer }) => update(cli, file, computer.as_deref()),
        Some(Command::Withdraw) => simple(cli, json!({ "do": "agents_withdraw" }), |answer| {
            println!("{} updates taken back.", text(answer, "withdrawn"));
        }),
    }
}

fn update(cli: &Cli, path: &Path, computer: Option<&str>) -> Done {
    let cannot_read = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot_read)?;
    let mut connection = connect(cli)?;
    connection.client.bring(&mut file)?.with_context(cannot_read)?;
    let answer = connection.ask(json!({ "do": "agents_update", "computer": computer }))?;
    show::print(cli.json, &answer, |answer| {
        println!(
            "Version {} for {} is on the box; {} connected computers were told.",
            text(answer, "version"),
            text(answer, "target"),
            text(answer, "told")
        );
    });
    Ok(())
}

fn show_agents(answer: &Value) {
    let row = |one: &Value| {
        let connected = if one["connected"] == true { "yes" } else { "no" };
        let program = &one["program"];
        vec![text(one, "computer"), connected.into(), text(program, "program"), update_of(program)]
    };
    table(&["COMPUTER", "CONNECTED", "PROGRAM", "UPDATE"], &rows(&answer["agents"], row));
    for waiting in answer["waiting"].as_array().into_iter().flatten() {
        let whom =
            waiting["only_for"].as_str().map_or_else(String::new, |name| format!(", for {name} alone"));
        println!(
            "On the box: version {} for {} ({}){whom}",
            text(waiting, "version"),
            text(waiting, "target"),
            size_of(waiting, "bytes")
        );
    }
}

fn update_of(program: &Value) -> String {
    let version = text(program, "version");
    match program["update"].as_str() {
        None => "-".into(),
        Some("failed") => format!("{version} failed: {}", text(program, "sentence")),
        Some("current") => "up to date".into(),
        Some(doing) => format!("{doing} {version}"),
    }
}
