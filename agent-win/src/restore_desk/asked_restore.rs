//! One restore that the box asked for, from the question to the person at the computer to the last word to the box.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use coffer_format::wire::{Message, RefusalCode, RestoreReport, RestoreState};
use coffer_format::{ConfigId, PointSeq};

use super::consent::Consent;
use super::{Connect, report};
use crate::platform;
use crate::restore::{Existing, Goal, Order, Restore, RestoreError, Restored, Specials};
use crate::schedule::Backoff;
use crate::session::Session;
use crate::wire::{Wire, WireError};
use crate::work::WorkError;

/// How long a person may think about it.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);
/// How often the box hears how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How long the box may take to note the end.
const NOTED_WITHIN: Duration = Duration::from_secs(120);
/// Without a line for so long, it's given up. The box gives it up sooner.
const LINE_WITHIN: Duration = Duration::from_secs(900);
/// Paths that the person at the computer is shown.
const SHOWN_MAX: usize = 5;

pub(super) struct AskedRestore {
    job: u64,
    order: Order,
    /// The folder as it was given; it may make no sense here.
    to: Option<Vec<u8>>,
    /// The person at the computer is still to be asked.
    must_ask: bool,
    restore: Option<Restore>,
    /// The last word, which the box hasn't noted yet.
    ended: Option<RestoreReport>,
}

impl AskedRestore {
    pub(super) fn new(
        job: u64,
        (config, point, paths): (ConfigId, PointSeq, Vec<Vec<u8>>),
        to: Option<Vec<u8>>,
        goal: Goal,
        must_ask: bool,
    ) -> AskedRestore {
        let order = Order { config, point, paths, goal };
        AskedRestore { job, order, to, must_ask, restore: None, ended: None }
    }

