//! When cartridges leave the house: a weekday and a time, on the branch's own clock.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// One moment each week.
#[derive(Debug, Clone)]
pub struct Calendar {
    weekday: Weekday,
    time: Time,
    zone: TimeZone,
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

impl Calendar {
    /// From a weekday's English name and a time such as `16:00`, in the machine's zone.
    pub fn weekly(weekday: &str, time: &str) -> Result<Calendar, String> {
        let found = WEEKDAYS.iter().find(|(name, _)| weekday.eq_ignore_ascii_case(name));
        let Some((_, weekday)) = found else {
            return Err(format!("{weekday:?} is no weekday: give one such as \"friday\""));
        };
        let time = time.parse().map_err(|_| format!("{time:?} is no time: give one such as \"16:00\""))?;
        Ok(Calendar { weekday: *weekday, time, zone: TimeZone::system() })
    }

    pub fn in_zone(self, zone: TimeZone) -> Calendar {
        Calendar { zone, ..self }
    }

    /// The last such moment up to now. Milliseconds since 1970-01-01 UTC; 0 where there was none.
    pub(super) fn last_moment_ms(&self, now_ms: u64) -> u64 {
        let now =
            Timestamp::from_millisecond(now_ms as i64).unwrap_or(Timestamp::MAX).to_zoned(self.zone.clone());
        self.moment_before(&now).map_or(0, |at| u64::try_from(at.timestamp().as_millisecond()).unwrap_or(0))
    }

    fn moment_before(&self, now: &Zoned) -> Option<Zoned> {
        (0..=7).find_map(|back: i64| {
            let date = now.date().checked_sub(back.days()).ok()?;
            let at = date.to_datetime(self.time).to_zoned(self.zone.clone()).ok()?;
            (date.weekday() == self.weekday && at <= *now).then_some(at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-05 00:00 UTC, a Monday.
    const MONDAY_MS: u64 = 1_767_571_200_000;
    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn the_last_moment_is_this_weeks_or_last_weeks() {
        let calendar = Calendar::weekly("Friday", "16:00").unwrap().in_zone(TimeZone::UTC);
        let friday = MONDAY_MS + (4 * 24 + 16) * HOUR_MS;
        assert_eq!(calendar.last_moment_ms(friday), friday);
        assert_eq!(calendar.last_moment_ms(friday - 1), friday - 7 * 24 * HOUR_MS);
        assert_eq!(calendar.last_moment_ms(friday + 6 * 24 * HOUR_MS), friday);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        assert!(Calendar::weekly("freitag", "16:00").is_err());
        assert!(Calendar::weekly("friday", "4pm").is_err());
    }
}
