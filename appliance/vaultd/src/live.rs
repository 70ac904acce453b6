//! Which agents are connected, and what they're doing: for screens, and to tell them that something changed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use coffer_format::update::UpdateReport;
use coffer_format::wire::{AgentProgress, Exclusion, Message};
use coffer_format::{ComputerId, ConfigId};
use coffer_link::Sender;
use serde::Serialize;

use crate::programs::Program;

/// Most that is kept of why captures fail, or changes aren't watched.
const FAILURE_CHARS_MAX: usize = 300;

/// One connected computer. Beside the agent at work there may be others of its programs; each is told everything, and takes what
/// concerns it.
#[derive(Default)]
struct Agent {
    links: BTreeMap<u64, Sender>,
    progress: BTreeMap<ConfigId, AgentProgress>,
    /// By link: configurations whose changes aren't watched.
    unwatched: BTreeMap<(u64, ConfigId), Unwatched>,
    /// What it told of its program, once it did.
    report: Option<UpdateReport>,
}

/// That changes of a configuration aren't watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unwatched {
    /// So often it's looked for them.
    pub minutes: u32,
    /// In the agent's words.
    pub why: String,
}

/// Agents by computer.
#[derive(Default)]
pub(crate) struct Live {
    agents: Mutex<BTreeMap<ComputerId, Agent>>,
    /// When an agent last found nothing new. After a restart agents say so again.
    up_to_date: Mutex<BTreeMap<ConfigId, Instant>>,
    /// What computers leave out by themselves. After a restart agents say so again.
    exclusions: Mutex<BTreeMap<ConfigId, Vec<Exclusion>>>,
    /// Why captures fail, as agents said; they say so again when they come back.
    failures: Mutex<BTreeMap<ConfigId, String>>,
    /// What each computer runs, also while it's away.
    programs: Mutex<BTreeMap<ComputerId, Program>>,
}

/// What an agent is doing with one configuration. Bytes and files; 0 expected where not known.
#[derive(Debug, Clone, Serialize)]
pub struct Doing {
    pub computer: u32,
    pub config: u32,
    pub doing: String,
    pub files: u64,
    pub bytes: u64,
    pub files_expected: u64,
    pub bytes_expected: u64,
}

