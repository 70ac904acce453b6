//! The computer's own clock: data for the box, never policy.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::WindowTime;

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Nanoseconds since 1970-01-01 UTC.
pub(crate) fn now_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos().min(i64::MAX as u128) as i64)
}

/// A moment for people, to the minute.
pub(crate) fn utc(ms: u64) -> String {
    let at =
        i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// The moment of the week on this computer's clock and calendar.
pub(crate) fn week_time() -> WindowTime {
    let now = jiff::Zoned::now();
    let weekday = now.weekday().to_monday_zero_offset() as u8;
    WindowTime { weekday, minute: now.hour() as u16 * 60 + now.minute() as u16 }
}
