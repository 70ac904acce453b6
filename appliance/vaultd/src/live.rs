//! Which agents are connected, and what they're doing: for screens, and to tell them that something changed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use coffer_format::wire::{AgentProgress, Message};
use coffer_format::{ComputerId, ConfigId};
use coffer_link::Sender;
use serde::Serialize;

/// One connected agent.
struct Agent {
    sender: Sender,
    connection: u64,
    progress: BTreeMap<ConfigId, AgentProgress>,
}

/// Agents by computer.
#[derive(Default)]
pub(crate) struct Live {
    agents: Mutex<BTreeMap<ComputerId, Agent>>,
    /// When an agent last found nothing new, by the vault's clock. After a restart agents say so again.
    up_to_date: Mutex<BTreeMap<ConfigId, u64>>,
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

    pub(crate) fn came(&self, computer: ComputerId, connection: u64, sender: Sender) {
        self.agents().insert(computer, Agent { sender, connection, progress: BTreeMap::new() });
    }

    pub(crate) fn left(&self, computer: ComputerId, connection: u64) {
        let mut agents = self.agents();
        if agents.get(&computer).is_some_and(|agent| agent.connection == connection) {
            agents.remove(&computer);
        }
    }

    pub(crate) fn progressed(&self, computer: ComputerId, progress: AgentProgress) {
        if let Some(agent) = self.agents().get_mut(&computer) {
            agent.progress.insert(progress.config, progress);
        }
    }

    pub(crate) fn up_to_date(&self, config: ConfigId, now_ms: u64) {
        self.up_to_date.lock().expect("nothing panics while it notes a time").insert(config, now_ms);
    }

    /// When this configuration was last found as its newest point has it.
    pub(crate) fn up_to_date_ms(&self, config: ConfigId) -> Option<u64> {
        self.up_to_date.lock().expect("nothing panics while it notes a time").get(&config).copied()
    }

    pub(crate) fn is_connected(&self, computer: ComputerId) -> bool {
        self.agents().contains_key(&computer)
    }

    /// Tells an agent something; `false` where it isn't connected.
    pub(crate) fn tell(&self, computer: ComputerId, message: Message) -> bool {
        let sender = self.agents().get(&computer).map(|agent| agent.sender.clone());
        sender.is_some_and(|sender| sender.blocking_send(message).is_ok())
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
