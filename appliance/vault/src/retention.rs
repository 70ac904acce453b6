//! Which points are kept. Runs on the vault's own clock; what an agent says of time is never looked at.
//!
//! Everything of the last `all_hours` hours is kept; then the newest point of each of the last `hourly` hours, `daily` days,
//! `weekly` weeks and `monthly` months in which there is one. The newest point of all is always kept.

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

/// What would be given up.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    pub config: u32,
    pub keep: Vec<u64>,
    pub expire: Vec<u64>,
}

/// Chooses among points (number and time of closing in milliseconds, any order).
pub fn plan(
    policy: &Policy,
    points: &[(PointSeq, u64)],
    now_ms: u64,
    zone: &TimeZone,
) -> (Vec<PointSeq>, Vec<PointSeq>) {
    let mut newest_first = points.to_vec();
    newest_first.sort_by_key(|(point, _)| std::cmp::Reverse(*point));
    let mut keep: BTreeSet<PointSeq> = newest_first.first().map(|(point, _)| *point).into_iter().collect();
    let all_from = now_ms.saturating_sub(u64::from(policy.all_hours) * 3_600_000);
    keep.extend(newest_first.iter().filter(|(_, at)| *at >= all_from).map(|(point, _)| *point));
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