impl Live {
    fn agents(&self) -> std::sync::MutexGuard<'_, BTreeMap<ComputerId, Agent>> {
        self.agents.lock().expect("nothing panics while it lists agents")
    }

    pub(crate) fn came(&self, computer: ComputerId, connection: u64, sender: Sender, program: &str) {
        let is_first = {
            let mut agents = self.agents();
            let agent = agents.entry(computer).or_default();
            agent.links.insert(connection, sender);
            agent.links.len() == 1
        };
        if is_first {
            self.all_programs().insert(computer, Program::greeted(program));
        }
    }

    fn all_programs(&self) -> std::sync::MutexGuard<'_, BTreeMap<ComputerId, Program>> {
        self.programs.lock().expect("nothing panics while it notes a program")
    }

    pub(crate) fn programs(&self) -> BTreeMap<ComputerId, Program> {
        self.all_programs().clone()
    }

    /// Notes what an agent told of its program; whether that was the first since it connected.
    pub(crate) fn told_program(&self, computer: ComputerId, report: UpdateReport) -> bool {
        if let Some(program) = self.all_programs().get_mut(&computer) {
            program.told(&report);
        }
        let mut agents = self.agents();
        agents.get_mut(&computer).is_some_and(|agent| agent.report.replace(report).is_none())
    }

    /// The agents that replace their programs, and for which system each is.
    pub(crate) fn updatable(&self) -> Vec<(ComputerId, UpdateReport)> {
        let agents = self.agents();
        agents.iter().filter_map(|(computer, agent)| Some((*computer, agent.report.clone()?))).collect()
    }

    /// This link is gone, or only restores: it isn't the agent at work.
    pub(crate) fn left(&self, computer: ComputerId, connection: u64) {
        let mut agents = self.agents();
        let Some(agent) = agents.get_mut(&computer) else { return };
        agent.links.remove(&connection);
        agent.unwatched.retain(|(link, _), _| *link != connection);
        if agent.links.is_empty() {
            agents.remove(&computer);
        }
    }

    /// Nothing said is nothing done.
    pub(crate) fn progressed(&self, computer: ComputerId, progress: AgentProgress) {
        let mut agents = self.agents();
        let Some(agent) = agents.get_mut(&computer) else { return };
        if progress.doing.is_empty() {
            agent.progress.remove(&progress.config);
        } else {
            agent.progress.insert(progress.config, progress);
        }
    }

    pub(crate) fn up_to_date(&self, config: ConfigId) {
        self.up_to_date.lock().expect("nothing panics while it notes a time").insert(config, Instant::now());
    }

    /// When this configuration was last found as its newest point has it, by a clock that shows `now_ms`, whatever it showed then.
    pub(crate) fn up_to_date_ms(&self, config: ConfigId, now_ms: u64) -> Option<u64> {
        let times = self.up_to_date.lock().expect("nothing panics while it notes a time");
        times.get(&config).map(|found| now_ms.saturating_sub(found.elapsed().as_millis() as u64))
    }

    /// An agent's words are data: what of them is shown is one bounded line. No words: it can again.
    pub(crate) fn failed(&self, config: ConfigId, sentence: &str) {
        let mut failures = self.failures.lock().expect("nothing panics while it notes a sentence");
        let line = plain(sentence);
        match line.is_empty() {
            true => failures.remove(&config),
            false => failures.insert(config, line),
        };
    }

    /// Changes of a configuration aren't watched, or are again where there are no words.
    pub(crate) fn unwatched(
        &self,
        computer: ComputerId,
        of: (u64, ConfigId),
        (minutes, sentence): (u32, &str),
    ) {
        let mut agents = self.agents();
        let Some(agent) = agents.get_mut(&computer) else { return };
        match plain(sentence) {
            why if why.is_empty() => agent.unwatched.remove(&of),
            why => agent.unwatched.insert(of, Unwatched { minutes, why }),
        };
    }

    /// Why changes of a configuration aren't watched, as the agent that's connected said.
    pub(crate) fn why_unwatched(&self, computer: ComputerId, config: ConfigId) -> Option<Unwatched> {
        let agents = self.agents();
        let mut said = agents.get(&computer)?.unwatched.iter();
        said.find_map(|((_, of), unwatched)| (*of == config).then(|| unwatched.clone()))
    }

    /// Why captures of a configuration fail, as its agent last said.
    pub(crate) fn failure(&self, config: ConfigId) -> Option<String> {
        self.failures.lock().expect("nothing panics while it notes a sentence").get(&config).cloned()
    }

    pub(crate) fn leaves_out(&self, config: ConfigId, exclusions: Vec<Exclusion>) {
        self.exclusions.lock().expect("nothing panics while it notes a list").insert(config, exclusions);
    }

    /// What a computer leaves out of a configuration; `None` until it has said so.
    pub(crate) fn exclusions(&self, config: ConfigId) -> Option<Vec<Exclusion>> {
        self.exclusions.lock().expect("nothing panics while it notes a list").get(&config).cloned()
    }

    pub(crate) fn is_connected(&self, computer: ComputerId) -> bool {
        self.agents().contains_key(&computer)
    }

    /// Tells an agent something; `false` where it isn't connected.
    pub(crate) fn tell(&self, computer: ComputerId, message: Message) -> bool {
        let links = self.agents().get(&computer).map(|agent| agent.links.clone()).unwrap_or_default();
        links.values().filter(|sender| sender.blocking_send(message.clone()).is_ok()).count() > 0
    }

    /// The newest line of an agent.
    pub(crate) fn connection(&self, computer: ComputerId) -> Option<u64> {
        self.agents().get(&computer)?.links.last_key_value().map(|(connection, _)| *connection)
    }

    /// Tells an agent something unless it has more to read already; whether it did.
    pub(crate) fn tell_if_free(&self, computer: ComputerId, message: &Message) -> bool {
        let links = self.agents().get(&computer).map(|agent| agent.links.clone()).unwrap_or_default();
        links.values().filter(|sender| sender.try_send(message).unwrap_or(false)).count() > 0
    }

    pub(crate) fn doing(&self) -> Vec<Doing> {
        let agents = self.agents();
        let all = agents
            .iter()
            .flat_map(|(computer, agent)| agent.progress.values().map(move |one| (computer, one)));
        all.map(|(computer, one)| Doing {
            computer: computer.0,
            config: one.config.0,
            doing: one.doing.clone(),
            files: one.files,
            bytes: one.bytes,
            files_expected: one.files_expected,
            bytes_expected: one.bytes_expected,
        })
        .collect()
    }
}

fn plain(sentence: &str) -> String {
    sentence.chars().filter(|one| !one.is_control()).take(FAILURE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_as_old_as_it_is_whatever_the_clock_showed_then() {
        let live = Live::default();
        assert_eq!(live.up_to_date_ms(ConfigId(1), 5), None);
        live.up_to_date(ConfigId(1));
        for now_ms in [1 << 41, 1 << 40, (1 << 40) - 86_400_000] {
            let found_ms = live.up_to_date_ms(ConfigId(1), now_ms).unwrap();
            assert!((now_ms - 60_000..=now_ms).contains(&found_ms), "{found_ms} at {now_ms}");
        }
    }
}
