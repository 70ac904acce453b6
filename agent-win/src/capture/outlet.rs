//! The reading side's end of the queue: fills packs, keeps everything in order, and decides where parts end.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use coffer_format::NodeId;
use coffer_format::entry::{Consistency, Remark};
use coffer_format::limits::PAGE;
use coffer_format::op::{Name, Step};
use coffer_format::segment::Stream;
use coffer_format::wire::SignatureKind;

use super::CaptureError;
use super::item::{Item, Put, Recollection};
use crate::cut::{ALIGNMENT, PackBuilder, RawBuffer, Ticket, Workers};
use crate::journal::JournalChange;

/// Most items that wait to be sent; packs among them are bounded by the workers and this.
pub(super) const ITEMS_MAX: usize = 5;
/// Most items behind an unfinished pack.
const HELD_MAX: usize = 2048;

/// Least room that is worth reading into.
const PAGES_ROOM_MIN: usize = 128 << 10;

const PART_RAW_BYTES: u64 = 256 << 20;
const PART_STEPS: usize = 4096;
const PART_TIME: Duration = Duration::from_secs(10);
/// Encoded length of a part's steps, roughly; half of what a frame allows.
const PART_WEIGHT: usize = 3 << 20;

/// Where read things go.
pub(super) struct Outlet<'a> {
    items: SyncSender<Vec<Item>>,
    workers: &'a Workers,
    spare: Receiver<RawBuffer>,
    builder: PackBuilder,
    held: Vec<Item>,
    stream: Stream,
    next_ticket: u64,
    part: PartSoFar,
    /// Steps sent since the capture began.
    steps: u64,
}

struct PartSoFar {
    raw_bytes: u64,
    steps: usize,
    weight: usize,
    started: Instant,
}

impl PartSoFar {
    fn new() -> PartSoFar {
        PartSoFar { raw_bytes: 0, steps: 0, weight: 0, started: Instant::now() }
    }
}

type Result<T> = std::result::Result<T, CaptureError>;

impl<'a> Outlet<'a> {
    pub(super) fn new(
        items: SyncSender<Vec<Item>>,
        workers: &'a Workers,
        spare: Receiver<RawBuffer>,
        stream: Stream,
    ) -> Outlet<'a> {
        let builder = PackBuilder::new(RawBuffer::new());
        let (held, part) = (Vec::new(), PartSoFar::new());
        Outlet { items, workers, spare, builder, held, stream, next_ticket: 0, part, steps: 0 }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Steps since the capture began.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    /// Packs from here on belong to this stream.
    pub(super) fn set_stream(&mut self, stream: Stream) -> Result<()> {
        if stream != self.stream {
            self.flush()?;
            self.stream = stream;
        }
        Ok(())
    }

    pub(super) fn add_chunk(&mut self, ticket: Ticket, at: u64, bytes: &[u8]) -> Result<()> {
        self.make_room(bytes.len())?;
        self.builder.add_chunk(ticket, at, bytes);
        self.weigh(bytes.len(), 64);
        Ok(())
    }

    /// Room to read pages into, of which [`Outlet::keep_pages`] then keeps some: [`PAGES_ROOM_MIN`] bytes or more, a
    /// multiple of the page. `aligned` where the read passes the page cache by.
    pub(super) fn pages_room(&mut self, aligned: bool) -> Result<&mut [u8]> {
        let misses = aligned && !self.builder.raw.len().is_multiple_of(ALIGNMENT);
        if misses || !self.builder.has_room(PAGES_ROOM_MIN) {
            self.flush()?;
        }
        let room = self.builder.raw.room_mut();
        let len = room.len() / PAGE * PAGE;
        Ok(&mut room[..len])
    }

    /// What was read into the room.
    pub(super) fn pages_read(&self) -> &[u8] {
        self.builder.raw.room()
    }

    /// Keeps runs of what was read into the room, whose first byte is the file's byte `at`. They begin at a page and are
    /// whole pages, except at the end of the file.
    pub(super) fn keep_pages(&mut self, ticket: Ticket, at: u64, runs: &[Range<usize>]) {
        self.builder.keep_pages(ticket, at, runs);
        self.weigh(runs.iter().map(Range::len).sum(), 64 * runs.len());
    }

