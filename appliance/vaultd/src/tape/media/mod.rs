//! The life of media, decided: pure functions from what is known now to what should be done. Nothing here touches a device
//! or the catalog; [`super::tending`] does what is decided here.

mod allocation;
mod calendar;
mod forecast;
mod health;
mod offsite;
mod plan;
mod recycling;
mod request;
mod rules;
mod schedule;
mod stock;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod samples;

pub use self::calendar::Calendar;
pub use self::plan::{Plan, Step};
pub use self::request::Request;
pub use self::rules::{OffSite, Rules};
pub use self::stock::{Segment, Spot, Stock, Tape};

pub(super) use self::allocation::{Choice, next_cartridge};
pub(super) use self::forecast::forecast;
pub(super) use self::plan::{Pressure, Tried};
pub(super) use self::request::request;
pub(super) use self::schedule::{can_write, due};
