//! From TOML to a [`BackupConfig`], collecting mistakes on the way.

use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::{
    BackupConfig, Bandwidth, BandwidthRule, CompressionChoice, ConfigMistake, Database, Keep, Manners,
    OpenFiles, When, Window, futile, manners,
};

const KEYS: &str = "include, exclude, when, window, run_to_completion, automatic_exclusions, settle_seconds, cut.pages, compression, keep, open_files, quiet, bookmark, database, system_state, bandwidth, on_battery, metered, priority";

/// A continuous configuration's bookmarks, where it doesn't say.
const BOOKMARK: Duration = Duration::from_secs(3600);

pub(super) type Value<'a> = toml::Spanned<DeValue<'a>>;

/// Besides the configuration, mistakes that an earlier version accepted, and that have been put right in it.
pub(super) fn parse(text: &str) -> Result<(BackupConfig, Vec<ConfigMistake>), Vec<ConfigMistake>> {
    let mut found = Findings { text, mistakes: Vec::new(), put_right: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        found.mistake(span, error.message().trim().to_owned(), "Correct this line; it isn't valid TOML.");
    }
    let config = found.read(table.get_ref());
    found.mistakes.sort_by_key(|mistake| mistake.line);
    found.put_right.sort_by_key(|mistake| mistake.line);
    if found.mistakes.is_empty() { Ok((config, found.put_right)) } else { Err(found.mistakes) }
}

pub(super) struct Findings<'a> {
    text: &'a str,
    mistakes: Vec<ConfigMistake>,
    put_right: Vec<ConfigMistake>,
}

