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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const THIN: u64 = 7000;

    async fn seconds_for(work: impl Future) -> f64 {
        let started = Instant::now();
        work.await;
        started.elapsed().as_secs_f64()
    }

    /// Allows the burst and a piece each way, and nothing below.
    fn assert_held(seconds: f64, wire_bytes: u64, rate: u64) {
        let slack = (BURST_MIN.max(rate / 10) + 2 * on_wire(PIECE_MAX as usize).min(rate / 4)) as f64;
        let (least, most) =
            ((wire_bytes as f64 - slack) / rate as f64, wire_bytes as f64 / rate as f64 + 0.5);
        assert!((least..most).contains(&seconds), "{seconds} s for {wire_bytes} bytes at {rate} bytes/s");
    }

    #[tokio::test(start_paused = true)]
    async fn writing_keeps_to_the_rate() {
        for rate in [THIN, 125_000, 12_500_000] {
            let throttle = Throttle::new(Some(rate));
            let (ours, mut theirs) = duplex(1 << 20);
            let mut ours = Throttled::new(ours, Some(throttle.clone()));
            let payload = vec![0; rate as usize * 10];
            let mut sink = tokio::io::sink();
            let seconds = seconds_for(async {
                let sending = async {
                    ours.write_all(&payload).await.unwrap();
                    drop(ours);
                };
                tokio::join!(sending, tokio::io::copy(&mut theirs, &mut sink)).1.unwrap()
            });
            assert_held(seconds.await, throttle.sent_bytes(), rate);
            assert!(throttle.sent_bytes() > payload.len() as u64 * 103 / 100, "headers count");
            assert_eq!(throttle.received_bytes(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn both_directions_of_two_links_share_the_line_and_all_advance() {
        let throttle = Throttle::new(Some(THIN));
        let payload = [0; 35_000];
        let mut finished = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (ours, theirs) = duplex(1 << 20);
            let (mut our_read, mut our_write) =
                tokio::io::split(Throttled::new(ours, Some(throttle.clone())));
            let (mut their_read, mut their_write) = tokio::io::split(theirs);
            tasks.spawn(async move { our_write.write_all(&payload).await.unwrap() });
            tasks.spawn(async move {
                our_read.read_exact(&mut [0; 35_000]).await.unwrap();
            });
            tasks.spawn(async move { their_write.write_all(&payload).await.unwrap() });
            tasks.spawn(async move {
                their_read.read_exact(&mut [0; 35_000]).await.unwrap();
            });
        }
        let started = Instant::now();
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
            finished.push(started.elapsed().as_secs_f64());
        }
        let wire_bytes = throttle.sent_bytes() + throttle.received_bytes();
        let last = finished.pop().unwrap();
        assert_held(last, wire_bytes, THIN);
        // The peers' own writing is not throttled; of the rest, nobody is done long before the others.
        assert!(finished.iter().filter(|at| **at > 1.0).all(|at| *at > last * 0.9), "{finished:?} {last}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_changes_while_someone_waits() {
        let throttle = Throttle::new(Some(0));
        let (ours, _theirs) = duplex(1 << 20);
        let mut ours = Throttled::new(ours, Some(throttle.clone()));
        let writing = tokio::spawn(async move { ours.write_all(&[0; 100_000]).await });
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(throttle.sent_bytes(), 0);
        throttle.set_rate(None);
        assert!(seconds_for(writing).await < 1.0);
        assert_eq!((throttle.sent_bytes(), throttle.rate()), (on_wire(100_000), None));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_line_saves_up_no_more_than_the_burst() {
        let throttle = Throttle::new(Some(THIN));
        let (ours, _theirs) = duplex(1 << 20);
        let mut ours = Throttled::new(ours, Some(throttle.clone()));
        ours.write_all(&[0; 10_000]).await.unwrap();
        tokio::time::advance(Duration::from_secs(3600)).await;
        let before = throttle.sent_bytes();
        let seconds = seconds_for(async { ours.write_all(&[0; 35_000]).await.unwrap() }).await;
        assert_held(seconds, throttle.sent_bytes() - before, THIN);
    }
}
