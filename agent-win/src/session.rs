//! A conversation with the box: opening, configurations, and getting in step before each capture.

use std::time::Duration;

use coffer_format::update::Version;
use coffer_format::wire::{AgentProgress, ConfigText, Exclusion, Message, PROTOCOL, RefusalCode};
use coffer_format::{ConfigId, NodeId, PartNo, PointSeq, VaultId};

use crate::capture::{self, CaptureError, CaptureJob, CaptureOrder, LostNodes, Outcome, Start, Target};
use crate::changes::RECHECK;
use crate::guest::Stage;
use crate::journal::{Journal, PartAt, Position, Standing};
use crate::restore::{self, Goal, Order, RestoreError, Restored};
use crate::wire::{Wire, WireError, comes_unasked};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the box may take to hang up.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);
/// To a box that's asked for a restore: its newest point.
const NEWEST: PointSeq = PointSeq(0);

/// An open conversation.
pub struct Session {
    wire: Wire,
    vault: VaultId,
    /// The box's own name, for messages.
    box_name: String,
    /// What the box asked for while something else was going on.
    aside: Vec<Message>,
}

impl Session {
    /// Says hello.
    pub fn open(wire: Wire) -> Result<Session, WireError> {
        Session::open_as(wire, crate::update::built_version())
    }

    /// Says hello, as a program of that version.
    pub(crate) fn open_as(wire: Wire, version: Version) -> Result<Session, WireError> {
        let program = format!("coffer-agent {version}");
        wire.send(Message::Hello { protocol: PROTOCOL, program, clock_ms: crate::clock::now_ms() })?;
        let mut session =
            Session { wire, vault: VaultId([0; 16]), box_name: String::new(), aside: Vec::new() };
        match session.answer()? {
            Message::Welcome { name, vault, .. } => {
                session.vault = vault;
                session.box_name = name;
                Ok(session)
            }
            _ => Err(WireError::Unexpected("no welcome")),
        }
    }

    pub fn box_name(&self) -> &str {
        &self.box_name
    }

    /// The configurations of this computer.
    pub fn configs(&mut self) -> Result<Vec<ConfigText>, WireError> {
        self.wire.send(Message::ConfigsWanted)?;
        loop {
            match self.next()? {
                Message::Configs { configs } => return Ok(configs),
                message if comes_unasked(&message) => self.aside.push(message),
                _ => return Err(WireError::Unexpected("no configurations")),
            }
        }
    }

    /// What the box asked for, if anything comes in time.
    pub fn asked(&mut self, timeout: Duration) -> Result<Vec<Message>, WireError> {
        let mut asked = std::mem::take(&mut self.aside);
        if asked.is_empty() {
            asked.extend(self.wire.receive(timeout)?);
        }
        while let Some(message) = self.wire.try_receive()? {
            asked.push(message);
        }
        Ok(asked)
    }

    /// Tells the box something that it doesn't answer at once.
    pub fn tell(&self, message: Message) -> Result<(), WireError> {
        self.wire.send(message)
    }

    /// Tells the box why there's no new point of a configuration; that it can be captured again where `why` is empty.
    pub(crate) fn capture_failed(&self, config: ConfigId, why: &str) -> Result<(), WireError> {
        self.wire.send(Message::CaptureFailed { config, sentence: why.to_owned() })
    }

    /// Tells the box that its newest point is all there is.
    pub fn up_to_date(&self, config: ConfigId) -> Result<(), WireError> {
        self.wire.send(Message::UpToDate { config })
    }

    /// Tells the box what this computer leaves out by itself.
    pub fn tell_exclusions(&self, config: ConfigId, exclusions: Vec<Exclusion>) -> Result<(), WireError> {
        self.wire.send(Message::Exclusions { config, exclusions })
    }

    /// Tells the box what's going on with a configuration besides captures; nothing where `doing` is empty.
    pub(crate) fn doing(&self, config: ConfigId, doing: &str) -> Result<(), WireError> {
        let progress = AgentProgress {
            config,
            doing: doing.to_owned(),
            files: 0,
            bytes: 0,
            files_expected: 0,
            bytes_expected: 0,
        };
        self.wire.send(Message::Progress { progress })
    }

    /// Ends it, and waits until the box has taken everything: a program that ends sooner takes along what wasn't sent yet.
    pub fn goodbye(self) {
        if let Err(error) = self.wire.send(Message::Goodbye) {
            tracing::debug!(%error, "the box was gone already");
        }
        while let Ok(Some(_)) = self.wire.receive(GOODBYE_TIMEOUT) {}
    }

    /// Ends it at once: what still waits to be sent is dropped. Over when it returns, so that a new session begins after it.
    pub(crate) fn cut(self) {
        self.wire.cut();
    }

    /// Gets in step with the box, then captures.
    pub fn capture(
        &mut self,
        journal: &mut Journal,
        mut order: CaptureOrder<'_>,
    ) -> Result<Outcome, CaptureError> {
        let config = order.config;
        let (start, lost) = self.begin(journal, config)?;
        order.target.add(&lost);
        order.progress.begin(if start.is_first { Stage::FirstCopy } else { Stage::Changes });
        if start.part > PartNo(0) || start.is_first || start.is_recalled {
            // What a draft still lacks was noticed by an agent that's gone.
            order.target = Target::Everything;
        }
        if start.is_first || start.is_recalled {
            order.hints = &RECHECK;
        }
        let (wire, vault, aside) = (&self.wire, self.vault, &mut self.aside);
        let captured =
            capture::capture(CaptureJob { order, wire, journal: &mut *journal, vault, start, aside });
        if matches!(&captured, Ok(outcome @ Outcome::Unchanged { .. }) if outcome.is_up_to_date()) {
            self.up_to_date(config)?;
        }
        if let Err(CaptureError::Wire(WireError::Refused(refusal))) = &captured
            && refusal.code == RefusalCode::OutOfStep
        {
            // Journal and box differ in a way that their positions don't show: all of it is recalled.
            journal.clear()?;
        }
        captured
    }

