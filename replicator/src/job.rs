//! The WAN job: keeps a connection to HQ as long as the box runs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coffer_format::SegmentId;
use coffer_format::event::{Event, Place};
use coffer_format::wire::SegmentHas;
use coffer_link::Throttle;
use coffer_vault::{SegmentState, Vault};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tracing::Instrument;

use crate::WanError;
use crate::backoff::Backoff;
use crate::session::{Failures, Session};
use crate::settings::{LocalTime, WanSettings};
use crate::status::{Board, WanStatus};

/// How often the calendar is looked at.
const CALENDAR_EVERY: Duration = Duration::from_secs(1);
/// A segment that arrived damaged this often is left alone until the box is restarted.
const BLAMES_MAX: u32 = 3;

/// Brings a vault to HQ.
pub struct WanJob {
    shared: Shared,
    local_time: LocalTime,
}

/// What the job and its connection of the moment share.
pub(crate) struct Shared {
    pub vault: Arc<Vault>,
    pub settings: WanSettings,
    pub board: Board,
    pub wake: Notify,
    failures: Mutex<Failures>,
    held_back: Mutex<BTreeMap<SegmentId, String>>,
    lost_copies: LostCopies,
}

/// Segments whose copy at HQ counts no more, and that HQ hasn't been asked for again.
#[derive(Clone, Default)]
pub struct LostCopies(Arc<Mutex<BTreeSet<SegmentId>>>);

impl LostCopies {
    /// HQ's copy of a segment turned out not to be what was written.
    pub fn note(&self, segment: SegmentId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(segment);
    }

    pub(crate) fn take(&self) -> BTreeSet<SegmentId> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl WanJob {
    pub fn new(vault: Arc<Vault>, settings: WanSettings, local_time: LocalTime) -> WanJob {
        let rate = settings.calendar.rate_at(local_time());
        let board = Board::new(Throttle::new(rate.bytes_per_second()));
        let (failures, held_back) = (Mutex::default(), Mutex::default());
        let (wake, lost_copies) = (Notify::new(), LostCopies::default());
        let shared = Shared { vault, settings, board, wake, failures, held_back, lost_copies };
        WanJob { shared, local_time }
    }

    /// The job at a glance, now and whenever it changes.
    pub fn status(&self) -> watch::Receiver<WanStatus> {
        self.shared.board.watch()
    }

    /// The line's budget: whatever else uses the line counts against it too.
    pub fn throttle(&self) -> Throttle {
        self.shared.board.throttle.clone()
    }

    pub fn settings(&self) -> &WanSettings {
        &self.shared.settings
    }

    /// For whoever finds that a copy isn't what was written: HQ is asked for its receipt again.
    pub fn lost_copies(&self) -> LostCopies {
        self.shared.lost_copies.clone()
    }

    /// There's something new in the vault; the job would find it by itself a little later.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// A segment was put right here: it's sent again if it was left alone.
    pub fn try_again(&self, segment: SegmentId) {
        self.shared.try_again(segment);
    }

    /// Runs until `shutdown` resolves. What is under way then is taken up again by the next run.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let span = tracing::info_span!("wan_job", branch = %self.shared.settings.branch);
        let work = async {
            tokio::select! {
                () = shutdown => {}
                () = self.keep_connected() => {}
                () = self.follow_calendar() => {}
            }
        };
        work.instrument(span).await;
    }

    async fn follow_calendar(&self) {
        loop {
            let rate = self.shared.settings.calendar.rate_at((self.local_time)()).bytes_per_second();
            let throttle = &self.shared.board.throttle;
            if throttle.rate() != rate {
                tracing::info!(?rate, "the line's rate changes");
                throttle.set_rate(rate);
                self.shared.wake.notify_one();
            }
            self.shared.board.change(|_| {});
            sleep(CALENDAR_EVERY).await;
        }
    }

    async fn keep_connected(&self) {
        let patience = self.shared.settings.patience;
        let mut backoff = Backoff::new(patience.reconnect_first, patience.reconnect_most);
        self.set_connected(false, None);
        loop {
            let away_since_ms = self.away_since_ms();
            let (gained, error) = self.connect_once().await;
            if gained > 0 {
                backoff.reset();
            }
            if matches!(error, WanError::SetBack) {
                self.shared.board.change(|status| status.set_back = true);
            }
            let sentence = error.sentence();
            let refused = error.is_refusal().then(|| sentence.clone());
            let (refusal, now_ms) =
                (error.is_refused().then_some(sentence.as_str()), self.shared.vault.now_ms());
            self.shared.board.change(|status| {
                status.ended(gained, refusal, now_ms);
                if refused.is_some() {
                    status.refused = refused;
                }
                // What HQ has is known while it says so, and no longer.
                status.behind_bytes = None;
            });
            let wait = match error.is_refused() && !error.is_refusal() {
                true => backoff.next_wait().min(patience.refused_most),
                false => backoff.next_wait(),
            };
            tracing::warn!(error = %sentence, retry_after_ms = wait.as_millis() as u64, "the connection to HQ ended");
            self.set_connected(false, Some(sentence));
            // A connection on which HQ took nothing doesn't make it any less away.
            if let (0, Some(since_ms)) = (gained, away_since_ms) {
                self.shared.board.change(|status| status.since_ms = since_ms);
            }
            sleep(wait).await;
        }
    }

