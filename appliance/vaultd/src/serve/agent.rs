//! Serving one computer: its packs and parts go into the vault, what it forgot comes out of it.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use coffer_format::wire::{Close, Message, RefusalCode, RestoreReport, RestoreState, SignatureKind};
use coffer_format::{ComputerId, ConfigId, PointSeq};
use coffer_link::{Link, LinkError, Sender, refuse};
use coffer_vault::query::When;
use coffer_vault::{PreparedPart, Session, VaultError};

use super::Appliance;
use crate::memories::Memories;
use crate::units::local_time;

/// Parts that wait for their commit while more packs come in.
const PREPARED_MAX: usize = 3;

type Prepared = (coffer_format::ConfigId, PreparedPart);

pub(super) fn serve(
    appliance: &Appliance,
    link: Link,
    computer: ComputerId,
    (connection, program): (u64, &str),
) -> Result<(), LinkError> {
    appliance.live.came(computer, connection, link.sender.clone(), program);
    let (queue, waiting) = sync_channel(PREPARED_MAX);
    let sender = link.sender.clone();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(move || commit_all(waiting, &sender, (&appliance.memories, connection)));
        let (parted, recalled) = (BTreeSet::new(), BTreeSet::new());
        Serving { appliance, link, computer, connection, session: None, queue, parted, recalled }.run()
    });
    appliance.live.left(computer, connection);
    outcome
}

/// Commits parts in their order. A part that is refused makes those after it out of step, which they're told.
fn commit_all(waiting: Receiver<Prepared>, sender: &Sender, (memories, connection): (&Memories, u64)) {
    for (config, prepared) in waiting {
        let answer = match prepared.commit() {
            Ok(done) => {
                // Before the agent can go on.
                memories.answered(config, connection);
                Message::Committed {
                    config,
                    point: done.point,
                    part: done.part,
                    closed: done.closed,
                    vault_ms: done.vault_ms,
                }
            }
            Err(error) => Message::Refused { refusal: error.refusal() },
        };
        if sender.blocking_send(answer).is_err() {
            // The link is gone; what is durable stays so, and the agent will ask.
            return;
        }
    }
}

struct Serving<'a> {
    appliance: &'a Appliance,
    link: Link,
    computer: ComputerId,
    connection: u64,
    session: Option<Session>,
    queue: SyncSender<Prepared>,
    /// Configurations of which the agent remembers what isn't so here.
    parted: BTreeSet<ConfigId>,
    /// Configurations that the agent was asked to recall.
    recalled: BTreeSet<ConfigId>,
}

/// Most files that an agent is asked to send again at once; the rest is asked for at its next capture.
const RESEND_MAX: usize = 10_000;
/// What's said meanwhile to whoever captures.
const METADATA_IS_AWAITED: &str = "metadata of this computer's points is missing on the box, which asks its copies for it: capture again in some minutes";

