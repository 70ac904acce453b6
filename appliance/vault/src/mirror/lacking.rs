//! Points that can't be restored whole from here though nothing more of them is due: the box lost what they need before it was sent, or
//! gave it up. What is said of points is looked up as a restore would look it up.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coffer_format::{ConfigId, PointSeq, SegmentId};

use super::Mirror;
use crate::soundness::Soundness;
use crate::{Result, VaultError, catalog};

/// While something changes, looking takes no more than this part of the time; what takes less than [`FREE`] isn't put off.
const REST: u32 = 9;
const FREE: Duration = Duration::from_millis(50);

/// Points that need something that isn't here, by configuration, as they were last looked at.
pub(super) struct Looked {
    points: Arc<Lacking>,
    /// What was here then.
    state: u64,
    ended: Instant,
    took: Duration,
}

/// Points that need something that isn't here.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    /// Where the number of versions that can't be restored changes from one point to the next, and by how much.
    changes: BTreeMap<ConfigId, BTreeMap<u64, i64>>,
    /// Points that may be other than they were, as metadata of the time before them is lost.
    doubtful: BTreeSet<(ConfigId, PointSeq)>,
}

impl Lacking {
    /// Of those points, which are in order, the ones that lack something.
    pub(super) fn of(&self, config: ConfigId, points: impl Iterator<Item = u64>) -> BTreeSet<u64> {
        let mut changes = self.changes.get(&config).into_iter().flatten().peekable();
        let mut count = 0;
        points
            .filter(|point| {
                while let Some((_, change)) = changes.next_if(|(from, _)| **from <= *point) {
                    count += change;
                }
                count > 0 || self.doubtful.contains(&(config, PointSeq(*point)))
            })
            .collect()
    }

    fn note(&mut self, config: ConfigId, since: PointSeq, until: u64) {
        let changes = self.changes.entry(config).or_default();
        *changes.entry(since.0).or_default() += 1;
        *changes.entry(until).or_default() -= 1;
    }
}

impl Mirror {
    /// Which points lack something. Every version is looked at where anything is known to be missing for good; else nothing is read.
    pub(super) fn lacking(&self, stuck: &BTreeSet<SegmentId>) -> Result<Arc<Lacking>> {
        if stuck.is_empty() && !self.may_lack()? {
            return Ok(Arc::default());
        }
        let mut looked = self.looked.lock().map_err(|_| VaultError::ReadOnly)?;
        let state = self.state()?;
        if let Some(last) = &*looked {
            let is_recent = last.took > FREE && last.ended.elapsed() < last.took * REST;
            if last.state == state || is_recent {
                return Ok(last.points.clone());
            }
        }
        let began = Instant::now();
        let mut points = Lacking::default();
        let sound = Soundness::known(&self.reading)?.at_hq();
        self.reading.check_versions(&sound, &mut |hit| {
            points.note(hit.config, hit.since, hit.until);
            Ok(())
        })?;
        points.doubtful = self.reading.doubtful_points()?.into_iter().collect();
        let points = Arc::new(points);
        *looked =
            Some(Looked { points: points.clone(), state, ended: Instant::now(), took: began.elapsed() });
        Ok(points)
    }

    /// Whether anything is missing or damaged here that nobody may send.
    fn may_lack(&self) -> Result<bool> {
        let is_given_up = self.here().values().any(|here| here.forgotten && here.hash.is_none());
        Ok(is_given_up
            || !self.not_as_they_came()?.is_empty()
            || self
                .reading
                .readers
                .with(|db| Ok(!catalog::all_damage(db)?.is_empty() || !catalog::lacking(db)?.is_empty()))?)
    }

    /// Changes whenever something comes, goes, or is taken into the catalog.
    fn state(&self) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        for (segment, here) in &*self.here() {
            (segment.0, here.bytes, here.hash.map(|hash| hash.0), here.forgotten, here.left)
                .hash(&mut hasher);
        }
        for segment in self.not_as_they_came()? {
            segment.0.hash(&mut hasher);
        }
        let (applied, listed) = self.reading.readers.with(|db| {
            let listed: u64 = db.query_row("SELECT TOTAL(bytes) FROM segments", [], |row| {
                row.get::<_, f64>(0).map(|bytes| bytes as u64)
            })?;
            Ok((catalog::applied(db)?, listed))
        })?;
        (applied.0, listed, self.times_made.load(Ordering::SeqCst)).hash(&mut hasher);
        Ok(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lack_what_their_versions_lack() {
        let mut lacking = Lacking::default();
        let config = ConfigId(1);
        lacking.note(config, PointSeq(2), 4);
        lacking.note(config, PointSeq(3), 5);
        lacking.note(config, PointSeq(8), u64::MAX >> 1);
        lacking.doubtful.insert((config, PointSeq(6)));
        assert_eq!(lacking.of(config, 1..=9), BTreeSet::from([2, 3, 4, 6, 8, 9]));
        // Points that were taken out between.
        assert_eq!(lacking.of(config, [1, 5, 7, 9].into_iter()), BTreeSet::from([9]));
        assert!(lacking.of(ConfigId(2), 1..=9).is_empty());
    }
}
