//! When the line may carry how much: weekly windows in local time, and a rate for the rest.

use jiff::civil::{DateTime, Time, Weekday};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Rate;

/// Most windows of one calendar.
const WINDOWS_MAX: usize = 64;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The calendar as it's configured: `[wan] rate = "…"`, `[[wan.window]] …`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "CalendarText", into = "CalendarText")]
pub struct Calendar {
    rate: Rate,
    windows: Vec<ParsedWindow>,
}

/// One window as it's written. Of several that match, the first counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// `mon-fri`, `sat,sun`, `fri-mon`, or `daily`: the days on which it begins.
    pub days: String,
    /// `08:00`; `24:00` is the end of the day.
    pub from: String,
    /// Not later than `from`: the window goes on into the next day.
    pub to: String,
    pub rate: Rate,
}

/// What is wrong with a calendar.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CalendarError {
    #[error("{text:?} are no days: write \"mon-fri\", \"sat,sun\" or \"daily\"")]
    Days { text: String },
    #[error("{text:?} is no time of day: write \"08:00\" to \"24:00\"")]
    Time { text: String },
    #[error("{found} windows are too many: {WINDOWS_MAX} are possible, join some")]
    Windows { found: usize },
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CalendarText {
    #[serde(default)]
    rate: Rate,
    #[serde(default, rename = "window")]
    windows: Vec<Window>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ParsedWindow {
    text: Window,
    days: [bool; 7],
    /// Minutes since midnight; `to_min` may be 1440.
    from_min: u16,
    to_min: u16,
}

impl Calendar {
    /// The same rate at all times.
    pub fn always(rate: Rate) -> Calendar {
        Calendar { rate, windows: Vec::new() }
    }

    /// `rate` outside of all windows.
    pub fn new(rate: Rate, windows: Vec<Window>) -> Result<Calendar, CalendarError> {
        if windows.len() > WINDOWS_MAX {
            return Err(CalendarError::Windows { found: windows.len() });
        }
        Ok(Calendar {
            rate,
            windows: windows.into_iter().map(ParsedWindow::parse).collect::<Result<_, _>>()?,
        })
    }

    /// What the line may carry at a local time.
    pub fn rate_at(&self, local: DateTime) -> Rate {
        let minute = minute_of(local.time());
        let today = day_index(local.date().weekday());
        let open = self.windows.iter().find(|window| window.is_open(today, minute));
        open.map_or(self.rate, |window| window.text.rate)
    }
}

impl ParsedWindow {
    fn parse(text: Window) -> Result<ParsedWindow, CalendarError> {
        let (days, from_min, to_min) =
            (parse_days(&text.days)?, parse_minute(&text.from)?, parse_minute(&text.to)?);
        Ok(ParsedWindow { text, days, from_min, to_min })
    }

    fn is_open(&self, today: usize, minute: u16) -> bool {
        let yesterday = (today + 6) % 7;
        match self.from_min < self.to_min {
            true => self.days[today] && (self.from_min..self.to_min).contains(&minute),
            false => {
                self.days[today] && minute >= self.from_min || self.days[yesterday] && minute < self.to_min
            }
        }
    }
}

fn minute_of(time: Time) -> u16 {
    time.hour() as u16 * 60 + time.minute() as u16
}

fn day_index(day: Weekday) -> usize {
    day.to_monday_zero_offset() as usize
}

fn parse_days(text: &str) -> Result<[bool; 7], CalendarError> {
    let bad = || CalendarError::Days { text: text.to_owned() };
    let lower = text.trim().to_ascii_lowercase();
    if lower == "daily" {
        return Ok([true; 7]);
    }
    let day = |name: &str| DAYS.iter().position(|known| *known == name.trim()).ok_or_else(bad);
    let mut days = [false; 7];
    for run in lower.split(',') {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + 7 - first) % 7;
        (0..=count).for_each(|after| days[(first + after) % 7] = true);
    }
    Ok(days)
}

