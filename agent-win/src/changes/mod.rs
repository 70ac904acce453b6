//! What has changed since the last capture, where the system keeps a record of it: the change journals of volumes. Where
//! there's none, or it doesn't reach back, everything is looked at; once a day as well, whatever is told.

mod hints;
mod marks;
mod source;

pub use crate::scan::ByteRun;
pub use hints::{Hints, Written};
pub(crate) use hints::{NO_HINTS, RECHECK};
pub(crate) use marks::Marks;
pub(crate) use source::{ChangeSource, Look};
