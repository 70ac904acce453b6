//! What an operator may ask of a box, and how it's answered. JSON in, JSON out, whatever carries it.

use std::time::Duration;

use coffer_agent::config::{BackupConfig, Keep};
use coffer_format::wire::{Exclusion, Message, RefusalCode};
use coffer_format::{ComputerId, ConfigId};
use coffer_link::{EnrolmentCode, secret_hash};
use coffer_vault::query::{Query, When, Which};
use coffer_vault::restore::Wanted;
use coffer_vault::verify::{Report, Verdict};
use coffer_vault::{VaultError, reclaim, retention};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::restore_on::{RestoreOn, restore_on};
use crate::serve::Appliance;
use crate::tape::{Pace, TapeJob, only_on_unread};
use crate::{copies, status};

/// One request that is more than a question to the vault.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Status,
    /// A one-time code with which a computer of that name enrols.
    ComputerCode {
        name: String,
        valid_hours: u64,
    },
    ComputerRevoke {
        name: String,
    },
    ConfigSet {
        computer: String,
        name: String,
        toml: String,
    },
    /// Asks the computer to capture now.
    Capture {
        config: Which,
    },
    /// What its computer leaves out of a configuration, and what is recommended to be left out.
    Exclusions {
        config: Which,
    },
    /// Restores to a computer, by its own agent.
    RestoreOn(RestoreOn),
    Verify,
    RetentionPlan,
    RetentionApply,
    ReclaimPlan {
        evict: bool,
    },
    ReclaimApply {
        evict: bool,
    },
    /// Reads back what a restore needs and the disk doesn't have.
    Fetch {
        config: Which,
        when: When,
        paths: Vec<String>,
    },
    TapeInventory,
    /// Writes everything that has no copy on tape yet.
    TapeRun,
    /// What would be done with the cartridges now.
    TapePlan,
    TapeWear,
    TapeEject {
        barcode: String,
    },
    TapeRetire {
        barcode: String,
    },
    TapeLost {
        barcode: String,
    },
    /// The versions that would be lost with a cartridge; the first `named` of them by name.
    TapeImpact {
        barcode: String,
        named: usize,
    },
    TapeClean {
        drive: usize,
    },
    TapeTake {
        barcode: String,
    },
    HqStatus,
    /// Believes the box's clock as it is.
    ClockAccept,
    /// Which program each computer runs, and the updates that wait.
    Agents,
    /// Takes in the update that was brought on this link, for one computer or for all.
    AgentsUpdate {
        computer: Option<String>,
    },
    /// Takes back the updates that wait.
    AgentsWithdraw,
}

/// A request in either form.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Asked {
    Do(Request),
    Query(Query),
}

type Outcome = Result<Value, VaultError>;

/// What there is to say of the line to headquarters where nothing is sent.
const ONLY_GIVES: &str = "the box's disk takes no writes: nothing is sent to headquarters; restores take from there what they can't read here";
/// Most versions that an answer about a cartridge names.
const IMPACT_NAMED_MAX: usize = 1000;

fn refused(code: RefusalCode, sentence: impl Into<String>) -> VaultError {
    VaultError::Refused { code, sentence: sentence.into() }
}