fn parse_minute(text: &str) -> Result<u16, CalendarError> {
    let bad = || CalendarError::Time { text: text.to_owned() };
    let two = |part: &str| match part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()) {
        true => part.parse::<u16>().map_err(|_| bad()),
        false => Err(bad()),
    };
    let (hour, minute) = text.trim().split_once(':').ok_or_else(bad)?;
    let (hour, minute) = (two(hour)?, two(minute)?);
    let fits = hour < 24 && minute < 60 || hour == 24 && minute == 0;
    if fits { Ok(hour * 60 + minute) } else { Err(bad()) }
}

impl TryFrom<CalendarText> for Calendar {
    type Error = CalendarError;
    fn try_from(text: CalendarText) -> Result<Calendar, CalendarError> {
        Calendar::new(text.rate, text.windows)
    }
}

impl From<Calendar> for CalendarText {
    fn from(calendar: Calendar) -> CalendarText {
        CalendarText {
            rate: calendar.rate,
            windows: calendar.windows.into_iter().map(|window| window.text).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Calendar, toml::de::Error> {
        toml::from_str(toml)
    }

    fn at(calendar: &Calendar, local: &str) -> String {
        calendar.rate_at(local.parse().unwrap()).to_string()
    }

    const OFFICE: &str = r#"
        rate = "2 Mbit/s"
        [[window]]
        days = "mon-fri"
        from = "08:00"
        to = "18:00"
        rate = "56 kbit/s"
        [[window]]
        days = "fri"
        from = "22:00"
        to = "06:00"
        rate = "unlimited"
        [[window]]
        days = "sat,sun"
        from = "00:00"
        to = "24:00"
        rate = "0"
    "#;

    #[test]
    fn the_rate_follows_day_and_hour() {
        let calendar = read(OFFICE).unwrap();
        // 2026-11-20 is a Friday.
        for (local, rate) in [
            ("2026-11-20T07:59:59", "2 Mbit/s"),
            ("2026-11-20T08:00:00", "56 kbit/s"),
            ("2026-11-20T17:59:59", "56 kbit/s"),
            ("2026-11-20T18:00:00", "2 Mbit/s"),
            ("2026-11-20T22:00:00", "unlimited"),
            ("2026-11-21T05:59:59", "unlimited"),
            ("2026-11-21T06:00:00", "0"),
            ("2026-11-22T23:59:59", "0"),
            ("2026-11-23T00:00:00", "2 Mbit/s"),
            ("2026-11-23T09:00:00", "56 kbit/s"),
        ] {
            assert_eq!(at(&calendar, local), rate, "{local}");
        }
    }

    #[test]
    fn an_empty_calendar_has_no_limit() {
        assert_eq!(at(&read("").unwrap(), "2026-11-21T12:00:00"), "unlimited");
    }

    #[test]
    fn a_run_of_days_may_lead_over_sunday_and_equal_times_are_a_whole_day() {
        let calendar =
            read(r#"window = [{ days = "sat-mon", from = "00:00", to = "00:00", rate = "1 kbit/s" }]"#)
                .unwrap();
        for (local, rate) in [
            ("2026-11-20T23:59:59", "unlimited"),
            ("2026-11-21T00:00:00", "1 kbit/s"),
            ("2026-11-22T12:00:00", "1 kbit/s"),
            ("2026-11-23T23:59:59", "1 kbit/s"),
            ("2026-11-24T00:00:00", "unlimited"),
        ] {
            assert_eq!(at(&calendar, local), rate, "{local}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (window, named) in [
            (r#"{ days = "monday", from = "08:00", to = "18:00", rate = "0" }"#, "mon-fri"),
            (r#"{ days = "mon", from = "8:00", to = "18:00", rate = "0" }"#, "08:00"),
            (r#"{ days = "mon", from = "08:00", to = "24:01", rate = "0" }"#, "24:00"),
            (r#"{ days = "mon", from = "08:00", to = "18:00", rate = "slow" }"#, "56 kbit/s"),
            (r#"{ days = "mon", from = "08:00", to = "18:00", rate = "0", speed = 1 }"#, "speed"),
        ] {
            let error = read(&format!("window = [{window}]")).unwrap_err().to_string();
            assert!(error.contains(named), "{window}: {error}");
        }
    }

    #[test]
    fn a_calendar_reads_back_from_its_text() {
        let calendar = read(OFFICE).unwrap();
        assert_eq!(read(&toml::to_string(&calendar).unwrap()).unwrap(), calendar);
    }
}
