//! Getting disk space back: plan, shown; then applied, each step checked again against what has come in meanwhile.
//!
//! A data segment that no kept point needs goes. One that is mostly not needed is compacted: what is
//! needed is written to a new segment first. One that is needed leaves the disk (its index stays) only where the policy's
//! number of verified copies is elsewhere. Metadata segments always stay.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use coffer_format::entry::Body;
use coffer_format::event::{DropReason, Event};
use coffer_format::manifest::Map;
use coffer_format::op::{Content, MapBody, Op};
use coffer_format::segment::{RecordKind, Stream};
use coffer_format::{ChunkId, Lsn, SegmentId};
use rusqlite::Connection;
use serde::Serialize;

use crate::catalog;
use crate::commit::Batch;
use crate::healing::HealNeed;
use crate::placing::write_whole;
use crate::presence::remove_file;
use crate::provable::{each_map, readable};
use crate::reading::Reading;
use crate::segment::{FileForm, read_contents, segment_path};
use crate::vault::{SegmentState, Vault};
use crate::{Result, VaultError};

/// When space is taken back.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Verified copies elsewhere before a needed segment may leave the disk. 0 means never.
    pub copies_before_eviction: u32,
    /// Evict (oldest first) until this many bytes are free; 0 evicts nothing.
    pub free_target_bytes: u64,
    /// Compact segments of which less than this part (in percent) is needed.
    pub compact_below_percent: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { copies_before_eviction: 1, free_target_bytes: 0, compact_below_percent: 40 }
    }
}

/// One step of a plan. Bytes are those of the segment file, and of the records in it that kept points need.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    #[serde(serialize_with = "crate::vault::as_number")]
    pub segment: SegmentId,
    pub action: Action,
    pub bytes: u64,
    pub needed_bytes: u64,
}

/// What happens to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Drop,
    Compact,
    Evict,
}

/// A plan, and the newest metadata record it took into account.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    pub steps: Vec<Step>,
    #[serde(skip)]
    upto: Lsn,
    #[serde(skip)]
    policy: Policy,
}

/// What kept versions need.
#[derive(Default)]
struct Needed {
    records: HashSet<(SegmentId, u64)>,
    /// Whether they name a chunk that no place is known of.
    has_lost: bool,
    /// Whether there's metadata that can't be read now: nobody knows what it needs.
    is_unknown: bool,
}

