//! The help desk's restore to a computer: the box asks its agent, waits, and tells what came of it. Both the asking and the
//! outcome are in the audit log; nothing else changes here.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use coffer_format::ComputerId;
use coffer_format::wire::{RefusalCode, ReplaceRule, RestoreReport, RestoreState};
use coffer_vault::VaultError;
use coffer_vault::query::{When, Which};
use coffer_vault::restore::Wanted;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::restore_jobs::{Asking, OpenJob};
use crate::serve::Appliance;
use crate::units::size;
use crate::{copies, operator};

/// How long an agent that's connected may take to begin.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);
/// How long it may say nothing: asking the person there takes up to five minutes.
const HEARD_WITHIN: Duration = Duration::from_secs(900);
/// How long its line may be broken.
const BACK_WITHIN: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(500);
/// Paths that an audit entry names.
const NAMED_MAX: usize = 5;

/// What the operator wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreOn {
    pub config: Which,
    pub when: When,
    pub paths: Vec<String>,
    /// The computer's name.
    pub on: String,
    /// A folder there; to the place where there's none.
    pub to: Option<String>,
    pub replace: Replace,
    /// Ask the person at the computer first.
    pub ask: bool,
}

/// Which files that are there are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Replace {
    All,
    Changed,
    None,
}

impl From<Replace> for ReplaceRule {
    fn from(replace: Replace) -> ReplaceRule {
        match replace {
            Replace::All => ReplaceRule::All,
            Replace::Changed => ReplaceRule::Changed,
            Replace::None => ReplaceRule::Nothing,
        }
    }
}

type Outcome = Result<Value, VaultError>;

fn refused(code: RefusalCode, sentence: String) -> VaultError {
    VaultError::Refused { code, sentence }
}

/// Asks the computer, and waits for the end.
pub(crate) fn restore_on(
    appliance: &Appliance,
    who: &str,
    on: RestoreOn,
    working: &mut dyn FnMut(Value),
) -> Outcome {
    let (vault, name) = (&appliance.vault, on.on.clone());
    let computer = operator::computer_named(appliance, &name)?;
    let wanted = operator::wanted(appliance, &on.config, on.when, on.paths.clone())?;
    let reading = vault.reading();
    wanted.paths.iter().try_for_each(|path| reading.lookup(wanted.config, wanted.point, path).map(|_| ()))?;
    if !appliance.live.is_connected(computer) {
        return Err(away(&name));
    }
    copies::fetch_for(appliance, &wanted, working)?;
    let asking = Asking {
        config: wanted.config,
        point: wanted.point,
        paths: wanted.paths.iter().map(|path| path.clone().into()).collect(),
        to: on.to.clone(),
        replace: on.replace.into(),
        ask_user: on.ask,
    };
    let job = appliance.restores.open(computer, vault.now_ms(), asking).ok_or_else(|| {
        let sentence =
            format!("a restore to {name} is under way: wait until it's done (`coffer audit` shows it)");
        refused(RefusalCode::Busy, sentence)
    })?;
    vault.audit_answer(who, &asked(appliance, &job, &wanted, &on)?)?;
    let is_told =
        appliance.restores.open_on(computer).is_some_and(|asked| appliance.live.tell(computer, asked));
    let ended = if is_told { wait(appliance, computer, &name, &job, working) } else { Err(away(&name)) };
    vault.audit_answer(who, &outcome(&job, &name, &ended))?;
    answer(&job, &name, &ended?)
}

fn away(name: &str) -> VaultError {
    refused(
        RefusalCode::Busy,
        format!("{name} isn't connected: start coffer-agent on it, or wait until it's back"),
    )
}

