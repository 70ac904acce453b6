//! What damage calls for: the segments to bring back, the versions it touches, the files to be sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coffer_format::event::{Event, Place};
use coffer_format::segment::Stream;
use coffer_format::{ConfigId, Lsn, NodeId, PointSeq, SegmentId};
use rusqlite::params;

use crate::catalog::{self, DamageKind, Stretch};
use crate::lost_found;
use crate::presence::list_by_name_only;
use crate::reading::Reading;
use crate::soundness::Soundness;
use crate::vault::Vault;
use crate::verify::{Gap, Touched, Verdict, is_damaged, touched_of};
use crate::{Result, SegmentState};

/// A segment with damage in records that are used, or whose file is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealNeed {
    pub segment: SegmentId,
    pub stream: Stream,
    /// Bytes of the whole segment; 0 where it isn't known.
    pub bytes: u64,
    /// Damaged records that are used: offset and length in bytes.
    pub records: Vec<(u64, u64)>,
    /// Whether a verified copy of the segment puts all of it right: [`crate::Vault::import_segment`]. Where not, the damage
    /// was there when the segment was closed, and only the records as they were before help:
    /// [`crate::Vault::store_anew`].
    pub by_copy: bool,
    /// Verified copies.
    pub copies: Vec<Place>,
}

/// Files of a newest state that can't be restored from this disk as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HarmToNewest {
    /// They need something that neither this disk nor a verified copy has.
    pub lost: u64,
    /// A verified copy has what they need.
    pub damaged: u64,
}

impl Reading {
    /// Segments to heal, oldest first. Asks the catalog only; empty at once where nothing is damaged.
    pub fn to_heal(&self) -> Result<Vec<HealNeed>> {
        let damage = self.all_damage()?;
        let mut needs: Vec<HealNeed> = Vec::new();
        if damage.is_empty() {
            return Ok(needs);
        }
        let states = self.segments()?;
        for (stretch, _) in damage {
            let Some(state) = states.iter().find(|state| state.segment == stretch.segment) else { continue };
            let records = self.records_in(&stretch, state)?;
            let by_copy = stretch.kind != DamageKind::Closed;
            // Metadata is always needed; and where a file can't be read at all, nobody knows what is in it. Nor does a catalog that
            // was made anew know what was where a segment was closed with damage.
            let is_unknown =
                by_copy && stretch.offset == 0 || !by_copy && self.has_beginning(stretch.segment);
            // Without its index nobody can tell anew what a segment has.
            let is_used = !records.is_empty()
                || is_unknown
                || by_copy && (state.stream == Stream::Meta || self.reaches_index(&stretch)?);
            if !is_used || state.stream == Stream::Meta && self.is_given_up(&stretch)? {
                continue;
            }
            match needs.last_mut().filter(|last| last.segment == stretch.segment) {
                Some(last) => {
                    last.records.extend(records);
                    last.by_copy &= by_copy;
                }
                None => needs.push(HealNeed {
                    segment: state.segment,
                    stream: state.stream,
                    bytes: state.bytes,
                    records,
                    by_copy,
                    copies: self.copies(state.segment)?,
                }),
            }
        }
        Ok(needs)
    }

    /// Runs of metadata records that are missing, or couldn't be read when they were needed: what they said of points, nobody knows.
    /// None once all computers have compared everything without them, and no kept point is older than that.
    pub fn missing_records(&self) -> Result<Vec<Gap>> {
        let lacking = self.readers.with(catalog::lacking)?;
        if lacking.is_empty() || !self.has_doubts()? {
            return Ok(Vec::new());
        }
        Ok(lacking.into_iter().map(|run| Gap { first: run.first.0, last: run.last.0 }).collect())
    }