    /// One connection from its beginning to its end. Returns what it brought, and why it ended.
    async fn connect_once(&self) -> (u64, WanError) {
        let mut session = match Session::open(&self.shared).await {
            Ok(session) => session,
            Err(error) => return (0, error),
        };
        tracing::info!(address = %self.shared.settings.address, "connected to HQ");
        self.set_connected(true, None);
        let ended = session.run().await;
        let recorded = session.flush_copies().await;
        let error = recorded.and(ended).err().unwrap_or(WanError::Closed);
        session.note_end(&error);
        (session.gained, error)
    }

    /// Since when HQ has taken nothing; `None` while it's connected.
    fn away_since_ms(&self) -> Option<u64> {
        let status = self.shared.board.watch();
        let status = status.borrow();
        (!status.connected).then_some(status.since_ms)
    }

    fn set_connected(&self, connected: bool, error: Option<String>) {
        let now_ms = self.shared.vault.now_ms();
        self.shared.board.change(|status| {
            if status.connected != connected || status.since_ms == 0 {
                (status.connected, status.since_ms) = (connected, now_ms);
            }
            if connected {
                status.refused = None;
            }
            if error.is_some() {
                status.last_error = error;
            }
        });
    }
}

impl Shared {
    /// Segments whose copy at HQ counts no more since this was last asked.
    pub(crate) fn take_lost_copies(&self) -> BTreeSet<SegmentId> {
        self.lost_copies.take()
    }

    /// Closed segments whose copy at HQ is recorded.
    pub(crate) async fn recorded_copies(&self) -> Result<HashSet<SegmentId>, WanError> {
        let (vault, ours) = (self.vault.clone(), Place::Hq { name: self.settings.branch.clone() });
        in_background(move || {
            let copies = vault.reading().all_copies()?.into_iter().filter(|copy| copy.place == ours);
            Ok(copies.map(|copy| copy.segment).collect())
        })
        .await?
    }

    /// A copy that HQ no longer has whole counts no more: it's sent again, and nothing leaves the disk because of it.
    pub(crate) async fn forget_lost_copies(
        &self,
        has: &[SegmentHas],
        recorded: &mut HashSet<SegmentId>,
    ) -> Result<(), WanError> {
        let at_hq: HashMap<SegmentId, u64> = has.iter().map(|has| (has.segment, has.bytes)).collect();
        let vault = self.vault.clone();
        let states = in_background(move || vault.segments()).await??;
        let is_short = |state: &SegmentState| at_hq.get(&state.segment).copied().unwrap_or(0) < state.bytes;
        let lost: Vec<SegmentId> = states
            .iter()
            .filter(|state| recorded.contains(&state.segment) && is_short(state))
            .map(|state| state.segment)
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        tracing::warn!(segments = lost.len(), "HQ no longer has these whole; they are sent again");
        recorded.retain(|segment| !lost.contains(segment));
        let place = Place::Hq { name: self.settings.branch.clone() };
        let events =
            lost.into_iter().map(|segment| Event::CopyLost { segment, place: place.clone() }).collect();
        let vault = self.vault.clone();
        let told = in_background(move || vault.record(events).and_then(|()| vault.note_left_without_copy()));
        Ok(told.await??)
    }

    /// A segment arrived damaged; if that happens again and again, it's the copy here that is damaged.
    pub(crate) fn blame(&self, segment: SegmentId) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(segment).or_default();
        *count += 1;
        if *count >= BLAMES_MAX {
            let sentence = format!(
                "segment {segment} arrived damaged at HQ {count} times, so it's probably damaged here, and isn't sent. It's read back \
                 here now: what is damaged of it comes back from a copy by itself, and is sent then. If this stays, run \
                 `coffer verify`, which names the files that it touches, and have the disk checked"
            );
            drop(failures);
            self.hold_back(segment, sentence);
            self.read_back(segment);
        }
    }

    /// Has a segment read back, so that damage in it is known.
    fn read_back(&self, segment: SegmentId) {
        let vault = self.vault.clone();
        tokio::task::spawn_blocking(move || match vault.scrub(segment, &mut |_| true) {
            Ok(places) => tracing::warn!(%segment, ?places, "read back, because it arrived damaged at HQ"),
            Err(error) => {
                tracing::error!(%segment, %error, "a segment that arrived damaged at HQ can't be read back")
            }
        });
    }

    pub(crate) fn hold_back(&self, segment: SegmentId, sentence: String) {
        tracing::error!(%segment, "{sentence}");
        let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        held_back.insert(segment, sentence);
        let all: Vec<String> = held_back.values().cloned().collect();
        self.board.change(|status| status.held_back = all);
    }

    pub(crate) fn held_back(&self) -> HashSet<SegmentId> {
        let mut all: HashSet<SegmentId> =
            self.held_back.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        all.extend(self.vault.reading().waiting_to_be_mended());
        all
    }

    /// A segment is another than it was when it failed: it's sent again.
    fn try_again(&self, segment: SegmentId) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&segment);
        let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        held_back.remove(&segment);
        let all: Vec<String> = held_back.values().cloned().collect();
        drop(held_back);
        self.board.change(|status| status.held_back = all);
        self.wake.notify_one();
    }
}

/// Runs what may block (disk, catalog) beside the runtime.
pub(crate) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WanError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| WanError::Internal)
}
