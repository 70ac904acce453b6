//! Cartridges that couldn't be loaded or read when something on them was needed. They're kept in a file, as what is only on one of
//! them can't be restored after a restart of the box either; and they're tried now and then, as nothing else may need them for long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use coffer_format::SegmentId;
use coffer_format::event::Place;
use coffer_link::write_durable_file;
use coffer_tape::{Library, TapeError};
use coffer_vault::{Vault, VaultError};
use serde::{Deserialize, Serialize};

use super::fetching::{JobMounts, near, wanted};
use super::gathering::gather;
use super::media::Stock;
use super::{TapeJob, Trouble};
use crate::units::local_time;

/// How often such a cartridge is tried.
const TRY_EVERY_MS: u64 = 3_600_000;

/// What happened to one. Times are milliseconds since 1970-01-01 UTC on the vault's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unread {
    pub(crate) since_ms: u64,
    tried_ms: u64,
    pub(crate) why: String,
}

/// Those of a library, by barcode.
#[derive(Debug, Default)]
pub(super) struct UnreadTapes {
    /// Where they're kept; nowhere in a job that has no folder.
    file: Option<PathBuf>,
    tapes: BTreeMap<String, Unread>,
}

impl UnreadTapes {
    /// What was kept; what can't be read is found out again.
    pub(super) fn load(file: PathBuf) -> UnreadTapes {
        let tapes = read(&file).unwrap_or_else(|error| {
            tracing::warn!(%error, file = %file.display(), "which tapes couldn't be read isn't known any more");
            BTreeMap::new()
        });
        UnreadTapes { file: Some(file), tapes }
    }

    /// Notes how it went when a cartridge was needed.
    pub(super) fn note(&mut self, barcode: &str, outcome: &Result<(), TapeError>, now_ms: u64) {
        match outcome {
            Ok(()) if self.tapes.remove(barcode).is_none() => return,
            Ok(()) => {}
            // One that's away is asked for; and a taker's error says nothing of it.
            Err(TapeError::NotInLibrary(_) | TapeError::Sink(_)) => return,
            Err(error) => {
                // The first reason stays: later ones may be no more than that the drive is still stuck with it.
                let first = || Unread { since_ms: now_ms, tried_ms: now_ms, why: error.to_string() };
                self.tapes.entry(barcode.to_owned()).or_insert_with(first).tried_ms = now_ms;
            }
        }
        self.keep();
    }

    /// Those on which nothing counts any more are needed by nobody.
    pub(super) fn forget_empty(&mut self, stock: &Stock) {
        let before = self.tapes.len();
        self.tapes.retain(|barcode, _| {
            let tape = barcode.parse().ok().and_then(|barcode| stock.tapes.get(&barcode));
            tape.is_some_and(|tape| !tape.holds.is_empty())
        });
        if self.tapes.len() < before {
            self.keep();
        }
    }

    fn due(&self, now_ms: u64) -> Vec<String> {
        let is_due = |unread: &Unread| now_ms.saturating_sub(unread.tried_ms) >= TRY_EVERY_MS;
        self.tapes.iter().filter(|(_, unread)| is_due(unread)).map(|(barcode, _)| barcode.clone()).collect()
    }

    pub(super) fn all(&self) -> &BTreeMap<String, Unread> {
        &self.tapes
    }

    pub(super) fn sentences(&self) -> impl Iterator<Item = String> {
        self.tapes.iter().map(|(barcode, unread)| {
            format!(
                "Tape {barcode} couldn't be read when it was needed, since {} ({}): what is only on it can't be restored now. Check that it's in \
                 the library and undamaged, and that its drive works; it's tried again by itself within an hour, and by each restore that needs it.",
                unread.since(),
                unread.why
            )
        })
    }

    fn keep(&self) {
        let Some(file) = &self.file else { return };
        let kept = serde_json::to_vec(&self.tapes)
            .map_err(std::io::Error::other)
            .and_then(|bytes| write_durable_file(file, &bytes, std::fs::OpenOptions::new().write(true)));
        if let Err(error) = kept {
            tracing::warn!(%error, file = %file.display(), "which tapes couldn't be read isn't known after a restart");
        }
    }
}

