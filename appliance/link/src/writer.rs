//! The task that writes a link: frames in the order they were sent, flushed whenever none is waiting.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::LinkError;
use crate::failure::Context;
use crate::reader::{End, STALL};

/// The write half of a link, before it's a task.
pub(crate) struct FrameWriter<S> {
    pub stream: S,
    pub frames: mpsc::Receiver<Vec<u8>>,
    pub context: Context,
}

/// What the task watches and tells.
pub(crate) struct Signals {
    /// How reading ended: after a failure there's nobody to write to.
    pub end: watch::Receiver<Option<End>>,
    pub failure: Arc<OnceLock<LinkError>>,
    /// Dropped when the writer is done.
    pub written: oneshot::Sender<()>,
}

impl<S: AsyncWrite + Unpin> FrameWriter<S> {
    /// The task.
    pub(crate) async fn run(mut self, signals: Signals) {
        let Signals { mut end, failure, written } = signals;
        let failed = async {
            let reading_failed = end.wait_for(|end| matches!(end, Some(End::Failed(_)))).await.is_ok();
            if !reading_failed {
                // The reader is gone without a failure, so writing goes on by itself.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            outcome = self.pump() => if let Err(error) = outcome {
                // Only this task sets it.
                let _ = failure.set(error);
            },
            () = failed => {}
        }
        drop(written);
    }

    async fn pump(&mut self) -> Result<(), LinkError> {
        while let Some(frame) = self.next_frame().await? {
            self.write(&frame).await?;
        }
        let closed = moving(self.stream.shutdown()).await;
        self.explained(closed)
    }

    async fn next_frame(&mut self) -> Result<Option<Vec<u8>>, LinkError> {
        if let Ok(frame) = self.frames.try_recv() {
            return Ok(Some(frame));
        }
        let flushed = moving(self.stream.flush()).await;
        self.explained(flushed)?;
        Ok(self.frames.recv().await)
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        let mut at = 0;
        while at < frame.len() {
            let written = moving(self.stream.write(&frame[at..])).await;
            at += match self.explained(written)? {
                0 => return Err(self.context.cut()),
                written => written,
            };
        }
        Ok(())
    }

    fn explained<T>(&self, outcome: io::Result<T>) -> Result<T, LinkError> {
        outcome.map_err(|error| self.context.explain(error))
    }
}

/// A peer that takes nothing for too long counts as gone.
async fn moving<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STALL, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
