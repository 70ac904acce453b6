//! `box.toml`: checked whole before anything opens. Unknown keys are refused; every value has a default that works.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use coffer_vault::{reclaim, retention};
use serde::{Deserialize, Serialize};

use crate::tape::media::{self, Calendar, Rules};

/// Longest that anything may lie on the disk without being read back.
const SCRUB_DAYS_MAX: u64 = 365;

/// Everything that can be set on a box.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The box's name, as people know the branch.
    pub name: String,
    /// Where agents and operators connect.
    pub listen: SocketAddr,
    /// Tell the LAN that the box is there (mDNS), so that computers enrol without its address and find it after it has moved.
    pub advertise: bool,
    /// Where the status page is served over HTTPS; nothing turns it off.
    pub page: Option<SocketAddr>,
    /// Intake stops while less than this is free on the vault's disk.
    pub reserve_mib: u64,
    pub retention: retention::Policy,
    pub reclaim: Reclaim,
    pub scrub: Scrub,
    pub tape: Tape,
    /// Headquarters: `[hq]` is checked by the replicator.
    pub hq: Option<toml::Table>,
}

/// `[reclaim]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reclaim {
    /// Verified copies elsewhere before data may leave the disk; 0 never lets it.
    pub copies_before_eviction: u32,
    /// Data is evicted (oldest first) until this much is free.
    pub free_target_mib: u64,
    pub compact_below_percent: u32,
    /// Retention and reclaim run by themselves this often; 0 turns that off.
    pub every_minutes: u64,
}

/// `[scrub]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scrub {
    /// Whether the box reads its disk back, and restores a file of each computer each day, by itself.
    pub enabled: bool,
    /// Everything on the disk is read back within so many days.
    pub days: u64,
}

/// `[tape]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tape {
    pub enabled: bool,
    /// The changer's device, such as `/dev/sg3`; without one the box has no library.
    pub changer: Option<PathBuf>,
    /// The drives' devices.
    pub drives: Vec<PathBuf>,
    /// For demonstrations and tests: a library that is simulated in the box's own folder, and protects nothing.
    pub simulated: bool,
    /// Everything is on tape at the latest after so long; a run starts at once when so much is waiting.
    pub every_minutes: u64,
    pub start_at_mib: u64,
    /// Name of the media set that stays in the library.
    pub set: String,
    pub offsite: OffSite,
    /// Empty cartridges to keep at hand: below that, cartridges of which nothing is needed are overwritten, and others emptied.
    pub spare_tapes: usize,
    /// A cartridge is emptied if less than this part of it is still needed.
    pub empty_below_percent: u64,
    /// A cartridge that should be in the library counts as lost after so many days.
    pub missing_days: u64,
    /// What a cartridge takes, for the forecast; 0: as its generation does.
    pub capacity_gib: u64,
    /// Data read back to disk at a time, to be written to another cartridge.
    pub read_back_mib: u64,
    /// A program that is run with each sentence for the people at the library (empty: nothing to do).
    pub tell: Option<PathBuf>,
    /// A file that gets `1` while people at the library have something to do, else `0`.
    pub lamp: Option<PathBuf>,
}

/// `[tape.offsite]`: a second copy of everything, which leaves the house each week.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OffSite {
    pub enabled: bool,
    pub set: String,
    /// When its cartridges are ejected, such as `friday` at `16:00`.
    pub weekday: String,
    pub time: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: "branch".into(),
            listen: ([0, 0, 0, 0], 7420).into(),
            advertise: true,
            page: Some(([0, 0, 0, 0], 7443).into()),
            reserve_mib: 512,
            retention: retention::Policy::default(),
            reclaim: Reclaim::default(),
            scrub: Scrub::default(),
            tape: Tape::default(),
            hq: None,
        }
    }
}

impl Default for Reclaim {
    fn default() -> Self {
        Reclaim {
            copies_before_eviction: 1,
            free_target_mib: 0,
            compact_below_percent: 40,
            every_minutes: 60,
        }
    }
}

impl Default for Scrub {
    fn default() -> Self {
        Scrub { enabled: true, days: 30 }
    }
}

impl Default for Tape {
    fn default() -> Self {
        Tape {
            enabled: true,
            changer: None,
            drives: Vec::new(),
            simulated: false,
            every_minutes: 24 * 60,
            start_at_mib: 1024,
            set: "branch".into(),
            offsite: OffSite::default(),
            spare_tapes: 1,
            empty_below_percent: 50,
            missing_days: 7,
            capacity_gib: 0,
            read_back_mib: 32 * 1024,
            tell: None,
            lamp: None,
        }
    }
}

