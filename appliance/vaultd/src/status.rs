//! The state of a box in plain sentences: what is wrong, what it endangers, what to do.

use coffer_format::wire::WAITS;
use coffer_format::{ComputerId, ConfigId};
use coffer_vault::VaultError;
use serde::Serialize;

use crate::live::Doing;
use crate::serve::Appliance;
use crate::settings::Settings;
use crate::units::hours;

/// A computer whose newest point is older than this is worth a sentence.
const STALE_MS: u64 = 24 * 3_600_000;
/// A line to HQ that is down for longer is worth a sentence.
const HQ_AWAY_MS: u64 = 10 * 60_000;

/// Everything that a status screen shows. Times are milliseconds since 1970-01-01 UTC; sizes in bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub name: String,
    pub vault: String,
    pub version: &'static str,
    pub now_ms: u64,
    pub read_only: bool,
    pub free_bytes: u64,
    pub stored_bytes: u64,
    pub segments: u64,
    /// Closed segments that have no verified copy on tape; what is still open isn't counted.
    pub not_on_tape: u64,
    pub not_on_tape_bytes: u64,
    /// Closed segments that HQ hasn't confirmed.
    pub not_at_hq: u64,
    pub computers: Vec<ComputerStatus>,
    pub doing: Vec<Doing>,
    pub hq: Option<serde_json::Value>,
    /// What a person should know, worst first. Empty when all is well.
    pub sentences: Vec<String>,
}

/// One computer's protection.
#[derive(Debug, Clone, Serialize)]
pub struct ComputerStatus {
    pub computer: u32,
    pub name: String,
    pub connected: bool,
    pub revoked: bool,
    pub configurations: Vec<ConfigStatus>,
}

/// One configuration's protection. Data at risk: what changed since `protected_ms`.
#[derive(Debug, Clone, Serialize)]
pub struct ConfigStatus {
    pub config: u32,
    pub name: String,
    /// `initial` until the first point is whole, then `protected`.
    pub state: &'static str,
    pub points: usize,
    pub last_point_ms: Option<u64>,
    /// When the newest point was last known to be all there is: as it was made, or as the agent last found nothing new.
    pub protected_ms: Option<u64>,
    pub at_risk_ms: Option<u64>,
}

impl Status {
    pub fn of(appliance: &Appliance) -> Result<Status, VaultError> {
        let vault = &appliance.vault;
        let reading = vault.reading();
        let segments = reading.segments()?;
        let not_on_tape =
            reading.without_copy(|place| matches!(place, coffer_format::event::Place::Tape { .. }))?;
        let mut status = Status {
            name: appliance.settings.name.clone(),
            vault: vault.id().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            now_ms: vault.now_ms(),
            read_only: vault.is_read_only(),
            free_bytes: vault.free_bytes()?,
            stored_bytes: segments.iter().filter(|one| one.on_disk).map(|one| one.bytes).sum(),
            segments: segments.len() as u64,
            not_on_tape: not_on_tape.len() as u64,
            not_at_hq: reading
                .without_copy(|place| matches!(place, coffer_format::event::Place::Hq { .. }))?
                .len() as u64,
            not_on_tape_bytes: not_on_tape.iter().map(|one| one.bytes).sum(),
            computers: computers(appliance)?,
            doing: appliance.live.doing(),
            hq: appliance.wan.as_ref().map(|wan| serde_json::json!(*wan.status().borrow())),
            sentences: Vec::new(),
        };
        status.sentences = sentences(appliance, &status)?;
        Ok(status)
    }
}

fn computers(appliance: &Appliance) -> Result<Vec<ComputerStatus>, VaultError> {
    let reading = appliance.vault.reading();
    let now = appliance.vault.now_ms();
    let all = reading.configurations()?;
    let mut computers = Vec::new();
    for computer in reading.computers()? {
        let mut configurations = Vec::new();
        for config in all.iter().filter(|config| config.computer == computer.computer) {
            let points = reading.points(ConfigId(config.config))?;
            let last = points.first().map(|point| point.closed_ms);
            let looked = appliance.live.up_to_date_ms(ConfigId(config.config));
            let protected = last.map(|last| last.max(looked.unwrap_or(0)));
            configurations.push(ConfigStatus {
                config: config.config,
                name: config.name.clone(),
                state: if points.is_empty() { "initial" } else { "protected" },
                points: points.len(),
                last_point_ms: last,
                protected_ms: protected,
                at_risk_ms: protected.map(|at| now.saturating_sub(at)),
            });
        }
        computers.push(ComputerStatus {
            computer: computer.computer,
            connected: appliance.live.is_connected(ComputerId(computer.computer)),
            name: computer.name,
            revoked: computer.revoked,
            configurations,
        });
    }
    Ok(computers)
}

