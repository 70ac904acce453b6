//! Tables, sizes and times for people; progress on a terminal.

use std::io::{IsTerminal, Write};

use coffer_vaultd::units::printable;
pub(crate) use coffer_vaultd::units::size;
use jiff::Timestamp;
use serde_json::Value;

/// Prints JSON as it is, or lets `people` print it.
pub(crate) fn print(json: bool, value: &Value, people: impl FnOnce(&Value)) {
    if json { println!("{value:#}") } else { people(value) }
}

/// Prints rows under their headings, each as one line.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let width = |at: usize| {
        rows.iter().map(|row| row[at].chars().count()).chain([headings[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", padded.join("  ").trim_end());
    };
    line(headings.to_vec());
    for row in &rows {
        line(row.iter().map(String::as_str).collect());
    }
}

/// One row for each object of a list.
pub(crate) fn rows(list: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    list.as_array().map(|all| all.iter().map(row).collect()).unwrap_or_default()
}

/// A member as text.
pub(crate) fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

pub(crate) fn size_of(value: &Value, name: &str) -> String {
    value[name].as_u64().map_or_else(|| "-".into(), size)
}

/// Milliseconds since 1970 as local time.
pub(crate) fn time_of(value: &Value, name: &str) -> String {
    value[name].as_i64().map_or_else(|| "-".into(), time)
}

/// Milliseconds since 1970 as the local day.
pub(crate) fn day_of(value: &Value, name: &str) -> String {
    value[name]
        .as_i64()
        .map_or_else(|| "-".into(), |ms| time(ms).chars().take_while(|one| *one != ' ').collect())
}

pub(crate) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(
        |_| "-".into(),
        |at| at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// One line that is written over, where there's a terminal.
pub(crate) struct Progress {
    terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { terminal: std::io::stderr().is_terminal() }
    }

    pub(crate) fn line(&self, line: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            // A terminal that can't be written to needs no progress.
            std::io::stderr().flush().ok();
        }
    }

    pub(crate) fn working(&self, working: &Value) {
        match (working["bytes"].as_u64(), working["of"].as_u64(), working["doing"].as_str()) {
            (Some(done), Some(all), _) if all > 0 => {
                self.line(&format!("{} of {} ({} %)", size(done), size(all), done * 100 / all));
            }
            (_, _, Some(doing)) => self.line(doing),
            _ => {}
        }
    }

    pub(crate) fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