    fn weigh(&mut self, raw_bytes: usize, weight: usize) {
        self.part.raw_bytes += raw_bytes as u64;
        self.part.weight += weight;
    }

    fn make_room(&mut self, len: usize) -> Result<()> {
        if self.builder.has_room(len) { Ok(()) } else { self.flush() }
    }

    pub(super) fn put(&mut self, put: Put) -> Result<()> {
        let attrs: usize = put.meta.attrs.iter().map(|attr| 16 + attr.name.len() + attr.value.len()).sum();
        self.stepped(256 + attrs + put.ranges.len() * 28);
        self.item(Item::Put(Box::new(put)))
    }

    pub(super) fn link(&mut self, parent: NodeId, name: Name, node: NodeId) -> Result<()> {
        self.stepped(64 + name.as_bytes().len());
        let change = Some(JournalChange::Link { parent, name: name.clone(), node });
        self.item(Item::Step { step: Step::Link { parent, name, node }, change })
    }

    pub(super) fn unlink(&mut self, parent: NodeId, name: Name) -> Result<()> {
        self.stepped(64 + name.as_bytes().len());
        let change = Some(JournalChange::Unlink { parent, name: name.clone() });
        self.item(Item::Step { step: Step::Unlink { parent, name }, change })
    }

    fn stepped(&mut self, weight: usize) {
        self.steps += 1;
        self.part.steps += 2;
        self.part.weight += weight;
    }

    pub(super) fn note(&mut self, change: JournalChange) -> Result<()> {
        self.item(Item::Note(change))
    }

    pub(super) fn abandon(&mut self, ticket: Ticket) -> Result<()> {
        self.item(Item::Abandon(ticket))
    }

    fn item(&mut self, item: Item) -> Result<()> {
        self.held.push(item);
        if self.held.len() >= HELD_MAX { self.flush() } else { Ok(()) }
    }

    /// Whether the part should end as soon as whatever is being said is said.
    pub(super) fn part_is_full(&self) -> bool {
        let part = &self.part;
        part.raw_bytes >= PART_RAW_BYTES
            || part.weight >= PART_WEIGHT
            || part.steps >= PART_STEPS
            || self.part_is_old()
    }

    fn part_is_old(&self) -> bool {
        (self.part.raw_bytes > 0 || self.part.steps > 0) && self.part.started.elapsed() >= PART_TIME
    }

    /// Ends the part if it's time.
    pub(super) fn breathe(&mut self) -> Result<()> {
        if self.part_is_full() { self.cut_part() } else { Ok(()) }
    }

    pub(super) fn cut_part(&mut self) -> Result<()> {
        self.held.push(Item::CutPart);
        self.part = PartSoFar::new();
        self.flush()
    }

    /// Sends everything and waits until the box has committed it.
    pub(super) fn settle(&mut self) -> Result<()> {
        let (reply, settled) = sync_channel(1);
        self.held.push(Item::Settle(reply));
        self.part = PartSoFar::new();
        self.flush()?;
        settled.recv().map_err(|_| CaptureError::Stopped)
    }

    /// Asks the box what it remembers of the version it has.
    pub(super) fn ask(&mut self, node: NodeId, kind: SignatureKind) -> Result<Receiver<Recollection>> {
        let (reply, answer) = sync_channel(4);
        self.held.push(Item::Ask { node, kind, reply });
        self.flush()?;
        Ok(answer)
    }

    pub(super) fn close(&mut self, consistency: Consistency, report: Vec<Remark>) -> Result<()> {
        self.held.push(Item::Close { consistency, report });
        self.flush()
    }

    /// Hands on the pack and all that waited for it.
    pub(super) fn flush(&mut self) -> Result<()> {
        let mut batch = Vec::with_capacity(self.held.len() + 1);
        if !self.builder.is_empty() {
            let next = PackBuilder::new(self.spare.try_recv().unwrap_or_else(|_| RawBuffer::new()));
            let full = std::mem::replace(&mut self.builder, next);
            batch.push(Item::Pack { stream: self.stream, result: self.workers.submit(full) });
        }
        batch.append(&mut self.held);
        if batch.is_empty() { Ok(()) } else { self.items.send(batch).map_err(|_| CaptureError::Stopped) }
    }
}
