//! Which points are kept. Runs on the vault's own clock; what an agent says of time is never looked at.
//!
//! Everything of the last `all_hours` hours is kept; then the newest point of each of the last `hourly` hours, `daily` days,
//! `weekly` weeks and `monthly` months in which there is one. The newest three points are always kept.
//!
//! Hours pass only while points come: a point's age is the sum of the times between it and each point after it, of which none
//! counts for more than a day. A point that's dated after one that came later, or after now, was dated by a clock that was wrong: it
//! counts as made no later than that. So a computer that is off for a month loses nothing, and neither does a clock that leaps ahead
//! and back.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::event::Event;
use coffer_format::{ConfigId, PointSeq};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::vault::Vault;

/// How much history a configuration keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    pub all_hours: u32,
    pub hourly: u32,
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
}

impl Default for Policy {
    /// Four weeks of versions, thinning out.
    fn default() -> Self {
        Policy { all_hours: 48, hourly: 96, daily: 28, weekly: 8, monthly: 3 }
    }
}

impl Policy {
    /// Whether it would keep no history at all: a mistake, wherever it's written.
    pub fn keeps_nothing(&self) -> bool {
        let Policy { all_hours, hourly, daily, weekly, monthly } = self;
        [all_hours, hourly, daily, weekly, monthly].into_iter().all(|count| *count == 0)
    }
}

/// Newest points that never expire.
const KEPT_ALWAYS: usize = 3;
/// The most that the time between two points counts for, in milliseconds.
const GAP_MAX_MS: u64 = 24 * 3_600_000;

/// What would be given up.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    pub config: u32,
    pub keep: Vec<u64>,
    pub expire: Vec<u64>,
}

/// Chooses among points (number and time of closing in milliseconds, any order), now.
pub fn plan(
    policy: &Policy,
    points: &[(PointSeq, u64)],
    now_ms: u64,
    zone: &TimeZone,
) -> (Vec<PointSeq>, Vec<PointSeq>) {
    let mut newest_first = points.to_vec();
    newest_first.sort_by_key(|(point, _)| std::cmp::Reverse(*point));
    let mut latest = now_ms;
    for (_, at) in &mut newest_first {
        latest = latest.min(*at);
        *at = latest;
    }
    let mut keep: BTreeSet<PointSeq> =
        newest_first.iter().take(KEPT_ALWAYS).map(|(point, _)| *point).collect();
    let all_ms = u64::from(policy.all_hours) * 3_600_000;
    let young = ages(&newest_first).take_while(|(_, age_ms)| *age_ms < all_ms);
    keep.extend(young.map(|(point, _)| point));
    type Bucket = fn(&Zoned) -> i64;
    let rules: [(u32, Bucket); 4] = [
        (policy.hourly, hour_of),
        (policy.daily, day_of),
        (policy.weekly, week_of),
        (policy.monthly, month_of),
    ];
    for (count, bucket_of) in rules {
        let mut newest_in: BTreeMap<i64, PointSeq> = BTreeMap::new();
        for (point, at) in &newest_first {
            newest_in.entry(bucket_of(&local(*at, zone))).or_insert(*point);
        }
        keep.extend(newest_in.values().rev().take(count as usize));
    }
    let expire = newest_first.iter().map(|(point, _)| *point).filter(|point| !keep.contains(point)).collect();
    (keep.into_iter().collect(), expire)
}

/// Each point with its age on the configuration's own clock, the newest first.
fn ages(newest_first: &[(PointSeq, u64)]) -> impl Iterator<Item = (PointSeq, u64)> {
    let mut age_ms = 0;
    let mut later_at = None;
    newest_first.iter().map(move |(point, at)| {
        age_ms += later_at.map_or(0, |later: u64| later.saturating_sub(*at).min(GAP_MAX_MS));
        later_at = Some(*at);
        (*point, age_ms)
    })
}

fn local(at_ms: u64, zone: &TimeZone) -> Zoned {
    Timestamp::from_millisecond(at_ms as i64).unwrap_or(Timestamp::MAX).to_zoned(zone.clone())
}
fn hour_of(at: &Zoned) -> i64 {
    at.timestamp().as_second().div_euclid(3600)
}
fn day_of(at: &Zoned) -> i64 {
    let date = at.date();
    i64::from(date.year()) * 400 + i64::from(date.day_of_year())
}
fn week_of(at: &Zoned) -> i64 {
    let week = at.date().iso_week_date();
    i64::from(week.year()) * 60 + i64::from(week.week())
}
fn month_of(at: &Zoned) -> i64 {
    i64::from(at.date().year()) * 12 + i64::from(at.date().month())
}

