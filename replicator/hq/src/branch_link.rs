//! A box's link: what HQ has, bytes in, receipts out, and segments back.

use std::sync::Arc;

use coffer_format::limits::SEGMENT_MAX;
use coffer_format::wire::{Message, RefusalCode};
use coffer_format::{FileHash, SegmentId};
use coffer_link::{Link, Receiver, Role, Sender};
use coffer_vault::Reading;
use tokio::sync::{mpsc, watch};

use crate::branch::{Branch, Connected, Kept, Run};
use crate::server::{Shared, welcome};
use crate::{HqError, Result};

/// Longest run of bytes in one message.
const PIECE_MAX: usize = 256 << 10;
/// Messages that wait while earlier ones are made durable; they are then made durable together.
const WAITING_MAX: usize = 16;
/// Most segments whose marks are told at once: each that isn't whole is read for it.
pub(crate) const MARKS_MAX: usize = 64;
/// What is sent back at once: small enough for a thin line not to look dead.
const BACK_LEN: u64 = 32 << 10;

/// Serves a box until it goes, HQ stops, or something is refused.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    link: Link,
    name: String,
    certificate: FileHash,
    mut stopping: watch::Receiver<bool>,
) -> Result<()> {
    let Link { sender, receiver, .. } = link;
    let (waiting_in, waiting) = mpsc::channel(WAITING_MAX);
    let (shared, asked) = (shared.clone(), shared.clone());
    let role = Role::Branch(name.clone());
    let branch = match shared.in_background(move || asked.branches.get(&name)).await {
        Ok(branch) => branch,
        Err(error) => return refuse(&sender, error).await,
    };
    let mut damage = branch.damage();
    let service = Service { shared, branch, role, certificate, sender, admitted: false, connected: None };
    let (received, served) = tokio::select! {
        outcome = async { tokio::join!(receive(receiver, waiting_in), service.run(waiting)) } => outcome,
        _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
        // On its next connection the box asks what is here, and sends again what is due.
        _ = damage.changed() => return Ok(()),
    };
    served.and(received)
}

/// Hands messages on in order, until the box goes or nobody takes them any more.
async fn receive(mut receiver: Receiver, waiting: mpsc::Sender<Message>) -> Result<()> {
    loop {
        let message = tokio::select! {
            message = receiver.recv() => message?,
            () = waiting.closed() => return Ok(()),
        };
        let Some(message) = message else { return Ok(()) };
        if waiting.send(message).await.is_err() {
            return Ok(());
        }
    }
}

struct Service {
    shared: Arc<Shared>,
    branch: Arc<Branch>,
    role: Role,
    certificate: FileHash,
    sender: Sender,
    /// The box has said whose segments it sends, and they belong here.
    admitted: bool,
    /// From then on.
    connected: Option<Connected>,
}

impl Service {
    async fn run(mut self, mut waiting: mpsc::Receiver<Message>) -> Result<()> {
        match self.run_all(&mut waiting).await {
            Err(error @ HqError::Link(_)) => Err(error),
            Err(error) => refuse(&self.sender, error).await,
            Ok(()) => Ok(()),
        }
    }

