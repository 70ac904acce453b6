//! A capture from start to end: looks until nothing changes any more, then closes the point.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use coffer_format::entry::{Consistency, Remark, RemarkKind};
use coffer_format::limits::REPORT_LINES_MAX;
use coffer_format::segment::Stream;
use coffer_format::wire::Message;
use coffer_format::{ConfigId, PartNo, VaultId};

use super::item::Item;
use super::outlet::{ITEMS_MAX, Outlet};
use super::pass::Pass;
use super::reading::Reading;
use super::sender::Sender;
use super::{CaptureError, Outcome, Progress, Start, Target};
use crate::changes::Hints;
use crate::config::{CompressionChoice, Scope};
use crate::cut::Workers;
use crate::journal::{Journal, JournalChange, are_alike, remarked};
use crate::platform::TIMES_TELL_WRITES;
use crate::platform::mounted_at;
use crate::standstill::{Claim, Enclosures, Stance};
use crate::watch::Watch;
use crate::wire::Wire;

/// Looks at most, and the time after which no further one is begun.
const LOOKS_MAX: usize = 5;
const LOOKS_TIME: Duration = Duration::from_secs(300);
const WORKER_THREADS: usize = 2;
const SPARE_BUFFERS: usize = 9;

/// What a capture is of, and how it's done.
pub struct CaptureOrder<'a> {
    pub config: ConfigId,
    /// Grows whenever somebody sets the configuration.
    pub revision: u32,
    pub scope: Arc<Scope>,
    pub stance: Stance<'a>,
    /// Where the target's files were written to.
    pub hints: &'a Hints,
    pub compression: CompressionChoice,
    pub chunk_key: [u8; 32],
    pub target: Target,
    pub progress: &'a Progress,
    /// Tells what has moved where since the target was noticed.
    pub watch: Option<&'a mut Watch>,
}

/// An order, and what box and agent have of it so far.
pub struct CaptureJob<'a> {
    pub order: CaptureOrder<'a>,
    pub wire: &'a Wire,
    pub journal: &'a mut Journal,
    pub vault: VaultId,
    pub start: Start,
    /// Gets what the box asks for meanwhile.
    pub aside: &'a mut Vec<Message>,
}

