//! Looking: status, computers, points, directories, versions.

use clap::Subcommand;
use coffer_vault::query::Query;
use serde_json::{Value, json};

use crate::connect::connect;
use crate::show::{self, rows, size_of, table, text, time_of};
use crate::when::{At, which};
use crate::{Cli, Done};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The computers that this box protects.
    Computers,
    /// Restore points of a configuration (COMPUTER/NAME).
    Points { config: String },
    /// What is in a directory at a point.
    Ls {
        config: String,
        #[arg(default_value = "/")]
        path: String,
        #[command(flatten)]
        at: At,
    },
    /// Names that match a pattern (`*.doc`) at a point.
    Find {
        config: String,
        pattern: String,
        #[arg(long, default_value = "/")]
        below: String,
        #[command(flatten)]
        at: At,
    },
    /// All versions of a path.
    Versions { config: String, path: String },
    /// What the capture of a restore point (the newest, unless told) had to say of what it lacks.
    Report {
        config: String,
        #[command(flatten)]
        at: At,
    },
    /// Who did what, newest first.
    Audit {
        #[arg(long, default_value_t = 50)]
        newest: usize,
    },
}

pub(crate) fn run(cli: &Cli, command: &Command) -> Done {
    let (query, people): (Query, fn(&Value)) = match command {
        Command::Computers => (Query::Computers, show_computers),
        Command::Points { config } => (Query::Points { config: which(config)? }, show_points),
        Command::Ls { config, path, at } => {
            (Query::List { config: which(config)?, when: at.when()?, path: path.clone() }, show_names)
        }
        Command::Find { config, pattern, below, at } => (
            Query::Find {
                config: which(config)?,
                when: at.when()?,
                path: below.clone(),
                pattern: pattern.clone(),
            },
            show_names,
        ),
        Command::Versions { config, path } => {
            (Query::Versions { config: which(config)?, path: path.clone() }, show_versions)
        }
        Command::Report { config, at } => {
            (Query::Report { config: which(config)?, when: at.when()? }, show_report)
        }
        Command::Audit { newest } => (Query::Audit { newest: *newest }, show_audit),
    };
    let answer = connect(cli)?.ask(json!(query))?;
    show::print(cli.json, &answer, people);
    Ok(())
}

pub(crate) fn status(cli: &Cli) -> Done {
    let answer = connect(cli)?.ask(json!({ "do": "status" }))?;
    show::print(cli.json, &answer, show_status);
    Ok(())
}

fn show_status(status: &Value) {
    println!(
        "Coffer at {}: {} stored, {} free",
        text(status, "name"),
        size_of(status, "stored_bytes"),
        size_of(status, "free_bytes")
    );
    let sentences = status["sentences"].as_array().cloned().unwrap_or_default();
    if sentences.is_empty() {
        println!("All is well. Nothing needs to be done.");
    }
    for sentence in sentences {
        println!("! {}", sentence.as_str().unwrap_or_default());
    }
    for note in status["notes"].as_array().into_iter().flatten() {
        println!("{}", note.as_str().unwrap_or_default());
    }
    println!();
    let mut lines = Vec::new();
    for computer in status["computers"].as_array().into_iter().flatten() {
        for config in computer["configurations"].as_array().into_iter().flatten() {
            let risk = match (config["at_risk_ms"].as_u64(), config["protected_ms"].as_u64()) {
                _ if computer["revoked"] == true => "not captured any more".into(),
                (Some(age), _) => coffer_vaultd::units::hours(age),
                (None, Some(_)) => "not known".into(),
                (None, None) => "everything".into(),
            };
            let connected = if computer["connected"] == true { "yes" } else { "no" };
            let name = format!("{}/{}", text(computer, "name"), text(config, "name"));
            lines.push(vec![name, text(config, "state"), connected.into(), text(config, "points"), risk]);
        }
    }
    table(&["CONFIGURATION", "STATE", "CONNECTED", "POINTS", "AT RISK SINCE"], &lines);
    println!();
    if status["has_library"] == true {
        println!(
            "Not on tape yet: {} in {} segments",
            size_of(status, "not_on_tape_bytes"),
            text(status, "not_on_tape")
        );
    }
    if let Some(behind) = not_at_hq(&status["hq"]) {
        println!("Not at HQ yet: {behind}");
    }
}

/// How much isn't at HQ, where the box has one. What HQ has is known while it says so.
fn not_at_hq(hq: &Value) -> Option<String> {
    match (hq["behind_bytes"].as_u64(), hq["connected"] == true) {
        _ if hq.is_null() => None,
        (Some(behind), _) => Some(show::size(behind)),
        (None, true) => Some("not known yet, as HQ is only just saying what it has".into()),
        (None, false) => Some("not known, as the box has no connection to HQ now".into()),
    }
}

