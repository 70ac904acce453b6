//! Which program each computer runs, and how its update gets on: as the agents tell it.

use std::collections::BTreeMap;

use coffer_format::ComputerId;
use coffer_format::update::{UpdateProgress, UpdateReport};
use serde::Serialize;
use serde_json::{Value, json};

use crate::serve::Appliance;

/// Longest name of a program and longest sentence that is kept, in characters.
const PROGRAM_MAX: usize = 64;
const SENTENCE_MAX: usize = 500;

/// What one agent last told of its program. Stays while it's away.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Program {
    /// As it greets: `coffer-agent 0.1.0`.
    pub program: String,
    pub target: Option<String>,
    /// `current`, `downloading`, `installing`, `failed`; nothing where it isn't replaced from here.
    pub update: Option<&'static str>,
    /// The version that the update is to.
    pub version: Option<String>,
    /// Why it failed, and what to do.
    pub sentence: String,
}

impl Program {
    /// A program that has greeted. What it told before is over.
    pub(crate) fn greeted(program: &str) -> Program {
        Program { program: plain(program, PROGRAM_MAX), ..Program::default() }
    }

    pub(crate) fn told(&mut self, report: &UpdateReport) {
        self.target = Some(report.target.to_string());
        self.update = Some(match report.progress {
            UpdateProgress::Current => "current",
            UpdateProgress::Downloading => "downloading",
            UpdateProgress::Installing => "installing",
            UpdateProgress::Failed => "failed",
        });
        self.version = report.of.map(|version| version.to_string());
        self.sentence = plain(&report.sentence, SENTENCE_MAX);
    }
}

/// Every computer's program, and the updates that wait.
pub(crate) fn all(appliance: &Appliance) -> Result<Value, coffer_vault::VaultError> {
    let computers = appliance.vault.reading().computers()?;
    let programs: BTreeMap<ComputerId, Program> = appliance.live.programs();
    let rows: Vec<Value> = computers
        .iter()
        .filter(|computer| !computer.revoked)
        .map(|computer| {
            let id = ComputerId(computer.computer);
            let connected = appliance.live.is_connected(id);
            json!({ "computer": computer.name, "connected": connected, "program": programs.get(&id) })
        })
        .collect();
    let name = |number: u32| computers.iter().find(|one| one.computer == number).map(|one| one.name.clone());
    let waiting: Vec<Value> = appliance
        .updates
        .waiting()
        .into_iter()
        .map(|(only_for, head)| {
            let (version, target) = (head.release.version.to_string(), head.release.target.to_string());
            let len = head.release.len;
            json!({ "version": version, "target": target, "bytes": len, "only_for": only_for.and_then(name) })
        })
        .collect();
    Ok(json!({ "agents": rows, "waiting": waiting }))
}

/// Text from a computer, fit for a screen.
fn plain(text: &str, max: usize) -> String {
    text.chars().filter(|one| !one.is_control()).take(max).collect()
}