impl Unread {
    /// As people read it.
    pub(crate) fn since(&self) -> String {
        local_time(self.since_ms)
    }
}

fn read(file: &Path) -> std::io::Result<BTreeMap<String, Unread>> {
    match coffer_link::read_small_file(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        read => serde_json::from_slice(&read?).map_err(std::io::Error::other),
    }
}

impl TapeJob {
    /// Cartridges that couldn't be read when they were needed, by barcode.
    pub(crate) fn unread(&self) -> BTreeMap<String, Unread> {
        self.state().unread.all().clone()
    }

    /// Reads one segment, the shortest, from each that is here and due.
    pub(super) fn try_unread_again(&self, library: &mut Library, vault: &Vault) -> Result<(), Trouble> {
        let due = self.state().unread.due(vault.now_ms());
        if due.is_empty() {
            return Ok(());
        }
        let here = near(library)?;
        for barcode in due.into_iter().filter(|barcode| here.contains_key(barcode)) {
            let Some(segment) = shortest_on(vault, &barcode)? else { continue };
            let mut wanted = wanted(vault, &[segment])?;
            wanted.values_mut().for_each(|one| one.copies.retain(|copy| copy.barcode == barcode));
            let mut mounts = JobMounts { job: self, library, vault };
            let gathered = gather(&mut mounts, wanted, &mut |_| {}, &mut |_, _| Ok(()))?;
            self.lose(vault, &gathered.unreadable)?;
        }
        Ok(())
    }
}

fn shortest_on(vault: &Vault, barcode: &str) -> Result<Option<SegmentId>, VaultError> {
    let copies = vault.reading().all_copies()?;
    let is_on = |place: &Place| matches!(place, Place::Tape { barcode: on, .. } if on == barcode);
    let on_it: BTreeSet<SegmentId> =
        copies.iter().filter(|copy| is_on(&copy.place)).map(|copy| copy.segment).collect();
    let segments = vault.segments()?.into_iter().filter(|state| on_it.contains(&state.segment));
    Ok(segments.min_by_key(|state| state.bytes).map(|state| state.segment))
}

/// Segments that are only on cartridges which can't be read now.
pub(crate) fn only_on_unread(
    vault: &Vault,
    unread: &BTreeMap<String, Unread>,
) -> Result<BTreeSet<SegmentId>, VaultError> {
    let is_unread =
        |place: &Place| matches!(place, Place::Tape { barcode, .. } if unread.contains_key(barcode));
    let mut only = BTreeSet::new();
    if unread.is_empty() {
        return Ok(only);
    }
    for state in vault.segments()?.into_iter().filter(|state| state.closed && !state.on_disk) {
        let copies = vault.reading().copies(state.segment)?;
        if !copies.is_empty() && copies.iter().all(is_unread) {
            only.insert(state.segment);
        }
    }
    Ok(only)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_tape_that_could_not_be_read_is_told_until_it_was_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let load = || UnreadTapes::load(dir.path().join("unread-tapes.json"));
        let failed = || Err(TapeError::NoMedium { device: "drive".into() });
        let mut tapes = load();
        tapes.note("COF001L6", &Err(TapeError::Sink(std::io::Error::other("the disk"))), 5);
        assert_eq!(tapes.sentences().count(), 0);
        tapes.note("COF001L6", &failed(), 1_767_571_200_000);
        let again = 1_767_571_200_000 + TRY_EVERY_MS;
        assert_eq!((tapes.due(again - 1).len(), tapes.due(again).len()), (0, 1));
        let mut tapes = load();
        tapes.note("COF001L6", &failed(), again);
        assert_eq!(tapes.due(again).len(), 0);
        let told: Vec<String> = load().sentences().collect();
        assert!(
            told[0].starts_with("Tape COF001L6 couldn't be read when it was needed, since 2026-01-0"),
            "{told:?}"
        );
        tapes.note("COF001L6", &Ok(()), again);
        assert_eq!(load().sentences().count(), 0);
    }
}