fn show_computers(list: &Value) {
    let row = |one: &Value| {
        let revoked = if one["revoked"] == true { "revoked" } else { "enrolled" };
        vec![
            text(one, "computer"),
            text(one, "name"),
            text(one, "os"),
            revoked.into(),
            time_of(one, "enrolled_ms"),
            text(one, "protection"),
        ]
    };
    table(&["NUMBER", "NAME", "SYSTEM", "STATE", "SINCE", "PROTECTION"], &rows(list, row));
}

fn show_points(list: &Value) {
    let row = |one: &Value| {
        vec![
            text(one, "point"),
            time_of(one, "closed_ms"),
            text(one, "consistency"),
            text(one, "files"),
            size_of(one, "bytes"),
            size_of(one, "sent"),
            size_of(one, "stored"),
            text(one, "report_lines"),
            read_back(one),
        ]
    };
    table(
        &["POINT", "TIME", "CONSISTENT", "FILES", "CHANGED", "SENT", "STORED", "REMARKS", "READ BACK ON"],
        &rows(list, row),
    );
}

/// When a point was read back; why it doesn't count as that where it can't be restored whole.
fn read_back(point: &Value) -> String {
    let count = |name: &str| point[name].as_u64().unwrap_or(0);
    match (count("lost"), count("damaged")) {
        (0, 0) if point["is_doubtful"] == true => "metadata is missing".into(),
        (0, 0) => show::day_of(point, "read_back_ms"),
        (0, damaged) => format!("{damaged} damaged, copies have them"),
        (lost, 0) => format!("{lost} lost"),
        (lost, damaged) => format!("{lost} lost, {damaged} damaged"),
    }
}

/// What of a list known damage touches, in a column of its own where it does.
fn table_of_harm(headings: &[&str], list: &Value, row: impl Fn(&Value) -> Vec<String>) {
    let all = list.as_array().into_iter().flatten();
    if !all.clone().any(|one| one["harm"].is_string()) {
        return table(headings, &rows(list, row));
    }
    let with_harm = |one: &Value| {
        let harm = match one["harm"].as_str() {
            Some("lost") => "lost",
            Some(_) => "damaged, a copy has it",
            None => "",
        };
        [vec![harm.to_owned()], row(one)].concat()
    };
    table(&[&["DAMAGE"], headings].concat(), &rows(list, with_harm));
}

fn show_names(list: &Value) {
    let row = |one: &Value| {
        let seconds = one["mtime_ns"].as_i64().unwrap_or(0) / 1_000_000;
        vec![
            text(one, "kind"),
            size_of(one, "size"),
            show::time(seconds),
            text(one, "since"),
            text(one, "path"),
        ]
    };
    table_of_harm(&["KIND", "SIZE", "MODIFIED", "POINT", "NAME"], list, row);
}

fn show_versions(list: &Value) {
    let row = |one: &Value| {
        let seconds = one["mtime_ns"].as_i64().unwrap_or(0) / 1_000_000;
        let until = one["until"].as_u64().map_or_else(|| "now".into(), |until| until.to_string());
        vec![
            text(one, "since"),
            until,
            time_of(one, "closed_ms"),
            text(one, "kind"),
            size_of(one, "size"),
            show::time(seconds),
        ]
    };
    table_of_harm(&["FROM POINT", "UNTIL", "FIRST SEEN", "KIND", "SIZE", "MODIFIED"], list, row);
}

fn show_report(list: &Value) {
    table(
        &["KIND", "PATH", "REMARK"],
        &rows(list, |one| vec![text(one, "kind").replace('_', " "), text(one, "path"), text(one, "what")]),
    );
}

fn show_audit(list: &Value) {
    table(
        &["TIME", "WHO", "WHAT"],
        &rows(list, |one| vec![time_of(one, "ms"), text(one, "who"), text(one, "what")]),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_that_cannot_be_restored_whole_shows_that_and_no_date() {
        let shown = |lost: u64, damaged: u64, is_doubtful: bool| {
            read_back(
                &json!({ "read_back_ms": 0, "lost": lost, "damaged": damaged, "is_doubtful": is_doubtful }),
            )
        };
        assert!(shown(0, 0, false).starts_with("19"));
        assert_eq!(shown(4, 0, true), "4 lost");
        assert_eq!(shown(4, 2, false), "4 lost, 2 damaged");
        assert_eq!(shown(0, 2, false), "2 damaged, copies have them");
        assert_eq!(shown(0, 0, true), "metadata is missing");
    }

    #[test]
    fn what_is_not_at_hq_is_said_only_where_it_is_known() {
        let said = |hq: Value| not_at_hq(&hq).unwrap_or_default();
        assert_eq!(said(Value::Null), "");
        assert_eq!(said(json!({ "behind_bytes": 2048, "connected": true })), "2.0 KiB");
        assert!(said(json!({ "behind_bytes": null, "connected": true })).contains("only just"));
        assert!(
            said(json!({ "behind_bytes": null, "connected": false })).contains("no connection to HQ now")
        );
    }
}
