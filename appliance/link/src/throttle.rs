//! A thin line's byte budget, kept below TLS: what counts is what the line carries, headers and all.
//!
//! The bucket works by tickets. Every piece read or written is charged at once and gets a ticket: the sum of all
//! charges so far. Its direction of its link may go on when the credit, growing with the rate, has caught up with
//! the ticket less the burst. So both directions of all links on one line take turns, and over any time `t` the
//! line carries at most `rate * t + burst` and one piece per direction.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// TCP and IPv4 headers with timestamps, for each segment of this payload.
const SEGMENT_HEADERS: u64 = 52;
const SEGMENT_PAYLOAD: u64 = 1448;
const BURST_MIN: u64 = 3200;
const PIECE_MAX: u64 = 64 << 10;
/// Longest wait before the rate is looked at again, since it may have changed meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// One line's budget. Clones share it: all links given a clone share the line.
#[derive(Debug, Clone)]
pub struct Throttle {
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    bucket: Mutex<Bucket>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Throttle {
    /// `rate`: bytes per second, both directions together; `None` is no limit.
    pub fn new(rate: Option<u64>) -> Self {
        let bucket = Bucket { rate, charged: 0.0, credited: 0.0, credited_at: Instant::now() };
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        Throttle { line: Arc::new(Line { bucket: Mutex::new(bucket), sent, received }) }
    }

    /// Changes the rate for all links on the line, within a quarter of a second. `Some(0)` holds the line; links
    /// that are held for minutes in the middle of a message are cut by the other side.
    pub fn set_rate(&self, rate: Option<u64>) {
        self.with_bucket(|bucket| {
            bucket.credit();
            bucket.rate = rate;
        });
    }

    /// Bytes per second, `None` without a limit.
    pub fn rate(&self) -> Option<u64> {
        self.with_bucket(|bucket| bucket.rate)
    }

    /// Bytes sent so far as the line sees them, headers estimated.
    pub fn sent_bytes(&self) -> u64 {
        self.line.sent.load(Ordering::Relaxed)
    }

    /// Bytes received so far as the line sees them, headers estimated.
    pub fn received_bytes(&self) -> u64 {
        self.line.received.load(Ordering::Relaxed)
    }

    fn with_bucket<T>(&self, look: impl FnOnce(&mut Bucket) -> T) -> T {
        look(&mut self.line.bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn on_wire(payload: usize) -> u64 {
    let payload = payload as u64;
    payload + SEGMENT_HEADERS * payload.div_ceil(SEGMENT_PAYLOAD)
}

#[derive(Debug)]
struct Bucket {
    rate: Option<u64>,
    /// Bytes, all charges so far.
    charged: f64,
    /// Bytes, never more than `charged`: an idle line saves up no more than the burst.
    credited: f64,
    credited_at: Instant,
}

impl Bucket {
    fn credit(&mut self) {
        let now = Instant::now();
        let earned = match self.rate {
            Some(rate) => rate as f64 * (now - self.credited_at).as_secs_f64(),
            None => f64::INFINITY,
        };
        self.credited = (self.credited + earned).min(self.charged);
        self.credited_at = now;
    }

    /// How many bytes the holder of a ticket may move now, or how long it has to wait.
    fn admit(&mut self, ticket: f64) -> Result<usize, Duration> {
        self.credit();
        let Some(rate) = self.rate else { return Ok(usize::MAX) };
        let burst = BURST_MIN.max(rate / 10);
        let owed = ticket - self.credited - burst as f64;
        if owed <= 0.0 && rate > 0 {
            return Ok((burst / 4).clamp(SEGMENT_PAYLOAD, PIECE_MAX) as usize);
        }
        let wait = Duration::try_from_secs_f64(owed / rate as f64).unwrap_or(LOOK_AGAIN);
        Err(wait.clamp(Duration::from_millis(1), LOOK_AGAIN))
    }

    fn charge(&mut self, wire_bytes: u64) -> f64 {
        self.charged += wire_bytes as f64;
        self.charged
    }
}

/// One direction of one link.
#[derive(Debug, Default)]
struct Lane {
    ticket: f64,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Lane {
    fn poll_admit(&mut self, throttle: &Throttle, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match throttle.with_bucket(|bucket| bucket.admit(self.ticket)) {
                Ok(piece) => return Poll::Ready(piece),
                Err(wait) => self.wait = Some(Box::pin(sleep(wait))),
            }
        }
    }

    fn charge(&mut self, throttle: &Throttle, counter: &AtomicU64, payload: usize) {
        let wire_bytes = on_wire(payload);
        counter.fetch_add(wire_bytes, Ordering::Relaxed);
        self.ticket = throttle.with_bucket(|bucket| bucket.charge(wire_bytes));
    }
}

/// A connection on a line, or on none.
#[derive(Debug)]
pub(crate) struct Throttled<S> {
    inner: S,
    throttle: Option<Throttle>,
    reading: Lane,
    writing: Lane,
}

impl<S> Throttled<S> {
    pub(crate) fn new(inner: S, throttle: Option<Throttle>) -> Self {
        Throttled { inner, throttle, reading: Lane::default(), writing: Lane::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Throttled<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(throttle) = &this.throttle else { return Pin::new(&mut this.inner).poll_read(cx, buf) };
        let piece = ready!(this.reading.poll_admit(throttle, cx));
        let room = buf.remaining().min(piece);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
        let filled = part.filled().len();
        buf.advance(filled);
        this.reading.charge(throttle, &throttle.line.received, filled);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Throttled<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(throttle) = &this.throttle else { return Pin::new(&mut this.inner).poll_write(cx, bytes) };
        let piece = ready!(this.writing.poll_admit(throttle, cx)).min(bytes.len());
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, &bytes[..piece]))?;
        this.writing.charge(throttle, &throttle.line.sent, written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.throttle.is_none() {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        }
        let first = parts.iter().find(|part| !part.is_empty());
        self.poll_write(cx, first.map_or(&[], |part| part))
    }

    fn is_write_vectored(&self) -> bool {
        self.throttle.is_none() && self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
