//! One connection to HQ: asks what HQ has, sends what it lacks, takes receipts, records copies.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use coffer_format::event::Place;
use coffer_format::wire::{Message, PROTOCOL, SegmentHas};
use coffer_format::{FileHash, SegmentId};
use coffer_link::{Link, LinkError, Receiver, Role, connect};
use coffer_vault::SegmentState;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::WanError;
use crate::job::{Shared, in_background};
use crate::lineage;
use crate::pace::Pace;
use crate::progress::{Misfit, Progress};
use crate::status::{ClockTold, WholeAtHq};
use crate::work::{Piece, Work};

/// The work list is derived anew when it's older than this: on a thin line that is before every piece.
const DERIVE_EVERY: Duration = Duration::from_millis(200);
/// Copies are recorded together: when there are this many, when nothing else is to do, or after a while.
const COPIES_MAX: usize = 16;
const COPIES_WAIT: Duration = Duration::from_secs(5);
/// Messages handed to the link and not yet taken by it.
const OUTBOX_MAX: usize = 2;

/// A connection that has been greeted.
pub(crate) struct Session<'a> {
    shared: &'a Shared,
    receiver: Receiver,
    outbox: mpsc::Sender<Message>,
    forwarder: JoinHandle<()>,
    progress: Progress,
    work: Work,
    derived: Option<Instant>,
    copies: Vec<(SegmentId, FileHash, Place)>,
    copies_since: Instant,
    /// When HQ last said anything, or last came to owe us a word.
    heard: Instant,
    whole: WholeAsked,
    /// Bytes that became durable at HQ over this connection.
    pub(crate) gained: u64,
}

