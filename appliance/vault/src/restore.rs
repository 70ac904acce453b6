//! Giving versions back: a stream of nodes and packs, in the order in which the packs lie in the segments.
//!
//! What is damaged, lost or not to be had costs its own files only: they are named, and everything else comes.

mod loss;
mod names;
mod planning;
mod sending;
mod tops;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use coffer_format::wire::Message;
use coffer_format::{ConfigId, PointSeq, SegmentId};

use self::planning::Run;
use self::sending::Sending;
use crate::reading::Reading;
use crate::{Result, VaultError};

/// Batches that are planned and not sent yet.
const BATCHES_AHEAD: usize = 1;

/// What is to be restored.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub config: ConfigId,
    pub point: PointSeq,
    /// Paths from the configuration's root; none means everything.
    pub paths: Vec<Vec<u8>>,
    /// Whether packs may be sent whole although only part of them is asked for: never to a computer.
    pub trusted: bool,
}

/// What a restore gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    pub nodes: u64,
    pub bytes: u64,
    /// Lines of what was left out, or came with something lacking.
    pub left_out: u64,
}

type Send<'a> = dyn FnMut(Message) -> Result<()> + 'a;

impl Reading {
    /// Sends everything wanted: `RestoreNodes`, then `RestorePack`s, then `RestoreLeftOut` for what can't be had, then
    /// `RestoreBatchEnd`, as often as it takes. Fails where the point or all of the paths aren't there, where `send` does, or where
    /// the catalog can't be read.
    pub fn restore(self: &Arc<Self>, wanted: &Wanted, send: &mut Send<'_>) -> Result<Restored> {
        self.restore_naming(wanted, &BTreeMap::new(), send)
    }

    /// As [`Reading::restore`]; `away` says of segments that aren't on disk why they couldn't be had.
    pub fn restore_naming(
        self: &Arc<Self>,
        wanted: &Wanted,
        away: &BTreeMap<SegmentId, String>,
        send: &mut Send<'_>,
    ) -> Result<Restored> {
        self.check_point(wanted.config, wanted.point)?;
        let _restoring = self.restoring();
        let absent = self.absent(away)?;
        // The next batch is planned while this one is read and sent.
        let (queue, planned) = sync_channel(BATCHES_AHEAD);
        std::thread::scope(|scope| {
            let planner = scope.spawn(move || Run::new(self, wanted, absent).plan_all(&queue));
            let mut sending = Sending::new(self, wanted);
            let sent = planned.into_iter().try_for_each(|batch| sending.batch(batch, send));
            let done = planner.join().map_err(|_| VaultError::ReadOnly)?;
            sent.and(done).map(|done| sending.less_lost(done))
        })
    }

    /// Segments that aren't on disk, each with what's to be said of a file that needs it.
    fn absent(&self, away: &BTreeMap<SegmentId, String>) -> Result<BTreeMap<SegmentId, String>> {
        let segments: Vec<u64> = self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT segment FROM segments WHERE on_disk = 0")?;
            Ok(query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
        })?;
        let said = |segment| away.get(&segment).cloned().unwrap_or_else(|| loss::not_on_disk(segment));
        Ok(segments.into_iter().map(|segment| (SegmentId(segment), said(SegmentId(segment)))).collect())
    }

    /// Segments that a restore needs and that aren't on disk.
    pub fn missing_for(self: &Arc<Self>, wanted: &Wanted) -> Result<Vec<SegmentId>> {
        self.check_point(wanted.config, wanted.point)?;
        if self.all_on_disk()? {
            return Ok(Vec::new());
        }
        let mut missing = BTreeSet::new();
        let mut look = |run: &mut Run<'_>| -> Result<()> {
            missing.extend(run.take_batch()?.packs.keys().map(|pack| pack.0));
            Ok(())
        };
        Run::new(self, wanted, BTreeMap::new()).walk_all(&mut look)?;
        self.not_on_disk(missing.into_iter().collect())
    }

    fn all_on_disk(&self) -> Result<bool> {
        self.readers.with(|db| {
            Ok(!db.prepare_cached("SELECT 1 FROM segments WHERE on_disk = 0 LIMIT 1")?.exists([])?)
        })
    }

    fn not_on_disk(&self, mut segments: Vec<SegmentId>) -> Result<Vec<SegmentId>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT 1 FROM segments WHERE segment = ?1 AND on_disk = 1")?;
            let mut error = None;
            segments.retain(|segment| match query.exists([segment.0]) {
                Ok(there) => !there,
                Err(e) => {
                    error = Some(e);
                    true
                }
            });
            error.map_or(Ok(()), Err)?;
            Ok(segments)
        })
    }
}
