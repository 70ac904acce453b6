//! A link: one authenticated connection that carries messages both ways.
//!
//! Two tasks per link, with bounded queues between them and the caller. Dropping the sender closes our direction
//! (the peer's `recv` gives `None`), dropping both halves closes the link. What was sent before is still
//! delivered as long as the peer reads; whoever doesn't want that cuts the link.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use coffer_format::FileHash;
use coffer_format::limits::FRAME_BODY_MAX;
use coffer_format::wire::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::failure::Context;
use crate::reader::{Arrived, End, FrameReader, Outlets};
use crate::writer::{FrameWriter, Signals};
use crate::{ByteBudget, LinkCut, LinkError, Role, frame};

/// Messages read and not yet taken by the caller.
const ARRIVED_MAX: usize = 4;
/// Frames sent and not yet written.
const SENDING_MAX: usize = 2;
/// A peer without a certificate may enrol and nothing else: short messages, and not for long.
const STRANGERS_BODY_MAX: usize = 64 << 10;
const STRANGERS_LIFE_MAX: Duration = Duration::from_secs(60);
/// After writing failed, how long we wait for reading to say why: an alert may be on its way.
const REASON_WAIT: Duration = Duration::from_secs(2);

/// The other end of a link, as its certificate shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// `None` for a client without a certificate.
    pub role: Option<Role>,
    /// BLAKE3 of its public key (SPKI, DER).
    pub certificate: Option<FileHash>,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    pub peer: Peer,
    pub sender: Sender,
    pub receiver: Receiver,
    pub cut: LinkCut,
}

/// Sends messages. Clones share the link and its queue.
#[derive(Debug, Clone)]
pub struct Sender {
    frames: mpsc::Sender<Vec<u8>>,
    end: watch::Receiver<Option<End>>,
    failure: Arc<OnceLock<LinkError>>,
    context: Arc<Context>,
    runtime: Handle,
}

/// Takes messages in the order they came. The bytes of the last one taken count against the budget until the
/// next call: whoever keeps messages longer bounds them himself.
#[derive(Debug)]
pub struct Receiver {
    arrived: mpsc::Receiver<Result<Arrived, LinkError>>,
    paid: Option<OwnedSemaphorePermit>,
    failed: Option<LinkError>,
    runtime: Handle,
}

/// What a look at a link found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    Message(Box<Message>),
    /// Nothing has come yet.
    Nothing,
    /// The peer has closed its direction.
    Closed,
}

impl Link {
    /// Starts the two tasks over an established stream. Within a tokio runtime.
    pub(crate) fn over<S>(stream: S, peer: Peer, budget: ByteBudget, context: Context) -> Link
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (read_half, write_half) = tokio::io::split(stream);
        let (arrived_in, arrived) = mpsc::channel(ARRIVED_MAX);
        let (frames, frames_out) = mpsc::channel(SENDING_MAX);
        let (end_in, end) = watch::channel(None);
        let (written_in, written) = oneshot::channel();
        let (failure, runtime) = (Arc::new(OnceLock::new()), Handle::current());
        let (body_max, life_max) = bounds(&peer);

        let reader = FrameReader { stream: read_half, budget, body_max, life_max, context: context.clone() };
        let reading = tokio::spawn(reader.run(Outlets { arrived: arrived_in, end: end_in, written }));
        let writer = FrameWriter { stream: write_half, frames: frames_out, context: context.clone() };
        let signals = Signals { end: end.clone(), failure: Arc::clone(&failure), written: written_in };
        let writing = tokio::spawn(writer.run(signals));

        let sender = Sender { frames, end, failure, context: Arc::new(context), runtime: runtime.clone() };
        let cut = LinkCut::of([reading, writing], runtime.clone());
        Link { peer, sender, receiver: Receiver { arrived, paid: None, failed: None, runtime }, cut }
    }
}

fn bounds(peer: &Peer) -> (usize, Option<Duration>) {
    match peer.role {
        Some(_) => (FRAME_BODY_MAX, None),
        None => (STRANGERS_BODY_MAX, Some(STRANGERS_LIFE_MAX)),
    }
}