/// Answers; `working` is told of progress now and then.
pub fn answer(appliance: &Appliance, who: &str, asked: Asked, working: &mut dyn FnMut(Value)) -> Outcome {
    let vault = &appliance.vault;
    let reading = vault.reading();
    let request = match asked {
        Asked::Query(Query::Computers) => return computers(appliance),
        Asked::Query(query) => {
            let mut answer = reading.answer_marked(&query)?;
            if matches!(query, Query::Points { .. }) {
                forget_future_dates(&mut answer, appliance.vault.now_ms());
            }
            return Ok(answer);
        }
        Asked::Do(request) => request,
    };
    Ok(match request {
        Request::Status => json!(status::Status::of(appliance)?),
        Request::ComputerCode { name, valid_hours } => computer_code(appliance, who, &name, valid_hours)?,
        Request::ComputerRevoke { name } => {
            vault.revoke_computer(computer_named(appliance, &name)?, who)?;
            json!({ "revoked": name })
        }
        Request::ConfigSet { computer, name, toml } => config_set(appliance, who, &computer, &name, &toml)?,
        Request::Capture { config } => capture(appliance, &config)?,
        Request::Exclusions { config } => exclusions(appliance, &config)?,
        Request::RestoreOn(on) => restore_on(appliance, who, on, working)?,
        Request::Verify => {
            let total: u64 = reading.segments()?.iter().filter(|one| one.on_disk).map(|one| one.bytes).sum();
            let report = vault.verify(&mut |done| working(json!({ "bytes": done, "of": total })))?;
            verified(appliance, who, &report)?
        }
        Request::RetentionPlan => json!(retention_plans(appliance)?),
        Request::RetentionApply => {
            if appliance.clock.is_in_doubt(vault.now_ms())
                && let Some(doubt) = appliance.clock.sentence(vault.now_ms())
            {
                return Err(refused(RefusalCode::Busy, doubt));
            }
            let plans = retention_plans(appliance)?;
            plans.iter().try_for_each(|plan| vault.apply_retention(plan, who))?;
            json!(plans)
        }
        Request::ReclaimPlan { evict } => json!(vault.plan_reclaim(reclaim_policy(appliance, evict))?),
        Request::ReclaimApply { evict } => {
            let plan = vault.plan_reclaim(reclaim_policy(appliance, evict))?;
            let freed = vault.apply_reclaim(&plan, who)?;
            json!({ "steps": plan.steps, "freed_bytes": freed })
        }
        Request::Fetch { config, when, paths } => {
            let wanted = wanted(appliance, &config, when, paths)?;
            json!({ "fetched_segments": copies::fetch_for(appliance, &wanted, working)?.all()? })
        }
        Request::TapeInventory => tape(appliance)?.inventory()?,
        Request::TapeRun => json!(tape(appliance)?.tend(vault, Pace::Now, working)?),
        Request::TapePlan => json!(tape(appliance)?.plan(vault)?),
        Request::TapeWear => tape(appliance)?.wear(vault)?,
        Request::TapeEject { barcode } => tape(appliance)?.order_eject(vault, who, &barcode)?,
        Request::TapeRetire { barcode } => tape(appliance)?.order_retire(vault, who, &barcode)?,
        Request::TapeLost { barcode } => tape_lost(appliance, who, &barcode)?,
        Request::TapeImpact { barcode, named } => {
            json!(reading.impact(&reading.only_on_cartridge(&barcode)?, named.min(IMPACT_NAMED_MAX))?)
        }
        Request::TapeClean { drive } => tape(appliance)?.order_clean(vault, who, drive)?,
        Request::TapeTake { barcode } => tape(appliance)?.order_take(vault, who, &barcode)?,
        Request::Agents => crate::programs::all(appliance)?,
        Request::AgentsUpdate { computer } => agents_update(appliance, who, computer.as_deref())?,
        Request::AgentsWithdraw => {
            let count = appliance.updates.withdraw()?;
            vault.audit(who, "took back the updates of agents")?;
            json!({ "withdrawn": count })
        }
        Request::ClockAccept => {
            let now_ms = vault.now_ms();
            appliance.clock.accept(now_ms, appliance.hq_clock_ms()).map_err(|error| {
                refused(RefusalCode::Internal, format!("the box couldn't note it: {error:#}"))
            })?;
            vault.audit(who, "said that the box's clock is right")?;
            json!({ "now_ms": now_ms })
        }
        Request::HqStatus => match (status::at_hq(appliance)?, &appliance.line) {
            (Some(told), _) => json!(told),
            (None, Some(line)) => {
                let mut told = json!(*line.status().borrow());
                told["last_error"] = json!(ONLY_GIVES);
                told
            }
            (None, None) => Value::Null,
        },
    })
}