    /// Until the box has noted the end of it, doesn't want it any more, or can't be reached for too long.
    pub(super) fn run(mut self, connect: &Connect<'_>, stop: &AtomicBool) {
        let mut backoff = Backoff::new(self.job);
        let mut heard = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let error = match connect() {
                Ok(mut session) => {
                    let over =
                        self.look_whose_files(&mut session).and_then(|()| self.over(session.wire(), stop));
                    heard = Instant::now();
                    match over {
                        Ok(()) => return session.goodbye(),
                        Err(WireError::Refused(refusal)) if refusal.code == RefusalCode::Conflict => {
                            tracing::warn!(job = self.job, "the restore ends: {}", refusal.sentence);
                            break;
                        }
                        Err(error) => WorkError::from(error),
                    }
                }
                Err(error) => error,
            };
            if heard.elapsed() > LINE_WITHIN {
                tracing::warn!(job = self.job, "the restore is given up: the box isn't there any more");
                break;
            }
            tracing::warn!(job = self.job, %error, "the restore waits for a line to the box");
            wait(backoff.next(), stop);
        }
        // What's there by now is as it should be.
        drop(self.restore.take().map(Restore::finish));
    }

    /// In place, this computer's own files get everything back that belongs to them.
    fn look_whose_files(&mut self, session: &mut Session) -> Result<(), WireError> {
        if self.to.is_none() && self.restore.is_none() {
            let is_own = session.configs()?.iter().any(|own| own.config == self.order.config);
            self.order.goal.specials = if is_own { Specials::PutBack } else { Specials::LeaveOff };
        }
        Ok(())
    }

    fn over(&mut self, wire: &Wire, stop: &AtomicBool) -> Result<(), WireError> {
        let report = match self.ended.take() {
            Some(report) => report,
            None => self.work(wire, stop)?,
        };
        self.ended = Some(report.clone());
        wire.send(Message::RestoreReported { report })?;
        let until = Instant::now() + NOTED_WITHIN;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Some(Message::RestoreReported { .. }) = wire.receive(left)? {
                return Ok(());
            }
        }
        Err(WireError::Lost)
    }

    /// The last word; an error where the line broke before there is one.
    fn work(&mut self, wire: &Wire, stop: &AtomicBool) -> Result<RestoreReport, WireError> {
        if self.must_ask {
            self.tell(wire, &Restored::default(), "the person at the computer is being asked")?;
            if let Some(sentence) = asked(self.question(), stop)?.refusal() {
                return Ok(self.refused(&sentence));
            }
            self.must_ask = false;
        }
        self.tell(wire, &Restored::default(), "restoring")?;
        let mut restore = match self.begin() {
            Ok(restore) => restore,
            Err(sentence) => return Ok(self.refused(&sentence)),
        };
        let mut told = Instant::now();
        let ran = restore.run(wire, &mut |so_far| {
            if stop.load(Ordering::Relaxed) {
                return Err(WireError::Lost);
            }
            if told.elapsed() < TELL_EVERY {
                return Ok(());
            }
            told = Instant::now();
            self.tell(wire, so_far, "restoring")
        });
        match ran {
            Ok(()) => Ok(self.end(RestoreState::Done, restore, "")),
            Err(RestoreError::Wire(WireError::Refused(refusal))) if refusal.code != RefusalCode::Conflict => {
                Ok(self.end(RestoreState::Refused, restore, &refusal.sentence))
            }
            Err(RestoreError::Wire(error @ WireError::Unexpected(_))) => {
                Ok(self.end(RestoreState::Refused, restore, &error.to_string()))
            }
            Err(RestoreError::Wire(error)) => {
                self.restore = Some(restore);
                Err(error)
            }
            Err(error) => Ok(self.end(RestoreState::Refused, restore, &error.to_string())),
        }
    }

    /// The restore as far as it is, or a new one; a sentence where it can't begin.
    fn begin(&mut self) -> Result<Restore, String> {
        if let Some(restore) = self.restore.take() {
            return Ok(restore);
        }
        if let Some(to) = &self.to {
            let to = PathBuf::from(String::from_utf8(to.clone()).unwrap_or_default());
            if !to.is_absolute() {
                return Err(format!(
                    "{} isn't a whole path on this computer; give one such as {}",
                    to.display(),
                    if cfg!(windows) { r"C:\back" } else { "/srv/back" }
                ));
            }
            self.order.goal.to = Some(to);
        }
        Restore::new(self.order.clone()).map_err(|error| match &error {
            RestoreError::Target(_, cause) => format!("{error} ({cause})"),
            _ => error.to_string(),
        })
    }

    fn tell(&self, wire: &Wire, so_far: &Restored, sentence: &str) -> Result<(), WireError> {
        wire.send(Message::RestoreReported { report: report::begun(self.job, so_far, sentence) })
    }

    fn end(&self, state: RestoreState, restore: Restore, sentence: &str) -> RestoreReport {
        let restored = restore.finish();
        let report = report::ended(self.job, state, &restored, sentence);
        report::log(self.job, &report, &restored);
        report
    }

    fn refused(&self, sentence: &str) -> RestoreReport {
        let restored = Restored::default();
        let report = report::ended(self.job, RestoreState::Refused, &restored, sentence);
        report::log(self.job, &report, &restored);
        report
    }

    fn question(&self) -> String {
        let mut lines = vec!["The help desk wants to bring files back on this computer:".to_owned()];
        let shown = self.order.paths.iter().take(SHOWN_MAX);
        lines.extend(shown.map(|path| String::from_utf8_lossy(path).into_owned()));
        match self.order.paths.len() {
            0 => lines.push("everything of a backup".to_owned()),
            all if all > SHOWN_MAX => lines.push(format!("and {} more", all - SHOWN_MAX)),
            _ => {}
        }
        lines.push(match &self.to {
            Some(to) => format!("They are put into {}.", String::from_utf8_lossy(to)),
            None if self.order.goal.existing == Existing::Nothing => {
                "Nothing that is there is replaced.".into()
            }
            None => "What is there now is replaced. Save your work in these files elsewhere first.".into(),
        });
        lines.push("Is that all right now?".to_owned());
        lines.join("\r\n")
    }
}

/// Waits for the answer, unless the agent is to stop: the window stays by itself until its time is over.
fn asked(question: String, stop: &AtomicBool) -> Result<Consent, WireError> {
    let (sender, answer) = sync_channel(1);
    std::thread::spawn(move || sender.send(platform::ask_user(&question, ANSWER_WITHIN)));
    while !stop.load(Ordering::Relaxed) {
        match answer.recv_timeout(super::POLL) {
            Err(RecvTimeoutError::Timeout) => {}
            answered => return answered.map_err(|_| WireError::Lost),
        }
    }
    Err(WireError::Lost)
}

fn wait(wait: Duration, stop: &AtomicBool) {
    let until = Instant::now() + wait;
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(super::POLL.min(until.saturating_duration_since(Instant::now())));
    }
}
