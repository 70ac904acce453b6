//! The task that reads a link: a frame at a time, paid for from the budget, decoded, and queued for the caller.

use std::time::Duration;

use coffer_format::from_bytes;
use coffer_format::wire::{FRAME_HEADER_LEN, Message};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::failure::Context;
use crate::{ByteBudget, LinkError, frame};

/// How long a peer may stand still in the middle of a frame, in either direction, before it's given up.
pub(crate) const STALL: Duration = Duration::from_secs(300);
/// How long what still arrives is read and thrown away after we are done, so that the peer gets our last words
/// instead of a reset.
const LINGER: Duration = Duration::from_secs(5);
/// And how many bytes: more than a peer has on its way when it hears our last words.
const LINGER_BYTES_MAX: u64 = 64 << 20;

/// How reading ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// The peer said goodbye or closed.
    Closed,
    /// Our caller dropped the receiver.
    Abandoned,
    Failed(LinkError),
}

/// A message and the part of the budget that it holds.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub message: Message,
    pub paid: Option<OwnedSemaphorePermit>,
}

/// The read half of a link, before it's a task.
pub(crate) struct FrameReader<S> {
    pub stream: S,
    pub budget: ByteBudget,
    /// Longest body taken, in bytes.
    pub body_max: usize,
    /// Longest life of the link, where the peer is a stranger.
    pub life_max: Option<Duration>,
    pub context: Context,
}

/// Where the task puts what it finds.
pub(crate) struct Outlets {
    pub arrived: mpsc::Sender<Result<Arrived, LinkError>>,
    pub end: watch::Sender<Option<End>>,
    /// Resolves when the writer is done.
    pub written: oneshot::Receiver<()>,
}

impl<S: AsyncRead + Unpin> FrameReader<S> {
    /// The task.
    pub(crate) async fn run(mut self, outlets: Outlets) {
        let Outlets { arrived, end, written } = outlets;
        let outcome = tokio::select! {
            outcome = self.pump_for_life(&arrived) => outcome,
            () = arrived.closed() => End::Abandoned,
        };
        end.send_replace(Some(outcome.clone()));
        if let End::Failed(error) = outcome {
            // Nobody listening is as good as told.
            let _ = arrived.send(Err(error)).await;
            return;
        }
        drop(arrived);
        self.linger(written).await;
    }

    async fn pump_for_life(&mut self, arrived: &mpsc::Sender<Result<Arrived, LinkError>>) -> End {
        let Some(life_max) = self.life_max else { return self.pump(arrived).await };
        match timeout(life_max, self.pump(arrived)).await {
            Ok(end) => end,
            Err(_) => End::Failed(self.context.cut()),
        }
    }

    async fn pump(&mut self, arrived: &mpsc::Sender<Result<Arrived, LinkError>>) -> End {
        loop {
            let next = match self.next().await {
                Ok(Some(Arrived { message: Message::Goodbye, .. }) | None) => return End::Closed,
                Ok(Some(next)) => next,
                Err(error) => return End::Failed(error),
            };
            if arrived.send(Ok(next)).await.is_err() {
                return End::Abandoned;
            }
        }
    }

    /// The next message; `None` after a proper close between two frames.
    async fn next(&mut self) -> Result<Option<Arrived>, LinkError> {
        let Some(header) = self.header().await? else { return Ok(None) };
        let len = frame::body_len(header, self.body_max)?;
        let paid = self.budget.take(len).await;
        let body = self.body(len).await?;
        let decoded = from_bytes(&body);
        let address = || self.context.address.clone();
        let message = decoded.map_err(|source| LinkError::Decode { address: address(), source })?;
        Ok(Some(Arrived { message, paid }))
    }

    /// Waits for a frame as long as it takes: an idle link is a good link.
    async fn header(&mut self) -> Result<Option<[u8; FRAME_HEADER_LEN]>, LinkError> {
        let mut header = [0; FRAME_HEADER_LEN];
        let read = self.stream.read(&mut header).await.map_err(|error| self.context.explain(error))?;
        if read == 0 {
            return Ok(None);
        }
        let rest = timeout(STALL, self.stream.read_exact(&mut header[read..])).await;
        let rest = rest.map_err(|_| self.context.cut())?;
        rest.map_err(|error| self.context.explain(error))?;
        Ok(Some(header))
    }

    async fn body(&mut self, len: usize) -> Result<Vec<u8>, LinkError> {
        let mut body = Vec::with_capacity(len);
        while body.len() < len {
            let mut rest = (&mut self.stream).take((len - body.len()) as u64);
            let read = timeout(STALL, rest.read_buf(&mut body)).await.map_err(|_| self.context.cut())?;
            if read.map_err(|error| self.context.explain(error))? == 0 {
                return Err(self.context.cut());
            }
        }
        Ok(body)
    }

    async fn linger(mut self, written: oneshot::Receiver<()>) {
        let discard = async {
            let (mut scrap, mut discarded) = (vec![0; 64 << 10], 0);
            while discarded < LINGER_BYTES_MAX {
                match self.stream.read(&mut scrap).await {
                    // It's over either way.
                    Ok(0) | Err(_) => break,
                    Ok(read) => discarded += read as u64,
                }
            }
        };
        let patience = async {
            // An error means that the writer is gone, which is what we wait for.
            let _ = written.await;
            sleep(LINGER).await;
        };
        tokio::select! {
            () = discard => {}
            () = patience => {}
        }
    }
}
