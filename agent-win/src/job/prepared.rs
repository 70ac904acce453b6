//! What precedes a capture and what follows it: the record of changes, and the files' standstill.

use std::sync::atomic::AtomicBool;

use super::{Errand, Job};
use crate::capture::{CaptureError, Outcome};
use crate::changes::{ChangeSource, Look, Marks};
use crate::clock::now_ms;
use crate::journal::Journal;
use crate::standstill::Standstill;

/// A capture that's ready to be made.
pub(crate) struct Prepared {
    pub(crate) standstill: Standstill,
    pub(crate) look: Look,
    source: Option<ChangeSource>,
    marks: Marks,
}

impl Prepared {
    /// The record of changes is opened before the files are made to stand still, and read afterwards: so nothing falls
    /// between this point and the next.
    pub(crate) fn new(
        job: &Job,
        errand: Errand,
        journal: &Journal,
        stop: &AtomicBool,
    ) -> Result<Prepared, CaptureError> {
        let target = match errand {
            Errand::Point => None,
            Errand::Changes(target) => Some(target),
        };
        if let Some(target) = target {
            let (standstill, look) = (Standstill::none(), Look::at(target));
            return Ok(Prepared { standstill, look, source: None, marks: Marks::default() });
        }
        // Before anything stands still for it.
        if journal.marks()?.is_whole_look_due(now_ms()) {
            journal.check()?;
        }
        let source = ChangeSource::open(&job.scope, job.scope_id, now_ms());
        let standstill = Standstill::begin(&job.standstill(), stop);
        let looked = journal.marks().and_then(|marks| Ok((source.look(&marks, &journal.reader()?)?, marks)));
        match looked {
            Ok((look, marks)) => Ok(Prepared { standstill, look, source: Some(source), marks }),
            Err(error) => {
                standstill.end(false);
                Err(error.into())
            }
        }
    }

    /// Lets go of the files, and keeps how far the record has been followed.
    pub(crate) fn finish(
        self,
        journal: &mut Journal,
        captured: &Result<Outcome, CaptureError>,
    ) -> Result<(), CaptureError> {
        // Where the point lacks anything, an application must not think that all of its data is safe.
        let said = &self.standstill.said;
        let is_whole = |outcome: &Outcome| outcome.report().iter().all(|line| said.contains(line));
        let is_durable = captured.as_ref().is_ok_and(is_whole);
        self.standstill.end(is_durable);
        if let (Some(source), Ok(outcome)) = (self.source, captured) {
            let marks = source.marks_after(self.look, &self.marks, outcome.report());
            journal.keep_marks(marks.as_ref())?;
        }
        Ok(())
    }
}
