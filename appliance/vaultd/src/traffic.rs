//! Whether anybody waits for the box: a computer that sends, a restore that takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Nobody waits once nothing has come or gone for so long.
const QUIET: Duration = Duration::from_secs(3);

/// When data last came or went.
pub(crate) struct Traffic {
    started: Instant,
    /// Milliseconds from the start; 0: none yet.
    last_ms: AtomicU64,
    /// Held by each question that is being answered, and by each restore.
    answering: Arc<()>,
}

/// While it's there somebody waits for an answer.
pub(crate) struct Answering(#[expect(dead_code, reason = "it's counted")] Arc<()>);

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic { started: Instant::now(), last_ms: AtomicU64::new(0), answering: Arc::default() }
    }
}

impl Traffic {
    /// Something comes or goes now.
    pub(crate) fn passes(&self) {
        self.last_ms.store(self.now_ms().max(1), Ordering::Relaxed);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        last_ms == 0 || self.now_ms().saturating_sub(last_ms) > QUIET.as_millis() as u64
    }

    /// An answer begins, or a restore.
    pub(crate) fn answers(&self) -> Answering {
        Answering(self.answering.clone())
    }

    /// Whether nobody waits for an answer, and no restore is under way.
    pub(crate) fn answers_nobody(&self) -> bool {
        Arc::strong_count(&self.answering) == 1
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}
