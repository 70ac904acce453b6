//! Looking after tapes.

use clap::Subcommand;
use coffer_vault::query::Query;
use serde_json::{Value, json};

use crate::manage::simple;
use crate::show::{self, rows, size_of, table, text, time_of};
use crate::{Cli, Done};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Cartridges that this box has written.
    List,
    /// What the library holds now.
    Inventory,
    /// Write everything that isn't on tape yet.
    Run,
    /// What would be done with the cartridges now.
    Plan,
    /// How often drives and cleaning cartridges were used, and failed.
    Wear,
    /// Move a cartridge to the mail slot.
    Eject { barcode: String },
    /// Copy what is on a cartridge elsewhere, then never use it again.
    Retire { barcode: String },
    /// A cartridge is lost: copy what was on it from the disk or other cartridges.
    Lost { barcode: String },
    /// Which versions would be lost with a cartridge.
    Impact {
        barcode: String,
        /// How many to name.
        #[arg(long, default_value_t = 20)]
        named: usize,
    },
    /// Restore from cartridges on a machine without the box.
    Read(Box<crate::tape_read::Options>),
    /// Clean a drive (a number that `tape inventory` shows) now.
    Clean { drive: usize },
    /// Use a cartridge, whatever is on it. What somebody else wrote on it is overwritten.
    Take { barcode: String },
}

pub(crate) fn run(cli: &Cli, command: &Command) -> Done {
    let of = |what: &str, barcode: &str| json!({ "do": what, "barcode": barcode });
    let to_copy = |answer: &Value| {
        println!(
            "{} segments on it are copied elsewhere by the next runs.",
            text(answer, "segments_to_copy")
        );
    };
    match command {
        Command::List => simple(cli, json!(Query::Cartridges), show_cartridges),
        Command::Inventory => simple(cli, json!({ "do": "tape_inventory" }), show_inventory),
        Command::Run => simple(cli, json!({ "do": "tape_run" }), |answer| {
            println!("{} segments ({}) are on tape now.", text(answer, "segments"), size_of(answer, "bytes"));
            for refused in answer["refused"].as_array().into_iter().flatten() {
                println!("! {}", refused.as_str().unwrap_or_default());
            }
        }),
        Command::Plan => simple(cli, json!({ "do": "tape_plan" }), |steps| {
            for step in steps.as_array().into_iter().flatten() {
                println!("{}", step.as_str().unwrap_or_default());
            }
        }),
        Command::Wear => simple(cli, json!({ "do": "tape_wear" }), show_wear),
        Command::Eject { barcode } => simple(cli, of("tape_eject", barcode), |_| {
            println!("Take tape {barcode} out of the mail slot.");
        }),
        Command::Retire { barcode } => simple(cli, of("tape_retire", barcode), to_copy),
        Command::Lost { barcode } => simple(cli, of("tape_lost", barcode), |answer| {
            to_copy(answer);
            show_impact(barcode, &answer["impact"]);
            if let Some(count) = answer["from_hq"].as_u64().filter(|count| *count > 0) {
                println!("{count} segments that no other tape holds came back from HQ.");
            }
            if let Some(why) = answer["hq_failed"].as_str() {
                println!("! What only HQ has didn't come back: {why}");
            }
        }),
        Command::Impact { barcode, named } => {
            let request = json!({ "do": "tape_impact", "barcode": barcode, "named": named });
            simple(cli, request, |answer| show_impact(barcode, answer))
        }
        Command::Read(options) => crate::tape_read::run(cli, options),
        Command::Clean { drive } => simple(cli, json!({ "do": "tape_clean", "drive": drive }), |answer| {
            println!("Drive {drive} was cleaned with {}.", text(answer, "with"));
        }),
        Command::Take { barcode } => simple(cli, of("tape_take", barcode), |_| {
            println!("Tape {barcode} will be overwritten when it's needed.");
        }),
    }
}

fn show_cartridges(list: &Value) {
    let row = |one: &Value| {
        vec![
            text(one, "barcode"),
            text(one, "state_name"),
            text(one, "set"),
            text(one, "number"),
            size_of(one, "written"),
            text(one, "whereabouts_name"),
            text(one, "loads"),
            text(one, "errors"),
        ]
    };
    let heads = ["BARCODE", "STATE", "SET", "NUMBER", "WRITTEN", "WHERE", "LOADS", "ERRORS"];
    table(&heads, &rows(list, row));
}

fn show_impact(barcode: &str, impact: &Value) {
    if impact["segments"] == 0 {
        println!("Nothing depends on tape {barcode} alone: all of it is on disk, on another tape or at HQ.");
        return;
    }
    println!(
        "{} versions depend on tape {barcode} alone ({} in {} segments).",
        text(impact, "versions"),
        size_of(impact, "bytes"),
        text(impact, "segments")
    );
    let row = |one: &Value| {
        let until = one["until_ms"].as_i64().map_or_else(|| "now".into(), show::time);
        let config = format!("{}/{}", text(one, "computer"), text(one, "config"));
        vec![config, time_of(one, "from_ms"), until, size_of(one, "size"), text(one, "path")]
    };
    table(&["CONFIGURATION", "FROM", "UNTIL", "SIZE", "PATH"], &rows(&impact["first"], row));
}

fn show_wear(wear: &Value) {
    let drive = |one: &Value| {
        let (written, read) = (size_of(one, "written"), size_of(one, "read"));
        vec![text(one, "serial"), text(one, "loads"), written, read, text(one, "errors")]
    };
    table(&["DRIVE", "LOADS", "WRITTEN", "READ", "ERRORS"], &rows(&wear["drives"], drive));
    let cleaner = |one: &Value| vec![text(one, "barcode"), text(one, "uses")];
    table(&["CLEANING TAPE", "USES"], &rows(&wear["cleaners"], cleaner));
}

fn show_inventory(inventory: &Value) {
    let place = |kind: &'static str| {
        move |one: &Value| {
            vec![
                kind.to_owned(),
                text(one, "element"),
                if one["full"] == true { text(one, "barcode") } else { "empty".into() },
            ]
        }
    };
    let mut lines = rows(&inventory["drives"], place("drive"));
    lines.extend(rows(&inventory["slots"], place("slot")));
    lines.extend(rows(&inventory["mail_slots"], place("mail slot")));
    table(&["PLACE", "ADDRESS", "CARTRIDGE"], &lines);
}
