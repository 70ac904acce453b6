//! Segments back from HQ: evicted ones for a restore, damaged ones for repair. Resumes within a segment.

use std::collections::BTreeMap;

use coffer_format::wire::Message;
use coffer_format::{SegmentId, limits};
use coffer_link::{Link, LinkError, Role, Throttle, connect};
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::job::in_background;
use crate::{WanError, WanSettings};

/// Attempts in a row that bring nothing before it's given up.
const ATTEMPTS_MAX: u32 = 8;
/// The same where a person waits for it.
const ATTEMPTS_WAITED_FOR: u32 = 3;

/// Fetches whole segments, one after another, and hands each to `sink` (which checks it against the catalog's hash:
/// `Vault::import_segment` does). `throttle`: the line's budget, shared with the WAN job.
pub async fn fetch_segments<S>(
    settings: &WanSettings,
    throttle: Option<Throttle>,
    segments: &[SegmentId],
    mut sink: S,
) -> Result<(), WanError>
where
    S: FnMut(SegmentId, &[u8]) -> coffer_vault::Result<()> + Send + 'static,
{
    let mut fetch = Fetch { settings, throttle, of: Of::Segments, link: None, attempts_max: ATTEMPTS_MAX };
    for segment in segments.iter().copied() {
        let bytes = fetch.whole(segment).await?;
        let (returned, outcome) = hand_over(sink, segment, bytes).await?;
        outcome?;
        sink = returned;
    }
    Ok(())
}

/// As [`fetch_segments`], for a restore that somebody waits for: what can't be had keeps the rest from nothing, and a line
/// that isn't there is tried a few times. Says why, by segment.
pub async fn fetch_what_can<S>(
    settings: &WanSettings,
    throttle: Option<Throttle>,
    segments: &[SegmentId],
    sink: S,
) -> BTreeMap<SegmentId, String>
where
    S: FnMut(SegmentId, &[u8]) -> coffer_vault::Result<()> + Send + 'static,
{
    fetch_each_that_can(settings, throttle, Of::Segments, segments, sink).await
}

/// Fetches one whole segment for a restore that somebody waits for.
pub async fn fetch_segment(
    settings: &WanSettings,
    throttle: Option<Throttle>,
    segment: SegmentId,
) -> Result<Vec<u8>, WanError> {
    let of = Of::Segments;
    Fetch { settings, throttle, of, link: None, attempts_max: ATTEMPTS_WAITED_FOR }.whole(segment).await
}

/// What is fetched of each segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Segments,
    Outlines,
}

pub(crate) async fn fetch_each_that_can<S>(
    settings: &WanSettings,
    throttle: Option<Throttle>,
    of: Of,
    segments: &[SegmentId],
    mut sink: S,
) -> BTreeMap<SegmentId, String>
where
    S: FnMut(SegmentId, &[u8]) -> coffer_vault::Result<()> + Send + 'static,
{
    let mut fetch = Fetch { settings, throttle, of, link: None, attempts_max: ATTEMPTS_WAITED_FOR };
    let mut lacking = BTreeMap::new();
    let mut waiting = segments.iter().copied();
    while let Some(segment) = waiting.next() {
        let handed_over = match fetch.whole(segment).await {
            Ok(bytes) => hand_over(sink, segment, bytes).await,
            Err(error) => {
                lacking.insert(segment, error.sentence());
                if error.is_of_line() {
                    // Tried often enough: the next one would fare no better.
                    lacking.extend(waiting.map(|segment| (segment, error.sentence())));
                    break;
                }
                continue;
            }
        };
        match handed_over {
            Ok((returned, outcome)) => {
                lacking.extend(outcome.err().map(|error| (segment, error.refusal().sentence)));
                sink = returned;
            }
            Err(error) => {
                lacking.extend([segment].into_iter().chain(waiting).map(|one| (one, error.sentence())));
                break;
            }
        }
    }
    lacking
}

async fn hand_over<S>(
    mut sink: S,
    segment: SegmentId,
    bytes: Vec<u8>,
) -> Result<(S, coffer_vault::Result<()>), WanError>
where
    S: FnMut(SegmentId, &[u8]) -> coffer_vault::Result<()> + Send + 'static,
{
    let handed_over = in_background(move || {
        let outcome = sink(segment, &bytes);
        (sink, outcome)
    });
    handed_over.await
}

struct Fetch<'a> {
    settings: &'a WanSettings,
    throttle: Option<Throttle>,
    of: Of,
    link: Option<Link>,
    attempts_max: u32,
}

impl Fetch<'_> {
    /// A whole segment, over as many connections as it takes.
    async fn whole(&mut self, segment: SegmentId) -> Result<Vec<u8>, WanError> {
        let patience = self.settings.patience;
        let mut backoff = Backoff::new(patience.reconnect_first, patience.reconnect_most);
        let (mut bytes, mut attempts) = (Vec::new(), 0);
        loop {
            let before = bytes.len();
            let error = match self.go_on(segment, &mut bytes).await {
                Ok(()) => return Ok(bytes),
                Err(error) => error,
            };
            self.link = None;
            attempts = if bytes.len() > before { 0 } else { attempts + 1 };
            if attempts >= self.attempts_max || !error.is_of_line() {
                return Err(error);
            }
            tracing::warn!(%segment, at = bytes.len(), error = %error.sentence(), "fetching goes on after a wait");
            sleep(backoff.next_wait()).await;
        }
    }

    /// Adds to `bytes` until they're the whole segment.
    async fn go_on(&mut self, segment: SegmentId, bytes: &mut Vec<u8>) -> Result<(), WanError> {
        let stall = self.settings.patience.stall;
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let (address, identity) = (&self.settings.address, &self.settings.identity);
                connect(address, identity, Role::Hq, self.throttle.clone()).await?
            }
        };
        let offset = bytes.len() as u64;
        let wanted = match self.of {
            Of::Segments => Message::SegmentWanted { segment, offset },
            Of::Outlines => Message::OutlineWanted { segment, offset },
        };
        link.sender.send(wanted).await?;
        loop {
            let message = timeout(stall, link.receiver.recv()).await;
            let message = message.map_err(|_| WanError::Stalled { seconds: stall.as_secs() })??;
            let whole_len = add(segment, bytes, message)?;
            if bytes.len() as u64 == whole_len {
                self.link = Some(link);
                return Ok(());
            }
        }
    }
}

fn add(segment: SegmentId, bytes: &mut Vec<u8>, message: Option<Message>) -> Result<u64, WanError> {
    match message {
        Some(Message::SegmentBytes { segment: of, offset, closed_len, bytes: more }) => {
            let after = offset + more.len() as u64;
            let fits = of == segment && offset == bytes.len() as u64 && after <= closed_len;
            if !fits || more.is_empty() || closed_len > limits::SEGMENT_MAX {
                return Err(WanError::OutOfTurn);
            }
            bytes.extend_from_slice(&more);
            Ok(closed_len)
        }
        Some(Message::SegmentForgotten { segment: of }) if of == segment => {
            Err(WanError::NotAtHq { segment })
        }
        Some(Message::Refused { refusal }) => Err(LinkError::Refused(refusal).into()),
        Some(_) => Err(WanError::OutOfTurn),
        None => Err(WanError::Closed),
    }
}