impl Vault {
    /// Bytes of records that kept points need, by data segment. One that isn't named isn't needed at all.
    ///
    /// Damaged records count as any other. While a chunk is needed whose place isn't known, every damaged segment counts as
    /// needed whole: it may be there, or in a copy of it. While metadata can't be read, everything counts as needed.
    pub fn needed_bytes(&self) -> Result<HashMap<SegmentId, u64>> {
        let reading = &self.reading;
        let mut needed = Needed::default();
        mark_versions(reading, &mut needed)?;
        let mut bytes_needed = HashMap::new();
        reading.readers.with(|db| {
            let mut query = db.prepare("SELECT DISTINCT segment, offset, record_len FROM chunks")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let (segment, offset, len): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                if needed.records.contains(&(SegmentId(segment), offset)) {
                    *bytes_needed.entry(SegmentId(segment)).or_insert(0) += len;
                }
            }
            Ok(())
        })?;
        if needed.has_lost || needed.is_unknown {
            let damaged = reading.damaged_segments()?;
            let may_be = |state: &SegmentState| needed.is_unknown || damaged.contains(&state.segment);
            for state in reading.segments()?.into_iter().filter(may_be) {
                bytes_needed.insert(state.segment, state.bytes.max(1));
            }
        }
        Ok(bytes_needed)
    }

    /// What could be taken back now.
    pub fn plan_reclaim(&self, policy: Policy) -> Result<Plan> {
        let reading = &self.reading;
        let upto = reading.readers.with(catalog::applied)?;
        let bytes_needed = self.needed_bytes()?;
        let busy = self.busy_segments()?;
        let damaged = reading.damaged_segments()?;
        let mut steps = Vec::new();
        let mut freed = 0;
        for Candidate { segment, bytes, copies, on_disk } in reading.readers.with(closed_data_segments)? {
            let needed_bytes = bytes_needed.get(&segment).copied().unwrap_or(0);
            let short = policy.free_target_bytes > self.free_bytes()? + freed;
            let action = match () {
                () if busy.contains(&segment) => continue,
                () if needed_bytes == 0 => Action::Drop,
                // What is damaged stays until it's healed: whatever is left of it may be what heals it.
                () if !on_disk || damaged.contains(&segment) => continue,
                () if needed_bytes * 100 < bytes * u64::from(policy.compact_below_percent) => Action::Compact,
                () if short
                    && policy.copies_before_eviction > 0
                    && copies >= policy.copies_before_eviction =>
                {
                    Action::Evict
                }
                () => continue,
            };
            // What left the disk gives no space back when it goes, but room on cartridges.
            let bytes = if on_disk { bytes } else { 0 };
            freed += if action == Action::Compact { bytes - needed_bytes } else { bytes };
            steps.push(Step { segment, action, bytes, needed_bytes });
        }
        Ok(Plan { steps, upto, policy })
    }

    /// Carries out a plan. A step that no longer holds is left out. Returns the bytes taken back.
    pub fn apply_reclaim(&self, plan: &Plan, who: &str) -> Result<u64> {
        let mut freed = 0;
        for step in &plan.steps {
            let done = match step.action {
                Action::Drop => self.drop_segment(plan, step, DropReason::Dead, HashSet::new(), who)?,
                Action::Compact => match self.compact(plan, step, who) {
                    Err(VaultError::Damaged { segment, offset, what }) => {
                        tracing::error!(%segment, offset, what, "a segment that was to be compacted is damaged; it stays");
                        self.record_damage(segment, (offset, 1), &what)?;
                        false
                    }
                    done => done?,
                },
                Action::Evict => self.evict(plan, step, who)?,
            };
            freed += if done { step.bytes } else { 0 };
        }
        Ok(freed)
    }

    fn compact(&self, plan: &Plan, step: &Step, who: &str) -> Result<bool> {
        let mut needed = Needed::default();
        mark_versions(&self.reading, &mut needed)?;
        if needed.is_unknown {
            return Ok(false);
        }
        let mut moved = HashSet::new();
        let readable = self.reading.files.get(step.segment)?;
        let Some(contents) = read_contents(&*readable.file, &readable.key)? else {
            return Err(VaultError::Damaged {
                segment: step.segment,
                offset: 0,
                what: "its index can't be read".into(),
            });
        };
        for record in contents.index.records.iter().filter(|record| record.kind == RecordKind::Pack) {
            if needed.records.contains(&(step.segment, record.offset)) {
                let pack = self.reading.pack(step.segment, record.offset, record.record_len)?;
                self.append_pack(Stream::Bulk, &pack)?;
                moved.insert(record.offset);
            }
        }
        self.drop_segment(plan, step, DropReason::Compacted, moved, who)
    }

    /// Records that a segment goes, unless something came to need it since the plan; then removes its file.
    fn drop_segment(
        &self,
        plan: &Plan,
        step: &Step,
        reason: DropReason,
        moved: HashSet<u64>,
        who: &str,
    ) -> Result<bool> {
        let (segment, upto, who) = (step.segment, plan.upto, who.to_owned());
        let shut = self.gate.write().map_err(|_| VaultError::ReadOnly)?;
        if self.busy_segments()?.contains(&segment) {
            return Ok(false);
        }
        let gone = self.transact(move |batch| {
            if needed_since(batch, upto, segment, &moved)? {
                return Ok(false);
            }
            batch.audit(&who, &format!("reclaim dropped segment {segment}"))?;
            batch.write_event(Event::SegmentDropped { segment, reason })?;
            Ok(true)
        })?;
        drop(shut);
        if gone {
            // A segment that had left the disk leaves its stub.
            let whole = segment_path(&self.reading.dir, segment, FileForm::Whole);
            let form = match self.reading.disk.open(&whole) {
                Ok(_) => FileForm::Whole,
                Err(_) => FileForm::Stub,
            };
            remove_file(&self.reading, segment, form)?;
        }
        Ok(gone)
    }

    fn evict(&self, plan: &Plan, step: &Step, who: &str) -> Result<bool> {
        let (segment, who, required) = (step.segment, who.to_owned(), plan.policy.copies_before_eviction);
        self.write_stub(segment)?;
        let gone = self.transact(move |batch| {
            let copies: u32 = batch.db().query_row(
                "SELECT COUNT(*) FROM copies JOIN segments USING (segment) WHERE segment = ?1 AND copies.hash = segments.hash",
                [segment.0],
                |row| row.get(0),
            )?;
            if copies < required {
                return Ok(false);
            }
            batch.audit(&who, &format!("reclaim took segment {segment} off the disk, {copies} verified copies are elsewhere"))?;
            batch.write_event(Event::SegmentDropped { segment, reason: DropReason::Evicted })?;
            Ok(true)
        })?;
        remove_file(&self.reading, segment, if gone { FileForm::Whole } else { FileForm::Stub })?;
        Ok(gone)
    }

    /// Keeps header, index and trailer of a segment, so that the catalog can still be rebuilt.
    fn write_stub(&self, segment: SegmentId) -> Result<()> {
        let reading = &self.reading;
        let bytes = reading.stub_of(segment)?;
        write_whole(reading, &segment_path(&reading.dir, segment, FileForm::Stub), &bytes).map(drop)
    }

    /// Segments with chunks that a session has sent but may not have named yet.
    fn busy_segments(&self) -> Result<BTreeSet<SegmentId>> {
        let sessions: Vec<_> = {
            let all = self.in_flight.lock().map_err(|_| VaultError::ReadOnly)?;
            all.iter().filter_map(std::sync::Weak::upgrade).collect()
        };
        self.reading.readers.with(|db| {
            let mut busy = BTreeSet::new();
            for session in &sessions {
                for id in session.lock().map_err(|_| VaultError::ReadOnly)?.ids() {
                    busy.extend(catalog::find_chunk(db, id)?.map(|at| at.segment));
                }
            }
            Ok(busy)
        })
    }
}

