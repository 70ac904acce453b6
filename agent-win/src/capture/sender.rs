//! The sending side: packs first, then the part that names their chunks, and the journal once the box has both.
//! At most `UNACKED_MAX` parts are under way.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use coffer_format::entry::{Consistency, PointStats, Remark};
use coffer_format::manifest::{Map, Range, Source};
use coffer_format::op::{Step, StepContent};
use coffer_format::wire::{AgentProgress, Close, Message, SignatureKind};
use coffer_format::{ChunkId, ConfigId, NodeId, PartNo, PointSeq, VaultId};

use super::item::{Item, Memorize, Put, Recollection, Said};
use super::{CaptureError, Closed, Progress, Start};
use crate::cut::{Named, Packed, RawBuffer, Ticket};
use crate::journal::{Journal, JournalChange, Memory, PageSignature, PartAt, Position, Remembered, Totals};
use crate::wire::{Wire, WireError, comes_unasked};

const UNACKED_MAX: usize = 4;
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// A box that says nothing for so long although something is owed is taken for lost, unless the line is busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// What the line carries for our own reports of progress isn't work: that much in [`ANSWER_TIMEOUT`].
const REPORTS_BYTES: u64 = 256 << 10;

/// What the packs have said of a file so far.
#[derive(Default)]
struct Gathered {
    chunks: Vec<ChunkId>,
    ranges: Vec<Range>,
    sent: Vec<(u32, ChunkId)>,
    signatures: Vec<(u64, PageSignature)>,
}

struct Unacked {
    part: PartNo,
    closed: bool,
    changes: Vec<JournalChange>,
    totals: Totals,
}

pub(super) struct Sender<'a> {
    pub(super) wire: &'a Wire,
    pub(super) journal: &'a mut Journal,
    pub(super) config: ConfigId,
    pub(super) vault: VaultId,
    pub(super) progress: &'a Progress,
    point: PointSeq,
    part: PartNo,
    /// Takes used buffers back to the reading side.
    spare: SyncSender<RawBuffer>,
    gathered: HashMap<Ticket, Gathered>,
    steps: Vec<Step>,
    changes: Vec<JournalChange>,
    unacked: VecDeque<Unacked>,
    totals: Totals,
    told: Instant,
    /// What the box asked for meanwhile.
    aside: &'a mut Vec<Message>,
    closed: Option<Closed>,
}

type Result<T> = std::result::Result<T, CaptureError>;