/// Counts a cartridge as lost, says what was on it alone, and brings back from HQ what no tape has any more: the next tape runs
/// write it again, with what the disk and the other set have.
fn tape_lost(appliance: &Appliance, who: &str, barcode: &str) -> Outcome {
    let reading = appliance.vault.reading();
    let impact = reading.impact(&reading.only_on_cartridge(barcode)?, IMPACT_NAMED_MAX)?;
    let on_no_other = reading.on_no_other_tape(barcode)?;
    let mut told = tape(appliance)?.order_lost(&appliance.vault, who, barcode)?;
    told["impact"] = json!(impact);
    match copies::heal_from_hq(appliance, &on_no_other) {
        Ok(count) => told["from_hq"] = json!(count),
        Err(error) => told["hq_failed"] = json!(error.to_string()),
    }
    Ok(told)
}

fn tape(appliance: &Appliance) -> Result<&crate::tape::TapeJob, VaultError> {
    appliance.tape.as_ref().ok_or_else(|| {
        refused(
            RefusalCode::BadRequest,
            "this box has no tape library: name its changer and drives in box.toml under [tape] and restart cofferd",
        )
    })
}

fn reclaim_policy(appliance: &Appliance, evict: bool) -> reclaim::Policy {
    let policy = appliance.settings.reclaim.policy();
    if evict { reclaim::Policy { free_target_bytes: u64::MAX / 2, ..policy } } else { policy }
}

/// What a restore request means in numbers.
pub fn wanted(
    appliance: &Appliance,
    config: &Which,
    when: When,
    paths: Vec<String>,
) -> Result<Wanted, VaultError> {
    let reading = appliance.vault.reading();
    let config = reading.which(config)?;
    let point = reading.when(config, when)?;
    let paths = paths.into_iter().map(String::into_bytes).collect();
    Ok(Wanted { config, point, paths, trusted: true })
}

pub(crate) fn computer_named(appliance: &Appliance, name: &str) -> Result<ComputerId, VaultError> {
    let computers = appliance.vault.reading().computers()?;
    let found = computers.iter().find(|computer| computer.name == name);
    found.map(|computer| ComputerId(computer.computer)).ok_or_else(|| {
        refused(
            RefusalCode::NoSuchComputer,
            format!("there's no computer {name}: `coffer computers` lists them"),
        )
    })
}

/// Names are on screens, in tables and in what `coffer` is asked for.
fn check_name(of: &str, name: &str) -> Result<(), VaultError> {
    if name.is_empty() || name.trim() != name || name.len() > 64 || name.chars().any(char::is_control) {
        return Err(refused(
            RefusalCode::BadRequest,
            format!(
                "a {of}'s name has 1 to 64 printable characters, and no space at its ends: choose another"
            ),
        ));
    }
    Ok(())
}

fn computer_code(appliance: &Appliance, who: &str, name: &str, valid_hours: u64) -> Outcome {
    check_name("computer", name)?;
    check_nothing_comes_back(appliance, || {
        let known = appliance.vault.reading().computers()?;
        Ok(known.iter().any(|computer| computer.name == name))
    })?;
    let code = EnrolmentCode::new(&appliance.authority)
        .map_err(|error| refused(RefusalCode::Internal, format!("no code could be made: {error}")))?;
    let expires_ms = appliance.vault.now_ms() + Duration::from_secs(valid_hours * 3600).as_millis() as u64;
    appliance.vault.issue_code(secret_hash(&code.secret), name, expires_ms, who)?;
    Ok(json!({ "code": code.to_string(), "computer": name, "expires_ms": expires_ms }))
}