/// The last report; an error where there'll be none.
fn wait(
    appliance: &Appliance,
    computer: ComputerId,
    name: &str,
    job: &OpenJob<'_>,
    working: &mut dyn FnMut(Value),
) -> Result<RestoreReport, VaultError> {
    let (mut heard, mut there) = (Instant::now(), Instant::now());
    let mut so_far = None;
    loop {
        match job.reports.recv_timeout(POLL) {
            Ok(report) if report.state == RestoreState::Begun => {
                working(
                    json!({ "doing": doing(name, &report), "files": report.files, "bytes": report.bytes }),
                );
                (heard, there, so_far) = (Instant::now(), Instant::now(), Some(report));
                continue;
            }
            Ok(report) => return Ok(report),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if appliance.live.is_connected(computer) {
            there = Instant::now();
        } else {
            working(json!({ "doing": format!("{name} isn't connected; it goes on when it's back") }));
        }
        let patience = if so_far.is_some() { HEARD_WITHIN } else { BEGUN_WITHIN };
        if there.elapsed() > BACK_WITHIN || (heard.elapsed() > patience && there.elapsed() < POLL) {
            return Err(silent(name, so_far.as_ref()));
        }
    }
}

fn doing(name: &str, report: &RestoreReport) -> String {
    let RestoreReport { files, bytes, sentence, .. } = report;
    format!("{name}: {sentence}, {files} files, {}", size(*bytes))
}

fn silent(name: &str, so_far: Option<&RestoreReport>) -> VaultError {
    let sentence = match so_far {
        None => {
            format!("{name} didn't begin: see whether coffer-agent runs there, and is as new as this box")
        }
        Some(so_far) => format!(
            "{name} said nothing for too long; {} files were restored by then, and it doesn't go on: start it again \
             once the computer is back",
            so_far.files
        ),
    };
    refused(RefusalCode::Busy, sentence)
}

fn answer(job: &OpenJob<'_>, name: &str, report: &RestoreReport) -> Outcome {
    let RestoreReport { state, files, bytes, at_restart, lacking, sentence, .. } = report;
    if *state == RestoreState::Refused {
        let so_far =
            if *files > 0 { format!(" ({files} files were restored by then)") } else { String::new() };
        return Err(refused(RefusalCode::NotAllowed, format!("{name} didn't restore: {sentence}{so_far}")));
    }
    let line = |line: &coffer_format::entry::ReportLine| json!({ "path": String::from_utf8_lossy(&line.path.0), "what": line.what });
    let lacking: Vec<Value> = lacking.iter().map(line).collect();
    Ok(json!({
        "job": job.job, "computer": name, "files": files, "bytes": bytes, "at_restart": at_restart, "lacking": lacking,
        "left_out": job.left_out(),
    }))
}

/// Who is known; what, from where, to where.
fn asked(
    appliance: &Appliance,
    job: &OpenJob<'_>,
    wanted: &Wanted,
    on: &RestoreOn,
) -> Result<String, VaultError> {
    let all = appliance.vault.reading().configurations()?;
    let config = all.iter().find(|one| one.config == wanted.config.0);
    let config = config.map_or_else(String::new, |one| format!("{}/{}", one.computer_name, one.name));
    let what = match on.paths.len() {
        0 => "everything".to_owned(),
        all if all > NAMED_MAX => {
            format!("{} and {} more", on.paths[..NAMED_MAX].join(", "), all - NAMED_MAX)
        }
        _ => on.paths.join(", "),
    };
    let place = on.to.as_ref().map_or_else(|| "its place".to_owned(), |to| format!("{to:?}"));
    let consent = if on.ask { ", asking the person there first" } else { "" };
    let (job, point) = (job.job, wanted.point);
    Ok(format!("asked {} to restore {what} of {config} point {point} to {place}{consent} (job {job})", on.on))
}

fn outcome(job: &OpenJob<'_>, name: &str, ended: &Result<RestoreReport, VaultError>) -> String {
    let what = match ended {
        Ok(report) if report.state == RestoreState::Refused => format!("refused: {}", report.sentence),
        Ok(report) => format!(
            "restored {} files, {} bytes; {} at restart, {} lacking",
            report.files,
            report.bytes,
            report.at_restart,
            (report.lacking.len() as u64).saturating_sub(report.at_restart)
        ),
        Err(error) => format!("ended without a word from the computer: {}", error.refusal().sentence),
    };
    format!("{name}, job {}: {what}", job.job)
}