/// Does one capture.
pub fn capture(job: CaptureJob<'_>) -> Result<Outcome, CaptureError> {
    let CaptureJob { order, wire, journal, vault, start, aside } = job;
    let CaptureOrder {
        config,
        revision,
        scope,
        stance,
        hints,
        compression,
        chunk_key,
        target,
        progress,
        watch,
    } = order;
    let stream = if start.is_first { Stream::Bulk } else { Stream::Fresh };
    let (level, page_level) = levels(compression, start.is_first);
    let workers = Workers::start(WORKER_THREADS, chunk_key, (level, page_level), progress.priority())
        .map_err(CaptureError::Threads)?;
    let reader = journal.reader()?;
    let view = Arc::new(stance.view.over_mount_points(&scope, mounted_at));
    progress.files_expected.store(if start.is_first { 0 } else { reader.count()? }, Ordering::Relaxed);
    let (items, queue) = sync_channel(ITEMS_MAX);
    let (give_back, spare) = sync_channel(SPARE_BUFFERS);
    let sender = Sender::new(wire, journal, (config, vault), progress, start, give_back, aside)?;
    std::thread::scope(|threads| {
        let run_after = stance.after.map(|after| after.beside(threads));
        let planner = threads.spawn({
            let (workers, scope, stance) = (&workers, scope.clone(), &stance);
            move || {
                progress.settle_in();
                let outlet = Outlet::new(items, workers, spare, stream);
                let reading = Reading::new(outlet, reader, chunk_key, (&scope, view, hints), progress);
                let pass = Pass::new(reading, (scope.clone(), revision), start.next_node, watch);
                looks(pass, &target, start, stance, || run_after.and_then(|run| run()))
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
/// at one instant: the end of the look before. What stands still needs no further look.
fn looks(
    mut pass: Pass<'_>,
    target: &Target,
    start: Start,
    stance: &Stance<'_>,
    run_after: impl FnOnce() -> Option<Remark>,
) -> Result<Vec<Remark>, CaptureError> {
    let is_whole = matches!(target, Target::Everything);
    if is_whole {
        pass.plan_rereading()?;
    }
    let mut consistency = look_until_quiet(&mut pass, target, stance.claim)?;
    if is_whole {
        pass.note_reread()?;
    }
    let before = pass.reading.journal.said_before()?;
    let mut said = stance.said.clone();
    if stance.is_beside {
        said.extend(before.iter().filter(|remark| remark.kind == RemarkKind::Application).cloned());
    }
    said.extend(run_after());
    let lines = pass.reading.report.lines();
    let now_remarked = remarked(&lines);
    // A claim that no longer holds, or holds again, is news though nothing else has changed.
    let is_changed =
        pass.reading.outlet.steps() > 0 || pass.is_absence_news() || now_remarked != pass.remarked;
    if is_changed {
        pass.put_ways()?;
        pass.reading.outlet.settle()?;
        pass.unlink_below_removed()?;
    }
    let mut report = said.clone();
    report.extend(lines);
    let lacking = pass.lacking_of(stance.named)?;
    if !lacking.is_empty() && consistency == Consistency::Application {
        consistency = Consistency::Crash;
    }
    said.extend(lacking.iter().cloned());
    report.extend(lacking);
    let is_news = is_changed || start.is_point_wanted || !stance.is_beside && !are_alike(&said, &before);
    if is_news && let Some(enclosures) = stance.enclosures {
        report.extend(enclose(&mut pass, enclosures)?);
    }
    report.truncate(REPORT_LINES_MAX);
    let is_draft = start.part > PartNo(0);
    if is_news || is_draft {
        pass.note_absent()?;
        pass.reading.outlet.note(JournalChange::Remarked { remarked: now_remarked })?;
        pass.reading.outlet.note(JournalChange::Said { said })?;
        pass.reading.outlet.close(consistency, report.clone())?;
    } else {
        pass.reading.outlet.flush()?;
    }
    Ok(report)
}

/// Looks, and looks again at what moved meanwhile; what may be said of the whole.
fn look_until_quiet(pass: &mut Pass<'_>, target: &Target, claim: Claim) -> Result<Consistency, CaptureError> {
    let began = Instant::now();
    let mut steps = 0;
    for look in 0..LOOKS_MAX {
        let torn = pass.look(target)?;
        let is_whole = torn.is_empty() && !pass.is_restless();
        let is_quiet = pass.reading.outlet.steps() == steps && is_whole;
        steps = pass.reading.outlet.steps();
        let stands_still = matches!(claim, Claim::Application | Claim::Snapshot);
        match claim {
            // What couldn't be read stays as an earlier point has it, or isn't in the point at all.
            _ if pass.lacks() && is_whole && (stands_still || is_quiet) => {
                return Ok(Consistency::PerFile);
            }
            Claim::Application if is_whole => return Ok(Consistency::Application),
            Claim::Snapshot if is_whole => return Ok(Consistency::Crash),
            Claim::Quiet if is_quiet => return Ok(Consistency::Quiet),
            // Elsewhere something may have changed meanwhile; and where times don't tell of every write, here as well.
            Claim::None if is_quiet && (!TIMES_TELL_WRITES || matches!(target, Target::These(_))) => {
                return Ok(Consistency::PerFile);
            }
            Claim::None if is_quiet => return Ok(Consistency::Crash),
            _ => {}
        }
        for path in torn {
            pass.reading.report.add(
                RemarkKind::Changed,
                &path,
                "changed while it was read; it's captured as it was at several moments",
            );
        }
        if look + 1 == LOOKS_MAX || began.elapsed() >= LOOKS_TIME {
            break;
        }
        pass.reading.outlet.settle()?;
    }
    Ok(Consistency::PerFile)
}

/// Sends what belongs to the point besides; what of it couldn't be.
fn enclose(pass: &mut Pass<'_>, enclosures: &Enclosures) -> Result<Vec<Remark>, CaptureError> {
    let (target, mut lacking) = enclosures.write();
    pass.encloses = true;
    pass.look(&target)?;
    pass.reading.outlet.settle()?;
    lacking.extend(pass.reading.report.lines());
    Ok(lacking)
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