impl Findings<'_> {
    pub(super) fn mistake(&mut self, span: Range<usize>, what: String, remedy: &str) {
        let mistake = self.at(&span, what, remedy);
        self.mistakes.push(mistake);
    }

    /// One that earlier versions accepted: the caller has put it right in the configuration.
    pub(super) fn accepted_once(&mut self, span: Range<usize>, what: String, remedy: &str) {
        let mistake = self.at(&span, what, remedy);
        self.put_right.push(mistake);
    }

    fn at(&self, span: &Range<usize>, what: String, remedy: &str) -> ConfigMistake {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        ConfigMistake { line, what, remedy: remedy.to_owned() }
    }

    fn read(&mut self, table: &DeTable<'_>) -> BackupConfig {
        let mut config = BackupConfig {
            include: Vec::new(),
            exclude: Vec::new(),
            when: When::Continuous,
            window: Vec::new(),
            run_to_completion: true,
            automatic_exclusions: true,
            settle: Duration::from_secs(2),
            page_patterns: Vec::new(),
            compression: CompressionChoice::Auto,
            keep: None,
            open_files: OpenFiles::Snapshot,
            bookmark: Some(BOOKMARK),
            database: None,
            system_state: false,
            manners: Manners::default(),
        };
        let mut quiet = None;
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "quiet" => quiet = Some((self.quiet(value), value.span())),
                key_name => self.key(&mut config, key_name, key.span(), value),
            }
        }
        match (&mut config.open_files, quiet) {
            (OpenFiles::Quiet(wanted), Some((quiet, _))) => *wanted = quiet,
            (_, Some((_, span))) => {
                let what = "quiet is said, but isn't waited for".to_owned();
                self.mistake(span, what, "Write open_files = \"quiet\" as well, or remove it.");
            }
            (_, None) => {}
        }
        self.at_one_instant(&mut config, table.get("when").map(toml::Spanned::span));
        if let Some(exclude) = table.get("exclude") {
            self.contradictions(&config, exclude);
        }
        let finds_files = config.database.as_ref().is_some_and(Database::tells_files);
        if !table.contains_key("include") && !finds_files {
            let remedy = "Add a line such as include = [\"/home\", \"/srv\"].";
            self.mistake(0..0, "nothing is included".to_owned(), remedy);
        }
        config
    }

    fn key(&mut self, config: &mut BackupConfig, key: &str, at: Range<usize>, value: &Value<'_>) {
        match key {
            "include" => config.include = self.includes(value),
            "exclude" => config.exclude = self.patterns(key, value),
            "when" => config.when = self.parsed(key, value).unwrap_or(When::Continuous),
            "window" => config.window = self.windows(value),
            "run_to_completion" => config.run_to_completion = self.boolean(key, value),
            "automatic_exclusions" => config.automatic_exclusions = self.boolean(key, value),
            "settle_seconds" => config.settle = self.settle(value),
            "cut" => config.page_patterns = self.cut(value),
            "compression" => config.compression = self.compression(value),
            "keep" => config.keep = Some(self.keep(value)),
            "open_files" => config.open_files = self.open_files(value),
            "bookmark" => config.bookmark = self.bookmark(value),
            "database" => config.database = self.database(value),
            "system_state" => config.system_state = self.boolean(key, value),
            "bandwidth" => config.manners.bandwidth = self.bandwidth(value),
            "on_battery" => config.manners.on_battery = self.chosen(key, value, &manners::ON_BATTERY),
            "metered" => config.manners.metered = self.chosen(key, value, &manners::METERED),
            "priority" => config.manners.priority = self.chosen(key, value, &manners::PRIORITY),
            _ => {
                let remedy = format!("Remove it, or use one of: {KEYS}.");
                self.mistake(at, format!("unknown key \"{key}\""), &remedy);
            }
        }
    }

    fn includes(&mut self, value: &Value<'_>) -> Vec<String> {
        let paths = self.paths("include", value);
        if paths.is_empty() {
            let remedy = "Name at least one path, such as include = [\"/home\"].";
            self.mistake(value.span(), "nothing is included".to_owned(), remedy);
        }
        paths
    }

    pub(super) fn paths(&mut self, key: &str, value: &Value<'_>) -> Vec<String> {
        let paths = self.strings(key, value);
        for (path, span) in &paths {
            let windows_drive = path.as_bytes().get(1) == Some(&b':');
            let odd = path.split(['/', '\\']).any(|part| part == "..");
            if odd || !(path.starts_with('/') || windows_drive) {
                let remedy = "Write the whole path from the root, such as \"/srv/data\", without \"..\".";
                self.mistake(span.clone(), format!("\"{path}\" is not an absolute path"), remedy);
            } else if path.contains(['*', '?']) {
                let what = format!("\"{path}\" is a pattern, and {key} takes none");
                let remedy = "Name the folder that holds what you want; patterns of what to leave out of it go into exclude.";
                self.mistake(span.clone(), what, remedy);
            }
        }
        paths.into_iter().map(|(path, _)| path).collect()
    }

    fn patterns(&mut self, key: &str, value: &Value<'_>) -> Vec<String> {
        let patterns = self.strings(key, value);
        for (pattern, span) in &patterns {
            if let Err(error) = super::scope::glob(pattern) {
                let what = format!("\"{pattern}\" is not a pattern: {}", error.kind());
                self.mistake(
                    span.clone(),
                    what,
                    "Write a pattern such as \"**/*.tmp\" or \"/home/*/.cache\".",
                );
            } else if let Some((what, remedy)) = futile::matches_nothing(pattern, key == "cut.pages") {
                self.accepted_once(span.clone(), what, &remedy);
            }
        }
        patterns.into_iter().map(|(pattern, _)| pattern).collect()
    }

    /// What's included and left out as well stays included; whoever writes that means something else.
    fn contradictions(&mut self, config: &BackupConfig, exclude: &Value<'_>) {
        for item in exclude.get_ref().as_array().into_iter().flat_map(|items| items.iter()) {
            let Some(pattern) = item.get_ref().as_str() else { continue };
            if futile::is_included(pattern, &config.include) {
                let what = format!("\"{pattern}\" is both included and excluded");
                self.accepted_once(item.span(), what, "Remove it from include or from exclude.");
            }
        }
        let has_more = config.system_state || config.database.as_ref().is_some_and(Database::tells_files);
        if !has_more && futile::leave_nothing(&config.exclude, &config.include) {
            let what = "exclude leaves out everything that's included".to_owned();
            self.accepted_once(exclude.span(), what, "Write which names to leave out, such as \"**/*.tmp\".");
        }
    }

    fn windows(&mut self, value: &Value<'_>) -> Vec<Window> {
        let mut windows = Vec::new();
        for (text, span) in self.strings("window", value) {
            match text.parse() {
                Ok(window) => windows.push(window),
                Err(error) => self.mistake(span, format!("{error}"), super::window::REMEDY),
            }
        }
        windows
    }

    fn bandwidth(&mut self, value: &Value<'_>) -> Bandwidth {
        let mut rules: Vec<BandwidthRule> = Vec::new();
        for (text, span) in self.strings("bandwidth", value) {
            if rules.last().is_some_and(|rule| rule.hours.is_none()) {
                let what = format!("\"{text}\" comes after the limit for all other times and never counts");
                self.mistake(span.clone(), what, "Move it in front of \"otherwise …\", or remove it.");
            }
            match text.parse() {
                Ok(rule) => rules.push(rule),
                Err(error) => self.mistake(span, format!("{error}"), super::bandwidth::REMEDY),
            }
        }
        Bandwidth(rules)
    }

    /// One of a few words.
    fn chosen<T: Copy + Default>(&mut self, key: &str, value: &Value<'_>, words: &[(&str, T)]) -> T {
        let said = value.get_ref().as_str();
        if let Some((_, chosen)) = words.iter().find(|(word, _)| said == Some(word)) {
            return *chosen;
        }
        let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let what = format!("{key} is not one that is known");
        self.mistake(value.span(), what, &format!("Write one of {}.", words.join(", ")));
        T::default()
    }

    fn cut(&mut self, value: &Value<'_>) -> Vec<String> {
        let mut patterns = Vec::new();
        let Some(table) = value.get_ref().as_table() else {
            self.mistake(value.span(), "cut is not a table".to_owned(), "Write cut.pages = [\"*.dat\"].");
            return patterns;
        };
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "pages" => patterns = self.patterns("cut.pages", value),
                other => {
                    let what = format!("unknown key \"cut.{other}\"");
                    self.mistake(key.span(), what, "Remove it; only cut.pages is known.");
                }
            }
        }
        patterns
    }

    fn keep(&mut self, value: &Value<'_>) -> Keep {
        const REMEDY: &str =
            "Write keep = { all_hours = 48, hourly = 96, daily = 28, weekly = 8, monthly = 3 }.";
        let mut keep = Keep::default();
        let Some(table) = value.get_ref().as_table() else {
            self.mistake(value.span(), "keep is not a table".to_owned(), REMEDY);
            return keep;
        };
        for (key, value) in table.iter() {
            let count = value.get_ref().as_integer().and_then(|n| n.as_str().parse::<u32>().ok());
            let slot = match key.get_ref().as_ref() {
                "all_hours" => &mut keep.all_hours,
                "hourly" => &mut keep.hourly,
                "daily" => &mut keep.daily,
                "weekly" => &mut keep.weekly,
                "monthly" => &mut keep.monthly,
                other => {
                    self.mistake(key.span(), format!("unknown key \"keep.{other}\""), REMEDY);
                    continue;
                }
            };
            match count {
                Some(count) => *slot = count,
                None => self.mistake(
                    value.span(),
                    format!("keep.{} is not a whole number", key.get_ref()),
                    REMEDY,
                ),
            }
        }
        keep
    }

    fn settle(&mut self, value: &Value<'_>) -> Duration {
        let seconds = value.get_ref().as_integer().and_then(|n| n.as_str().parse::<u64>().ok());
        match seconds {
            Some(seconds) if seconds <= 3600 => Duration::from_secs(seconds),
            _ => {
                let what = "settle_seconds is not a number of seconds from 0 to 3600".to_owned();
                self.mistake(value.span(), what, "Write a whole number, such as settle_seconds = 2.");
                Duration::from_secs(2)
            }
        }
    }

    fn compression(&mut self, value: &Value<'_>) -> CompressionChoice {
        match value.get_ref().as_str() {
            Some("auto") => CompressionChoice::Auto,
            Some("fast") => CompressionChoice::Fast,
            Some("best") => CompressionChoice::Best,
            _ => {
                let what = "compression is not one that is known".to_owned();
                self.mistake(value.span(), what, "Write \"auto\", \"fast\" or \"best\".");
                CompressionChoice::Auto
            }
        }
    }

    pub(super) fn boolean(&mut self, key: &str, value: &Value<'_>) -> bool {
        value.get_ref().as_bool().unwrap_or_else(|| {
            let what = format!("{key} is neither true nor false");
            self.mistake(value.span(), what, &format!("Write {key} = true or {key} = false."));
            true
        })
    }

    fn parsed(&mut self, key: &str, value: &Value<'_>) -> Option<When> {
        let parsed = value.get_ref().as_str().map(str::parse::<When>);
        match parsed {
            Some(Ok(when)) => Some(when),
            Some(Err(error)) => {
                self.mistake(value.span(), format!("{error}"), super::when::REMEDY);
                None
            }
            None => {
                self.mistake(value.span(), format!("{key} is not a text"), super::when::REMEDY);
                None
            }
        }
    }

    pub(super) fn strings(&mut self, key: &str, value: &Value<'_>) -> Vec<(String, Range<usize>)> {
        let Some(array) = value.get_ref().as_array() else {
            let what = format!("{key} is not a list");
            self.mistake(value.span(), what, &format!("Write {key} = [\"…\", \"…\"]."));
            return Vec::new();
        };
        let mut strings = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_str() {
                Some(text) => strings.push((text.to_owned(), item.span())),
                None => {
                    let what = format!("{key} holds something that isn't a text");
                    self.mistake(item.span(), what, "Put each entry between quotation marks.");
                }
            }
        }
        strings
    }
}
