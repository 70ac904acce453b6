//! A capture from start to end: looks until nothing changes any more, then closes the point.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use coffer_format::entry::{Consistency, ReportLine};
use coffer_format::segment::Stream;
use coffer_format::wire::Message;
use coffer_format::{ConfigId, PartNo, VaultId};

use super::item::Item;
use super::outlet::{ITEMS_MAX, Outlet};
use super::pass::Pass;
use super::reading::Reading;
use super::sender::Sender;
use super::{CaptureError, Outcome, Start};
use crate::config::{CompressionChoice, Scope};
use crate::cut::Workers;
use crate::journal::Journal;
use crate::scan::Names;
use crate::wire::Wire;

/// Looks at most, and the time after which no further one is begun.
const LOOKS_MAX: usize = 5;
const LOOKS_TIME: Duration = Duration::from_secs(300);
const WORKER_THREADS: usize = 2;
const SPARE_BUFFERS: usize = 12;
/// Names noticed in one directory beyond which all of it is looked at.
const NAMES_MAX: usize = 1000;

/// What to look at.
#[derive(Debug, Clone)]
pub enum Target {
    Everything,
    /// Only where something was noticed.
    These(Dirty),
}

/// Names in which something was noticed, by directory. Bounded by the number of directories.
#[derive(Debug, Clone, Default)]
pub struct Dirty(pub(super) BTreeMap<Vec<u8>, Names>);

impl Target {
    /// Nothing noticed yet.
    pub fn nothing() -> Target {
        Target::These(Dirty::default())
    }

    /// Nothing was noticed.
    pub fn is_empty(&self) -> bool {
        matches!(self, Target::These(dirty) if dirty.0.is_empty())
    }

    /// Adds a name in a directory.
    pub fn notice(&mut self, directory: Vec<u8>, name: Vec<u8>) {
        let Target::These(dirty) = self else { return };
        match dirty.0.entry(directory).or_insert_with(|| Names::These(Vec::new())) {
            Names::These(names) if names.contains(&name) => {}
            Names::These(names) if names.len() < NAMES_MAX => names.push(name),
            names => *names = Names::All,
        }
    }
}

/// How far a capture has come, and the word to stop it. Shared with whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    pub files_expected: AtomicU64,
    stop: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Progress {
    /// Ends the capture at the next file when `stop` is set or the deadline has passed.
    pub fn new(stop: Arc<AtomicBool>, deadline: Option<Instant>) -> Progress {
        Progress { stop, deadline, ..Progress::default() }
    }

    pub(super) fn check(&self) -> Result<(), CaptureError> {
        let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if is_late || self.stop.load(Ordering::Relaxed) { Err(CaptureError::Stopped) } else { Ok(()) }
    }

    pub(super) fn file_done(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What a capture needs.
pub struct CaptureJob<'a> {
    pub wire: &'a Wire,
    pub journal: &'a mut Journal,
    pub config: ConfigId,
    pub vault: VaultId,
    pub chunk_key: [u8; 32],
    pub scope: Arc<Scope>,
    pub compression: CompressionChoice,
    pub start: Start,
    pub target: Target,
    pub progress: &'a Progress,
    /// Gets what the box asks for meanwhile.
    pub aside: &'a mut Vec<Message>,
}

/// Does one capture.
pub fn capture(job: CaptureJob<'_>) -> Result<Outcome, CaptureError> {
    let CaptureJob { wire, journal, config, vault, chunk_key, scope, start, target, progress, aside, .. } =
        job;
    let stream = if start.is_first { Stream::Bulk } else { Stream::Fresh };
    let (level, page_level) = levels(job.compression, start.is_first);
    let workers =
        Workers::start(WORKER_THREADS, chunk_key, level, page_level).map_err(CaptureError::Threads)?;
    let reader = journal.reader()?;
    progress.files_expected.store(if start.is_first { 0 } else { reader.count()? }, Ordering::Relaxed);
    let (items, queue) = sync_channel(ITEMS_MAX);
    let (give_back, spare) = sync_channel(SPARE_BUFFERS);
    let sender = Sender::new(wire, journal, (config, vault), progress, start, give_back, aside)?;
    std::thread::scope(|threads| {
        let planner = threads.spawn({
            let (workers, scope) = (&workers, scope.clone());
            move || {
                let outlet = Outlet::new(items, workers, spare, stream);
                let reading = Reading::new(outlet, reader, chunk_key, &scope, progress);
                looks(Pass::new(reading, scope.clone(), start.next_node), &target, start)
            }
        });
        let sent = send(sender, queue);
        let looked = planner.join().map_err(|_| CaptureError::Panicked)?;
        match (sent, looked) {
            // Where the sending side gave up, the reading side only knows that it was stopped.
            (Err(error), _) => Err(error),
            (Ok(_), Err(error)) => Err(error),
            (Ok(Some(closed)), Ok(_)) => Ok(Outcome::Closed(closed)),
            (Ok(None), Ok(report)) => Ok(Outcome::Unchanged { report }),
        }
    })
}

/// Owns the queue, so that the reading side sees it go when the sending side gives up.
fn send(sender: Sender<'_>, queue: Receiver<Vec<Item>>) -> Result<Option<super::Closed>, CaptureError> {
    sender.run(&queue)
}

/// Every file was whole when it was read. Where a further look finds nothing new, all of them were as they are
/// at one instant: the end of the look before.
fn looks(mut pass: Pass<'_>, target: &Target, start: Start) -> Result<Vec<ReportLine>, CaptureError> {
    let began = Instant::now();
    let mut steps = 0;
    let mut consistency = Consistency::PerFile;
    for look in 0..LOOKS_MAX {
        let torn = pass.look(target)?;
        let outlet = &mut pass.reading.outlet;
        let is_quiet = outlet.steps() == steps && torn.is_empty();
        steps = outlet.steps();
        if is_quiet {
            consistency = Consistency::Crash;
            break;
        }
        for path in torn {
            pass.reading
                .report
                .add(&path, "changed while it was read; it's captured as it was at several moments");
        }
        if look + 1 == LOOKS_MAX || began.elapsed() >= LOOKS_TIME {
            break;
        }
        pass.reading.outlet.settle()?;
    }
    if steps > 0 {
        pass.reading.outlet.settle()?;
        pass.unlink_below_removed()?;
    }
    let report = pass.reading.report.lines();
    let is_draft = start.part > PartNo(0);
    if steps > 0 || is_draft {
        pass.reading.outlet.close(consistency, report.clone())?;
    } else {
        pass.reading.outlet.flush()?;
    }
    Ok(report)
}

/// zstd's levels, for most files and for those cut in pages. The pages of databases gain little from more work: level -3
/// takes two thirds of the time of level 1 and gives 2 % more bytes.
fn levels(choice: CompressionChoice, is_first: bool) -> (i32, i32) {
    match choice {
        CompressionChoice::Auto if is_first => (1, -3),
        CompressionChoice::Auto => (3, 3),
        CompressionChoice::Fast => (1, -3),
        CompressionChoice::Best => (12, 12),
    }
}