impl<'a> Sender<'a> {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        wire: &'a Wire,
        journal: &'a mut Journal,
        (config, vault): (ConfigId, VaultId),
        progress: &'a Progress,
        start: Start,
        spare: SyncSender<RawBuffer>,
        aside: &'a mut Vec<Message>,
    ) -> Result<Sender<'a>> {
        let totals = if start.part > PartNo(0) { journal.totals()? } else { Totals::default() };
        Ok(Sender {
            wire,
            journal,
            config,
            vault,
            progress,
            point: start.point,
            part: start.part,
            spare,
            gathered: HashMap::new(),
            steps: Vec::new(),
            changes: Vec::new(),
            unacked: VecDeque::new(),
            totals,
            told: Instant::now(),
            aside,
            closed: None,
        })
    }

    /// Sends until the reading side has no more. `None` where no point was closed.
    pub(super) fn run(mut self, items: &Receiver<Vec<Item>>) -> Result<Option<Closed>> {
        // Later words may wait for long behind the first packs.
        self.say()?;
        loop {
            match items.recv_timeout(PROGRESS_EVERY) {
                Ok(batch) => batch.into_iter().try_for_each(|item| self.item(item))?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.progress.check()?;
            self.tell()?;
            self.hear()?;
        }
        self.wait_for(0)?;
        if self.steps.is_empty() {
            self.journal.note(&self.changes)?;
        }
        Ok(self.closed)
    }

    fn item(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Pack { stream, result } => {
                let packed = result.recv().map_err(|_| CaptureError::Panicked)?;
                self.gather(&packed.pieces);
                let Packed { pack, raw, .. } = packed;
                self.totals.sent += pack.payload.len() as u64;
                // Full where the reading side has spare buffers enough.
                let _full = self.spare.try_send(raw);
                self.wire.send(Message::PackData { stream, pack })?;
                self.hear()
            }
            Item::Step { step, change } => {
                self.steps.push(step);
                self.changes.extend(change);
                Ok(())
            }
            Item::Note(change) => {
                self.changes.push(change);
                Ok(())
            }
            Item::Put(put) => {
                self.put(*put);
                Ok(())
            }
            Item::Abandon(ticket) => {
                self.gathered.remove(&ticket);
                Ok(())
            }
            Item::CutPart => self.cut_part(),
            Item::Settle(reply) => {
                self.cut_part()?;
                self.wait_for(0)?;
                self.journal.note(&std::mem::take(&mut self.changes))?;
                reply.send(()).map_err(|_| CaptureError::Stopped)
            }
            Item::Ask { node, kind, reply } => self.ask(node, kind, &reply),
            Item::Close { consistency, report } => self.close(consistency, report),
        }
    }

    fn gather(&mut self, pieces: &[Named]) {
        for Named { piece, id, signatures } in pieces {
            let file = self.gathered.entry(piece.ticket).or_default();
            let chunk = file.chunks.len() as u32;
            file.chunks.push(*id);
            file.sent.push((piece.len, *id));
            file.signatures.extend_from_slice(signatures);
            file.ranges.extend(piece.places.iter().map(|place| Range {
                at: place.at,
                len: u64::from(place.len),
                source: Source::Chunk { chunk, offset: place.offset },
            }));
            self.totals.bytes += u64::from(piece.len);
        }
    }

    fn put(&mut self, put: Put) {
        let mut file = put.ticket.and_then(|ticket| self.gathered.remove(&ticket)).unwrap_or_default();
        let at = PartAt::new(self.point, self.part);
        let mut known = put.known;
        let content = match put.said {
            Said::None => StepContent::None,
            Said::Same => StepContent::Same,
            Said::Whole | Said::Change => {
                known.content = at;
                self.totals.files += u64::from(known.done.is_none());
                file.ranges.extend_from_slice(&put.ranges);
                let map = map_of(put.meta.size, file.chunks, file.ranges);
                if put.said == Said::Whole { StepContent::Whole { map } } else { StepContent::Change { map } }
            }
        };
        let memory = match put.memorize {
            Memorize::Kept => Memory::Kept,
            Memorize::Nothing => Memory::None,
            Memorize::SentChunks => Memory::Chunks(file.sent),
            Memorize::Chunks(chunks) => Memory::Chunks(chunks),
            Memorize::Pages(mut changed) => {
                changed.signed.append(&mut file.signatures);
                changed.signed.sort_unstable_by_key(|(page, _)| *page);
                Memory::Pages { changed, size: put.meta.size }
            }
        };
        let node = known.node;
        self.steps.push(Step::Put { node, meta: put.meta, content });
        self.changes.push(JournalChange::Put(Box::new(Remembered { known, memory })));
        if let Some((parent, name)) = put.link {
            self.steps.push(Step::Link { parent, name: name.clone(), node });
            self.changes.push(JournalChange::Link { parent, name, node });
        }
    }

    fn cut_part(&mut self) -> Result<()> {
        if self.steps.is_empty() { Ok(()) } else { self.send_part(None) }
    }

    fn send_part(&mut self, close: Option<Close>) -> Result<()> {
        self.wait_for(UNACKED_MAX - 1)?;
        let (part, closed) = (self.part, close.is_some());
        let (config, point, steps) = (self.config, self.point, std::mem::take(&mut self.steps));
        self.wire.send(match close {
            Some(close) => Message::LastPart { config, point, part, steps, close },
            None => Message::Part { config, point, part, steps, close: None },
        })?;
        let changes = std::mem::take(&mut self.changes);
        self.unacked.push_back(Unacked { part, closed, changes, totals: self.totals });
        self.part = PartNo(part.0 + 1);
        Ok(())
    }

    fn close(&mut self, consistency: Consistency, report: Vec<Remark>) -> Result<()> {
        let Totals { files, bytes, sent } = self.totals;
        let stats = PointStats { files, bytes, sent, stored: 0 };
        let captured_ms = crate::clock::now_ms();
        self.send_part(Some(Close { captured_ms, consistency, stats, remarks: report.clone() }))?;
        self.wait_for(0)?;
        self.closed = Some(Closed { point: self.point, consistency, files, bytes, sent, report });
        Ok(())
    }

    fn wait_for(&mut self, unacked: usize) -> Result<()> {
        let mut patience = Patience::new(self.wire);
        while self.unacked.len() > unacked {
            match self.wire.receive(PROGRESS_EVERY)? {
                Some(message) => {
                    self.message(message)?;
                    patience = Patience::new(self.wire);
                }
                None => {
                    patience.check(self.wire)?;
                    self.tell()?;
                }
            }
            self.progress.check()?;
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<()> {
        while let Some(message) = self.wire.try_receive()? {
            self.message(message)?;
        }
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Committed { config, point, part, closed, vault_ms }
                if config == self.config && point == self.point =>
            {
                self.committed(part, closed)?;
                Ok(self.journal.keep_committed(PartAt::new(self.point, part), vault_ms)?)
            }
            message if comes_unasked(&message) => {
                if !self.aside.contains(&message) {
                    self.aside.push(message);
                }
                Ok(())
            }
            Message::Configs { configs } => {
                // What can count at once does already; the rest does from the next capture on, as the last ones have it.
                self.aside.retain(|message| !matches!(message, Message::Configs { .. }));
                self.aside.push(Message::Configs { configs });
                Ok(())
            }
            _ => Err(WireError::Unexpected("a message that belongs to no capture").into()),
        }
    }

    /// All parts up to `part` are durable at the box.
    fn committed(&mut self, part: PartNo, closed: bool) -> Result<()> {
        while let Some(first) = self.unacked.front() {
            if first.part > part {
                break;
            }
            let Some(done) = self.unacked.pop_front() else { break };
            if done.part == part && done.closed != closed {
                return Err(WireError::Unexpected("a part closed otherwise than it was sent").into());
            }
            let at = PartAt::new(self.point, done.part);
            let position = Position { vault: self.vault, at, closed: done.closed };
            self.journal.commit(position, done.totals, &done.changes)?;
        }
        Ok(())
    }

    fn ask(&mut self, node: NodeId, kind: SignatureKind, reply: &SyncSender<Recollection>) -> Result<()> {
        self.wire.send(Message::SignatureWanted { config: self.config, node, kind })?;
        let mut patience = Patience::new(self.wire);
        loop {
            let Some(message) = self.wire.receive(PROGRESS_EVERY)? else {
                self.progress.check()?;
                patience.check(self.wire)?;
                continue;
            };
            patience = Patience::new(self.wire);
            let recollection = match message {
                Message::SignaturePages { first_page, signatures } => {
                    Recollection::Pages { first: first_page, signatures: signatures.0 }
                }
                Message::SignatureChunks { chunks } => Recollection::Chunks(chunks),
                Message::SignatureEnd { size } => {
                    return reply.send(Recollection::End { size }).map_err(|_| CaptureError::Stopped);
                }
                other => {
                    self.message(other)?;
                    continue;
                }
            };
            reply.send(recollection).map_err(|_| CaptureError::Stopped)?;
        }
    }

    fn tell(&mut self) -> Result<()> {
        if self.told.elapsed() < PROGRESS_EVERY {
            return Ok(());
        }
        self.say()
    }

    fn say(&mut self) -> Result<()> {
        self.told = Instant::now();
        let progress = AgentProgress {
            config: self.config,
            doing: "capturing".to_owned(),
            files: self.progress.files.load(Ordering::Relaxed),
            bytes: self.progress.bytes.load(Ordering::Relaxed),
            files_expected: self.progress.files_expected.load(Ordering::Relaxed),
            bytes_expected: 0,
        };
        Ok(self.wire.send(Message::Progress { progress })?)
    }
}

/// How long the box has been silent while the line was.
struct Patience {
    since: Instant,
    carried: u64,
}

impl Patience {
    fn new(wire: &Wire) -> Patience {
        Patience { since: Instant::now(), carried: wire.carried() }
    }

    fn check(&mut self, wire: &Wire) -> Result<()> {
        if wire.carried() > self.carried + REPORTS_BYTES {
            *self = Patience::new(wire);
        }
        if self.since.elapsed() >= ANSWER_TIMEOUT { Err(WireError::Lost.into()) } else { Ok(()) }
    }
}

fn map_of(size: u64, chunks: Vec<ChunkId>, mut ranges: Vec<Range>) -> Map {
    ranges.sort_unstable_by_key(|range| range.at);
    let mut map = Map { size, chunks, ranges: Vec::new() };
    ranges.into_iter().for_each(|range| map.push(range));
    map
}