impl Default for OffSite {
    fn default() -> Self {
        OffSite { enabled: false, set: "offsite".into(), weekday: "friday".into(), time: "16:00".into() }
    }
}

impl Tape {
    /// The rules that media are used by.
    pub(crate) fn rules(&self, copies_before_eviction: u32) -> Result<Rules> {
        const DAY_MS: u64 = 24 * 3_600_000;
        let calendar = Calendar::weekly(&self.offsite.weekday, &self.offsite.time)
            .map_err(|mistake| anyhow::anyhow!("tape.offsite: {mistake}"))?;
        let offsite = media::OffSite { set: self.offsite.set.clone(), calendar };
        Ok(Rules {
            branch: self.set.clone(),
            offsite: self.offsite.enabled.then_some(offsite),
            copies_before_eviction,
            start_bytes: self.start_at_mib << 20,
            every_ms: self.every_minutes * 60_000,
            spare_tapes: self.spare_tapes,
            empty_below_percent: self.empty_below_percent,
            missing_ms: self.missing_days * DAY_MS,
            capacity_bytes: (self.capacity_gib > 0).then_some(self.capacity_gib << 30),
            read_back_bytes: self.read_back_mib << 20,
        })
    }

    /// Whether the settings name a library.
    pub(crate) fn has_library(&self) -> bool {
        self.enabled && (self.changer.is_some() || self.simulated)
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.changer.is_none() && !self.drives.is_empty() {
            mistakes.push(
                "tape.drives: drives without their changer are no library. Name it, such as changer = \"/dev/sg3\""
                    .into(),
            );
        }
        if self.changer.is_some() && self.simulated {
            mistakes.push(
                "tape.simulated: a simulated library takes the place of the real one. Remove it, or the changer".into(),
            );
        }
        if self.changer.is_some() && self.drives.is_empty() {
            mistakes.push(
                "tape.drives: a changer needs at least one drive. List its drives, such as [\"/dev/sg4\"]"
                    .into(),
            );
        }
        if let Err(mistake) = self.rules(1) {
            mistakes.push(mistake.to_string());
        }
        if self.set.is_empty() || self.offsite.enabled && self.set == self.offsite.set {
            mistakes.push("tape.set: needs a name of its own. Give the two sets different names".into());
        }
        if self.empty_below_percent > 90 {
            mistakes.push("tape.empty_below_percent: is above 90. Choose 0 to 90".into());
        }
        mistakes
    }
}

impl Reclaim {
    pub fn policy(&self) -> reclaim::Policy {
        reclaim::Policy {
            copies_before_eviction: self.copies_before_eviction,
            free_target_bytes: self.free_target_mib << 20,
            compact_below_percent: self.compact_below_percent,
        }
    }
}

impl Settings {
    /// Reads and checks a file; every mistake is told, each with its line and what to do.
    pub fn load(path: &Path) -> Result<Settings> {
        let text = coffer_link::read_small_text(path).with_context(|| {
            format!("cannot read {}: put it back, or run `cofferd init` for a new box", path.display())
        })?;
        if text.parse::<toml::Table>().is_ok_and(|table| table.is_empty()) {
            bail!(
                "{} says nothing, and a box that was set up has settings: put it back from its copy, or write at least the branch's \
                 name into it and, where the box has them, [tape] and [hq]",
                path.display()
            );
        }
        Settings::parse(&text)
            .with_context(|| format!("{} was not accepted and nothing was started", path.display()))
    }

    /// Writes the settings to a file, durably.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self)?;
        coffer_link::write_durable_file(path, text.as_bytes(), &std::fs::OpenOptions::new())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn parse(text: &str) -> Result<Settings> {
        let (settings, mut mistakes) = read_tables(text);
        if settings.name.trim().is_empty() {
            mistakes.push("name: is empty. Give the branch's name".into());
        }
        if settings.retention.keeps_nothing() {
            mistakes.push(
                "retention: all of it is 0, so no history would be kept. Give at least one number above 0, or remove the table"
                    .into(),
            );
        }
        if !(1..=SCRUB_DAYS_MAX).contains(&settings.scrub.days) {
            mistakes.push(format!(
                "scrub.days: is {}. Choose 1 to {SCRUB_DAYS_MAX}; only enabled = false has the box read nothing back",
                settings.scrub.days
            ));
        }
        mistakes.extend(settings.tape.mistakes());
        if settings.reclaim.compact_below_percent > 90 {
            mistakes.push("reclaim.compact_below_percent: is above 90. Choose 0 to 90".into());
        }
        if mistakes.is_empty() { Ok(settings) } else { bail!("{}", mistakes.join("\n")) }
    }
}

