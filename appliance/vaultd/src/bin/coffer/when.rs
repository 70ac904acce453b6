//! Which configuration and which point: as people say it on a command line.

use clap::Args;
use coffer_vault::query::{When, Which};
use coffer_vaultd::client::ExitClass;
use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::Failure;

/// The point to look at; the newest if nothing is said.
#[derive(Args, Clone)]
pub(crate) struct At {
    /// At this time: "2026-11-21 14:00", local.
    #[arg(long, conflicts_with = "point")]
    at: Option<String>,
    /// At this restore point.
    #[arg(long)]
    point: Option<u64>,
}

impl At {
    pub(crate) fn when(&self) -> Result<When, Failure> {
        match (&self.at, self.point) {
            (_, Some(point)) => Ok(When::Point(point)),
            (Some(at), None) => parse_time(at).map(When::At),
            (None, None) => Ok(When::Newest),
        }
    }
}

fn parse_time(text: &str) -> Result<u64, Failure> {
    let local = || text.parse::<DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::system()).ok();
    let found = text.parse::<Timestamp>().ok().or_else(|| Some(local()?.timestamp()));
    found.and_then(|at| u64::try_from(at.as_millisecond()).ok()).ok_or_else(|| {
        Failure::Told(ExitClass::USAGE, format!("{text:?} isn't a time: write it as \"2026-11-21 14:00\""))
    })
}

/// A configuration: COMPUTER/NAME or its number.
pub(crate) fn which(text: &str) -> Result<Which, Failure> {
    if let Ok(number) = text.parse() {
        return Ok(Which::Number(number));
    }
    match text.split_once('/') {
        Some((computer, name)) => Ok(Which::Named { computer: computer.into(), name: name.into() }),
        None => Err(Failure::Told(
            ExitClass::USAGE,
            format!("{text:?} isn't a configuration: write COMPUTER/NAME or its number"),
        )),
    }
}