#[derive(Debug, Clone, Copy)]
struct WholeAsked {
    at: Option<Instant>,
    pending: bool,
    /// Something has become durable since.
    stale: bool,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

impl<'a> Session<'a> {
    /// Connects, and learns what HQ has.
    pub(crate) async fn open(shared: &'a Shared) -> Result<Session<'a>, WanError> {
        let settings = &shared.settings;
        let throttle = Some(shared.board.throttle.clone());
        let mut link = connect(&settings.address, &settings.identity, Role::Hq, throttle).await?;
        let patience = settings.patience.stall;
        let vault = shared.vault.clone();
        let states = in_background(move || vault.segments()).await??;
        let greeting = greet(&mut link, shared, &states);
        let has = timeout(patience, greeting).await.map_err(|_| stalled(patience))??;
        let Link { sender, receiver, .. } = link;
        let (outbox, mut to_send) = mpsc::channel(OUTBOX_MAX);
        let forwarder = tokio::spawn(async move {
            while let Some(message) = to_send.recv().await {
                if let Err(error) = sender.send(message).await {
                    // The receiver says the same to the session.
                    tracing::debug!(%error, "nothing more can be sent to HQ");
                    return;
                }
            }
        });
        let mut recorded = shared.recorded_copies().await?;
        shared.forget_lost_copies(&has, &mut recorded).await?;
        let now = Instant::now();
        Ok(Session {
            shared,
            receiver,
            outbox,
            forwarder,
            progress: Progress::new(&has, recorded),
            work: Work::default(),
            derived: None,
            copies: Vec::new(),
            copies_since: now,
            heard: now,
            whole: WholeAsked { at: None, pending: false, stale: true },
            gained: 0,
        })
    }

    /// Goes on until the line fails.
    pub(crate) async fn run(&mut self) -> Result<(), WanError> {
        loop {
            let next = self.next_piece().await?;
            if next.is_none() {
                self.rest().await?;
            }
            self.flush_copies_when_due(next.is_none()).await?;
            self.show();
            self.wait(next).await?;
            self.check_stall()?;
        }
    }

    /// What may be sent now.
    async fn next_piece(&mut self) -> Result<Option<Piece>, WanError> {
        let rate = self.shared.board.throttle.rate();
        if rate == Some(0) {
            return Ok(None);
        }
        if self.derived.is_none_or(|at| at.elapsed() >= DERIVE_EVERY) {
            self.derive().await?;
        }
        let pace = Pace::of(rate);
        let next = self.work.next(&self.progress, pace.piece_bytes);
        let under_way = self.progress.under_way();
        Ok(next.filter(|piece| under_way == 0 || under_way + piece.len <= pace.window_bytes))
    }

    async fn derive(&mut self) -> Result<(), WanError> {
        self.derived = Some(Instant::now());
        let vault = self.shared.vault.clone();
        let found =
            in_background(move || Ok::<_, WanError>((vault.segments()?, vault.reading().damaged_from()?)));
        let (states, damaged_from) = found.await??;
        self.shared.take_lost_copies().into_iter().for_each(|segment| self.progress.lost(segment));
        let beginnings = self.progress.beginnings();
        self.shared.vault.reading().note_beginnings(&self.shared.settings.branch, beginnings);
        self.work = Work::derive(states, &self.shared.held_back(), damaged_from);
        if let Some(segment) = self.work.overtaken(&self.progress) {
            let (there, here) = (self.progress.of(segment).durable, self.work.state(segment));
            tracing::warn!(%segment, there, ?here, "HQ has more of a segment than there is here");
            return Err(WanError::SetBack);
        }
        Ok(())
    }

    /// Nothing can be sent now. If nothing is owed either, HQ is up to date: what is left of the housekeeping is done.
    async fn rest(&mut self) -> Result<(), WanError> {
        let quiet = !self.progress.is_owed() && self.shared.board.throttle.rate() != Some(0);
        let all_sent = quiet && self.work.next(&self.progress, 1).is_none();
        if all_sent && self.shared.held_back().is_empty() && !self.work.has_damage() {
            self.give_up_gaps().await?;
        }
        let patience = self.shared.settings.patience.ask_whole;
        let due = self.whole.at.is_none_or(|at| at.elapsed() >= patience) || all_sent;
        if self.whole.stale && !self.whole.pending && due && self.shared.board.throttle.rate() != Some(0) {
            self.whole = WholeAsked { at: Some(Instant::now()), pending: true, stale: false };
            self.heard = Instant::now();
            self.send(Message::Ask { json: r#""whole""#.into() }).await?;
        }
        Ok(())
    }

    /// Tells HQ of segments that will never come: dropped here before they were whole there, or never filled.
    /// What was needed of them is in other segments, all of which are at HQ by now.
    async fn give_up_gaps(&mut self) -> Result<(), WanError> {
        let vault = self.shared.vault.clone();
        let known: HashSet<SegmentId> =
            in_background(move || vault.segments()).await??.iter().map(|state| state.segment).collect();
        let gone = gaps(&known, &self.progress);
        if gone.is_empty() {
            return Ok(());
        }
        // A segment that has just been made is listed with the next batch: after an empty one, all older are.
        let vault = self.shared.vault.clone();
        let listed = in_background(move || vault.record(Vec::new()).and_then(|()| vault.segments())).await?;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "the vault takes nothing, so HQ isn't told which segments are gone");
                return Ok(());
            }
        };
        let listed: HashSet<SegmentId> = listed.iter().map(|state| state.segment).collect();
        for segment in gone.into_iter().filter(|segment| !listed.contains(segment)) {
            self.send(Message::SegmentForgotten { segment }).await?;
            self.progress.given_up(segment);
            self.whole.stale = true;
        }
        self.derived = None;
        Ok(())
    }

    async fn flush_copies_when_due(&mut self, idle: bool) -> Result<(), WanError> {
        let many = self.copies.len() >= COPIES_MAX;
        let old = self.copies_since.elapsed() >= COPIES_WAIT;
        let nothing_else = idle && !self.progress.is_owed();
        if self.copies.is_empty() || !(many || old || nothing_else) {
            return Ok(());
        }
        self.flush_copies().await
    }

