//! One branch at HQ: its mirror, and what is known of its box.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coffer_format::segment::SegmentHeader;
use coffer_format::wire::{RefusalCode, SegmentHas, SegmentHeld, SegmentMark};
use coffer_format::{Decode, FileHash, OrgId, Reader, SegmentId, VaultId};
use coffer_vault::VaultError;
use coffer_vault::mirror::{Mirror, Whole};
use coffer_vault::verify::Report;
use tokio::sync::watch;

use crate::mirror_slot::{MirrorSlot, Why};
use crate::{HqError, Organisation, Result};

/// While more is coming, the catalog is brought up to date this often.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// While a catalog is compared: after work of some length, so many times that long is rested, and never longer than that.
const WORK_MIN: Duration = Duration::from_millis(5);
const REST: u32 = 19;
const REST_MAX: Duration = Duration::from_secs(1);

/// A branch. Every method may block.
pub(crate) struct Branch {
    pub name: String,
    org: OrgId,
    mirror: MirrorSlot,
    /// Bytes have come that the catalog may not show yet.
    stale: AtomicBool,
    refreshed: Mutex<Instant>,
    /// The segment and the end of a run that there was no room for, until it's here.
    no_room_for: Mutex<Option<(SegmentId, u64)>>,
    /// When a box was last refused that isn't the one that is enrolled as this branch; 0: never since HQ was started.
    refused_ms: AtomicU64,
    /// What is here is another box's than the one that is enrolled as this branch.
    is_of_another: AtomicBool,
    /// Why its mirror couldn't be opened or made, since it last could.
    trouble: Mutex<Option<String>>,
    /// Links over which its box has said whose segments it sends.
    links: AtomicUsize,
    /// A box takes it over, and hasn't said since whose segments it sends.
    is_taken_over: AtomicBool,
    is_to_be_read_back: AtomicBool,
    /// Grows whenever what is here turns out to be other than the box was told: it must hear what is here now.
    damaged: watch::Sender<u64>,
}

/// A run of bytes for a segment.
pub(crate) struct Run {
    pub segment: SegmentId,
    pub offset: u64,
    pub closed_len: u64,
    pub bytes: Vec<u8>,
}

/// What HQ has of a segment after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub segment: SegmentId,
    /// 0 where the segment turned out to be damaged.
    pub bytes: u64,
    pub hash: Option<FileHash>,
}

