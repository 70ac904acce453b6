//! What the branch's box lacks itself. It records its own damage, so HQ reads there what nobody is going to send.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::entry::Body;
use coffer_format::event::Event;
use coffer_format::segment::SegmentHeader;
use coffer_format::{Lsn, SegmentId};

use super::{Here, Mirror};
use crate::{Result, VaultError, catalog};

/// What the box has recorded of its damage, as far as its records were read.
#[derive(Default)]
pub(super) struct Told {
    read_up_to: Lsn,
    /// Offset and length of each stretch. Bytes.
    damaged: BTreeMap<SegmentId, Vec<(u64, u64)>>,
}

impl Told {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::StretchDamaged { segment, offset, len, .. } => {
                self.damaged.entry(*segment).or_default().push((*offset, *len));
            }
            Event::RecordDamaged { segment, offset, .. } => {
                self.damaged.entry(*segment).or_default().push((*offset, 1));
            }
            Event::SegmentReturned { segment } | Event::SegmentDropped { segment, .. } => {
                self.damaged.remove(segment);
            }
            _ => {}
        }
    }

    /// Whether the box can't go on with a segment of which the first `bytes` are here.
    fn is_stuck(&self, segment: SegmentId, bytes: u64) -> bool {
        let next = bytes.max(SegmentHeader::LEN as u64);
        let stretches = self.damaged.get(&segment).into_iter().flatten();
        stretches.into_iter().any(|(offset, len)| *offset <= next && offset.saturating_add(*len) > next)
    }
}

impl Mirror {
    /// Segments that are damaged or missing here, and damaged or missing at the box where they end here.
    pub fn lacking_at_box(&self) -> Result<BTreeSet<SegmentId>> {
        let due = self.not_as_they_came()?;
        if due.is_empty() {
            return Ok(due);
        }
        let stuck = self.stuck()?;
        Ok(due.into_iter().filter(|segment| stuck.contains(segment)).collect())
    }

    /// Segments that aren't whole here and damaged or missing at the box where they end here: nothing more of them comes before the box
    /// heals them.
    pub(super) fn stuck(&self) -> Result<BTreeSet<SegmentId>> {
        let mut told = self.told.lock().map_err(|_| VaultError::ReadOnly)?;
        self.read_on(&mut told)?;
        let here = self.here();
        let is_due =
            |segment: &SegmentId| here.get(segment).is_none_or(|here| here.hash.is_none() && !here.forgotten);
        let bytes = |segment: &SegmentId| here.get(segment).map_or(0, Here::due);
        let due = told.damaged.keys().filter(|segment| is_due(segment));
        Ok(due.filter(|segment| told.is_stuck(**segment, bytes(segment))).copied().collect())
    }

    fn read_on(&self, told: &mut Told) -> Result<()> {
        let more = catalog::log_after(&*self.db()?, told.read_up_to)?;
        for (lsn, segment, offset, len) in more {
            match self.reading.entry_at(segment, offset, len) {
                Ok(entry) => {
                    if let Body::Event { event } = &entry.body {
                        told.hear(event);
                    }
                }
                Err(error) => {
                    tracing::debug!(%segment, offset, %error, "a record can't be read, so it isn't known whether it tells of damage");
                }
            }
            told.read_up_to = lsn;
        }
        Ok(())
    }
}
