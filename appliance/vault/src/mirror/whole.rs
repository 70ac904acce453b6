//! How far a branch's history is whole at HQ: the number behind HQ lag. Where in doubt, it says less.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::entry::{DataUpTo, Watermark};
use coffer_format::segment::Stream;
use coffer_format::{ConfigId, SegmentId};
use serde::Serialize;

use super::Mirror;
use crate::{Result, SegmentState};

/// How far a configuration's history is whole at HQ.
#[derive(Debug, Clone, Serialize)]
pub struct Whole {
    pub config: u32,
    /// Newest point all of whose data is here, and when the branch closed it; `None` before the first.
    pub point: Option<u64>,
    pub closed_ms: Option<u64>,
    /// Newest point whose metadata is here.
    pub newest: u64,
}

impl Mirror {
    /// How far each configuration is whole here.
    pub fn whole(&self) -> Result<Vec<Whole>> {
        let forgotten =
            self.here().iter().filter(|(_, here)| here.forgotten).map(|(segment, _)| *segment).collect();
        let segments = self.reading.segments()?.into_iter().map(|state| (state.segment, state)).collect();
        let reached = Reached { segments, forgotten, damaged: self.damaged_segments() };
        let mut all = Vec::new();
        for config in self.reading.configurations()? {
            let marks = self.marks(ConfigId(config.config))?;
            let whole = marks.iter().find(|mark| reached.covers(&mark.data));
            all.push(Whole {
                config: config.config,
                point: whole.map(|mark| mark.point),
                closed_ms: whole.map(|mark| mark.closed_ms),
                newest: marks.first().map_or(0, |mark| mark.point),
            });
        }
        Ok(all)
    }

    /// Closed points of a configuration, newest first.
    fn marks(&self, config: ConfigId) -> Result<Vec<Mark>> {
        self.reading.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT point, closed_ms, fresh_segment, fresh_bytes, bulk_segment, bulk_bytes FROM points
                 WHERE config = ?1 AND closed_ms IS NOT NULL ORDER BY point DESC",
            )?;
            let rows = query.query_map([config.0], |row| {
                let fresh = Watermark { segment: SegmentId(row.get(2)?), bytes: row.get(3)? };
                let bulk = Watermark { segment: SegmentId(row.get(4)?), bytes: row.get(5)? };
                Ok(Mark { point: row.get(0)?, closed_ms: row.get(1)?, data: DataUpTo { fresh, bulk } })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

struct Mark {
    point: u64,
    closed_ms: u64,
    data: DataUpTo,
}

struct Reached {
    segments: BTreeMap<SegmentId, SegmentState>,
    /// Given up by the branch when all else was here, so there's nothing in them that isn't also elsewhere.
    forgotten: BTreeSet<SegmentId>,
    /// Not what came, or gone.
    damaged: BTreeSet<SegmentId>,
}

impl Reached {
    fn covers(&self, data: &DataUpTo) -> bool {
        let last = data.fresh.segment.max(data.bulk.segment);
        // Metadata of any time may say what a point has.
        let is_needed = |segment: &SegmentId| {
            let stream = self.segments.get(segment).map(|state| state.stream);
            *segment <= last || stream.is_none_or(|stream| stream == Stream::Meta)
        };
        if self.damaged.iter().any(|segment| is_needed(segment) && !self.forgotten.contains(segment)) {
            return false;
        }
        // Segments of all streams share one count, so one that has not come yet shows as a gap.
        (1..=last.0)
            .map(SegmentId)
            .all(|segment| self.forgotten.contains(&segment) || self.has_enough(segment, data))
    }

    fn has_enough(&self, segment: SegmentId, data: &DataUpTo) -> bool {
        let needed = |mark: Watermark| segment == mark.segment && mark.bytes > 0;
        let Some(state) = self.segments.get(&segment) else {
            let within = segment < data.fresh.segment.max(data.bulk.segment);
            return !within && !needed(data.fresh) && !needed(data.bulk);
        };
        let mark = match state.stream {
            Stream::Meta => return true,
            Stream::Fresh => data.fresh,
            Stream::Bulk => data.bulk,
        };
        state.closed || segment > mark.segment || segment == mark.segment && state.bytes >= mark.bytes
    }
}