/// For as long as a branch's box is connected.
pub(crate) struct Connected(Arc<Branch>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.links.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Branch {
    pub(crate) fn new(organisation: &Organisation, name: &str) -> Branch {
        Branch {
            name: name.to_owned(),
            org: organisation.org,
            mirror: MirrorSlot::new(organisation, name),
            stale: AtomicBool::new(false),
            refreshed: Mutex::new(Instant::now()),
            no_room_for: Mutex::default(),
            refused_ms: AtomicU64::new(0),
            is_of_another: AtomicBool::new(false),
            trouble: Mutex::default(),
            links: AtomicUsize::new(0),
            is_taken_over: AtomicBool::new(false),
            is_to_be_read_back: AtomicBool::new(false),
            damaged: watch::Sender::new(0),
        }
    }

    /// Changes whenever what is here turns out to be other than the box was told.
    pub(crate) fn damage(&self) -> watch::Receiver<u64> {
        self.damaged.subscribe()
    }

    /// Segments that came whole, the newest first.
    pub(crate) fn whole_segments(&self) -> Result<Vec<SegmentId>> {
        Ok(self.mirror()?.map_or_else(Vec::new, |mirror| mirror.whole_segments()))
    }

    /// Reads a segment back. What is damaged of it is due again from the box.
    pub(crate) fn check(&self, segment: SegmentId) -> Result<()> {
        let Some(mirror) = self.mirror()? else { return Ok(()) };
        let checked = mirror.check(segment);
        self.hear(&mirror);
        checked?;
        Ok(())
    }

    /// Looks for segments that are gone, and at those that a read met something wrong in.
    pub(crate) fn look(&self) -> Result<()> {
        let Some(mirror) = self.mirror()? else { return Ok(()) };
        let looked = mirror.look();
        self.hear(&mirror);
        Ok(looked?)
    }

    /// Reads all that is here back, and says whether every point can be restored from here. `None` before anything has come.
    pub(crate) fn verify(&self) -> Result<Option<Report>> {
        let damaged = self.mirror()?.map_or_else(Default::default, |mirror| mirror.damaged_segments());
        for segment in self.whole_segments()?.into_iter().chain(damaged) {
            self.check(segment)?;
        }
        let Some(mirror) = self.fresh_mirror()? else { return Ok(None) };
        let report = mirror.inspect(&mut |damage| {
            // What isn't closed yet isn't waited for either: the box hears at once what is here of it.
            damage.iter().for_each(|one| mirror.reading().suspect(one.segment, one.offset));
            if !damage.is_empty()
                && let Err(error) = self.look()
            {
                tracing::warn!(branch = self.name, %error, "what is damaged of a branch couldn't be looked at closely; it's tried again");
            }
        });
        Ok(Some(report?))
    }

    /// Where the box was told other than what is here, it's told again.
    fn hear(&self, mirror: &Mirror) {
        if mirror.take_news() {
            self.stale.store(true, Ordering::SeqCst);
            self.damaged.send_modify(|count| *count += 1);
        }
    }

    /// Compares the catalog with the segments, where it's due or the catalog is doubted. Returns whether it did. It works a twentieth of
    /// the time.
    pub(crate) fn compare_catalog(&self, is_due: bool, stop: &watch::Receiver<bool>) -> Result<bool> {
        let Some(mirror) = self.mirror()? else { return Ok(false) };
        let is_doubted = mirror.doubts_catalog()?;
        if !is_due && !is_doubted {
            return Ok(false);
        }
        let mut began = Instant::now();
        let found = mirror.compare_catalog(&mut |_| {
            let worked = began.elapsed();
            if worked >= WORK_MIN && !is_doubted {
                std::thread::sleep((worked * REST).min(REST_MAX));
                began = Instant::now();
            }
            !*stop.borrow() && !mirror.is_left()
        });
        self.hear(&mirror);
        Ok(found?.is_some())
    }

    /// The mirror; `None` before the branch sent its first segment.
    pub(crate) fn mirror(&self) -> Result<Option<Arc<Mirror>>> {
        self.open(None)
    }

    fn open(&self, first: Option<&SegmentHeader>) -> Result<Option<Arc<Mirror>>> {
        let opened = self.mirror.open(first);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match &opened {
            Ok((Some(_), _)) => *trouble = None,
            Ok((None, _)) => {}
            Err(error) => *trouble = Some(error.refusal().sentence),
        }
        drop(trouble);
        let (mirror, is_another) = opened?;
        if is_another {
            // What was told of the one before may be less than what is here.
            self.damaged.send_modify(|count| *count += 1);
        }
        Ok(mirror)
    }

    /// Why nothing of it can be taken in or read, where nothing of it is open.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether HQ's disk takes no writes, and isn't full either.
    pub(crate) fn is_read_only(&self) -> bool {
        self.mirror.only_to_read() == Some(Why::NoWrites)
    }

    /// The mirror with everything in its catalog that has come.
    pub(crate) fn fresh_mirror(&self) -> Result<Option<Arc<Mirror>>> {
        let mirror = self.mirror()?;
        if let Some(mirror) = &mirror
            && self.stale.swap(false, Ordering::SeqCst)
        {
            let refreshed = mirror.refresh();
            self.hear(mirror);
            match refreshed {
                // What came lately isn't listed: the rest can be read all the same.
                Err(error @ (VaultError::Io { .. } | VaultError::ReadOnly)) => self.is_behind(&error),
                Err(error) if error.is_of_no_writes() => self.is_behind(&error),
                Err(error) => {
                    self.stale.store(true, Ordering::SeqCst);
                    return Err(error.into());
                }
                Ok(()) => {}
            }
            *self.refreshed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        Ok(mirror)
    }

    fn is_behind(&self, error: &VaultError) {
        self.stale.store(true, Ordering::SeqCst);
        tracing::error!(branch = self.name, %error, "the catalog of a branch could not be brought up to date; it's tried again");
    }

    pub(crate) fn has(&self) -> Result<Vec<SegmentHas>> {
        Ok(self.mirror()?.map_or_else(Vec::new, |mirror| mirror.has()))
    }

    /// Whether a box has taken the branch over since this was last asked: what it counts on is to be read back.
    pub(crate) fn take_read_back(&self) -> bool {
        self.is_to_be_read_back.swap(false, Ordering::SeqCst)
    }

    /// What is here for a box that takes the branch over.
    pub(crate) fn held(&self) -> Result<Vec<SegmentHeld>> {
        self.is_taken_over.store(true, Ordering::SeqCst);
        self.is_to_be_read_back.store(true, Ordering::SeqCst);
        let held = self.mirror()?.map_or_else(|| Ok(Vec::new()), |mirror| mirror.held())?;
        self.stale.store(true, Ordering::SeqCst);
        Ok(held)
    }

    /// What tells those segments from others of their numbers, of those that are here.
    pub(crate) fn marks(&self, segments: &[SegmentId]) -> Result<Vec<SegmentMark>> {
        let Some(mirror) = self.mirror()? else { return Ok(Vec::new()) };
        let mut marks = Vec::new();
        for segment in segments {
            marks.extend(mirror.mark(*segment)?);
        }
        Ok(marks)
    }

    /// A segment's outline, or all there is of one that isn't whole; `None` where nothing is. A box that takes the branch over closes
    /// such a segment where it ends here.
    pub(crate) fn outline(&self, segment: SegmentId) -> Result<Option<Vec<u8>>> {
        let Some(mirror) = self.mirror()? else { return Ok(None) };
        Ok(match self.is_taken_over.load(Ordering::SeqCst) {
            true => mirror.outline(segment)?,
            false => mirror.outline_or_all(segment)?,
        })
    }

    /// The number of the newest metadata record that ever came.
    pub(crate) fn newest_record(&self) -> Result<u64> {
        Ok(self.fresh_mirror()?.map_or(Ok(0), |mirror| mirror.newest_record().map(|lsn| lsn.0))?)
    }

    pub(crate) fn whole(&self) -> Result<Vec<Whole>> {
        Ok(match self.fresh_mirror()? {
            Some(mirror) => mirror.whole()?,
            None => Vec::new(),
        })
    }

    pub(crate) fn forget(&self, segment: SegmentId) -> Result<()> {
        self.has_come(segment, u64::MAX);
        match self.mirror()? {
            Some(mirror) => Ok(mirror.forget(segment)?),
            None => Ok(()),
        }
    }

    /// The branch's box is there until what comes back is dropped.
    pub(crate) fn connected(self: &Arc<Self>) -> Connected {
        self.links.fetch_add(1, Ordering::SeqCst);
        self.is_taken_over.store(false, Ordering::SeqCst);
        Connected(self.clone())
    }

    /// Whether the box that is enrolled was refused because what is here is another one's.
    pub(crate) fn is_of_another(&self) -> bool {
        self.is_of_another.load(Ordering::SeqCst)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.links.load(Ordering::SeqCst) > 0
    }

    /// Whether HQ's disk had no room for something that still hasn't come. Small runs that do fit don't change that.
    pub(crate) fn is_full(&self) -> bool {
        self.without_room().is_some()
    }

    fn without_room(&self) -> MutexGuard<'_, Option<(SegmentId, u64)>> {
        self.no_room_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first `bytes` of a segment are here, or no more of it is coming.
    fn has_come(&self, segment: SegmentId, bytes: u64) {
        self.without_room().take_if(|(lacking, end)| *lacking == segment && *end <= bytes);
    }

    /// Another box than the one that is enrolled as this branch was refused.
    pub(crate) fn note_refused(&self, now_ms: u64) {
        self.refused_ms.store(now_ms, Ordering::SeqCst);
    }

    /// When that was last, since HQ was started.
    pub(crate) fn refused_ms(&self) -> Option<u64> {
        Some(self.refused_ms.load(Ordering::SeqCst)).filter(|ms| *ms > 0)
    }

    /// Makes a run durable. Bytes of it that are here already are passed over.
    pub(crate) fn append(&self, run: Run) -> Result<Kept> {
        let (segment, end) = (run.segment, run.offset + run.bytes.len() as u64);
        match self.append_run(run) {
            Ok(kept) => {
                self.has_come(segment, kept.bytes);
                Ok(kept)
            }
            Err(HqError::Vault(error))
                if error.is_disk_full() || self.mirror.only_to_read() == Some(Why::Full) =>
            {
                *self.without_room() = Some((segment, end));
                tracing::error!(branch = self.name, %error, "the disk is full; nothing more is taken in");
                let sentence = "headquarters' disk is full, and nothing more is taken in: free space there; then the box goes on by itself";
                Err(HqError::refused(RefusalCode::DiskFull, sentence))
            }
            Err(HqError::Vault(_)) if self.is_read_only() => {
                let sentence = "headquarters' disk takes no writes, and nothing more is taken in: have it checked; then the box goes on by itself";
                Err(HqError::refused(RefusalCode::ReadOnly, sentence))
            }
            Err(error) => Err(error),
        }
    }

    fn append_run(&self, run: Run) -> Result<Kept> {
        let mirror = match run.offset {
            0 => self.open_for(&run)?,
            _ => self.mirror()?.ok_or_else(|| out_of_step(&run, 0))?,
        };
        let have = mirror.bytes_of(run.segment);
        let end = run.offset + run.bytes.len() as u64;
        if run.offset > have {
            return Err(out_of_step(&run, have));
        }
        if end <= have && !(run.bytes.is_empty() && end == have) {
            return Ok(Kept { segment: run.segment, bytes: end, hash: None });
        }
        let new = &run.bytes[(have - run.offset) as usize..];
        let appended = mirror.append(run.segment, have, run.closed_len, new);
        self.hear(&mirror);
        let (bytes, hash) = appended?;
        self.stale.store(true, Ordering::SeqCst);
        let damaged = bytes < end || run.closed_len == end && hash.is_none();
        Ok(Kept { segment: run.segment, bytes: if damaged { 0 } else { bytes }, hash })
    }

    /// Checks whose segment begins here, and opens (or makes) the mirror for it.
    fn open_for(&self, run: &Run) -> Result<Arc<Mirror>> {
        let header =
            run.bytes.get(..SegmentHeader::LEN).map(|bytes| SegmentHeader::decode(&mut Reader::new(bytes)));
        let Some(Ok(header)) =
            header.filter(|header| header.as_ref().is_ok_and(|h| h.segment == run.segment))
        else {
            return Err(HqError::refused(
                RefusalCode::BadRequest,
                format!("segment {} doesn't begin with its header: update the box", run.segment),
            ));
        };
        // A vault that joined later has older segments, of the organisation that it was.
        match self.mirror()? {
            Some(mirror) if mirror.vault() == header.vault => {}
            _ => self.admit(header.vault, header.org)?,
        }
        self.open(Some(&header))?.ok_or(HqError::Internal)
    }

    /// Makes the mirror of a vault of which nothing is here yet.
    pub(crate) fn begin(&self, identity: &SegmentHeader) -> Result<()> {
        self.admit(identity.vault, identity.org)?;
        self.open(Some(identity)).map(drop)
    }

    /// Fails unless segments of this vault belong here.
    pub(crate) fn admit(&self, vault: VaultId, org: OrgId) -> Result<()> {
        if org != self.org {
            return Err(HqError::refused(
                RefusalCode::OtherOrganisation,
                "this vault belongs to another organisation: make a new vault on the box after it has joined this HQ",
            ));
        }
        let mirror = self.mirror()?;
        let is_of_another = mirror.as_ref().is_some_and(|mirror| mirror.vault() != vault);
        self.is_of_another.store(is_of_another, Ordering::SeqCst);
        match mirror {
            Some(_) if is_of_another => Err(HqError::refused(
                RefusalCode::OtherBox,
                format!(
                    "branch {} is another box's here: enrol this box under a new branch name, or move the old branch's \
                     folder away at HQ",
                    self.name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Brings the catalog up to date if it's time to. A failure shows with the next question.
    pub(crate) fn refresh_when_due(&self, more_is_coming: bool) {
        let since = self.refreshed.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if more_is_coming && since < REFRESH_EVERY {
            return;
        }
        if let Err(error) = self.fresh_mirror() {
            tracing::error!(branch = self.name, %error, "the catalog of a branch could not be brought up to date");
        }
    }
}

fn out_of_step(run: &Run, have: u64) -> HqError {
    HqError::refused(
        RefusalCode::OutOfStep,
        format!(
            "segment {} was sent from byte {}, byte {have} is due: the box asks again",
            run.segment, run.offset
        ),
    )
}
