//! How much of the line to the box the agent may take, by the time of the week.

use std::fmt;
use std::str::FromStr;

use super::{Window, WindowTime};

/// Below this a pack of 1 MiB takes minutes, and nothing would ever be done.
const LEAST_BITS: u64 = 64_000;
const MOST_BITS: u64 = 100_000_000_000;

/// An ordered list of limits: the first whose hours it is counts; without one there's none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bandwidth(pub Vec<BandwidthRule>);

/// One limit, in some hours of the week or always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BandwidthRule {
    pub hours: Option<Window>,
    pub limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Unlimited,
    /// Both directions together, as the line sees it.
    BitsPerSecond(u64),
}

pub(super) const REMEDY: &str = "Write hours and a limit of 64 kbit/s or more, such as \"mon-fri 07:00-19:00 2 Mbit/s\", \
     \"sat 08:00-12:00 unlimited\" or \"otherwise 500 kbit/s\".";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a limit")]
pub struct BadBandwidth(String);

impl Bandwidth {
    /// Bytes per second that may be used at that time; `None` without a limit.
    pub fn at(&self, time: WindowTime) -> Option<u64> {
        let rule = self.0.iter().find(|rule| rule.hours.is_none_or(|hours| hours.contains(time)))?;
        match rule.limit {
            Limit::Unlimited => None,
            Limit::BitsPerSecond(bits) => Some(bits / 8),
        }
    }
}

impl FromStr for BandwidthRule {
    type Err = BadBandwidth;
    fn from_str(text: &str) -> Result<BandwidthRule, BadBandwidth> {
        rule(text).ok_or_else(|| BadBandwidth(text.to_owned()))
    }
}

fn rule(text: &str) -> Option<BandwidthRule> {
    if let Some(limit) = text.strip_prefix("otherwise ") {
        return Some(BandwidthRule { hours: None, limit: limit_of(limit)? });
    }
    let (days, rest) = text.split_once(' ')?;
    let (hours, limit) = rest.split_once(' ')?;
    let hours = format!("{days} {hours}").parse().ok()?;
    Some(BandwidthRule { hours: Some(hours), limit: limit_of(limit)? })
}

fn limit_of(text: &str) -> Option<Limit> {
    if text == "unlimited" {
        return Some(Limit::Unlimited);
    }
    let (count, unit) = text.split_once(' ')?;
    let unit = match unit {
        "kbit/s" => 1000,
        "Mbit/s" => 1_000_000,
        _ => return None,
    };
    let bits = count.parse::<u64>().ok()?.checked_mul(unit)?;
    (LEAST_BITS..=MOST_BITS).contains(&bits).then_some(Limit::BitsPerSecond(bits))
}

impl fmt::Display for BandwidthRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hours {
            Some(hours) => write!(f, "{hours} ")?,
            None => f.write_str("otherwise ")?,
        }
        match self.limit {
            Limit::Unlimited => f.write_str("unlimited"),
            Limit::BitsPerSecond(bits) if bits.is_multiple_of(1_000_000) => {
                write!(f, "{} Mbit/s", bits / 1_000_000)
            }
            Limit::BitsPerSecond(bits) => write!(f, "{} kbit/s", bits / 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 3] =
        ["mon-fri 12:00-13:00 unlimited", "mon-fri 07:00-19:00 2 Mbit/s", "otherwise 500 kbit/s"];

    #[test]
    fn the_first_limit_whose_hours_it_is_counts() {
        let bandwidth = Bandwidth(TEXTS.iter().map(|text| text.parse().unwrap()).collect());
        let at = |weekday, hour: u16, minute: u16| {
            bandwidth.at(WindowTime { weekday, minute: hour * 60 + minute })
        };
        assert_eq!(at(0, 6, 59), Some(62_500));
        assert_eq!(at(0, 7, 0), Some(250_000));
        assert_eq!(at(0, 12, 30), None);
        assert_eq!(at(0, 13, 0), Some(250_000));
        assert_eq!(at(5, 12, 30), Some(62_500));
        assert_eq!(Bandwidth::default().at(WindowTime { weekday: 0, minute: 0 }), None);
    }

    #[test]
    fn what_is_shown_is_read_back_and_nonsense_is_not() {
        for text in TEXTS {
            assert_eq!(text.parse::<BandwidthRule>().unwrap().to_string(), text);
        }
        for text in [
            "2 Mbit/s",
            "otherwise 2 MB/s",
            "otherwise 10 kbit/s",
            "otherwise -1 Mbit/s",
            "otherwise 99999999999999 Mbit/s",
            "mon 2 Mbit/s",
            "mon 07:00-19:00",
            "mon 07:00-26:00 2 Mbit/s",
            "",
        ] {
            assert!(text.parse::<BandwidthRule>().is_err(), "{text}");
        }
    }
}