    /// Records what HQ has verified; what it said counts also when the line was cut right after.
    pub(crate) async fn flush_copies(&mut self) -> Result<(), WanError> {
        let copies = std::mem::take(&mut self.copies);
        if copies.is_empty() {
            return Ok(());
        }
        let segments: Vec<_> = copies.iter().map(|(segment, ..)| *segment).collect();
        let vault = self.shared.vault.clone();
        in_background(move || vault.record_copies(copies)).await??;
        segments.into_iter().for_each(|segment| self.progress.recorded(segment));
        self.derived = None;
        Ok(())
    }

    /// Sends the piece as soon as the link takes it, or hears from HQ, whichever comes first.
    async fn wait(&mut self, next: Option<Piece>) -> Result<(), WanError> {
        let outbox = self.outbox.clone();
        let wake_at = self.wake_at(next.is_some());
        tokio::select! {
            biased;
            message = self.receiver.recv() => self.take(message?),
            place = outbox.reserve(), if next.is_some() => {
                let place = place.map_err(|_| WanError::Closed)?;
                let Some(piece) = next else { return Ok(()) };
                place.send(self.read(piece).await?);
                if !self.progress.is_owed() {
                    self.heard = Instant::now();
                }
                self.progress.sent(piece.segment, piece.len);
                Ok(())
            }
            () = self.shared.wake.notified() => {
                self.derived = None;
                Ok(())
            }
            () = sleep_until(wake_at) => Ok(()),
        }
    }

    fn wake_at(&self, sending: bool) -> Instant {
        let patience = self.shared.settings.patience;
        let now = Instant::now();
        let look = if sending { now + patience.stall } else { now + patience.idle };
        match self.owes_us() {
            true => look.min(self.heard + patience.stall),
            false => look,
        }
    }

    fn owes_us(&self) -> bool {
        self.progress.is_owed() || self.whole.pending
    }

    fn check_stall(&mut self) -> Result<(), WanError> {
        let patience = self.shared.settings.patience.stall;
        if self.shared.board.throttle.rate() == Some(0) {
            // We hold the line ourselves.
            self.heard = Instant::now();
        }
        let silent = self.owes_us() && self.heard.elapsed() >= patience;
        if silent { Err(stalled(patience)) } else { Ok(()) }
    }

    async fn read(&self, piece: Piece) -> Result<Message, WanError> {
        let vault = self.shared.vault.clone();
        let Piece { segment, offset, len, closed_len } = piece;
        let bytes = in_background(move || {
            let mut bytes = vec![0; len as usize];
            let read = if len > 0 { vault.reading().read_segment(segment, offset, &mut bytes)? } else { 0 };
            bytes.truncate(read);
            Ok::<_, WanError>(bytes)
        });
        let bytes = bytes.await??;
        if bytes.len() as u64 != len {
            return Err(WanError::OutOfStep { segment });
        }
        Ok(Message::SegmentBytes { segment, offset, closed_len, bytes: bytes.into() })
    }

    fn take(&mut self, message: Option<Message>) -> Result<(), WanError> {
        self.heard = Instant::now();
        match message {
            Some(Message::Receipt { segment, bytes, hash }) => self.take_receipt(segment, bytes, hash),
            Some(Message::Answer { json }) if self.whole.pending => {
                self.whole.pending = false;
                let whole: Vec<WholeAtHq> = serde_json::from_slice(&json).map_err(|_| WanError::OutOfTurn)?;
                let asked_ms = self.shared.vault.now_ms();
                self.shared.board.change(|status| {
                    status.whole = whole;
                    status.whole_asked_ms = asked_ms;
                    // It has taken all that was sent before.
                    status.not_taken = None;
                });
                Ok(())
            }
            Some(Message::Refused { refusal }) => Err(LinkError::Refused(refusal).into()),
            Some(_) => Err(WanError::OutOfTurn),
            None => Err(WanError::Closed),
        }
    }

