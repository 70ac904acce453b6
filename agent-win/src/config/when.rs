//! When captures of a configuration start.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// When captures start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as something has changed and gone quiet.
    Continuous,
    /// This long after the start of the one before.
    Every(Duration),
    /// Only when somebody asks.
    Manual,
}

pub(super) const REMEDY: &str =
    "Write \"continuous\", \"manual\", \"every 15 minutes\", \"every 2 hours\" or \"every 1 day\".";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a time to start")]
pub struct BadWhen(String);

impl FromStr for When {
    type Err = BadWhen;
    fn from_str(text: &str) -> Result<When, BadWhen> {
        match text {
            "continuous" => return Ok(When::Continuous),
            "manual" => return Ok(When::Manual),
            _ => {}
        }
        every(text).ok_or_else(|| BadWhen(text.to_owned()))
    }
}

fn every(text: &str) -> Option<When> {
    let (count, unit) = text.strip_prefix("every ")?.split_once(' ')?;
    let count: u64 = count.parse().ok().filter(|count| (1..=10_000).contains(count))?;
    let seconds = match unit {
        "second" | "seconds" => 1,
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 86_400,
        _ => return None,
    };
    Some(When::Every(Duration::from_secs(count * seconds)))
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Continuous => f.write_str("continuous"),
            When::Manual => f.write_str("manual"),
            When::Every(every) => {
                let seconds = every.as_secs();
                match () {
                    () if seconds.is_multiple_of(86_400) => write!(f, "every {} days", seconds / 86_400),
                    () if seconds.is_multiple_of(3600) => write!(f, "every {} hours", seconds / 3600),
                    () if seconds.is_multiple_of(60) => write!(f, "every {} minutes", seconds / 60),
                    () => write!(f, "every {seconds} seconds"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for text in
            ["continuous", "manual", "every 30 seconds", "every 15 minutes", "every 2 hours", "every 1 day"]
        {
            let when: When = text.parse().unwrap();
            assert_eq!(when.to_string().parse::<When>().unwrap(), when);
        }
        assert!("every 0 hours".parse::<When>().is_err());
        assert!("every 5 fortnights".parse::<When>().is_err());
    }
}
