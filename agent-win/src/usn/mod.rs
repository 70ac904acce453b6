//! The change journal of NTFS, as far as it can be read without Windows: records, what they say has changed, and
//! whether nothing was missed since the last look. All of it is data from a disk that others write to: bounded, and
//! never more than a hint about where to look.

mod changes;
mod history;
mod record;

#[cfg_attr(not(windows), allow(unused_imports, reason = "only Windows has it; tested everywhere"))]
pub(crate) use changes::{Changes, Extents};
#[cfg_attr(not(windows), allow(unused_imports, reason = "as above"))]
pub(crate) use history::{Gap, History, Mark};
#[cfg(test)]
pub(crate) use record::{Extent, Reason};
#[cfg_attr(not(windows), allow(unused_imports, reason = "as above"))]
pub(crate) use record::{FileId, Record, RecordError, read_batch};
