//! The line to the box as a capture sees it: two bounded queues of messages.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::Duration;

use coffer_format::wire::{Message, Refusal};
use coffer_link::{LinkCut, Throttle};

/// Most messages that wait to be sent: each may hold a pack of 1 MiB.
pub const OUTGOING_MAX: usize = 2;
/// Most messages that wait to be read.
pub const INCOMING_MAX: usize = 64;
/// How long a line that is cut may take to end.
const CUT_WITHIN: Duration = Duration::from_secs(5);

/// A line to the box. Either end going away shows as [`WireError::Lost`].
#[derive(Debug)]
pub struct Wire {
    to_box: SyncSender<Message>,
    from_box: Receiver<Message>,
    line: Option<Throttle>,
    cut: Option<LinkCut>,
}

/// Why nothing more comes over the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the connection to the box was lost; it is tried again by itself")]
    Lost,
    #[error("{}", .0.sentence)]
    Refused(Refusal),
    #[error("the box answered something else than was asked ({0}); update agent and box to the same version")]
    Unexpected(&'static str),
}

impl Wire {
    pub fn new(to_box: SyncSender<Message>, from_box: Receiver<Message>) -> Wire {
        Wire { to_box, from_box, line: None, cut: None }
    }

    /// Over a line that tells what it carries.
    pub(crate) fn over(self, line: Throttle) -> Wire {
        Wire { line: Some(line), ..self }
    }

    /// Over a connection that can be cut.
    pub(crate) fn cut_by(self, cut: LinkCut) -> Wire {
        Wire { cut: Some(cut), ..self }
    }

    /// Drops what waits to be sent, closes the connection, and returns once nothing writes to it any more.
    pub(crate) fn cut(self) {
        if let Some(cut) = self.cut
            && !cut.blocking_cut(CUT_WITHIN)
        {
            tracing::warn!("the old connection to the box hasn't ended yet; a new one is made all the same");
        }
    }

    /// Bytes that the line has carried so far; 0 where it doesn't tell. On a slow line an answer takes long: while this
    /// grows, the box isn't lost.
    pub(crate) fn carried(&self) -> u64 {
        self.line.as_ref().map_or(0, |line| line.sent_bytes() + line.received_bytes())
    }

    /// Waits while the queue is full.
    pub fn send(&self, message: Message) -> Result<(), WireError> {
        self.to_box.send(message).map_err(|_| WireError::Lost)
    }

    /// The next message if one comes in time. A refusal is an error.
    pub fn receive(&self, timeout: Duration) -> Result<Option<Message>, WireError> {
        match self.from_box.recv_timeout(timeout) {
            Ok(message) => accepted(message).map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(WireError::Lost),
        }
    }

    /// The next message if one is there.
    pub fn try_receive(&self) -> Result<Option<Message>, WireError> {
        match self.from_box.try_recv() {
            Ok(message) => accepted(message).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(WireError::Lost),
        }
    }
}

/// What the box says at any time, whatever it's being asked: it's kept until there's time for it. (`Configs` comes so as well,
/// but may also be an answer.)
pub(crate) fn comes_unasked(message: &Message) -> bool {
    matches!(
        message,
        Message::CaptureNow { .. }
            | Message::ConfigsChanged
            | Message::Recall { .. }
            | Message::Resend { .. }
            | Message::UpdateOffered { .. }
            | Message::UpdateBytes { .. }
    )
}

fn accepted(message: Message) -> Result<Message, WireError> {
    match message {
        Message::Refused { refusal } => Err(WireError::Refused(refusal)),
        Message::Goodbye => Err(WireError::Lost),
        message => Ok(message),
    }
}
