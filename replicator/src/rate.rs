//! A line's rate as people write it: `56 kbit/s`, `2 Mbit/s`, `unlimited`; `0` holds the line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

const UNITS: [(&str, u64); 4] =
    [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1000), ("bit/s", 1)];

/// Bits per second, both directions together, headers and TLS counted; `None` inside is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate(Option<u64>);

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a rate: write a number and bit/s, kbit/s, Mbit/s or Gbit/s (\"56 kbit/s\"), \"0\" or \"unlimited\""
)]
pub struct BadRate {
    text: String,
}

impl Rate {
    pub const UNLIMITED: Rate = Rate(None);
    /// Nothing may be sent.
    pub const HOLD: Rate = Rate(Some(0));

    /// This many bits per second.
    pub fn bits(per_second: u64) -> Rate {
        Rate(Some(per_second))
    }

    /// Bytes per second, as a throttle wants them.
    pub fn bytes_per_second(self) -> Option<u64> {
        self.0.map(|bits| bits / 8)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("unlimited"),
            Some(0) => f.write_str("0"),
            Some(bits) => {
                let unit = UNITS.iter().find(|(_, unit)| bits % unit == 0);
                let (name, unit) = unit.expect("every number is a multiple of 1");
                write!(f, "{} {name}", bits / unit)
            }
        }
    }
}

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Rate, BadRate> {
        let bad = || BadRate { text: text.to_owned() };
        let plain = text.trim();
        if plain == "unlimited" {
            return Ok(Rate::UNLIMITED);
        }
        let digits = plain.chars().take_while(char::is_ascii_digit).count();
        let (number, unit) = plain.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let unit = unit.trim();
        if number == 0 && unit.is_empty() {
            return Ok(Rate::HOLD);
        }
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        number.checked_mul(*factor).map(Rate::bits).ok_or_else(bad)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_back_from_their_text() {
        for (text, bytes) in [
            ("56 kbit/s", Some(7000)),
            ("1 Mbit/s", Some(125_000)),
            ("10 Gbit/s", Some(1_250_000_000)),
            ("1234 bit/s", Some(154)),
            ("unlimited", None),
            ("0", Some(0)),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.bytes_per_second(), bytes, "{text}");
            assert_eq!(rate.to_string(), text);
        }
        assert_eq!("56kbit/s".parse::<Rate>().unwrap(), Rate::bits(56_000));
    }

    #[test]
    fn what_is_no_rate_is_refused_with_an_example() {
        for text in [
            "",
            "56",
            "fast",
            "-1 kbit/s",
            "1 kB/s",
            "99999999999999999999 bit/s",
            "18446744073709551615 Gbit/s",
        ] {
            let error = text.parse::<Rate>().unwrap_err();
            assert!(error.to_string().contains("56 kbit/s"), "{text}: {error}");
        }
    }
}
