//! How far a branch's history is whole at HQ: the number behind HQ lag. Where in doubt, it says less.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::entry::{DataUpTo, Watermark};
use coffer_format::segment::Stream;
use coffer_format::{ConfigId, Lsn, SegmentId};
use serde::Serialize;

use super::Mirror;
use crate::provable::{Hit, UNKNOWN};
use crate::verify::Gap;
use crate::{Result, SegmentState, catalog};

/// How far a configuration's history is whole at HQ.
#[derive(Debug, Clone, Serialize)]
pub struct Whole {
    pub config: u32,
    /// Newest point all of whose data is here, and when the branch closed it; `None` before the first.
    pub point: Option<u64>,
    pub closed_ms: Option<u64>,
    /// Newest point whose metadata is here.
    pub newest: u64,
    /// Newest point of which nothing more is due: all that the box can send of it is here.
    pub reached: Option<u64>,
    /// Points up to that one which can't be restored whole from here.
    pub lacking: u64,
}

impl Whole {
    /// Whether nothing more is due of any of its points, and there is one.
    pub fn is_all_here(&self) -> bool {
        self.newest > 0 && self.reached == Some(self.newest)
    }
}

impl Mirror {
    /// How far each configuration is whole here.
    pub fn whole(&self) -> Result<Vec<Whole>> {
        let marks = self.all_marks()?;
        let reached = self.reached(&marks)?;
        let lacking = self.lacking(&reached.stuck)?;
        let mut all = Vec::new();
        for (config, marks) in marks {
            let since_first = |is_there: &dyn Fn(&Mark) -> bool| {
                marks.iter().position(is_there).map_or(&[][..], |at| &marks[at..])
            };
            let come = since_first(&|mark| reached.covers(&mark.data));
            let with_data = since_first(&|mark| reached.has_data(&mark.data));
            let lacking_of = |marks: &[Mark]| lacking.of(config, marks.iter().rev().map(|mark| mark.point));
            let lacks = lacking_of(with_data);
            let whole = with_data.iter().find(|mark| !lacks.contains(&mark.point));
            all.push(Whole {
                config: config.0,
                point: whole.map(|mark| mark.point),
                closed_ms: whole.map(|mark| mark.closed_ms),
                newest: marks.first().map_or(0, |mark| mark.point),
                reached: come.first().map(|mark| mark.point),
                lacking: lacking_of(come).len() as u64,
            });
        }
        Ok(all)
    }

    /// Segments that the box has numbered and of which nothing is here: they haven't come, or are here no more.
    pub fn absent(&self) -> u64 {
        let (here, damaged) = (self.here(), self.damaged_segments());
        let is_here = |segment: &SegmentId| {
            here.get(segment).is_some_and(|here| here.bytes > 0 || here.forgotten)
                || damaged.contains(segment)
        };
        let last = here.keys().next_back().map_or(0, |last| last.0);
        (1..last).map(SegmentId).filter(|segment| !is_here(segment)).count() as u64
    }

    /// What the box may still send of what is damaged or missing here.
    pub(super) fn due(&self) -> Result<Due> {
        let marks = self.all_marks()?;
        let reached = self.reached(&marks)?;
        let come = marks.iter().filter_map(|(config, marks)| {
            let newest = marks.iter().find(|mark| reached.covers(&mark.data))?;
            Some((*config, newest.point))
        });
        let come = come.collect();
        let data = reached.segments.values().filter(|state| state.stream != Stream::Meta);
        let data = data.map(|state| state.segment).collect();
        // Asked only of records that are missing.
        let log = match self.reading.missing_records()?.is_empty() {
            true => Vec::new(),
            false => self.reading.readers.with(|db| catalog::log_after(db, Lsn(0)))?,
        };
        let log = log.into_iter().map(|(lsn, segment, ..)| (lsn, segment)).collect();
        Ok(Due { come, settled: self.settled(&reached), data, log, damaged: reached.damaged })
    }

    /// Segments of which nothing more is due.
    fn settled(&self, reached: &Reached) -> BTreeSet<SegmentId> {
        let here = self.here();
        let whole = here.iter().filter(|(_, here)| here.hash.is_some() || here.forgotten);
        whole.map(|(segment, _)| *segment).chain(reached.stuck.iter().copied()).collect()
    }

