//! From when until when a certificate is valid, and time as a person reads it.

use std::fmt;

use x509_parser::time::ASN1Time;

/// Seconds of Unix time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub from_s: i64,
    pub until_s: i64,
}

impl Validity {
    /// Why the peer may have refused a certificate as out of date, by our clock.
    pub(crate) fn refused_at(self, clock_s: i64) -> ClockLimit {
        match clock_s {
            early if early < self.from_s => ClockLimit::NotBefore(self.from_s),
            late if late > self.until_s => ClockLimit::NotAfter(self.until_s),
            _ => ClockLimit::Peers(self),
        }
    }
}

/// Where a clock and a certificate disagree. Seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockLimit {
    NotBefore(i64),
    NotAfter(i64),
    /// By our clock it's valid, the peer's clock says it's not.
    Peers(Validity),
}

impl fmt::Display for ClockLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClockLimit::NotBefore(from_s) => write!(f, "is valid only from {}", at(*from_s)),
            ClockLimit::NotAfter(until_s) => write!(f, "ran out at {}", at(*until_s)),
            ClockLimit::Peers(Validity { from_s, until_s }) => {
                write!(f, "(valid from {} until {}) was refused as out of date", at(*from_s), at(*until_s))
            }
        }
    }
}

/// A time in UTC for a sentence.
pub(crate) fn at(unix_s: i64) -> String {
    ASN1Time::from_timestamp(unix_s).map_or_else(|_| format!("second {unix_s}"), |time| time.to_string())
}