fn config_set(appliance: &Appliance, who: &str, computer: &str, name: &str, toml: &str) -> Outcome {
    let not_accepted = |why: &str| {
        refused(
            RefusalCode::BadConfiguration,
            format!("the configuration was not accepted and nothing changed:\n{why}"),
        )
    };
    let config = BackupConfig::parse(toml).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        not_accepted(&lines.join("\n"))
    })?;
    if config.keep.is_some_and(|keep| policy_of(keep).keeps_nothing()) {
        return Err(not_accepted(
            "keep: all of it is 0, so no history would be kept. Give at least one number above 0, or remove keep",
        ));
    }
    let known = appliance.vault.reading().configurations()?;
    if !known.iter().any(|config| config.computer_name == computer && config.name == name) {
        check_name("configuration", name)?;
    }
    let named = computer;
    let computer = computer_named(appliance, named)?;
    let computers = appliance.vault.reading().computers()?;
    if computers.iter().any(|one| one.computer == computer.0 && one.revoked) {
        return Err(refused(
            RefusalCode::NotAllowed,
            format!(
                "{named} was revoked, so nothing of it is captured: enrol it again first (`coffer computer code`)"
            ),
        ));
    }
    check_nothing_comes_back(appliance, || {
        Ok(known.iter().any(|config| config.computer == computer.0 && config.name == name))
    })?;
    let config = appliance.vault.set_configuration(computer, name, toml, who)?;
    let told = appliance.live.tell(computer, Message::ConfigsChanged);
    // An agent amid a capture can't ask before it's done, and some of what a configuration says counts at once.
    let configs = appliance.vault.reading().configurations_of(computer)?;
    appliance.live.tell(computer, Message::Configs { configs });
    Ok(json!({ "config": config.0, "computer_told": told }))
}

/// Fails where something isn't known that missing metadata may bring back: made anew, it would be there twice.
fn check_nothing_comes_back(
    appliance: &Appliance,
    is_known: impl FnOnce() -> Result<bool, VaultError>,
) -> Result<(), VaultError> {
    if !appliance.awaits_metadata()? || is_known()? {
        return Ok(());
    }
    Err(refused(
        RefusalCode::Busy,
        "metadata is missing on the box's disk, and what you set may be in it already: the box asks its copies for it, for ten minutes at most. \
         Look at `coffer status` in some minutes, then try again if it's still not there",
    ))
}

fn agents_update(appliance: &Appliance, who: &str, computer: Option<&str>) -> Outcome {
    let computer = computer.map(|name| computer_named(appliance, name)).transpose()?;
    let release = appliance.updates.accept(computer)?.release;
    let (version, target) = (release.version.to_string(), release.target.to_string());
    let whom = computer.map_or_else(|| "all computers".into(), |number| format!("computer {number}"));
    appliance.vault.audit(who, &format!("brought agent version {version} ({target}) for {whom}"))?;
    let mut told = 0;
    for (agent, report) in appliance.live.updatable() {
        if let Some(head) = appliance.updates.offer(agent, &report.target) {
            told += usize::from(appliance.live.tell(agent, Message::UpdateOffered { head }));
        }
    }
    Ok(json!({ "version": version, "target": target, "told": told }))
}

fn capture(appliance: &Appliance, which: &Which) -> Outcome {
    let config = appliance.vault.reading().which(which)?;
    let all = appliance.vault.reading().configurations()?;
    let owner = all.iter().find(|one| one.config == config.0).map(|one| ComputerId(one.computer));
    match owner.is_some_and(|computer| appliance.live.tell(computer, Message::CaptureNow { config })) {
        true => Ok(json!({ "asked": config.0 })),
        false => Err(refused(
            RefusalCode::Busy,
            "the computer isn't connected: start coffer-agent on it, or wait until it's back",
        )),
    }
}

fn exclusions(appliance: &Appliance, which: &Which) -> Outcome {
    let config = appliance.vault.reading().which(which)?;
    let told = appliance.live.exclusions(config).ok_or_else(|| {
        let sentence = "the computer hasn't said yet what it leaves out: it does as soon as its agent works";
        refused(RefusalCode::Busy, sentence)
    })?;
    let one = |one: Exclusion| json!({ "pattern": one.pattern, "why": one.why, "applied": one.is_applied });
    Ok(told.into_iter().map(one).collect())
}

fn retention_plans(appliance: &Appliance) -> Result<Vec<retention::Plan>, VaultError> {
    let vault = &appliance.vault;
    let zone = jiff::tz::TimeZone::system();
    let mut plans = Vec::new();
    for config in vault.reading().configurations()? {
        let policy = keep_of(&config.toml).unwrap_or(appliance.settings.retention);
        plans.push(vault.plan_retention(ConfigId(config.config), &policy, &zone)?);
    }
    Ok(plans)
}