impl Sender {
    /// Queues a message, waiting while the queue is full. `Ok` means that it's on its way, not that it arrived.
    pub async fn send(&self, message: Message) -> Result<(), LinkError> {
        let frame = frame::encode(&message)?;
        drop(message);
        match self.frames.send(frame).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.reason().await),
        }
    }

    /// The same from a thread outside the runtime; panics within it.
    pub fn blocking_send(&self, message: Message) -> Result<(), LinkError> {
        let frame = frame::encode(&message)?;
        drop(message);
        match self.frames.blocking_send(frame) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.runtime.block_on(self.reason())),
        }
    }

    /// The same without waiting; `false` while the queue is full.
    pub fn try_send(&self, message: &Message) -> Result<bool, LinkError> {
        match self.frames.try_send(frame::encode(message)?) {
            Ok(()) => Ok(true),
            Err(mpsc::error::TrySendError::Full(_)) => Ok(false),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.context.cut()),
        }
    }

    /// Why nothing can be sent any more. What reading found says more than a broken pipe.
    async fn reason(&self) -> LinkError {
        let mut end = self.end.clone();
        let ended = timeout(REASON_WAIT, end.wait_for(Option::is_some)).await;
        let found = ended.ok().and_then(Result::ok).and_then(|end| (*end).clone());
        match (found, self.failure.get()) {
            (Some(End::Failed(error)), _) => error,
            (_, Some(error)) => error.clone(),
            (_, None) => self.context.cut(),
        }
    }
}

impl Receiver {
    /// The next message; `None` once the peer has said goodbye or closed. May be cancelled without loss.
    pub async fn recv(&mut self) -> Result<Option<Message>, LinkError> {
        self.paid = None;
        let next = self.arrived.recv().await;
        self.take(next)
    }

    /// The same from a thread outside the runtime; panics within it.
    pub fn blocking_recv(&mut self) -> Result<Option<Message>, LinkError> {
        self.paid = None;
        let next = self.arrived.blocking_recv();
        self.take(next)
    }

    /// The same, but waits no longer than `patience`.
    pub fn blocking_recv_within(&mut self, patience: Duration) -> Result<Arrival, LinkError> {
        let runtime = self.runtime.clone();
        match runtime.block_on(async { timeout(patience, self.recv()).await }) {
            Ok(next) => next.map(Arrival::of),
            Err(_) => Ok(Arrival::Nothing),
        }
    }

    /// Whatever is there now.
    pub fn try_recv(&mut self) -> Result<Arrival, LinkError> {
        self.paid = None;
        let next = match self.arrived.try_recv() {
            Ok(next) => Some(next),
            Err(mpsc::error::TryRecvError::Empty) => return Ok(Arrival::Nothing),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
        };
        self.take(next).map(Arrival::of)
    }

    fn take(&mut self, next: Option<Result<Arrived, LinkError>>) -> Result<Option<Message>, LinkError> {
        match next {
            Some(Ok(Arrived { message, paid })) => {
                self.paid = paid;
                Ok(Some(message))
            }
            Some(Err(error)) => {
                self.failed = Some(error.clone());
                Err(error)
            }
            None => self.failed.clone().map_or(Ok(None), Err),
        }
    }
}

impl Arrival {
    fn of(next: Option<Message>) -> Arrival {
        next.map_or(Arrival::Closed, |message| Arrival::Message(Box::new(message)))
    }
}

#[cfg(test)]
mod tests {
    use coffer_format::SegmentId;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::failure::Side;

    /// A link over memory, and the other end's raw bytes.
    fn raw(budget: &ByteBudget) -> (Link, DuplexStream) {
        let (ours, theirs) = duplex(64 << 10);
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let peer = Peer { address, role: Some(Role::Hq), certificate: None };
        let context = Context { side: Side::Server, address: address.to_string(), own_validity: None };
        (Link::over(ours, peer, budget.clone(), context), theirs)
    }

