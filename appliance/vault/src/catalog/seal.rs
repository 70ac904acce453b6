//! How the catalog's file was left by whoever writes it, so that another file in its place is noticed before anything is read from it.
//!
//! Between two foldings of the journal nothing is written to the file itself. So its number, its length and the time of its last change
//! stay as they were, and where they don't, somebody else wrote there. What the medium changes by itself doesn't show here: comparing
//! with the segments finds that.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant};

use coffer_format::wire::RefusalCode;

use crate::{Result, VaultError};

/// Why a catalog is made anew that somebody else wrote to.
pub(crate) const REPLACED: &str =
    "another file was put in its place, or another program wrote to it, while it was in use";

/// So often is a catalog made anew because of its seal, within the time below. After that it's the file system that doesn't keep times, or
/// somebody who won't stop: making it anew again and again would keep the box from everything else.
const BREAKS_MAX: u32 = 5;
const BREAKS_WITHIN: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Default)]
pub(crate) struct Seal {
    state: Mutex<State>,
    breaks: Mutex<Breaks>,
}

/// How often it was closed after it had been broken, and since when that's counted.
#[derive(Default)]
struct Breaks {
    count: u32,
    since: Option<Instant>,
}

impl Breaks {
    /// Whether it's looked at; `is_another`: it was broken once more.
    fn allow(&mut self, is_another: bool, now: Instant) -> bool {
        if self.since.is_some_and(|since| now.duration_since(since) >= BREAKS_WITHIN) {
            *self = Breaks::default();
        }
        if is_another {
            self.since.get_or_insert(now);
            self.count += 1;
            if self.count == BREAKS_MAX {
                tracing::error!(
                    "the catalog was written to by another program again and again, or its file system doesn't keep times: for an hour \
                     this isn't looked at any more"
                );
            }
        }
        self.count < BREAKS_MAX
    }
}

#[derive(Default)]
enum State {
    /// Nobody watches over it.
    #[default]
    Open,
    Closed(Look),
    /// Its writer writes to it whenever it likes: only whether it's still the same file is looked at.
    Kept(Look),
    /// It isn't what was left there.
    Broken,
    /// It was broken too often: it isn't looked at for a while.
    Unwatched,
}

/// A file from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    device: u64,
    number: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Look {
    fn of(path: &Path) -> Option<Look> {
        let of = std::fs::metadata(path).ok()?;
        let changed = (of.mtime(), of.mtime_nsec());
        Some(Look { device: of.dev(), number: of.ino(), bytes: of.len(), changed })
    }

    fn is_file_of(&self, other: &Look) -> bool {
        (self.device, self.number) == (other.device, other.number)
    }
}

impl State {
    fn look(&mut self, path: &Path) -> bool {
        let holds = match self {
            State::Closed(left) => Look::of(path) == Some(*left),
            State::Kept(left) => Look::of(path).is_some_and(|now| now.is_file_of(left)),
            State::Open | State::Unwatched => true,
            State::Broken => false,
        };
        if !holds {
            *self = State::Broken;
        }
        holds
    }
}

impl Seal {
    /// As it is now, it's right.
    pub(super) fn close(&self, path: &Path) {
        let mut state = self.state.lock().expect("nothing panics while it holds a seal");
        let is_broken = matches!(*state, State::Broken);
        let mut breaks = self.breaks.lock().expect("nothing panics while it counts");
        *state = match breaks.allow(is_broken, Instant::now()) {
            true => Look::of(path).map_or(State::Broken, State::Closed),
            false => State::Unwatched,
        };
    }

    /// The file that is there now is the one; who writes to it isn't looked at.
    pub(super) fn keep(&self, path: &Path) {
        let mut state = self.state.lock().expect("nothing panics while it holds a seal");
        *state = Look::of(path).map_or(State::Broken, State::Kept);
    }

    /// From here on it changes, until it's closed again. One that is broken stays so.
    pub(super) fn lift(&self) {
        let mut state = self.state.lock().expect("nothing panics while it holds a seal");
        if matches!(*state, State::Closed(_)) {
            *state = State::Open;
        }
    }

    /// Whether the file is what was left there. While its writer writes to it nobody else can tell, and the writer has looked.
    pub(super) fn holds(&self, path: &Path) -> bool {
        match self.state.try_lock() {
            Ok(mut state) => state.look(path),
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Poisoned(_)) => false,
        }
    }

    /// Runs `write`, which writes to the file, and leaves it as it is then; where it isn't what was left there, nothing is run.
    pub(super) fn renew<T>(&self, path: &Path, write: impl FnOnce() -> Result<T>) -> Result<T> {
        self.renew_at(path, Instant::now(), write)
    }

    fn renew_at<T>(&self, path: &Path, now: Instant, write: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut state = self.state.lock().expect("nothing panics while it holds a seal");
        if !state.look(path) {
            return Err(replaced());
        }
        let written = write();
        let is_watched = match *state {
            State::Closed(_) => true,
            State::Unwatched => self.breaks.lock().expect("nothing panics while it counts").allow(false, now),
            State::Open | State::Kept(_) | State::Broken => false,
        };
        if is_watched {
            *state = Look::of(path).map_or(State::Broken, State::Closed);
        }
        written
    }
}

/// What whoever wants something of it is told meanwhile.
pub(super) fn replaced() -> VaultError {
    VaultError::refused(
        RefusalCode::Busy,
        format!(
            "the catalog isn't what was left there ({REPLACED}): it's made again from the segments by itself, so try again in a \
             few minutes, and restart the program if it stays so"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_only_the_place_is_kept_whoever_writes_may_and_another_file_breaks_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog");
        let seal = Seal::default();
        std::fs::write(&path, b"a catalog").unwrap();
        seal.keep(&path);
        std::fs::write(&path, b"a catalog that grew").unwrap();
        assert!(seal.holds(&path));
        std::fs::write(folder.path().join("other"), b"another").unwrap();
        std::fs::rename(folder.path().join("other"), &path).unwrap();
        assert!(!seal.holds(&path));
        seal.keep(&path);
        assert!(seal.holds(&path));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(!seal.holds(&path));
    }

    #[test]
    fn what_somebody_else_writes_breaks_it_and_what_its_writer_writes_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog");
        let seal = Seal::default();
        std::fs::write(&path, b"a catalog").unwrap();
        assert!(seal.holds(&path), "nobody watches yet");
        seal.close(&path);
        let fold = || std::fs::write(&path, b"a folded catalog").map_err(VaultError::io("write", &path));
        seal.renew(&path, fold).unwrap();
        assert!(seal.holds(&path));
        for breaks in 1..=BREAKS_MAX {
            std::fs::write(&path, vec![b'x'; breaks as usize]).unwrap();
            assert!(!seal.holds(&path));
            assert!(seal.renew(&path, || Ok(())).is_err(), "nothing is folded into it");
            seal.lift();
            assert!(!seal.holds(&path), "only closing it makes it right");
            seal.close(&path);
            assert!(seal.holds(&path));
        }
        std::fs::write(&path, b"again").unwrap();
        assert!(seal.holds(&path), "it can't go on like that for ever");
        seal.renew_at(&path, Instant::now() + BREAKS_WITHIN, || Ok(())).unwrap();
        std::fs::write(&path, b"once more").unwrap();
        assert!(!seal.holds(&path), "but later it's looked at again");
    }
}
