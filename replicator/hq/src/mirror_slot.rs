//! A branch's mirror in its folder, opened when it's first needed. On a disk that takes no writes it's opened to be read, and now and then it's
//! tried whether it takes them again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use coffer_format::segment::SegmentHeader;
use coffer_vault::disk::RealDisk;
use coffer_vault::mirror::Mirror;
use coffer_vault::{RecoveryKey, VaultError, try_write_to};

use crate::{Organisation, Result};

/// Where the disk takes no writes it's tried again so often.
pub(crate) const TRY_EVERY: Duration = Duration::from_secs(5);
/// A folder that isn't where it was may come back for so long; then it's made anew, and the branch sends what is missing.
const AWAY_MAX: Duration = Duration::from_secs(5);

/// Where a branch's mirror is, and the mirror once it's open.
pub(crate) struct MirrorSlot {
    name: String,
    dir: PathBuf,
    key: RecoveryKey,
    open: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    opened: Option<Opened>,
    /// It's another one than was last asked for, and nobody heard it yet.
    is_another: bool,
}

struct Opened {
    mirror: Arc<Mirror>,
    to_read: Option<ToRead>,
    /// Since when its folder isn't where it was.
    away_since: Option<Instant>,
}

struct ToRead {
    why: Why,
    tried: Instant,
}

/// Why a mirror can only be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Full,
    NoWrites,
}

impl MirrorSlot {
    pub(crate) fn new(organisation: &Organisation, name: &str) -> MirrorSlot {
        MirrorSlot {
            name: name.to_owned(),
            dir: organisation.dir.join("branches").join(name),
            key: organisation.recovery_key.clone(),
            open: Mutex::default(),
        }
    }

    /// The mirror, which is made from the first segment header that the branch sent; `None` before. And whether it's another one than before:
    /// that one could only be read, or its folder is gone.
    pub(crate) fn open(&self, first: Option<&SegmentHeader>) -> Result<(Option<Arc<Mirror>>, bool)> {
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.opened.as_mut().is_some_and(|opened| self.is_gone(opened)) {
            *slot = Slot { opened: None, is_another: true };
        }
        match slot.opened.as_mut().map(|opened| &mut opened.to_read) {
            Some(Some(to_read)) if to_read.tried.elapsed() >= TRY_EVERY => {
                to_read.tried = Instant::now();
                match self.open_to_write(None) {
                    Ok(opened) => *slot = Slot { opened: Some(opened), is_another: true },
                    Err(error) => {
                        tracing::debug!(branch = self.name, %error, "HQ's disk takes no writes still")
                    }
                }
            }
            None if first.is_some() || Mirror::exists(&RealDisk, &self.dir) => {
                slot.opened = Some(match self.open_to_write(first) {
                    Err(error) if error.is_of_no_writes() => self.open_to_read(error)?,
                    opened => opened?,
                });
            }
            _ => {}
        }
        let is_another = std::mem::take(&mut slot.is_another);
        Ok((slot.opened.as_ref().map(|opened| opened.mirror.clone()), is_another))
    }

    /// Whether a mirror's folder isn't where it was, and hasn't come back. What is in its place now counts from then on.
    fn is_gone(&self, opened: &mut Opened) -> bool {
        if opened.mirror.is_in_place() {
            opened.away_since = None;
            return false;
        }
        if opened.away_since.get_or_insert_with(Instant::now).elapsed() < AWAY_MAX {
            return false;
        }
        tracing::error!(
            branch = self.name,
            dir = %self.dir.display(),
            "a branch's folder was removed, moved or replaced; it's made anew, and the box is asked for what is missing"
        );
        opened.mirror.leave();
        true
    }

    /// Why it can only be read, where that's so.
    pub(crate) fn only_to_read(&self) -> Option<Why> {
        let slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        slot.opened.as_ref()?.to_read.as_ref().map(|to_read| to_read.why)
    }

    fn open_to_write(&self, first: Option<&SegmentHeader>) -> coffer_vault::Result<Opened> {
        if first.is_none() {
            try_write_to(&RealDisk, &self.dir)?;
        }
        let mirror = Mirror::open(Arc::new(RealDisk), &self.dir, self.key.clone(), first)?;
        Ok(Opened { mirror: Arc::new(mirror), to_read: None, away_since: None })
    }

    /// What is on the disk is there to be restored from.
    fn open_to_read(&self, error: VaultError) -> Result<Opened> {
        tracing::error!(branch = self.name, %error, "HQ's disk takes no writes: this branch can only be read");
        let why = if error.is_disk_full() { Why::Full } else { Why::NoWrites };
        let Ok(scratch) = tempfile::tempdir() else { return Err(error.into()) };
        match Mirror::open_to_read(&self.dir, self.key.clone(), scratch) {
            Ok(mirror) => {
                let to_read = Some(ToRead { why, tried: Instant::now() });
                Ok(Opened { mirror: Arc::new(mirror), to_read, away_since: None })
            }
            Err(other) => {
                tracing::error!(branch = self.name, error = %other, "and not even that");
                Err(error.into())
            }
        }
    }
}