    fn reached(&self, marks: &[(ConfigId, Vec<Mark>)]) -> Result<Reached> {
        let forgotten =
            self.here().iter().filter(|(_, here)| here.forgotten).map(|(segment, _)| *segment).collect();
        // The catalog may still list what isn't there any more.
        let here: BTreeMap<SegmentId, u64> =
            self.here().iter().map(|(segment, here)| (*segment, here.due())).collect();
        let listed = self.reading.segments()?.into_iter();
        let segments = listed.filter_map(|state| {
            let bytes = state.bytes.min(*here.get(&state.segment)?);
            Some((state.segment, SegmentState { bytes, ..state }))
        });
        let segments = segments.collect();
        let damaged = self.not_as_they_came()?;
        let mut reached = Reached { segments, forgotten, damaged, stuck: BTreeSet::new() };
        // What the box records is read only where something is missing.
        let mut newest = marks.iter().filter_map(|(_, marks)| marks.first());
        if newest.any(|mark| !reached.covers(&mark.data)) {
            reached.stuck = self.stuck()?;
        }
        Ok(reached)
    }

    fn all_marks(&self) -> Result<Vec<(ConfigId, Vec<Mark>)>> {
        let configs = self.reading.configurations()?.into_iter().map(|config| ConfigId(config.config));
        configs.map(|config| Ok((config, self.marks(config)?))).collect()
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

/// What the box may still send.
pub(crate) struct Due {
    /// Newest point of each configuration of which nothing more is due.
    come: BTreeMap<ConfigId, u64>,
    /// Segments of which nothing more is due.
    settled: BTreeSet<SegmentId>,
    /// Those that hold data, as far as they're known.
    data: BTreeSet<SegmentId>,
    /// Where each listed metadata record is.
    log: BTreeMap<Lsn, SegmentId>,
    /// Segments that aren't as they came.
    damaged: BTreeSet<SegmentId>,
}

impl Due {
    /// Whether what a version lacks may come.
    pub(crate) fn brings(&self, hit: &Hit) -> bool {
        let lost = &hit.remedy.lost;
        let brings = |segment: &SegmentId| match *segment {
            UNKNOWN => self.come.get(&hit.config).is_none_or(|come| *come < hit.since.0),
            segment => self.brings_segment(segment),
        };
        !lost.is_empty() && lost.iter().all(brings)
    }

    pub(crate) fn brings_segment(&self, segment: SegmentId) -> bool {
        !self.settled.contains(&segment)
    }

    /// Whether missing metadata records may come. `segment`: the one that has them, where they're listed.
    pub(crate) fn brings_records(&self, segment: Option<SegmentId>, gap: Gap) -> bool {
        if let Some(segment) = segment {
            return self.brings_segment(segment);
        }
        // They are in the order of their segments.
        let before = self.log.range(..Lsn(gap.first)).next_back().map_or(1, |(_, segment)| segment.0);
        let behind = self.log.range(Lsn(gap.last)..).next().map_or(0, |(_, segment)| segment.0);
        // They may be in the one behind only where something of that is damaged.
        let behind = behind + u64::from(self.damaged.contains(&SegmentId(behind)));
        (before..behind)
            .map(SegmentId)
            .any(|segment| !self.data.contains(&segment) && self.brings_segment(segment))
    }
}

struct Mark {
    point: u64,
    closed_ms: u64,
    data: DataUpTo,
}

struct Reached {
    segments: BTreeMap<SegmentId, SegmentState>,
    /// Given up by the branch when all else was here: nobody sends it.
    forgotten: BTreeSet<SegmentId>,
    /// Not what came, or gone.
    damaged: BTreeSet<SegmentId>,
    /// The box has lost what would come next of them.
    stuck: BTreeSet<SegmentId>,
}

impl Reached {
    /// Whether nothing more is due of data up to there, nor of metadata: that of any time may say what a point has.
    fn covers(&self, data: &DataUpTo) -> bool {
        let is_due = |segment: &SegmentId| {
            let stream = self.segments.get(segment).map(|state| state.stream);
            stream.is_none_or(|stream| stream == Stream::Meta) && !self.is_over(*segment)
        };
        !self.damaged.iter().any(is_due) && self.has_data(data)
    }

    /// Whether nothing more is due of data up to there.
    fn has_data(&self, data: &DataUpTo) -> bool {
        let last = data.fresh.segment.max(data.bulk.segment);
        let is_due = |segment: &SegmentId| {
            let stream = self.segments.get(segment).map(|state| state.stream);
            *segment <= last && stream != Some(Stream::Meta) && !self.is_over(*segment)
        };
        if self.damaged.iter().any(is_due) {
            return false;
        }
        // Segments of all streams share one count, so one that has not come yet shows as a gap.
        (1..=last.0).map(SegmentId).all(|segment| self.is_over(segment) || self.has_enough(segment, data))
    }

    /// Nobody sends more of it.
    fn is_over(&self, segment: SegmentId) -> bool {
        self.forgotten.contains(&segment) || self.stuck.contains(&segment)
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
