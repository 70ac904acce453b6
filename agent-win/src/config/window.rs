//! Times of the week in which captures may start.

use std::fmt;
use std::str::FromStr;

/// A moment of the week: day from 0 (Monday) to 6, minute of that day from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowTime {
    pub weekday: u8,
    pub minute: u16,
}

/// The same hours on a run of weekdays. Hours past midnight belong to the day they began on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    first_day: u8,
    last_day: u8,
    from_minute: u16,
    to_minute: u16,
}

pub(super) const REMEDY: &str =
    "Write days and hours such as \"mon-fri 19:00-06:00\" or \"sat 00:00-24:00\".";
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a window")]
pub struct BadWindow(String);

impl Window {
    /// Whether a capture may start at that time.
    pub fn contains(&self, time: WindowTime) -> bool {
        if self.from_minute < self.to_minute {
            return self.on(time.weekday) && (self.from_minute..self.to_minute).contains(&time.minute);
        }
        let before_midnight = self.on(time.weekday) && time.minute >= self.from_minute;
        let after_midnight = self.on((time.weekday + 6) % 7) && time.minute < self.to_minute;
        before_midnight || after_midnight
    }

    fn on(&self, day: u8) -> bool {
        if self.first_day <= self.last_day {
            (self.first_day..=self.last_day).contains(&day)
        } else {
            day >= self.first_day || day <= self.last_day
        }
    }
}

impl FromStr for Window {
    type Err = BadWindow;
    fn from_str(text: &str) -> Result<Window, BadWindow> {
        window(text).ok_or_else(|| BadWindow(text.to_owned()))
    }
}

fn window(text: &str) -> Option<Window> {
    let (days, hours) = text.split_once(' ')?;
    let (first, last) = days.split_once('-').unwrap_or((days, days));
    let (from, to) = hours.split_once('-')?;
    let window = Window {
        first_day: weekday(first)?,
        last_day: weekday(last)?,
        from_minute: minute(from)?,
        to_minute: minute(to)?,
    };
    (window.from_minute != window.to_minute && window.from_minute < 1440).then_some(window)
}

fn weekday(text: &str) -> Option<u8> {
    DAYS.iter().position(|day| *day == text).map(|day| day as u8)
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60 && hour * 60 + minute <= 1440).then_some(hour * 60 + minute)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (DAYS[usize::from(self.first_day)], DAYS[usize::from(self.last_day)]);
        let days = if first == last { first.to_owned() } else { format!("{first}-{last}") };
        let (from, to) = (self.from_minute, self.to_minute);
        write!(f, "{days} {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_reaches_into_the_next_morning() {
        let window: Window = "mon-fri 19:00-06:00".parse().unwrap();
        let at = |weekday, hour: u16| window.contains(WindowTime { weekday, minute: hour * 60 });
        assert!(at(0, 19) && at(0, 23) && at(1, 5) && at(5, 5));
        assert!(!at(0, 5) && !at(0, 12) && !at(5, 19) && !at(6, 5));
        assert_eq!(window.to_string(), "mon-fri 19:00-06:00");
        assert!("mon 25:00-26:00".parse::<Window>().is_err());
        assert!(
            "fri-mon 00:00-24:00".parse::<Window>().unwrap().contains(WindowTime { weekday: 6, minute: 3 })
        );
    }
}