    /// Kept points that may be older than they were, or lack files: metadata of the time before them is missing, and their computer
    /// hasn't compared everything without it before; or it has, and it came back since.
    pub fn doubtful_points(&self) -> Result<Vec<(ConfigId, PointSeq)>> {
        if !self.readers.with(catalog::may_lack)? {
            return Ok(Vec::new());
        }
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT config, point, lsn FROM points WHERE closed_ms IS NOT NULL AND expired_ms IS NULL ORDER BY config, point",
            )?;
            let rows = query.query_map([], |row| {
                Ok((ConfigId(row.get(0)?), PointSeq(row.get(1)?), Lsn(row.get(2)?)))
            })?;
            let mut doubtful = Vec::new();
            for row in rows {
                let (config, point, lsn) = row?;
                if catalog::goes_by_others(db, config, lsn)? {
                    doubtful.push((config, point));
                }
            }
            Ok(doubtful)
        })
    }

    /// The same of one point.
    pub fn is_doubtful(&self, config: ConfigId, point: PointSeq) -> Result<bool> {
        self.readers.with(|db| lost_found::is_doubtful(db, config, point))
    }

    /// Configurations whose computers go by other metadata than the catalog has: they haven't compared everything since that is so.
    pub(crate) fn out_of_step(&self) -> Result<Vec<ConfigId>> {
        if !self.readers.with(catalog::may_lack)? {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        for config in self.configurations()?.into_iter().map(|one| ConfigId(one.config)) {
            if self.goes_by_others(config)? {
                out.push(config);
            }
        }
        Ok(out)
    }

    /// Whether the computer of a configuration goes by other metadata than the catalog has.
    pub fn goes_by_others(&self, config: ConfigId) -> Result<bool> {
        self.readers.with(|db| catalog::goes_by_others(db, config, catalog::NOW))
    }

    fn has_doubts(&self) -> Result<bool> {
        Ok(!self.out_of_step()?.is_empty() || !self.doubtful_points()?.is_empty())
    }

    /// Whether damage in metadata is only in records that the catalog is without, and that no kept point goes by any more.
    pub(crate) fn is_given_up(&self, stretch: &Stretch) -> Result<bool> {
        let only_lacking = self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT COUNT(*), COUNT(unapplied.lsn) FROM log LEFT JOIN unapplied USING (lsn)
                 WHERE segment = ?1 AND offset < ?2 + ?3 AND offset + record_len > ?2",
            )?;
            let counts: (u64, u64) = query
                .query_row(params![stretch.segment.0, stretch.offset, stretch.len], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            Ok(counts.0 > 0 && counts.0 == counts.1)
        })?;
        let is_given_up = match only_lacking {
            true => true,
            // What was closed with a segment is in no list of records.
            false => stretch.kind == DamageKind::Closed && self.was_compared_after(stretch)?,
        };
        Ok(is_given_up && !self.has_doubts()?)
    }

    /// Whether the catalog lists no record in a stretch of metadata, and all computers that may have gone by one have compared everything
    /// since.
    fn was_compared_after(&self, stretch: &Stretch) -> Result<bool> {
        self.readers.with(|db| {
            let mut listed = db.prepare_cached(
                "SELECT 1 FROM log WHERE segment = ?1 AND offset < ?2 + ?3 AND offset + record_len > ?2",
            )?;
            let mut not_compared = db.prepare_cached(
                "SELECT 1 FROM configurations c WHERE
                   EXISTS (SELECT 1 FROM parts WHERE parts.config = c.config
                     AND lsn <= (SELECT MAX(lsn) FROM log WHERE segment = ?1))
                   AND NOT EXISTS (SELECT 1 FROM recalls WHERE recalls.config = c.config
                     AND lsn > (SELECT MAX(lsn) FROM log WHERE segment = ?1))",
            )?;
            Ok(!listed.exists(params![stretch.segment.0, stretch.offset, stretch.len])?
                && !not_compared.exists([stretch.segment.0])?)
        })
    }

    /// How many records that the catalog goes by are in a stretch of metadata.
    pub(crate) fn records_gone_by(&self, stretch: &Stretch) -> Result<u64> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT COUNT(*) FROM log WHERE segment = ?1 AND offset < ?2 + ?3 AND offset + record_len > ?2
                   AND lsn NOT IN (SELECT lsn FROM unapplied)",
            )?;
            Ok(query.query_row(params![stretch.segment.0, stretch.offset, stretch.len], |row| row.get(0))?)
        })
    }

    /// Whether nothing is known that could touch a version: that costs next to nothing to ask.
    pub(crate) fn is_unharmed(&self) -> Result<bool> {
        Ok(self.known_damage()?.is_empty()
            && self.readers.with(catalog::last_look)?.1 == 0
            && self.missing_records()?.is_empty())
    }

    /// Whether it's worth looking at every version.
    pub(crate) fn may_be_touched(&self, sound: &Soundness) -> Result<bool> {
        let by_last_look = self.readers.with(catalog::last_look)?.1 > 0;
        Ok(sound.has_damage() || by_last_look || !self.missing_records()?.is_empty())
    }

    /// Whether damage reaches behind the last record that is used, where a closed segment has its index.
    fn reaches_index(&self, stretch: &Stretch) -> Result<bool> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT MAX(offset + record_len) FROM chunks WHERE segment = ?1 HAVING MAX(offset + record_len) <= ?2 + ?3
                   AND EXISTS (SELECT 1 FROM segments WHERE segment = ?1 AND closed = 1)",
            )?;
            Ok(query.exists(params![stretch.segment.0, stretch.offset, stretch.len])?)
        })
    }

    fn records_in(&self, stretch: &Stretch, state: &SegmentState) -> Result<Vec<(u64, u64)>> {
        let table = if state.stream == Stream::Meta { "log" } else { "chunks" };
        self.readers.with(|db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT DISTINCT offset, record_len FROM {table} WHERE segment = ?1 AND offset < ?2 + ?3
                   AND offset + record_len > ?2 ORDER BY offset"
            ))?;
            let rows = query.query_map(params![stretch.segment.0, stretch.offset, stretch.len], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Kept versions that known damage touches: the first `most` of them by name, and how many there are. Nothing is read but
    /// metadata; where nothing is damaged, nothing at all.
    /// The lost ones come first.
    pub fn touched_by_damage(self: &Arc<Self>, most: usize) -> Result<(Vec<Touched>, u64)> {
        let sound = Soundness::known(self)?;
        if !self.may_be_touched(&sound)? {
            return Ok((Vec::new(), 0));
        }
        let (mut touched, mut count) = (Vec::new(), 0);
        self.check_versions(&sound, &mut |hit| {
            count += 1;
            let is_worse = hit.remedy.is_lost && touched.last().is_some_and(|last: &Touched| !last.is_lost);
            if touched.len() >= most && is_worse {
                touched.pop();
            }
            if touched.len() < most {
                let at = if hit.remedy.is_lost { 0 } else { touched.len() };
                touched.insert(at, touched_of(self, hit)?);
            }
            Ok(())
        })?;
        Ok((touched, count))
    }

    /// By configuration, what known damage does to its newest state.
    pub fn harm_to_newest(self: &Arc<Self>) -> Result<BTreeMap<ConfigId, HarmToNewest>> {
        let sound = Soundness::known(self)?;
        let mut harm: BTreeMap<ConfigId, HarmToNewest> = BTreeMap::new();
        if self.may_be_touched(&sound)? {
            self.check_versions(&sound, &mut |hit| {
                if hit.is_newest() {
                    let of = harm.entry(hit.config).or_default();
                    *(if hit.remedy.is_lost { &mut of.lost } else { &mut of.damaged }) += 1;
                }
                Ok(())
            })?;
        }
        Ok(harm)
    }

    /// Files of a configuration whose newest version is touched by damage, at most `most`: their agent may have the bytes.
    pub fn damaged_nodes(self: &Arc<Self>, config: ConfigId, most: usize) -> Result<Vec<NodeId>> {
        let sound = Soundness::known(self)?;
        let mut nodes = Vec::new();
        if !self.may_be_touched(&sound)? {
            return Ok(nodes);
        }
        self.check_versions(&sound, &mut |hit| {
            if hit.config == config && hit.is_newest() && nodes.len() < most {
                nodes.push(hit.node);
            }
            Ok(())
        })?;
        Ok(nodes)
    }
}