impl Serving<'_> {
    fn run(mut self) -> Result<(), LinkError> {
        // What was asked of it while it wasn't there.
        if let Some(asked) = self.appliance.restores.open_on(self.computer) {
            self.link.sender.blocking_send(asked)?;
        }
        while let Some(message) = self.link.receiver.blocking_recv()? {
            if matches!(message, Message::Goodbye) {
                break;
            }
            if let Err(error) = self.appliance.check_computer(self.computer, &self.link.peer) {
                // It was revoked, or another machine was enrolled in its place, since it connected.
                return self.link.sender.blocking_send(Message::Refused { refusal: error.refusal() });
            }
            if matches!(message, Message::Begin { .. } | Message::UpToDate { .. }) {
                self.appliance.memories.goes_on(self.connection, self.appliance.vault.now_ms());
            }
            if let Err(error) = self.take(message) {
                match error {
                    Failed::Link(error) => return Err(error),
                    Failed::Vault(error) => {
                        let refusal = error.refusal();
                        tracing::warn!(computer = %self.computer, sentence = refusal.sentence, "refused");
                        self.link.sender.blocking_send(Message::Refused { refusal })?;
                    }
                }
            }
        }
        // It closed the line when it had what it waited for.
        self.appliance.memories.goes_on(self.connection, self.appliance.vault.now_ms());
        Ok(())
    }

    /// An agent remembers the answer to a point that's newer than all that are here: it was here once.
    fn note_set_back(&self, config: ConfigId, point: PointSeq, vault_ms: u64) -> Result<(), Failed> {
        let vault = &self.appliance.vault;
        let reading = vault.reading();
        let newest = reading.points(config)?.first().map_or(0, |newest| newest.point);
        let known = reading.configurations()?.into_iter().find(|known| known.config == config.0);
        let Some(known) = known.filter(|_| point.0 > newest) else { return Ok(()) };
        if !reading.missing_records()?.is_empty() {
            // That has a sentence of its own.
            return Ok(());
        }
        if reading.has_record_of(vault_ms)? {
            let what = format!(
                "{} remembers restore point {} of {}, of {}, which this box never had, though it has what it took in then: the agent's state \
                 folder was set back to an older copy, or swapped. It compares everything with what the box has.",
                known.computer_name,
                point.0,
                known.name,
                local_time(vault_ms)
            );
            return Ok(vault.audit("box", &what)?);
        }
        let sentence = format!(
            "{} remembers restore point {} of {}, of {}, and this box doesn't have it: its vault was set back to an older state. What it had \
             taken in since then is gone from it; computers send again what they still have.",
            known.computer_name,
            point.0,
            known.name,
            local_time(vault_ms)
        );
        vault.audit("box", &sentence)?;
        self.appliance.trouble(sentence);
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), Failed> {
        let vault = &self.appliance.vault;
        let reading = vault.reading();
        match message {
            Message::ConfigsWanted => {
                let configs = reading.configurations_of(self.computer)?;
                self.link.sender.blocking_send(Message::Configs { configs })?;
            }
            Message::Remembers { config, point, part, vault_ms } => {
                reading.check_owner(self.computer, config)?;
                if reading.has_part(config, point, part, vault_ms)? {
                    self.parted.remove(&config);
                } else if self.parted.insert(config) && !reading.must_recall(config)? {
                    self.appliance.memories.is_of_another_line(config, vault.now_ms());
                    self.note_set_back(config, point, vault_ms)?;
                    if !reading.goes_by_others(config)? {
                        // It may have no capture due for long.
                        self.link.sender.blocking_send(Message::Recall { config })?;
                    }
                }
            }
            Message::Begin { config } => {
                let session = self.session.get_or_insert_with(|| Session::new(vault.clone(), self.computer));
                let standing = session.begin(config)?;
                let is_awaited = || {
                    Ok::<_, VaultError>(!reading.must_recall(config)? || self.appliance.awaits_metadata()?)
                };
                if reading.goes_by_others(config)? && is_awaited()? {
                    let sentence = METADATA_IS_AWAITED.into();
                    return Err(VaultError::Refused { code: RefusalCode::Busy, sentence }.into());
                }
                if self.parted.remove(&config) || reading.must_recall(config)? {
                    self.recalled.insert(config);
                    self.link.sender.blocking_send(Message::Recall { config })?;
                }
                let nodes = reading.damaged_nodes(config, RESEND_MAX)?;
                if !nodes.is_empty() {
                    self.link.sender.blocking_send(Message::Resend { config, nodes })?;
                }
                self.link.sender.blocking_send(Message::Begun {
                    config,
                    head: standing.head,
                    draft: standing.draft,
                    next_node: standing.next_node,
                })?;
            }
            Message::PackData { stream, pack } => {
                self.appliance.traffic.passes();
                self.session()?.put_pack(stream, pack)?;
            }
            Message::Part { config, point, part, steps, close } => {
                self.appliance.traffic.passes();
                let close = close.map(Close::from);
                let prepared = self.session()?.prepare_part(config, point, part, steps, close)?;
                self.queue.send((config, prepared)).map_err(|_| out_of_turn())?;
            }
            Message::LastPart { config, point, part, steps, close } => {
                self.appliance.traffic.passes();
                let prepared = self.session()?.prepare_part(config, point, part, steps, Some(close))?;
                self.queue.send((config, prepared)).map_err(|_| out_of_turn())?;
            }
            Message::CatchupWanted { config, point, part } => {
                reading.check_owner(self.computer, config)?;
                if !self.recalled.remove(&config) {
                    self.appliance.memories.lacks(config, self.connection, vault.now_ms());
                }
                if point == PointSeq(0) && reading.must_recall(config)? {
                    // It has cleared its journal before it asked.
                    vault.note_recalled(config)?;
                }
                self.streamed(|send| reading.recall(config, point, part, send))?;
            }
            Message::SignatureWanted { config, node, kind } => {
                reading.check_owner(self.computer, config)?;
                self.streamed(|send| match kind {
                    SignatureKind::Pages => reading.sign_pages(config, node, send),
                    SignatureKind::Chunks => reading.sign_chunks(config, node, send),
                })?;
            }
            Message::RestoreWanted { config, point, paths } => {
                self.appliance.live.left(self.computer, self.connection);
                if !self.appliance.restores.allows(self.computer, config, point, &paths) {
                    reading.check_owner(self.computer, config)?;
                }
                let point = if point == PointSeq(0) { reading.when(config, When::Newest)? } else { point };
                let paths = paths.into_iter().map(|path| path.0).collect();
                let wanted = coffer_vault::restore::Wanted { config, point, paths, trusted: false };
                let _answering = self.appliance.traffic.answers();
                let left_out = super::operator::send_restore(
                    self.appliance,
                    &self.link.sender,
                    &wanted,
                    &mut |working| tracing::info!(%working, "for a restore on a computer"),
                )?;
                self.appliance.restores.left_out(self.computer, left_out);
            }
            Message::UpToDate { config } => {
                reading.check_owner(self.computer, config)?;
                self.appliance.live.up_to_date(config);
            }
            Message::CaptureFailed { config, sentence } => {
                reading.check_owner(self.computer, config)?;
                self.appliance.live.failed(config, &sentence);
            }
            Message::Unwatched { config, minutes, sentence } => {
                reading.check_owner(self.computer, config)?;
                self.appliance.live.unwatched(self.computer, (self.connection, config), (minutes, &sentence));
            }
            Message::Exclusions { config, exclusions } => {
                reading.check_owner(self.computer, config)?;
                self.appliance.live.leaves_out(config, exclusions);
            }
            Message::RestoreReported { report } => {
                self.appliance.live.left(self.computer, self.connection);
                self.restore_reported(report)?;
            }
            Message::UpdateState { report } => {
                let target = report.target.clone();
                let is_first = self.appliance.live.told_program(self.computer, report);
                if is_first && let Some(head) = self.appliance.updates.offer(self.computer, &target) {
                    self.link.sender.blocking_send(Message::UpdateOffered { head })?;
                }
            }
            Message::UpdateWanted { hash, from } => {
                self.link.sender.blocking_send(self.appliance.updates.piece(hash, from))?;
            }
            Message::Progress { progress } => self.appliance.live.progressed(self.computer, progress),
            _ => {
                let sentence = "a computer can't ask for that: it can add, and restore what is its own";
                self.link.sender.blocking_send(refuse(RefusalCode::NotAllowed, sentence))?;
            }
        }
        Ok(())
    }

    fn restore_reported(&self, report: RestoreReport) -> Result<(), Failed> {
        let last = report.state != RestoreState::Begun;
        let noted = Message::RestoreReported { report: report.clone() };
        let answer = match self.appliance.restores.reported(self.computer, report) {
            true if last => noted,
            true => return Ok(()),
            false => refuse(
                RefusalCode::Conflict,
                "the box doesn't wait for that restore any more: it's started again with `coffer restore --on`",
            ),
        };
        Ok(self.link.sender.blocking_send(answer)?)
    }

    fn session(&mut self) -> Result<&mut Session, VaultError> {
        self.session.as_mut().ok_or_else(out_of_turn)
    }

    /// Sends what the vault gives, as it gives it.
    fn streamed(
        &self,
        give: impl FnOnce(&mut dyn FnMut(Message) -> coffer_vault::Result<()>) -> coffer_vault::Result<()>,
    ) -> Result<(), Failed> {
        stream(&self.link.sender, give)
    }
}

/// Sends messages as the vault makes them; a cut link ends it.
pub(super) fn stream<T>(
    sender: &Sender,
    give: impl FnOnce(&mut dyn FnMut(Message) -> coffer_vault::Result<()>) -> coffer_vault::Result<T>,
) -> Result<T, Failed> {
    let mut cut = None;
    let given = give(&mut |message| {
        sender.blocking_send(message).map_err(|error| {
            cut = Some(error);
            out_of_turn()
        })
    });
    match (cut, given) {
        (Some(error), _) => Err(Failed::Link(error)),
        (None, given) => Ok(given?),
    }
}

fn out_of_turn() -> VaultError {
    VaultError::Refused {
        code: RefusalCode::OutOfStep,
        sentence: "that came before its configuration was begun: the agent begins again".into(),
    }
}

/// What ends a request, or the whole link.
pub(super) enum Failed {
    Link(LinkError),
    Vault(VaultError),
}

impl From<LinkError> for Failed {
    fn from(error: LinkError) -> Self {
        Failed::Link(error)
    }
}
impl From<VaultError> for Failed {
    fn from(error: VaultError) -> Self {
        Failed::Vault(error)
    }
}
