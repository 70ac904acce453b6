//! One capture in the agent's life: when it's made, and what becomes of the line and the clock after it.

use std::time::{Duration, Instant};

use coffer_format::wire::RefusalCode;

use super::{Agent, WorkError};
use crate::capture::{CaptureError, CaptureOrder, Outcome, Progress};
use crate::job::{Errand, Job, Prepared};
use crate::journal::Journal;
use crate::session::Session;
use crate::wire::WireError;

/// Whether the conversation with the box can go on after a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Usable,
    /// A capture was broken off: what the box still has to say to it ends with the connection.
    Spent,
}

impl Agent {
    pub(super) fn capture_if_due(&self, session: &mut Session, job: &mut Job) -> Result<Line, WorkError> {
        let now = Instant::now();
        if job.waiting(&self.guest).is_some() {
            return Ok(Line::Usable);
        }
        let Some(errand) = job.errand(now) else { return Ok(Line::Usable) };
        let is_point = matches!(errand, Errand::Point);
        if is_point && let Err(error) = job.find_files() {
            tracing::error!(%error, "not captured");
            job.failed(Some(error.to_string()));
            job.schedule.failed(Instant::now());
            return Ok(Line::Usable);
        }
        let progress = self.progress(job);
        let captured = self.capture(session, job, errand, &progress);
        job.stage = progress.stage();
        match captured {
            Ok(outcome) => {
                log(&job.text.name, &outcome, now.elapsed());
                job.done(now, &outcome, is_point);
                job.failed(None);
                session.doing(job.text.config, "")?;
                Ok(Line::Usable)
            }
            Err(error) => capture_failed(job, error, is_point),
        }
    }

    /// What a person asked for doesn't wait.
    pub(super) fn progress(&self, job: &Job) -> Progress {
        let progress = Progress::new(self.stop.clone(), job.deadline());
        let progress = progress.with_priority(job.config.manners.priority);
        match job.schedule.is_asked() {
            true => progress,
            false => progress.with_guest(self.guest.clone(), job.text.config),
        }
    }

    pub(super) fn capture(
        &self,
        session: &mut Session,
        job: &mut Job,
        errand: Errand,
        progress: &Progress,
    ) -> Result<Outcome, CaptureError> {
        let mut journal = Journal::open(&job.folder())?;
        let captured = self.capture_by(&mut journal, session, job, errand, progress);
        if let Err(CaptureError::Journal(error)) = &captured
            && error.is_damage()
        {
            tracing::warn!(%error, "the journal is damaged and will be recalled from the box");
            journal.remove();
        }
        captured
    }

    fn capture_by(
        &self,
        journal: &mut Journal,
        session: &mut Session,
        job: &mut Job,
        errand: Errand,
        progress: &Progress,
    ) -> Result<Outcome, CaptureError> {
        let chunk_key = self.state.chunk_key()?;
        let prepared = Prepared::new(job, errand, journal, &self.stop)?;
        let order = CaptureOrder {
            config: job.text.config,
            revision: job.text.revision,
            scope: job.scope.clone(),
            stance: prepared.standstill.stance(),
            hints: &prepared.look.hints,
            compression: job.config.compression,
            chunk_key,
            target: prepared.look.target.clone(),
            progress,
            watch: job.watch.as_mut(),
        };
        let captured = session.capture(journal, order);
        let finished = prepared.finish(journal, &captured);
        self.judge_key(&chunk_key, &captured)?;
        captured.and_then(|captured| finished.map(|()| captured))
    }

    /// An agent that was enrolled before there were sums has none of its key: what the box takes vouches for it, and where it refuses
    /// what the key has named, nothing does.
    fn judge_key(
        &self,
        key: &[u8; 32],
        captured: &Result<Outcome, CaptureError>,
    ) -> Result<(), CaptureError> {
        let is_misnamed = match captured {
            Ok(Outcome::Closed(closed)) if closed.sent > 0 => false,
            Err(CaptureError::Wire(WireError::Refused(refusal)))
                if refusal.code == RefusalCode::BadRequest && refusal.sentence.starts_with(MISNAMED) =>
            {
                true
            }
            _ => return Ok(()),
        };
        if self.state.has_chunk_key_sum()? {
            return Ok(());
        }
        if is_misnamed {
            return Err(CaptureError::KeyInDoubt(self.state.chunk_key_file()));
        }
        if let Err(error) = self.state.save_chunk_key_sum(key) {
            tracing::warn!(%error, "the sum of the key is written after another capture");
        }
        Ok(())
    }
}

/// How a box begins that has got bytes under a name that isn't theirs.
const MISNAMED: &str = "a chunk's bytes don't match its name";

fn capture_failed(job: &mut Job, error: CaptureError, is_point: bool) -> Result<Line, WorkError> {
    job.told = None;
    job.look_at_everything();
    if !matches!(error, CaptureError::Wire(WireError::Lost) | CaptureError::Stopped) {
        job.failed(Some(error.to_string()));
    }
    match error {
        _ if !job.is_scheduled(is_point) => {}
        // A broken line has its own pace; the capture goes on as soon as there's another. One that must wait goes on as
        // soon as it may.
        CaptureError::Wire(WireError::Lost) | CaptureError::Stopped => {
            job.schedule.interrupted(Instant::now())
        }
        _ => job.schedule.failed(Instant::now()),
    }
    match error {
        CaptureError::Stopped => Ok(Line::Spent),
        CaptureError::Wire(WireError::Refused(refusal)) => {
            if !is_passing(refusal.code) {
                let (config, name) = (job.text.config, &job.text.name);
                tracing::error!(%config, name, "stopped: {}", refusal.sentence);
                job.is_stopped = true;
            }
            // What the box still had to say to the broken-off capture ends with the connection.
            Err(WireError::Refused(refusal).into())
        }
        error => Err(error.into()),
    }
}

/// Whether a refusal passes by itself.
fn is_passing(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::Busy
            | RefusalCode::DiskFull
            | RefusalCode::OutOfStep
            | RefusalCode::ReadOnly
            | RefusalCode::Internal
    )
}

fn log(name: &str, outcome: &Outcome, took: Duration) {
    let took_ms = took.as_millis() as u64;
    match outcome {
        Outcome::Unchanged { report } => {
            tracing::debug!(name, took_ms, problems = report.len(), "nothing new")
        }
        Outcome::Closed(closed) => {
            let (point, files, bytes, sent) = (closed.point.0, closed.files, closed.bytes, closed.sent);
            let problems = closed.report.len();
            tracing::info!(name, point, files, bytes, sent, took_ms, problems, "captured");
        }
    }
}