    fn bulk() -> Vec<u8> {
        let bytes = vec![1; 1 << 20].into();
        frame::encode(&Message::SegmentBytes { segment: SegmentId(1), offset: 0, closed_len: 0, bytes })
            .unwrap()
    }

    #[tokio::test]
    async fn an_oversized_frame_is_refused_by_its_header() {
        let budget = ByteBudget::for_client();
        let (mut link, mut peer) = raw(&budget);
        peer.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        let refused = link.receiver.recv().await;
        assert!(matches!(refused, Err(LinkError::TooLong { found, .. }) if found == u64::from(u32::MAX)));
        assert_eq!(budget.free_bytes(), budget.size_bytes());
        assert!(matches!(link.receiver.recv().await, Err(LinkError::TooLong { .. })), "the reason stays");
        assert!(matches!(link.sender.send(Message::Goodbye).await, Ok(()) | Err(LinkError::TooLong { .. })));
    }

    #[tokio::test]
    async fn an_end_within_a_frame_is_a_cut() {
        for cut_at in [1, 3, 4, 5, 70_000] {
            let budget = ByteBudget::for_client();
            let (mut link, mut peer) = raw(&budget);
            let frame = bulk();
            let writing = tokio::spawn(async move { peer.write_all(&frame[..cut_at]).await });
            assert!(matches!(link.receiver.recv().await, Err(LinkError::Cut { .. })), "{cut_at}");
            writing.await.unwrap().unwrap();
            assert_eq!(budget.free_bytes(), budget.size_bytes());
        }
    }

    #[tokio::test]
    async fn bytes_that_are_no_message_are_refused() {
        let (mut link, mut peer) = raw(&ByteBudget::for_client());
        peer.write_all(&[2, 0, 0, 0, 255, 255]).await.unwrap();
        assert!(matches!(link.receiver.recv().await, Err(LinkError::Decode { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_within_a_frame_is_given_up() {
        let (mut link, mut peer) = raw(&ByteBudget::for_client());
        peer.write_all(&bulk()[..100]).await.unwrap();
        assert!(matches!(link.receiver.recv().await, Err(LinkError::Cut { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (link, _peer) = raw(&ByteBudget::for_client());
        let bytes = vec![1; 1 << 20].into();
        let message = Message::SegmentBytes { segment: SegmentId(1), offset: 0, closed_len: 0, bytes };
        let error = loop {
            if let Err(error) = link.sender.send(message.clone()).await {
                break error;
            }
        };
        assert!(matches!(error, LinkError::Cut { .. }), "{error:?}");
    }

    #[test]
    fn a_link_that_is_cut_writes_nothing_more() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (mut link, mut peer) = runtime.block_on(async { raw(&ByteBudget::for_client()) });
        let bytes = vec![1; 1 << 20].into();
        let message = Message::SegmentBytes { segment: SegmentId(1), offset: 0, closed_len: 0, bytes };
        // One that is being written, and a full queue.
        for _ in 0..=SENDING_MAX {
            link.sender.blocking_send(message.clone()).unwrap();
        }
        assert!(link.cut.blocking_cut(Duration::from_secs(60)));
        let mut written = Vec::new();
        runtime.block_on(peer.read_to_end(&mut written)).unwrap();
        assert!(written.len() <= 64 << 10, "{} bytes were written", written.len());
        assert!(matches!(link.sender.blocking_send(message), Err(LinkError::Cut { .. })));
        assert_eq!(link.receiver.blocking_recv().unwrap(), None);
    }

    #[tokio::test]
    async fn the_budget_comes_back_with_the_next_call() {
        let budget = ByteBudget::for_client();
        let (mut link, mut peer) = raw(&budget);
        let writing = tokio::spawn(async move {
            peer.write_all(&bulk()).await.unwrap();
            peer
        });
        assert!(link.receiver.recv().await.unwrap().is_some());
        assert!(budget.free_bytes() < budget.size_bytes());
        drop(writing.await.unwrap());
        assert_eq!(link.receiver.recv().await.unwrap(), None);
        assert_eq!(budget.free_bytes(), budget.size_bytes());
    }
}
