//! Files from cartridges alone, without the box: the newest cartridge tells which versions there are and where they lie; what a
//! restore needs is then read, each cartridge once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use coffer_format::event::CartridgeState;
use coffer_format::wire::Message;
use coffer_format::{Blob, SegmentId};
use coffer_tape::container::ExpectedHash;
use coffer_vault::disk::RealDisk;
use coffer_vault::restore::Wanted as Asked;
use coffer_vault::{Opener, Options, Reading, SystemClock, Vault, VaultError};
use serde::Serialize;

use super::by_hand::Tapes;
use super::gathering::{self, Mounts, Wanted, gather};
use super::learning::{Learned, learn};
use super::order::{Copy, Nearness};

/// A vault as its cartridges tell it. Its folder is scratch: segments come into it as restores need them.
pub struct TapeVault {
    vault: Arc<Vault>,
    tapes: Tapes,
    learned: Learned,
}

/// A cartridge that a restore needs.
#[derive(Debug, Clone, Serialize)]
pub struct Needed {
    pub barcode: String,
    /// Whether a person has to put it in.
    pub away: bool,
    pub segments: u64,
    pub bytes: u64,
}

/// What a restore from cartridges couldn't do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Missing {
    /// Files that were left out.
    pub files: Vec<String>,
    /// Why, by segment.
    pub segments: BTreeMap<u64, String>,
    /// Cartridges that were asked for in vain.
    pub tapes: BTreeSet<String>,
}

/// How a restore from cartridges went. Bytes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FromTape {
    pub mounts: u32,
    pub segments: u64,
    pub bytes: u64,
    pub missing: Missing,
}

impl TapeVault {
    /// Learns from the cartridges which versions there are. `newest` names the cartridge that was written last, if that is known;
    /// else all labels in the library are looked at. `work` is a folder that must be empty.
    pub fn open(
        mut tapes: Tapes,
        newest: Option<&str>,
        work: &Path,
        opener: Opener,
        tell: &mut dyn FnMut(String),
    ) -> Result<TapeVault> {
        let learned = learn(&mut tapes, newest, work, tell)?;
        let options = Options { reserve_bytes: 0 };
        let vault = Vault::open(Arc::new(RealDisk), work, opener, Arc::new(SystemClock), options)?;
        Ok(TapeVault { vault: Arc::new(vault), tapes, learned })
    }

    /// Everything that can be asked: computers, points, paths.
    pub fn reading(&self) -> &Arc<Reading> {
        self.vault.reading()
    }

    /// The cartridges that a restore needs, in the order they're read.
    pub fn needed(&mut self, asked: &Asked) -> Result<Vec<Needed>> {
        let wanted = self.wanted(asked)?;
        let near = self.tapes.near()?;
        let order = gathering::plan(&wanted, &near);
        if let Some(segment) = order.nowhere.first() {
            tracing::warn!(%segment, count = order.nowhere.len(), "no tape holds these segments");
        }
        let needed = order.passes.into_iter().map(|pass| Needed {
            away: pass.nearness == Nearness::Away,
            segments: pass.spots.len() as u64,
            bytes: pass.spots.iter().filter_map(|spot| wanted.get(&spot.segment)).map(|one| one.bytes).sum(),
            barcode: pass.barcode,
        });
        Ok(needed.collect())
    }

    /// Restores: reads each cartridge once, then sends every file that is whole. What isn't is named.
    pub fn restore(
        &mut self,
        asked: &Asked,
        tell: &mut dyn FnMut(String),
        send: &mut dyn FnMut(Message) -> std::io::Result<()>,
    ) -> Result<FromTape> {
        let wanted = self.wanted(asked)?;
        let vault = self.vault.clone();
        let gathered = gather(&mut self.tapes, wanted, tell, &mut |segment, bytes| {
            match vault.import_segment(segment, bytes) {
                // Another copy may be better.
                Err(VaultError::Refused { sentence, .. }) => {
                    tracing::error!(%segment, sentence, "a copy was left out");
                    Ok(())
                }
                other => other,
            }
        })?;
        let mut left_out = Vec::new();
        self.reading().restore_naming(asked, &gathered.lost, &mut |message| {
            if let Message::RestoreLeftOut { files } = &message {
                left_out.extend(files.iter().map(|file| file.path.clone()));
            }
            send(message).map_err(|source| VaultError::Io {
                doing: "write",
                path: "the restored files".into(),
                source,
            })
        })?;
        let shown = |path: Blob| String::from_utf8_lossy(&path).into_owned();
        Ok(FromTape {
            mounts: gathered.mounts,
            segments: gathered.segments,
            bytes: gathered.bytes,
            missing: Missing {
                files: left_out.into_iter().map(shown).collect(),
                segments: gathered.lost.into_iter().map(|(segment, why)| (segment.0, why)).collect(),
                tapes: gathered.away,
            },
        })
    }

    fn wanted(&self, asked: &Asked) -> Result<BTreeMap<SegmentId, Wanted>> {
        let reading = self.reading();
        let missing: BTreeSet<SegmentId> = reading.missing_for(asked)?.into_iter().collect();
        let mut logged: BTreeMap<SegmentId, Vec<Copy>> = BTreeMap::new();
        for place in reading.tape_places(0)?.into_iter().filter(|place| missing.contains(&place.segment)) {
            let copy = Copy { barcode: place.barcode, container: place.container, block: place.block };
            logged.entry(place.segment).or_default().push(copy);
        }
        let mut wanted = BTreeMap::new();
        for state in reading.segments()?.into_iter().filter(|state| missing.contains(&state.segment)) {
            let Some(hash) = state.hash else {
                bail!("segment {} has no end: read a newer tape", state.segment)
            };
            let mut copies = self.learned.copies_of(state.segment);
            for copy in logged.remove(&state.segment).into_iter().flatten() {
                let known = copies.iter().any(|one| one.barcode == copy.barcode);
                if !known && !self.learned.is_gone(&copy.barcode) {
                    copies.push(copy);
                }
            }
            let expected = ExpectedHash::BeforeTrailer(hash);
            wanted.insert(state.segment, Wanted { bytes: state.bytes, expected, copies });
        }
        Ok(wanted)
    }
}

/// Whether what a cartridge in this state holds still counts.
pub(super) fn holds(state: CartridgeState) -> bool {
    use CartridgeState::*;
    !matches!(state, Scratch | Lost | Foreign | Taken)
}
