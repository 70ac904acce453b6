//! Right of way: a restore gets the library after a clean stop of whatever is being written, and before anything else is.
//!
//! A restore says that it waits, then takes the library. A writer looks between two segments whether one waits; if so it
//! closes its container, lets the library go and comes back when no restore is left.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard};

use coffer_tape::Library;
use coffer_vault::VaultError;

use super::TapeJob;
use super::robot::Held;

/// How many restores wait for the library or hold it.
#[derive(Debug, Default)]
pub(super) struct RightOfWay {
    restores: Mutex<u32>,
    none_left: Condvar,
}

impl RightOfWay {
    /// Whether a writer must stop at the next segment.
    pub(super) fn is_claimed(&self) -> bool {
        *self.restores() > 0
    }

    /// Waits until no restore wants the library. The caller must not hold it.
    pub(super) fn wait_until_free(&self) {
        let waited = self.none_left.wait_while(self.restores(), |restores| *restores > 0);
        drop(waited.expect("nothing panics while it counts restores"));
    }

    fn restores(&self) -> MutexGuard<'_, u32> {
        self.restores.lock().expect("nothing panics while it counts restores")
    }
    fn come(&self) {
        *self.restores() += 1;
    }
    fn leave(&self) {
        *self.restores() -= 1;
        self.none_left.notify_all();
    }
}

/// Counts a restore for as long as it lives.
struct Waiting<'a>(&'a RightOfWay);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// The library, held by a restore. Writing goes on when the last of these is dropped.
pub(crate) struct RestoreClaim<'a> {
    // Dropped in this order: a writer that wakes up finds the library free.
    library: Held<'a>,
    _waiting: Waiting<'a>,
}

impl Deref for RestoreClaim<'_> {
    type Target = Library;
    fn deref(&self) -> &Library {
        &self.library
    }
}
impl DerefMut for RestoreClaim<'_> {
    fn deref_mut(&mut self) -> &mut Library {
        &mut self.library
    }
}

impl TapeJob {
    /// Takes the library for a restore: waits for a clean stop of what is being written, which goes on afterwards. Every drive
    /// is empty then, unless one failed with a cartridge in it.
    pub(crate) fn claim_for_restore(&self) -> Result<RestoreClaim<'_>, VaultError> {
        self.right_of_way.come();
        let waiting = Waiting(&self.right_of_way);
        let library = self.library()?;
        Ok(RestoreClaim { library, _waiting: waiting })
    }

    /// Whether a restore waits for the library, or holds it.
    pub fn is_claimed(&self) -> bool {
        self.right_of_way.is_claimed()
    }

    /// The library for anything that isn't urgent: restores that wait come first.
    pub(super) fn library_when_free(&self) -> Result<Held<'_>, VaultError> {
        loop {
            self.right_of_way.wait_until_free();
            let robot = self.robot()?;
            if !self.right_of_way.is_claimed() {
                return self.held(robot);
            }
        }
    }
}
