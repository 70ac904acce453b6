//! The WAN job of a box: brings segments to HQ byte for byte, and back.
//!
//! It *pulls*: what is to be sent is derived from what the vault has and what HQ has said is durable there, again and again, so
//! that nothing is lost with a restart and new metadata overtakes bulk. It knows segments as runs of bytes,
//! not what is in them; HQ's side is `coffer-hq`. The protocol in prose: `README.md` beside this crate's manifest.
#![forbid(unsafe_code)]

mod backoff;
mod calendar;
mod continuing;
mod error;
mod fetch;
mod job;
mod lineage;
mod pace;
mod progress;
mod rate;
mod session;
mod settings;
mod status;
mod work;

pub use calendar::{Calendar, CalendarError, Window};
pub use continuing::{AtHq, fetch_outlines, take_over};
pub use error::WanError;
pub use fetch::{fetch_segment, fetch_segments, fetch_what_can};
pub use job::{LostCopies, WanJob};
pub use rate::{BadRate, Rate};
pub use settings::{LocalTime, Patience, WanSettings};
pub use status::{ClockTold, NotTaken, WanStatus, WholeAtHq};
pub use work::due_bytes;
