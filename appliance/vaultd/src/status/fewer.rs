//! Restore points that hold far less than others did a short time ago, or of something that's included nothing at all: somebody should
//! have meant that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coffer_agent::config::BackupConfig;
use coffer_format::{ConfigId, PointSeq};
use coffer_vault::browse::Point;
use coffer_vault::extent::Extent;
use coffer_vault::{Reading, VaultError};

use crate::units;

/// A point is compared with those of so long before it.
const COMPARED_MS: u64 = 7 * 24 * 3_600_000;
/// What is gone counts where it's at least half, and at least so many files or so many bytes.
const FILES_MIN: u64 = 10;
const BYTES_MIN: u64 = 64 << 20;
/// Points are looked through again only after so many times as long as that took: a large vault has better things to do.
const REST: u32 = 20;

/// What was found for each configuration.
#[derive(Default)]
pub(crate) struct Fewer(Mutex<HashMap<ConfigId, Found>>);

#[derive(Clone)]
struct Found {
    newest: PointSeq,
    ended: Instant,
    took: Duration,
    told: Told,
}

/// What there is to say, to be put after the names of computer and configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// That the newest point holds far less than another of the last days did.
    pub(super) sentence: Option<String>,
    /// That it holds no file of something that's included, and none of the last days did.
    pub(super) note: Option<String>,
}

impl Fewer {
    /// Compares the newest of these points with the others of the last days; newest first.
    pub(super) fn told(
        &self,
        reading: &Reading,
        (config, toml): (ConfigId, &str),
        points: &[Point],
    ) -> Result<Told, VaultError> {
        let Some(newest) = points.first() else { return Ok(Told::default()) };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&config).cloned();
        if let Some(known) = known
            && (known.newest.0 == newest.point || known.ended.elapsed() < known.took * REST)
        {
            return Ok(known.told);
        }
        let started = Instant::now();
        let compared: Vec<_> =
            points.iter().take_while(|point| point.closed_ms + COMPARED_MS >= newest.closed_ms).collect();
        let numbers: Vec<_> = compared.iter().map(|point| PointSeq(point.point)).collect();
        let emptied = emptied(reading, config, &includes(toml), &compared)?;
        let extents = reading.extents(config, &numbers)?;
        let of = |point: &Point| extents.get(&PointSeq(point.point)).copied().unwrap_or_default();
        let compared: Vec<_> = compared.into_iter().map(|point| (point, of(point))).collect();
        let told = Told { sentence: emptied.sentence.or_else(|| say(&compared)), note: emptied.note };
        let found = Found {
            newest: PointSeq(newest.point),
            ended: Instant::now(),
            took: started.elapsed(),
            told: told.clone(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(config, found);
        Ok(told)
    }
}

/// What a configuration includes, as restore points have it.
fn includes(toml: &str) -> Vec<String> {
    let included = BackupConfig::parse_stored(toml).map(|(config, _)| config.include).unwrap_or_default();
    let as_kept = |include: String| match include.as_bytes().get(1) {
        Some(b':') => format!("/{}", include.replace('\\', "/")),
        _ => include,
    };
    included.into_iter().map(as_kept).collect()
}

/// Of what's included the newest point holds no file.
fn emptied(
    reading: &Reading,
    config: ConfigId,
    includes: &[String],
    points: &[&Point],
) -> Result<Told, VaultError> {
    let mut told = Told::default();
    let Some((newest, before)) = points.split_first() else { return Ok(told) };
    let holds =
        |point: &Point, path: &str| reading.holds_file_at(config, PointSeq(point.point), path.as_bytes());
    for include in includes {
        if holds(newest, include)? != Some(false) {
            continue;
        }
        let mut had = None;
        for point in before {
            if holds(point, include)? == Some(true) {
                had = Some(point);
                break;
            }
        }
        let plain: String =
            include.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect();
        match had {
            Some(point) => {
                told.sentence.get_or_insert_with(|| {
                    format!(
                        "restore point {} holds no file of {plain}, and restore point {}, made {} before it, did. If nobody meant that, restore \
                         them from point {}; this is said for a week",
                        newest.point,
                        point.point,
                        units::hours(newest.closed_ms.saturating_sub(point.closed_ms)),
                        point.point
                    )
                });
            }
            None => {
                told.note.get_or_insert_with(|| {
                    format!(
                        "restore point {} holds no file of {plain}: it's empty, or all of it is left out",
                        newest.point
                    )
                });
            }
        }
    }
    Ok(told)
}

/// Compares the first point with the one that held most, to be put after the names of computer and configuration.
fn say(points: &[(&Point, Extent)]) -> Option<String> {
    let ((newest, now), before) = points.split_first()?;
    let is_fewer = |had: &Extent| {
        is_far_less(now.files, had.files, FILES_MIN) || is_far_less(now.bytes, had.bytes, BYTES_MIN)
    };
    let (point, had) = before.iter().filter(|(_, had)| is_fewer(had)).max_by_key(|(_, had)| had.files)?;
    Some(format!(
        "restore point {} holds {} files ({}), far less than restore point {}, made {} before it: {} files ({}). If nobody meant that, restore \
         them from point {}; this is said for a week",
        newest.point,
        now.files,
        units::size(now.bytes),
        point.point,
        units::hours(newest.closed_ms.saturating_sub(point.closed_ms)),
        had.files,
        units::size(had.bytes),
        point.point
    ))
}

fn is_far_less(now: u64, had: u64, least: u64) -> bool {
    had.saturating_sub(now) >= least && now <= had / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(number: u64) -> Point {
        Point {
            config: 1,
            point: number,
            closed_ms: number * 3_600_000,
            captured_ms: 0,
            consistency: "crash",
            files: 1,
            bytes: 1,
            sent: 1,
            stored: 1,
            report_lines: 0,
            read_back_ms: None,
        }
    }

    fn said(now: (u64, u64), had: (u64, u64)) -> Option<String> {
        let (newest, before) = (point(9), point(7));
        let extent = |(files, bytes)| Extent { files, bytes };
        say(&[(&newest, extent(now)), (&before, extent(had))])
    }

    #[test]
    fn half_of_the_files_or_of_the_bytes_is_told() {
        let told = said((400, 10 << 30), (900, 10 << 30)).unwrap();
        assert!(
            told.contains("holds 400 files")
                && told.contains("restore point 7, made 2 h before it: 900 files"),
            "{told}"
        );
        assert!(said((1, 1 << 20), (1, 1 << 30)).is_some(), "a large file is nearly empty now");
    }

    #[test]
    fn a_little_less_or_more_is_nothing() {
        assert_eq!(said((600, 1 << 30), (900, 1 << 30)), None);
        assert_eq!(said((900, 1 << 30), (400, 1 << 20)), None);
        assert_eq!(said((1, 1 << 10), (5, 5 << 10)), None, "a handful of small files comes and goes");
        assert_eq!(say(&[(&point(1), Extent::default())]), None, "there is nothing to compare with");
    }
}