/// A configuration's own `keep`, where it has one. One from before it was refused to keep nothing doesn't count.
fn keep_of(toml: &str) -> Option<retention::Policy> {
    let keep = BackupConfig::parse_stored(toml).ok()?.0.keep?;
    Some(policy_of(keep)).filter(|policy| !policy.keeps_nothing())
}

fn policy_of(keep: Keep) -> retention::Policy {
    let Keep { all_hours, hourly, daily, weekly, monthly } = keep;
    retention::Policy { all_hours, hourly, daily, weekly, monthly }
}

/// Runs retention and reclaim as the box does by itself. While its clock is in doubt, no point is given up.
pub fn housekeep(appliance: &Appliance) -> Result<u64, VaultError> {
    if !appliance.clock.is_in_doubt(appliance.vault.now_ms()) {
        for plan in retention_plans(appliance)? {
            appliance.vault.apply_retention(&plan, "box")?;
        }
    }
    let plan = appliance.vault.plan_reclaim(reclaim_policy(appliance, false))?;
    appliance.vault.apply_reclaim(&plan, "box")
}

/// What a verification found, and what a restore couldn't get now though copies of it count.
fn verified(appliance: &Appliance, who: &str, report: &Report) -> Outcome {
    let vault = &appliance.vault;
    let (mut told, mut sentence) = (json!(report), report.sentence());
    let unread = appliance.tape.as_ref().map(TapeJob::unread).unwrap_or_default();
    let impact = vault.reading().impact(&only_on_unread(vault, &unread)?, IMPACT_NAMED_MAX)?;
    if impact.versions > 0 {
        let tapes: Vec<String> = unread
            .iter()
            .map(|(barcode, tape)| format!("{barcode} (since {}: {})", tape.since(), tape.why))
            .collect();
        sentence += &format!(
            "; but {} versions are only on tapes that couldn't be read when they were needed: {}",
            impact.versions,
            tapes.join(", ")
        );
        told["unread"] = json!(impact);
        if report.verdict == Verdict::Whole {
            told["verdict"] = json!("unread");
        }
    }
    vault.audit_answer(who, &format!("verified {} segments: {sentence}", report.segments))?;
    told["sentence"] = json!(sentence);
    told["heals"] = json!(!appliance.only_restores() && !vault.is_read_only());
    told["restores_from_hq"] = json!(appliance.only_restores() && appliance.line.is_some());
    Ok(told)
}

/// The list of them, each with the worst that its configurations are in.
fn computers(appliance: &Appliance) -> Outcome {
    let mut list = appliance.vault.reading().answer(&Query::Computers)?;
    let status = status::Status::of(appliance)?;
    for computer in list.as_array_mut().into_iter().flatten() {
        let number = computer["computer"].as_u64();
        let found = status.computers.iter().find(|one| Some(u64::from(one.computer)) == number);
        let worst = found.and_then(|one| one.configurations.iter().map(|config| config.state).min());
        let worst = match computer["revoked"] == true {
            true => Some(status::Standing::Revoked),
            false => worst,
        };
        computer["protection"] = json!(worst.map_or("no configuration", status::Standing::name));
    }
    Ok(list)
}

/// A date of reading back that lies in the future is of a clock that was wrong, so nobody knows when it was.
fn forget_future_dates(points: &mut Value, now_ms: u64) {
    for point in points.as_array_mut().into_iter().flatten() {
        if point["read_back_ms"].as_u64().is_some_and(|read_ms| read_ms > now_ms) {
            point["read_back_ms"] = Value::Null;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_point_was_not_read_back_in_the_future() {
        let mut points = json!([
            { "point": 3, "read_back_ms": 2_000 },
            { "point": 2, "read_back_ms": 1_000 },
            { "point": 1, "read_back_ms": null }
        ]);
        forget_future_dates(&mut points, 1_500);
        let dates: Vec<_> =
            points.as_array().unwrap().iter().map(|point| point["read_back_ms"].as_u64()).collect();
        assert_eq!(dates, [None, Some(1_000), None]);
    }
}