/// A closed data segment, and how many verified copies of it are elsewhere.
struct Candidate {
    segment: SegmentId,
    bytes: u64,
    copies: u32,
    on_disk: bool,
}

fn closed_data_segments(db: &Connection) -> Result<Vec<Candidate>> {
    let mut query = db.prepare(
        "SELECT segment, bytes, (SELECT COUNT(*) FROM copies WHERE copies.segment = segments.segment AND copies.hash = segments.hash),
           on_disk
         FROM segments WHERE closed = 1 AND stream <> ?1 ORDER BY segment",
    )?;
    let rows = query.query_map([Stream::Meta.code()], |row| {
        Ok(Candidate {
            segment: SegmentId(row.get(0)?),
            bytes: row.get(1)?,
            copies: row.get(2)?,
            on_disk: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Marks every record that holds a chunk which a kept version's chain names. A chunk that a later delta of the
/// chain covers is kept with it: chains are short, and their full maps are renewed.
fn mark_versions(reading: &Arc<Reading>, needed: &mut Needed) -> Result<()> {
    let mut bases = HashSet::new();
    needed.is_unknown |= lacks_metadata(reading)?;
    each_map(reading, &mut |map| {
        let mut at = Some(map);
        while let Some(here) = at {
            if here != map && !bases.insert(here) {
                break;
            }
            let Some(link) = readable(reading.map_link(here))? else {
                tracing::warn!(lsn = %here.lsn, "a kept version's map can't be read: nothing is given up before it's healed or expired");
                needed.is_unknown = true;
                break;
            };
            mark_map(reading, &link.map, needed)?;
            at = link.base;
        }
        Ok(())
    })
}

/// Whether metadata is missing here that a copy will bring back: what it names must not go meanwhile.
fn lacks_metadata(reading: &Reading) -> Result<bool> {
    let needs = reading.to_heal()?;
    let is_metadata = |need: &HealNeed| need.stream == Stream::Meta || need.bytes == 0;
    Ok(needs.iter().any(|need| need.by_copy && !need.copies.is_empty() && is_metadata(need)))
}

fn mark_map(reading: &Reading, map: &Map, needed: &mut Needed) -> Result<()> {
    reading.readers.with(|db| {
        for id in &map.chunks {
            match catalog::find_chunk(db, id)? {
                Some(at) => {
                    needed.records.insert((at.segment, at.offset));
                }
                None => needed.has_lost = true,
            }
        }
        Ok(())
    })
}

/// Whether a part written after the plan names a chunk in the segment, other than in the moved records.
fn needed_since(batch: &Batch<'_>, upto: Lsn, segment: SegmentId, moved: &HashSet<u64>) -> Result<bool> {
    let lsns: Vec<u64> = {
        let mut query = batch.db().prepare_cached("SELECT lsn FROM log WHERE lsn > ?1 ORDER BY lsn")?;
        query.query_map([upto.0], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    let lies_there = |id: &ChunkId| -> Result<bool> {
        let at = catalog::find_chunk(batch.db(), id)?;
        Ok(at.is_some_and(|at| at.segment == segment && !moved.contains(&at.offset)))
    };
    for lsn in lsns {
        let entry = batch.entry(Lsn(lsn))?;
        let maps: Vec<&Map> = match &entry.body {
            Body::MapPage { map } => vec![map],
            Body::Part { ops, .. } => ops.iter().filter_map(inline_map).collect(),
            _ => continue,
        };
        for id in maps.iter().flat_map(|map| &map.chunks) {
            if lies_there(id)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn inline_map(op: &Op) -> Option<&Map> {
    match op {
        Op::Put { content: Content::Map { body: MapBody::Inline { map }, .. }, .. } => Some(map),
        _ => None,
    }
}
