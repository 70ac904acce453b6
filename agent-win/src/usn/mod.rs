//! The change journal of NTFS, as far as it can be read without Windows: records, what they say has changed, and
//! whether nothing was missed since the last look. All of it is data from a disk that others write to: bounded, and
//! never more than a hint about where to look.

mod changes;
mod history;
mod record;

pub(crate) use changes::{Changes, Extents};
pub(crate) use history::{Gap, History, Mark};
pub(crate) use record::{FileId, Record, RecordError, read_batch};