fn sentences(appliance: &Appliance, status: &Status) -> Result<Vec<String>, VaultError> {
    let mut told = Vec::new();
    if status.read_only {
        told.push("The box's disk failed while writing: nothing new is protected on any computer. Have the disk checked, then restart the box.".into());
    }
    let reserve = appliance.settings.reserve_mib << 20;
    if status.free_bytes < reserve {
        told.push(format!(
            "The box's disk is full ({} MiB free): nothing new is protected on any computer. Free space, or let tape or HQ copies release some.",
            status.free_bytes >> 20
        ));
    }
    let damage = appliance.vault.reading().known_damage()?;
    if !damage.is_empty() {
        told.push(format!(
            "{} places on the box's disk are damaged: `coffer verify` names the versions; a copy from tape or HQ heals them.",
            damage.len()
        ));
    }
    told.extend(library(&appliance.settings));
    if let Some(tape) = &appliance.tape {
        told.extend(tape.sentences());
    }
    if let Some(wan) = &appliance.wan {
        let wan = wan.status();
        let line = wan.borrow();
        let away_ms = status.now_ms.saturating_sub(line.since_ms);
        if let (false, Some(why), true) = (line.connected, &line.last_error, away_ms > HQ_AWAY_MS) {
            told.push(format!(
                "Headquarters hasn't been reached for {}: what changed since is only here and on tape. {why}.",
                hours(away_ms)
            ));
        }
    }
    let programs = appliance.live.programs();
    for computer in status.computers.iter().filter(|computer| !computer.revoked) {
        if let Some(program) = programs.get(&ComputerId(computer.computer))
            && !program.sentence.is_empty()
        {
            told.push(format!("{}: its agent wasn't updated: {}.", computer.name, program.sentence));
        }
        computer_sentences(computer, status, &mut told);
    }
    Ok(told)
}

/// What there is to say of a library that isn't there, or isn't one.
fn library(settings: &Settings) -> Option<String> {
    let tape = &settings.tape;
    if tape.enabled && tape.simulated {
        return Some(
            "The tape library of this box is simulated, on its own disk: it protects nothing. Remove tape.simulated from box.toml, \
             or use this box for demonstrations alone."
                .into(),
        );
    }
    if tape.enabled && !tape.has_library() && settings.hq.is_none() {
        return Some(
            "This box has neither a tape library nor a headquarters: everything it keeps is on its own disk alone. Name the library's \
             changer in box.toml under [tape], or set tape.enabled = false if that is meant to be so."
                .into(),
        );
    }
    None
}

/// Why an agent that's there doesn't capture a configuration, in its own words.
fn waits<'a>(config: &ConfigStatus, status: &'a Status) -> Option<&'a str> {
    let mut all = status.doing.iter().filter(|one| one.config == config.config);
    all.find_map(|one| Some(one.doing.as_str()).filter(|doing| is_waiting(doing)))
}

/// An agent's words are data: what isn't a plain sentence isn't shown as one.
fn is_waiting(doing: &str) -> bool {
    doing.starts_with(WAITS) && doing.len() <= 100 && !doing.chars().any(char::is_control)
}

fn computer_sentences(computer: &ComputerStatus, status: &Status, told: &mut Vec<String>) {
    let now_ms = status.now_ms;
    let name = &computer.name;
    if computer.configurations.is_empty() {
        told.push(format!("{name} has no backup configuration: nothing of it is protected. Add one with `coffer config set`."));
    }
    for config in &computer.configurations {
        match (config.protected_ms, waits(config, status)) {
            (None, Some(why)) if computer.connected => told.push(format!(
                "{name}: the first copy of {} {why}; it isn't protected yet. `coffer capture` starts it all the same.",
                config.name
            )),
            (None, _) if computer.connected => {
                told.push(format!("{name}: the first copy of {} is under way; it isn't protected yet.", config.name));
            }
            (None, _) => told.push(format!(
                "{name}: {} has no restore point yet and the computer isn't connected: all of it is at risk. Start coffer-agent there.",
                config.name
            )),
            (Some(last), _) if !computer.connected && now_ms.saturating_sub(last) > STALE_MS => told.push(format!(
                "{name}: {} was last protected {} ago and the computer isn't connected: what changed since is at risk. Start coffer-agent there.",
                config.name,
                hours(now_ms.saturating_sub(last))
            )),
            (Some(last), Some(why)) if computer.connected && now_ms.saturating_sub(last) > STALE_MS => told.push(format!(
                "{name}: {} {why}; it was last protected {} ago. `coffer capture` starts one all the same.",
                config.name,
                hours(now_ms.saturating_sub(last))
            )),
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_or_not_real_is_a_sentence() {
        let said = |text: &str| library(&Settings::parse(text).unwrap()).unwrap_or_default();
        assert!(said("").contains("its own disk alone"));
        assert!(said("[tape]\nsimulated = true\n").contains("simulated"));
        assert_eq!(said("[tape]\nenabled = false\n"), "");
        assert_eq!(said("[hq]\naddress = \"hq:7443\"\n"), "");
        assert_eq!(said("[tape]\nchanger = \"/dev/sg3\"\ndrives = [\"/dev/sg4\"]\n"), "");
    }
}
