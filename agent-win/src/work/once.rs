//! One capture of each configuration, for whoever asks for it by a command. Whatever fails is told to the box as well: there,
//! nobody sees the command's exit code.

use std::time::{Duration, Instant};

use coffer_format::wire::ConfigText;

use super::{Agent, WorkError};
use crate::capture::{CaptureError, Outcome};
use crate::job::{Errand, Job};
use crate::journal::Journal;
use crate::session::Session;
use crate::wire::WireError;

/// A capture that's asked for goes on with so many snapshots at most.
const SNAPSHOTS_MAX: usize = 3;

/// What came of one configuration's capture.
#[derive(Debug)]
pub struct Done {
    pub name: String,
    pub outcome: Outcome,
    /// Whether the newest point holds any file.
    pub holds_files: bool,
    pub took: Duration,
}

/// What came of one capture of each.
#[derive(Debug, Default)]
pub struct Once {
    pub done: Vec<Done>,
    /// Names of configurations, and why there's no new point of them.
    pub failed: Vec<(String, WorkError)>,
}

impl Agent {
    /// One capture of each configuration, or of the one with that name. One that fails holds none of the others up.
    pub fn capture_once(&self, only: Option<&str>) -> Result<Once, WorkError> {
        let mut session = self.session()?;
        let wanted = |text: &ConfigText| only.is_none_or(|name| name == text.name);
        let texts: Vec<ConfigText> = session.configs()?.into_iter().filter(wanted).collect();
        if texts.is_empty() {
            return Err(WorkError::NoConfig(only.map(str::to_owned)));
        }
        let (mut once, mut line) = (Once::default(), Some(session));
        for text in texts {
            match self.capture_config(&mut line, &text) {
                Ok(done) => once.done.push(done),
                Err(error) => {
                    self.tell_failed(&text, &error);
                    let is_over = matches!(error, WorkError::Capture(CaptureError::Stopped));
                    once.failed.push((text.name, error));
                    if is_over {
                        break;
                    }
                }
            }
        }
        line.into_iter().for_each(Session::goodbye);
        Ok(once)
    }

    /// Over the line that's open, or another: none is of use after a capture that was broken off. Where a snapshot is lost, it goes
    /// on with another.
    fn capture_config(&self, line: &mut Option<Session>, text: &ConfigText) -> Result<Done, WorkError> {
        let began = Instant::now();
        let mut attempts = 1;
        loop {
            let mut session = line.take().map_or_else(|| self.session(), Ok)?;
            match self.captured(&mut session, text, began) {
                Ok((outcome, holds_files)) => {
                    session.capture_failed(text.config, "")?;
                    *line = Some(session);
                    return Ok(Done { name: text.name.clone(), outcome, holds_files, took: began.elapsed() });
                }
                Err(error @ WorkError::Capture(CaptureError::SnapshotLost(_)))
                    if attempts < SNAPSHOTS_MAX =>
                {
                    attempts += 1;
                    tracing::warn!(%error);
                    session.cut();
                }
                Err(error) => {
                    session.cut();
                    return Err(error);
                }
            }
        }
    }

    fn captured(
        &self,
        session: &mut Session,
        text: &ConfigText,
        began: Instant,
    ) -> Result<(Outcome, bool), WorkError> {
        let mut job = Job::new(text, &self.state, self.listed(), false)?;
        job.find_files()?;
        job.schedule.ask(began);
        let progress = self.progress(&job);
        let outcome = self.capture(session, &mut job, Errand::Point, &progress)?;
        let holds_files = Journal::open(&job.folder()).and_then(|journal| journal.reader()?.holds_files());
        Ok((outcome, holds_files.map_err(CaptureError::from)?))
    }

    /// Not where it was merely interrupted, or the box isn't there to hear it.
    fn tell_failed(&self, text: &ConfigText, error: &WorkError) {
        let is_interrupted = matches!(
            error,
            WorkError::Link(_)
                | WorkError::Wire(WireError::Lost)
                | WorkError::Capture(CaptureError::Stopped | CaptureError::Wire(WireError::Lost))
        );
        if is_interrupted {
            return;
        }
        let told = self.session().and_then(|session| {
            session.capture_failed(text.config, &error.to_string())?;
            session.goodbye();
            Ok(())
        });
        if let Err(untold) = told {
            tracing::warn!(error = %untold, name = text.name, "the box doesn't know that the capture failed");
        }
    }
}