impl Vault {
    /// What retention would give up of a configuration now.
    pub fn plan_retention(&self, config: ConfigId, policy: &Policy, zone: &TimeZone) -> Result<Plan> {
        let points: Vec<_> = self
            .reading
            .points(config)?
            .iter()
            .map(|point| (PointSeq(point.point), point.closed_ms))
            .collect();
        let (keep, expire) = plan(policy, &points, self.now_ms(), zone);
        let numbers = |points: Vec<PointSeq>| points.into_iter().map(|point| point.0).collect();
        Ok(Plan { config: config.0, keep: numbers(keep), expire: numbers(expire) })
    }

    /// Gives up what the plan says. Disk space comes back with the next reclaim.
    pub fn apply_retention(&self, plan: &Plan, who: &str) -> Result<()> {
        if plan.expire.is_empty() {
            return Ok(());
        }
        let config = ConfigId(plan.config);
        let points: Vec<_> = plan.expire.iter().map(|point| PointSeq(*point)).collect();
        let who = who.to_owned();
        self.transact(move |batch| {
            batch.audit(
                &who,
                &format!("retention gave up {} points of configuration {config}", points.len()),
            )?;
            batch.write_event(Event::PointsExpired { config, points }).map(|_| ())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const DAY_MS: u64 = 24 * HOUR_MS;
    const START_MS: u64 = 20_000 * DAY_MS;
    const TWO_DAYS: Policy = Policy { all_hours: 48, hourly: 0, daily: 0, weekly: 0, monthly: 0 };

    /// Numbers of the points that are given up, of points that come at these times.
    fn expired(policy: &Policy, times_ms: &[u64]) -> Vec<u64> {
        expired_at(policy, times_ms, u64::MAX)
    }

    fn expired_at(policy: &Policy, times_ms: &[u64], now_ms: u64) -> Vec<u64> {
        let points: Vec<_> = (1..).map(PointSeq).zip(times_ms.iter().copied()).collect();
        plan(policy, &points, now_ms, &TimeZone::UTC).1.into_iter().map(|point| point.0).rev().collect()
    }

    fn hourly(count: u64, from_ms: u64) -> Vec<u64> {
        (0..count).map(|hour| from_ms + hour * HOUR_MS).collect()
    }

    #[test]
    fn points_age_while_points_come() {
        assert_eq!(expired(&TWO_DAYS, &hourly(50, START_MS)), [1, 2]);
    }

    #[test]
    fn a_computer_that_is_off_for_a_month_loses_nothing_for_that() {
        let mut times = hourly(10, START_MS);
        times.extend(hourly(3, START_MS + 40 * DAY_MS));
        assert_eq!(expired(&TWO_DAYS, &times), [0u64; 0]);
    }

    #[test]
    fn a_clock_that_leaps_ahead_and_back_thins_nothing() {
        let mut times = hourly(13, START_MS);
        times.extend(hourly(2, START_MS + 40 * DAY_MS));
        times.extend(hourly(6, START_MS + 14 * HOUR_MS));
        assert_eq!(expired(&TWO_DAYS, &times), [0u64; 0]);
        let back: Vec<u64> =
            hourly(9, START_MS).into_iter().chain(hourly(9, START_MS - 300 * DAY_MS)).collect();
        assert_eq!(expired(&TWO_DAYS, &back), [0u64; 0]);
    }

    /// Seconds ahead and back, again and again, while points come: what was dated ahead was made no later than what followed it.
    #[test]
    fn leaps_that_nobody_had_time_to_notice_thin_nothing() {
        let mut times = Vec::new();
        for (number, ahead) in [0, 0, 0, 3, 0, 3, 0, 40, 0, 0].into_iter().enumerate() {
            times.push(START_MS + number as u64 * 60_000 + ahead * DAY_MS);
        }
        let day = Policy { all_hours: 24, ..TWO_DAYS };
        assert_eq!(expired(&day, &times), [0u64; 0]);
    }

    /// The clock is right again, and nothing has come since.
    #[test]
    fn a_point_from_the_future_ages_nothing() {
        let mut times = hourly(8, START_MS);
        times.push(START_MS + 10 * DAY_MS);
        let hour = Policy { all_hours: 8, ..TWO_DAYS };
        assert_eq!(expired_at(&hour, &times, START_MS + 7 * HOUR_MS), [0u64; 0]);
        assert_ne!(expired_at(&hour, &times, START_MS + 10 * DAY_MS), [0u64; 0]);
    }

    #[test]
    fn the_newest_three_never_expire() {
        let nothing = Policy { all_hours: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0 };
        assert_eq!(expired(&nothing, &hourly(5, START_MS)), [1, 2]);
    }
}
