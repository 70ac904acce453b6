//! Restore points that hold far less than others did a short time ago, or of something that's included nothing at all or a file in a
//! folder's place: somebody should have meant that.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coffer_agent::config::BackupConfig;
use coffer_format::{ConfigId, PointSeq};
use coffer_vault::browse::Point;
use coffer_vault::extent::{Extent, Held};
use coffer_vault::{Reading, VaultError};

use crate::units;

/// A point is compared with those of so long before it.
const COMPARED_MS: u64 = 7 * 24 * 3_600_000;
/// What is gone counts where it's at least half, and at least so many files or so many bytes.
const FILES_MIN: u64 = 10;
const BYTES_MIN: u64 = 64 << 20;
/// Points are looked through again only after so many times as long as that took: a large vault has better things to do.
const REST: u32 = 20;
/// Most of what's included that one sentence names.
const NAMED_MAX: usize = 20;

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
    pub(super) sentences: Vec<String>,
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
        let mut told = emptied(reading, config, &includes(toml), &compared)?;
        let extents = reading.extents(config, &numbers)?;
        let of = |point: &Point| extents.get(&PointSeq(point.point)).copied().unwrap_or_default();
        let compared: Vec<_> = compared.into_iter().map(|point| (point, of(point))).collect();
        if told.sentences.is_empty() {
            told.sentences.extend(say(&compared));
        }
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
    let included: Vec<String> = BackupConfig::parse_stored(toml)
        .map(|(config, _)| config.asked().cloned().collect())
        .unwrap_or_default();
    let as_kept = |include: String| match include.as_bytes().get(1) {
        Some(b':') => format!("/{}", include.replace('\\', "/")),
        _ => include,
    };
    included.into_iter().map(as_kept).collect()
}

/// Of what's included the newest point holds no file, or has a file in a folder's place, or a folder in a file's.
fn emptied(
    reading: &Reading,
    config: ConfigId,
    includes: &[String],
    points: &[&Point],
) -> Result<Told, VaultError> {
    let Some((newest, before)) = points.split_first() else { return Ok(Told::default()) };
    let held = |point: &Point, path: &str| reading.held_at(config, PointSeq(point.point), path.as_bytes());
    let (mut lost, mut never, mut others) = (BTreeMap::<usize, Vec<String>>::new(), Vec::new(), Vec::new());
    for include in includes {
        let now = held(newest, include)?;
        match now {
            Held::Nothing => {}
            Held::File | Held::Folder { is_empty: false } => {
                others.extend(another_kind(reading, config, include, (newest, now), before)?);
            }
            Held::Folder { is_empty: true } | Held::Other => {
                let mut had = None;
                for (number, point) in before.iter().enumerate() {
                    if held(point, include)?.has_file() {
                        had = Some(number);
                        break;
                    }
                }
                had.map_or(&mut never, |number| lost.entry(number).or_default()).push(plain(include));
            }
        }
    }
    let sentence = |(number, includes): (usize, Vec<String>)| {
        let point = before[number];
        format!(
            "restore point {} holds no file of {}, and {}, did. If nobody meant that, restore them from point {}; this is said for a week",
            newest.point,
            all_of(&includes),
            earlier(point, newest),
            point.point
        )
    };
    let sentences = lost.into_iter().map(sentence).chain(others).collect();
    let each = if never.len() == 1 { "it's empty" } else { "each is empty" };
    let note = (!never.is_empty()).then(|| {
        let includes = all_of(&never);
        format!(
            "restore point {} holds no file of {includes}: {each}, or all of it is left out",
            newest.point
        )
    });
    Ok(Told { sentences, note })
}

/// That a file is in the place of what was a folder with files, or a folder in a file's. Not where it was the other way round before that
/// again: then somebody has put it back.
fn another_kind(
    reading: &Reading,
    config: ConfigId,
    include: &str,
    (newest, now): (&Point, Held),
    before: &[&Point],
) -> Result<Option<String>, VaultError> {
    let kind = |point: &Point| reading.kind_at(config, PointSeq(point.point), include.as_bytes());
    let kind_now = kind(newest)?;
    let mut other: Option<&Point> = None;
    for point in before {
        let kind_then = kind(point)?;
        if kind_then.is_none() || kind_then == kind_now {
            if other.is_some() && kind_then.is_some() {
                return Ok(None);
            }
            continue;
        }
        let then = reading.held_at(config, PointSeq(point.point), include.as_bytes())?;
        if then.has_file() && then != now {
            other.get_or_insert(point);
        }
    }
    let Some(point) = other else { return Ok(None) };
    let (is, was) =
        if now == Held::File { ("a file", "a folder with files") } else { ("a folder", "a file") };
    Ok(Some(format!(
        "in restore point {} {} is {is}, and in {}, it was {was}. If nobody meant that, restore it from point {}; this is said for a week",
        newest.point,
        plain(include),
        earlier(point, newest),
        point.point
    )))
}

fn earlier(point: &Point, newest: &Point) -> String {
    let before = units::hours(newest.closed_ms.saturating_sub(point.closed_ms));
    format!("restore point {}, made {before} before it", point.point)
}

fn plain(include: &str) -> String {
    include.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect()
}

/// All of them, or the first and how many more there are.
fn all_of(includes: &[String]) -> String {
    match includes {
        [one] => one.clone(),
        [first @ .., last] if first.len() < NAMED_MAX => format!("{} and {last}", first.join(", ")),
        all => {
            let (first, more) = all.split_at(NAMED_MAX.min(all.len()));
            format!("{} and {} others", first.join(", "), more.len())
        }
    }
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