impl Vault {
    /// Notes that segments which should be there aren't, whatever the catalog knows of them: they're asked of every copy until
    /// one brings them back, and named until then. Returns those of them that aren't here and weren't given up either.
    pub fn note_missing(&self, segments: BTreeSet<SegmentId>) -> Result<BTreeSet<SegmentId>> {
        let missing = self.reading.readers.with(|db| {
            let mut is_needless = db.prepare(
                "SELECT 1 FROM dropped WHERE segment = ?1 UNION ALL SELECT 1 FROM segments WHERE segment = ?1 AND on_disk = 1",
            )?;
            let mut missing = BTreeSet::new();
            for segment in segments {
                if !is_needless.exists([segment.0])? {
                    missing.insert(segment);
                }
            }
            Ok(missing)
        })?;
        if missing.is_empty() {
            return Ok(missing);
        }
        let noted = missing.clone();
        self.transact(move |batch| {
            for segment in noted {
                let what = "it couldn't be read from any copy";
                batch.audit("box", &is_damaged(segment, 1, what))?;
                let (len, detail) = (catalog::WHOLE_FILE, what.into());
                batch.write_event(Event::StretchDamaged { segment, offset: 0, len, detail })?;
            }
            list_by_name_only(batch.db())
        })?;
        Ok(missing)
    }

    /// Records of what was found to be damaged or missing when the vault was opened that no copy has brought it back: HQ reads it there.
    pub fn record_unhealed(&self, segments: &BTreeSet<SegmentId>) -> Result<()> {
        let mut damage = self.reading.readers.with(catalog::unrecorded_damage)?;
        damage.retain(|(stretch, _)| segments.contains(&stretch.segment));
        let (missing, changed): (Vec<_>, Vec<_>) =
            damage.into_iter().partition(|(stretch, _)| stretch.kind == DamageKind::Missing);
        for (stretch, what) in changed {
            let what = String::from_utf8_lossy(&what);
            self.record_damage(stretch.segment, (stretch.offset, stretch.len), &what)?;
        }
        self.note_missing(missing.into_iter().map(|(stretch, _)| stretch.segment).collect()).map(drop)
    }

    /// After the catalog was made anew, or copies were given up: finds what kept versions lack, so that it's said.
    pub(crate) fn note_lost(&self) -> Result<Option<String>> {
        let report = self.reading.prove()?;
        let touched = report.touched_count;
        if report.verdict == Verdict::Whole {
            return Ok(None);
        }
        self.transact(move |batch| catalog::note_touched(batch.db(), touched))?;
        Ok(Some(report.sentence()))
    }
}