/// Takes each table by itself, so that a mistake in one doesn't hide those in others.
fn read_tables(text: &str) -> (Settings, Vec<String>) {
    let mut mistakes = Vec::new();
    let mut document = match text.parse::<toml::Table>() {
        Ok(document) => document,
        Err(error) => return (Settings::default(), vec![format!("{error}. Correct that line")]),
    };
    let mut kept = toml::Table::new();
    let names: Vec<String> = document.keys().cloned().collect();
    for name in names {
        let Some(value) = document.remove(&name) else { continue };
        let mut alone = toml::Table::new();
        alone.insert(name.clone(), value.clone());
        match alone.try_into::<Settings>() {
            Ok(_) => {
                kept.insert(name, value);
            }
            Err(error) => {
                let line = line_of(text, &name);
                mistakes.push(format!(
                    "line {line}: {name}: {}. Correct or remove it",
                    error.message().trim_end()
                ));
            }
        }
    }
    (kept.try_into().unwrap_or_default(), mistakes)
}

/// The line on which a key or table first appears, counted from 1.
fn line_of(text: &str, name: &str) -> usize {
    let found = text.lines().position(|line| {
        let line = line.trim_start().trim_start_matches('[');
        line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', ']', '.']))
    });
    found.map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_at_once_with_their_lines() {
        let text = "name = \"\"\nlisten = \"nowhere\"\nspeed = 3\n[tape]\nchanger = \"/dev/sg3\"\n[retention]\ndaily = -1\n";
        let told = Settings::parse(text).unwrap_err().to_string();
        for part in ["line 2: listen", "line 3: speed", "line 6: retention", "name: is empty", "tape.drives"]
        {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn a_retention_that_keeps_nothing_is_refused() {
        let nothing = "[retention]\nall_hours = 0\nhourly = 0\ndaily = 0\nweekly = 0\nmonthly = 0\n";
        assert!(Settings::parse(nothing).unwrap_err().to_string().contains("retention: all of it is 0"));
        assert!(Settings::parse(&nothing.replace("daily = 0", "daily = 1")).is_ok());
    }

    #[test]
    fn reading_back_is_turned_off_by_its_name_alone() {
        let told = |text: &str| Settings::parse(text).map_err(|error| error.to_string());
        assert!(told("[scrub]\ndays = 0\n").unwrap_err().contains("scrub.days: is 0"));
        assert!(told("[scrub]\ndays = 366\n").is_err());
        assert!(!told("[scrub]\nenabled = false\n").unwrap().scrub.enabled);
        assert_eq!(told("").unwrap().scrub.days, 30);
    }

    #[test]
    fn half_a_library_and_two_libraries_are_refused() {
        let told = |text: &str| Settings::parse(text).unwrap_err().to_string();
        assert!(told("[tape]\ndrives = [\"/dev/sg4\"]\n").contains("drives without their changer"));
        let both = "[tape]\nchanger = \"/dev/sg3\"\ndrives = [\"/dev/sg4\"]\nsimulated = true\n";
        assert!(told(both).contains("tape.simulated"));
    }

    #[test]
    fn a_library_exists_only_where_one_is_named() {
        let has = |text: &str| Settings::parse(text).unwrap().tape.has_library();
        assert!(!has(""));
        assert!(has("[tape]\nsimulated = true\n"));
        assert!(has("[tape]\nchanger = \"/dev/sg3\"\ndrives = [\"/dev/sg4\"]\n"));
        assert!(!has("[tape]\nenabled = false\nsimulated = true\n"));
    }

    #[test]
    fn a_file_that_says_nothing_is_no_settings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box.toml");
        for text in ["", "\n\n", "# all of it is a comment\n"] {
            std::fs::write(&path, text).unwrap();
            let told = Settings::load(&path).unwrap_err().to_string();
            assert!(told.contains("says nothing"), "{text:?}: {told}");
        }
        Settings::default().save(&path).unwrap();
        assert_eq!(Settings::load(&path).unwrap().name, "branch");
    }

    #[test]
    fn the_defaults_are_accepted_as_written() {
        let text = toml::to_string(&Settings::default()).unwrap();
        assert!(Settings::parse(&text).is_ok(), "{text}");
        assert!(Settings::parse("").is_ok());
    }
}