    /// Restores a point, the newest where none is said.
    pub fn restore(
        &mut self,
        config: ConfigId,
        point: Option<PointSeq>,
        paths: Vec<Vec<u8>>,
        goal: Goal,
    ) -> Result<Restored, RestoreError> {
        // Asked for as such: a beginning would take a capture that's under way from its own line.
        let point = point.unwrap_or(NEWEST);
        restore::restore(&self.wire, Order { config, point, paths, goal })
    }

    /// The line itself, for a restore that the box asked for.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Tells the box what it last had of a configuration, by the agent's memory. Where it knows nothing of that, it asks to recall.
    pub(crate) fn remembers(&self, journal: &Journal, config: ConfigId) -> Result<(), CaptureError> {
        if let Some(Position { vault, at, .. }) = journal.position()?
            && vault == self.vault
            && let Some(vault_ms) = journal.committed_ms(at)?
        {
            self.wire.send(Message::Remembers { config, point: at.point, part: at.part, vault_ms })?;
        }
        Ok(())
    }

    /// Where the capture goes on, and where to look for what the box has lost.
    fn begin(&mut self, journal: &mut Journal, config: ConfigId) -> Result<(Start, Target), CaptureError> {
        self.remembers(journal, config)?;
        self.wire.send(Message::Begin { config })?;
        // What it asked for before comes with this.
        self.aside.retain(|message| {
            !matches!(message, Message::Recall { config: of } | Message::Resend { config: of, .. } if *of == config)
        });
        let (mut resend, mut is_forgotten) = (Vec::new(), false);
        let (begun, head, draft, next_node) = loop {
            match self.next()? {
                Message::Recall { config: of } if of == config => is_forgotten = true,
                Message::Resend { config: of, nodes } if of == config => resend.extend(nodes),
                message @ Message::Configs { .. } => self.aside.push(message),
                message if comes_unasked(&message) => self.aside.push(message),
                Message::Begun { config, head, draft, next_node } => break (config, head, draft, next_node),
                _ => return Err(WireError::Unexpected("the capture was not begun").into()),
            }
        };
        if begun != config {
            return Err(WireError::Unexpected("another configuration was begun").into());
        }
        let standing = match is_forgotten {
            true => Standing::Astray,
            false => Position::standing(journal.position()?, self.vault, head, draft),
        };
        match standing {
            Standing::InStep => {}
            Standing::Behind(from) => self.catch_up(journal, config, from, head)?,
            Standing::Astray => {
                journal.clear()?;
                self.catch_up(journal, config, PartAt::default(), head)?;
            }
        }
        let mut lost_at = Target::nothing();
        if !resend.is_empty() {
            tracing::warn!(files = resend.len(), "the box has lost content of these files and gets it again");
            let LostNodes { nodes, target } = LostNodes::find(&resend, &journal.reader()?)?;
            journal.doubt(&nodes)?;
            lost_at = target;
        }
        let point = draft.map_or(PointSeq(head.0 + 1), |draft| draft.point);
        let part = draft.map_or(PartNo(0), |draft| draft.parts);
        let next_node = next_node.max(NodeId(NodeId::ROOT.0 + 1));
        let start = Start {
            point,
            part,
            next_node,
            is_first: head == PointSeq(0),
            is_recalled: standing != Standing::InStep,
            is_point_wanted: is_forgotten,
        };
        Ok((start, lost_at))
    }

    /// Takes over what the box knows and the journal doesn't, from that part on.
    fn catch_up(
        &mut self,
        journal: &mut Journal,
        config: ConfigId,
        from: PartAt,
        head: PointSeq,
    ) -> Result<(), CaptureError> {
        tracing::info!(%config, point = %from.point, "recalling from the box what it has");
        self.wire.send(Message::CatchupWanted { config, point: from.point, part: from.part })?;
        let vault = self.vault;
        let mut at = journal.position()?.map_or(PartAt::default(), |position| position.at);
        loop {
            match self.answer()? {
                Message::CatchupPart { point, part, ops } => {
                    let next = PartAt { point, part };
                    if next < from || next < at {
                        return Err(WireError::Unexpected("parts out of order").into());
                    }
                    at = next;
                    journal.recall(Position { vault, at, closed: false }, ops)?;
                }
                Message::CatchupEnd => {
                    let closed = at.point <= head;
                    journal.recall(Position { vault, at, closed }, Vec::new())?;
                    return Ok(());
                }
                _ => return Err(WireError::Unexpected("something other than was recalled").into()),
            }
        }
    }

    fn answer(&mut self) -> Result<Message, WireError> {
        loop {
            match self.next()? {
                message @ Message::Configs { .. } => self.aside.push(message),
                message if comes_unasked(&message) => self.aside.push(message),
                message => return Ok(message),
            }
        }
    }

    fn next(&mut self) -> Result<Message, WireError> {
        self.wire.receive(ANSWER_TIMEOUT)?.ok_or(WireError::Lost)
    }
}
