//! The keys that say how files are made to stand still: `open_files`, `quiet`, `bookmark` and `database`.

use std::ops::Range;
use std::time::Duration;

use super::parse::{Findings, Value};
use super::{Application, BackupConfig, Database, OpenFiles, Quiet, When};

const QUIET_REMEDY: &str = "Write quiet = { seconds = 5, at_most_seconds = 120 }, with 1 to 3600 each.";
const DATABASE_REMEDY: &str =
    "Known are application, names, truncate_logs, before, after, logs and logs_every.";
const SECONDS_MAX: u64 = 3600;
/// How often databases are captured, where the configuration doesn't say.
const EVERY: Duration = Duration::from_secs(3600);

impl Findings<'_> {
    pub(super) fn open_files(&mut self, value: &Value<'_>) -> OpenFiles {
        match value.get_ref().as_str() {
            Some("snapshot") => OpenFiles::Snapshot,
            Some("quiet") => OpenFiles::Quiet(Quiet::default()),
            Some("as they are") => OpenFiles::AsTheyAre,
            _ => {
                let what = "open_files is not one that is known".to_owned();
                self.mistake(value.span(), what, "Write \"snapshot\", \"quiet\" or \"as they are\".");
                OpenFiles::Snapshot
            }
        }
    }

    pub(super) fn quiet(&mut self, value: &Value<'_>) -> Quiet {
        let mut quiet = Quiet::default();
        let Some(table) = value.get_ref().as_table() else {
            self.mistake(value.span(), "quiet is not a table".to_owned(), QUIET_REMEDY);
            return quiet;
        };
        for (key, value) in table.iter() {
            let seconds = value.get_ref().as_integer().and_then(|number| number.as_str().parse::<u64>().ok());
            let seconds = seconds.filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
            match (key.get_ref().as_ref(), seconds.map(Duration::from_secs)) {
                ("seconds", Some(wanted)) => quiet.wanted = wanted,
                ("at_most_seconds", Some(at_most)) => quiet.at_most = at_most,
                (other, _) => {
                    self.mistake(value.span(), format!("quiet.{other} can't be used"), QUIET_REMEDY);
                }
            }
        }
        quiet
    }

    /// `None`: never.
    pub(super) fn bookmark(&mut self, value: &Value<'_>) -> Option<Duration> {
        match value.get_ref().as_str() {
            Some("never") => None,
            Some(text) if matches!(text.parse(), Ok(When::Every(_))) => every(text),
            _ => {
                let what = "bookmark is not a time".to_owned();
                self.mistake(
                    value.span(),
                    what,
                    "Write \"every 1 hours\", \"every 15 minutes\" or \"never\".",
                );
                None
            }
        }
    }

    pub(super) fn database(&mut self, value: &Value<'_>) -> Option<Database> {
        let Some(table) = value.get_ref().as_table() else {
            self.mistake(value.span(), "database is not a table".to_owned(), DATABASE_REMEDY);
            return None;
        };
        let mut database = Database {
            application: Application::Files,
            names: Vec::new(),
            truncate_logs: false,
            before: None,
            after: None,
            logs: Vec::new(),
            logs_every: None,
        };
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "application" => database.application = self.application(value),
                "names" => database.names = self.texts("database.names", value),
                "truncate_logs" => database.truncate_logs = self.boolean("database.truncate_logs", value),
                "before" => database.before = self.command("database.before", value),
                "after" => database.after = self.command("database.after", value),
                "logs" => database.logs = self.paths("database.logs", value),
                "logs_every" => database.logs_every = self.logs_every(value),
                other => {
                    let what = format!("unknown key \"database.{other}\"");
                    self.mistake(key.span(), what, DATABASE_REMEDY);
                }
            }
        }
        if database.application == Application::Files
            && (database.truncate_logs || !database.names.is_empty())
        {
            let what = "names and truncate_logs need an application that knows its databases".to_owned();
            self.mistake(
                value.span(),
                what,
                "Write application = \"sql-server\" or \"exchange\", or remove them.",
            );
        }
        if database.application == Application::SqlServer
            && database.logs.is_empty()
            && database.logs_every.is_some()
        {
            let what = "SQL Server keeps its logs to itself between two points".to_owned();
            let remedy =
                "Have it back its logs up to a folder, and name that in include and in database.logs.";
            self.mistake(value.span(), what, remedy);
        }
        if database.application == Application::Files
            && database.logs.is_empty()
            && database.logs_every.is_some()
        {
            let what = "logs_every is said, but not which files are logs".to_owned();
            self.mistake(value.span(), what, "Write database.logs = [\"…\"].");
        }
        Some(database)
    }

    /// What a database needs (its application, its commands) is there for each point of everything. What's watched is captured file by
    /// file, without it.
    pub(super) fn at_one_instant(&mut self, config: &mut BackupConfig, when: Option<Range<usize>>) {
        if config.database.is_none() || config.when != When::Continuous {
            return;
        }
        config.when = When::Every(EVERY);
        if let Some(span) = when {
            let what = "a database can't be captured continuously".to_owned();
            let remedy =
                "Write when = \"every 1 hours\"; its logs may come between with database.logs_every.";
            self.accepted_once(span, what, remedy);
        }
    }

    fn application(&mut self, value: &Value<'_>) -> Application {
        match value.get_ref().as_str() {
            Some("sql-server") => Application::SqlServer,
            Some("exchange") => Application::Exchange,
            Some("files") => Application::Files,
            _ => {
                let what = "database.application is not one that is known".to_owned();
                self.mistake(value.span(), what, "Write \"sql-server\", \"exchange\" or \"files\".");
                Application::Files
            }
        }
    }

    fn texts(&mut self, key: &str, value: &Value<'_>) -> Vec<String> {
        self.strings(key, value).into_iter().map(|(text, _)| text).collect()
    }

    fn command(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let command = value.get_ref().as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        if command.is_none() {
            self.mistake(
                value.span(),
                format!("{key} is not a command"),
                "Write it as one text, or remove it.",
            );
        }
        command
    }

    fn logs_every(&mut self, value: &Value<'_>) -> Option<Duration> {
        let found = value.get_ref().as_str().and_then(every);
        if found.is_none() {
            let what = "database.logs_every is not a time".to_owned();
            self.mistake(value.span(), what, "Write \"every 30 seconds\" or \"every 5 minutes\".");
        }
        found
    }
}

fn every(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(When::Every(every)) => Some(every),
        _ => None,
    }
}