    fn take_receipt(
        &mut self,
        segment: SegmentId,
        bytes: u64,
        hash: Option<FileHash>,
    ) -> Result<(), WanError> {
        let gained = match self.progress.receipted(segment, bytes) {
            Ok(gained) => gained,
            Err(Misfit::Lost) => {
                self.shared.vault.reading().suspect_segment(segment);
                self.shared.blame(segment);
                return Err(WanError::Damaged { segment });
            }
            Err(Misfit::Beyond) => return Err(WanError::OutOfStep { segment }),
        };
        self.gained += gained;
        self.shared.vault.reading().note_beginning(segment, bytes);
        self.whole.stale |= gained > 0;
        self.shared.board.change(|status| {
            status.hq_took(gained);
            status.last_error = None;
            status.refused = None;
            status.not_taken = None;
        });
        let Some(hash) = hash else { return Ok(()) };
        let known = self.work.state(segment).filter(|state| state.closed).and_then(|state| state.hash);
        if known != Some(hash) {
            self.shared.vault.reading().suspect_segment(segment);
            self.shared.blame(segment);
            return Err(WanError::Damaged { segment });
        }
        if self.copies.is_empty() {
            self.copies_since = Instant::now();
        }
        self.copies.push((segment, hash, Place::Hq { name: self.shared.settings.branch.clone() }));
        self.progress.verified(segment);
        Ok(())
    }

    /// Why the connection ended, noted where that shows.
    pub(crate) fn note_end(&self, error: &WanError) {
        if error.is_full_disk() {
            let under_way = self.progress.under_way().max(1);
            self.shared.board.change(|status| status.hq_has_no_room(under_way));
        }
    }

    async fn send(&self, message: Message) -> Result<(), WanError> {
        let patience = self.shared.settings.patience.stall;
        let sent = timeout(patience, self.outbox.send(message)).await.map_err(|_| stalled(patience))?;
        sent.map_err(|_| WanError::Closed)
    }

    fn show(&self) {
        let behind = self.work.behind(&self.progress);
        let counted = self.work.counted_bytes();
        self.shared.board.change(|status| {
            (status.behind_bytes, status.counted_bytes) = (Some(behind), counted);
            status.hq_is_full &= behind > 0;
        });
    }
}

fn gaps(known: &HashSet<SegmentId>, progress: &Progress) -> Vec<SegmentId> {
    let last = known.iter().max().map_or(0, |last| last.0);
    (1..last).map(SegmentId).filter(|id| !known.contains(id) && !progress.of(*id).done).collect()
}

fn stalled(patience: Duration) -> WanError {
    WanError::Stalled { seconds: patience.as_secs() }
}

async fn greet(
    link: &mut Link,
    shared: &Shared,
    states: &[SegmentState],
) -> Result<Vec<SegmentHas>, WanError> {
    let vault = &shared.vault;
    let (program, clock_ms) = (format!("cofferd {}", env!("CARGO_PKG_VERSION")), vault.now_ms());
    link.sender.send(Message::Hello { protocol: PROTOCOL, program, clock_ms }).await?;
    link.sender.send(Message::BranchVault { vault: vault.id(), org: vault.org() }).await?;
    link.sender.send(Message::BranchSegments).await?;
    loop {
        match link.receiver.recv().await? {
            Some(Message::Welcome { vault_ms, .. }) => {
                let told = ClockTold { ms: vault_ms, heard: std::time::Instant::now() };
                shared.board.change(|status| status.clock = Some(told));
            }
            Some(Message::BranchHas { segments }) => {
                lineage::check(link, vault, &segments, states).await?;
                if segments.is_empty() {
                    let header = *vault.identity();
                    link.sender.send(Message::BranchIdentity { header }).await?;
                }
                return Ok(segments);
            }
            Some(Message::Refused { refusal }) => return Err(LinkError::Refused(refusal).into()),
            Some(_) => return Err(WanError::OutOfTurn),
            None => return Err(WanError::Closed),
        }
    }
}

/// How often each segment failed, for [`Shared::blame`].
pub(crate) type Failures = HashMap<SegmentId, u32>;