    async fn run_all(&mut self, waiting: &mut mpsc::Receiver<Message>) -> Result<()> {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, WAITING_MAX).await > 0 {
            self.check_certificate().await?;
            let mut runs = Vec::new();
            let mut grown = false;
            for message in batch.drain(..) {
                match message {
                    Message::SegmentBytes { segment, offset, closed_len, bytes } => {
                        self.check_admitted()?;
                        grown = true;
                        join(&mut runs, Run { segment, offset, closed_len, bytes: bytes.0 })?;
                    }
                    other => {
                        self.keep(std::mem::take(&mut runs)).await?;
                        self.answer(other).await?;
                    }
                }
            }
            self.keep(runs).await?;
            if grown {
                let (branch, more) = (self.branch.clone(), !waiting.is_empty());
                self.shared
                    .in_background(move || {
                        branch.refresh_when_due(more);
                        Ok(())
                    })
                    .await?;
            }
        }
        Ok(())
    }

    /// A box that was enrolled anew elsewhere loses its place at once.
    async fn check_certificate(&self) -> Result<()> {
        let (registry, role, certificate) =
            (self.shared.registry.clone(), self.role.clone(), self.certificate);
        self.shared.in_background(move || registry.check_holder(&role, &certificate)).await
    }

    fn check_admitted(&self) -> Result<()> {
        let sentence = "the box didn't say whose segments it sends: update the box";
        if self.admitted { Ok(()) } else { Err(HqError::refused(RefusalCode::BadRequest, sentence)) }
    }

    /// Makes runs durable, then says so.
    async fn keep(&self, runs: Vec<Run>) -> Result<()> {
        for run in runs {
            let branch = self.branch.clone();
            let Kept { segment, bytes, hash } = self.shared.in_background(move || branch.append(run)).await?;
            self.sender.send(Message::Receipt { segment, bytes, hash }).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, message: Message) -> Result<()> {
        let branch = self.branch.clone();
        let answer = match message {
            Message::Hello { protocol, .. } => welcome(&self.shared, protocol)?,
            Message::BranchSegments => {
                self.shared.in_background(move || Ok(Message::BranchHas { segments: branch.has()? })).await?
            }
            Message::BranchVault { vault, org } => {
                self.shared.in_background(move || branch.admit(vault, org)).await?;
                self.admitted = true;
                self.connected = Some(self.branch.connected());
                return Ok(());
            }
            Message::BranchIdentity { header } => {
                self.check_admitted()?;
                return self.shared.in_background(move || branch.begin(&header)).await;
            }
            Message::SegmentForgotten { segment } => {
                self.check_admitted()?;
                return self.shared.in_background(move || branch.forget(segment)).await;
            }
            Message::BranchContinues => {
                tracing::warn!(branch = branch.name, "a box takes the branch over");
                let segments = self.shared.in_background(move || branch.held()).await?;
                self.shared.taken_over.notify_one();
                Message::BranchHolds { segments }
            }
            Message::MarksWanted { segments } => {
                let asked = segments.into_iter().take(MARKS_MAX).collect::<Vec<_>>();
                let segments = self.shared.in_background(move || branch.marks(&asked)).await?;
                Message::Marks { segments }
            }
            Message::OutlineWanted { segment, offset } => return self.send_outline(segment, offset).await,
            Message::SegmentWanted { segment, offset } => return self.send_back(segment, offset).await,
            Message::Ask { json } if json.0 == br#""whole""# => {
                let whole = self.shared.in_background(move || branch.whole()).await?;
                let json = serde_json::to_vec(&whole).map_err(|_| HqError::Internal)?;
                Message::Answer { json: json.into() }
            }
            Message::Ask { json } if json.0 == br#""newest_record""# => {
                let newest = self.shared.in_background(move || branch.newest_record()).await?;
                Message::Answer { json: newest.to_string().into_bytes().into() }
            }
            _ => {
                return Err(HqError::refused(
                    RefusalCode::NotAllowed,
                    "a box may not ask for that: update it or HQ",
                ));
            }
        };
        Ok(self.sender.send(answer).await?)
    }

    /// Sends a segment's outline from an offset, or says that nothing of it is here.
    async fn send_outline(&self, segment: SegmentId, from: u64) -> Result<()> {
        let branch = self.branch.clone();
        let found = self.shared.in_background(move || branch.outline(segment)).await?;
        let Some(outline) = found else {
            return Ok(self.sender.send(Message::SegmentForgotten { segment }).await?);
        };
        let closed_len = outline.len() as u64;
        check_reaches(segment, from, closed_len)?;
        let mut offset = from;
        for bytes in outline[from as usize..].chunks(BACK_LEN as usize) {
            self.sender
                .send(Message::SegmentBytes { segment, offset, closed_len, bytes: bytes.into() })
                .await?;
            offset += bytes.len() as u64;
        }
        Ok(())
    }

    /// Sends a whole segment from an offset, or says that it isn't here.
    async fn send_back(&self, segment: SegmentId, from: u64) -> Result<()> {
        let branch = self.branch.clone();
        let found = self.shared.in_background(move || {
            if from == 0 {
                // What it would be no use to send is found out before.
                branch.check(segment)?;
            }
            find_whole(&branch, segment)
        });
        let found = found.await?;
        let Some((reading, whole_len)) = found else {
            return Ok(self.sender.send(Message::SegmentForgotten { segment }).await?);
        };
        check_reaches(segment, from, whole_len)?;
        let mut offset = from;
        while offset < whole_len {
            let reading = reading.clone();
            let reading = self.shared.in_background(move || {
                let mut bytes = vec![0; BACK_LEN.min(whole_len - offset) as usize];
                let read = reading.read_segment(segment, offset, &mut bytes)?;
                bytes.truncate(read);
                Ok(bytes)
            });
            let bytes = reading.await?;
            let end = offset + bytes.len() as u64;
            let message =
                Message::SegmentBytes { segment, offset, closed_len: whole_len, bytes: bytes.into() };
            self.sender.send(message).await?;
            offset = end;
        }
        Ok(())
    }
}

fn check_reaches(segment: SegmentId, from: u64, len: u64) -> Result<()> {
    if from < len {
        return Ok(());
    }
    let sentence = format!("segment {segment} has no byte {from}: fetch it from its start");
    Err(HqError::refused(RefusalCode::BadRequest, sentence))
}

/// Where a whole segment can be read, and its length; `None` where it isn't whole here.
fn find_whole(branch: &Branch, segment: SegmentId) -> Result<Option<(Arc<Reading>, u64)>> {
    let Some(mirror) = branch.fresh_mirror()? else { return Ok(None) };
    let reading = mirror.reading();
    let found = reading.segments()?.into_iter().find(|state| state.segment == segment && state.closed);
    Ok(found.map(|state| (reading.clone(), state.bytes)))
}

/// Adds a run to those that wait; one that goes on where the last ended becomes part of it.
fn join(runs: &mut Vec<Run>, next: Run) -> Result<()> {
    if next.bytes.len() > PIECE_MAX || next.offset > SEGMENT_MAX || next.closed_len > SEGMENT_MAX {
        return Err(HqError::refused(
            RefusalCode::BadRequest,
            "a piece of a segment is too long: update the box",
        ));
    }
    match runs.last_mut() {
        Some(last)
            if last.segment == next.segment && last.offset + last.bytes.len() as u64 == next.offset =>
        {
            last.bytes.extend_from_slice(&next.bytes);
            last.closed_len = next.closed_len;
        }
        _ => runs.push(next),
    }
    Ok(())
}

async fn refuse(sender: &Sender, error: HqError) -> Result<()> {
    sender.send(Message::Refused { refusal: error.refusal() }).await?;
    Err(error)
}
