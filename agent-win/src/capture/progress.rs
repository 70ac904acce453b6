//! How far a capture has come, at what pace it works, and the words to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use coffer_format::ConfigId;

use super::CaptureError;
use crate::config::Priority;
use crate::guest::{Guest, Stage};

/// How far a capture has come, and the word to stop it. Shared with whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    pub files_expected: AtomicU64,
    stop: Arc<AtomicBool>,
    deadline: Option<Instant>,
    guest: Option<(Arc<Guest>, ConfigId)>,
    priority: Priority,
    is_first: AtomicBool,
}

impl Progress {
    /// Ends the capture at the next file when `stop` is set or the deadline has passed.
    pub fn new(stop: Arc<AtomicBool>, deadline: Option<Instant>) -> Progress {
        Progress { stop, deadline, ..Progress::default() }
    }

    /// Ends the capture at the next file as well when the configuration must wait.
    pub(crate) fn with_guest(self, guest: Arc<Guest>, config: ConfigId) -> Progress {
        Progress { guest: Some((guest, config)), ..self }
    }

    pub fn with_priority(self, priority: Priority) -> Progress {
        Progress { priority, ..self }
    }

    pub(super) fn check(&self) -> Result<(), CaptureError> {
        let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let is_over = is_late || self.stop.load(Ordering::Relaxed) || self.must_wait();
        if is_over { Err(CaptureError::Stopped) } else { Ok(()) }
    }

    fn must_wait(&self) -> bool {
        self.guest.as_ref().is_some_and(|(guest, config)| guest.waiting(*config, self.stage()).is_some())
    }

    /// The box has said how far this configuration has come.
    pub(crate) fn begin(&self, stage: Stage) {
        self.is_first.store(stage == Stage::FirstCopy, Ordering::Relaxed);
    }

    pub(crate) fn stage(&self) -> Stage {
        if self.is_first.load(Ordering::Relaxed) { Stage::FirstCopy } else { Stage::Changes }
    }

    /// Called first by each thread that reads or compresses.
    pub(super) fn settle_in(&self) {
        self.priority.settle_in();
    }

    pub(super) fn priority(&self) -> Priority {
        self.priority
    }

    pub(super) fn file_done(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
