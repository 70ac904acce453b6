//! What the metadata records say, put into a second catalog: record by record, as far as the real one is, while the vault goes on.

use std::collections::{BTreeMap, HashMap, HashSet};

use coffer_format::entry::Body;
use coffer_format::event::Run;
use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, Stream};
use coffer_format::{Lsn, SegmentId};

use crate::catalog::{self, Shadow};
use crate::presence::files_there;
use crate::reading::Reading;
use crate::segment::{FileForm, ReadableSegment, read_contents, scan};
use crate::{Result, VaultError};

/// Says of a record whether the catalog passes over what it says.
pub(crate) type PassedOver = fn(&Body) -> bool;

/// A second catalog that is being filled.
pub(crate) struct Replay {
    pub(crate) shadow: Shadow,
    passed_over: PassedOver,
    /// Segments that nothing more is to be read of, and how far others were read.
    finished: HashSet<SegmentId>,
    read: HashMap<SegmentId, u64>,
    /// Records that are known and not applied.
    waiting: BTreeMap<Lsn, (SegmentId, IndexEntry)>,
}

impl Replay {
    pub(crate) fn new(shadow: Shadow, passed_over: PassedOver) -> Replay {
        let (finished, read) = (HashSet::new(), HashMap::new());
        Replay { shadow, passed_over, finished, read, waiting: BTreeMap::new() }
    }

    /// Applies every record up to that one, which is durable. `pace` hears of each segment's and record's bytes; where it ends the
    /// work, `false` is returned.
    pub(crate) fn advance(
        &mut self,
        reading: &Reading,
        up_to: Lsn,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool> {
        // A record that seems to be missing may have come since its segment was read.
        while self.collect(reading, pace)? && self.is_any_missing(up_to)? {}
        let transaction = self.shadow.db.unchecked_transaction()?;
        let mut applied = catalog::applied(&transaction)?;
        while let Some(first) = self.waiting.first_entry().filter(|first| *first.key() <= up_to) {
            let (lsn, (segment, record)) = first.remove_entry();
            if lsn <= applied {
                continue;
            }
            if lsn.0 > applied.0 + 1 {
                catalog::put_gap(&transaction, Run { first: Lsn(applied.0 + 1), last: Lsn(lsn.0 - 1) })?;
            }
            applied = lsn;
            match reading.entry_at(segment, record.offset, record.record_len) {
                Ok(entry) if (self.passed_over)(&entry.body) => {}
                Ok(entry) => catalog::apply_entry(&transaction, lsn, &entry)?,
                Err(VaultError::Damaged { .. } | VaultError::Decode(_) | VaultError::NotOnDisk(_)) => {
                    catalog::put_unapplied(&transaction, lsn)?;
                }
                Err(error) => return Err(error),
            }
            catalog::put_log(&transaction, segment, &record)?;
            catalog::set_applied(&transaction, lsn)?;
            if !pace(record.record_len) {
                return Ok(false);
            }
        }
        transaction.commit()?;
        Ok(true)
    }

    /// The newest record that is in the second catalog.
    pub(crate) fn applied(&self) -> Result<Lsn> {
        catalog::applied(&self.shadow.db)
    }

    /// Whether the real catalog may know of a record that can't be read now: then the second says less than the truth.
    pub(crate) fn says_less_than(&self, real: &rusqlite::Connection) -> Result<bool> {
        for run in catalog::lacking(&self.shadow.db)? {
            if catalog::has_applied_of(real, run)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_any_missing(&self, up_to: Lsn) -> Result<bool> {
        let mut due = self.applied()?.0 + 1;
        for lsn in self.waiting.keys().take_while(|lsn| **lsn <= up_to) {
            if lsn.0 > due {
                return Ok(true);
            }
            due = due.max(lsn.0 + 1);
        }
        Ok(due <= up_to.0)
    }

    /// Finds records that weren't known. Returns whether there were any.
    fn collect(&mut self, reading: &Reading, pace: &mut dyn FnMut(u64) -> bool) -> Result<bool> {
        let before = self.waiting.len();
        for (segment, form) in files_there(reading)? {
            if form != FileForm::Whole || self.finished.contains(&segment) {
                continue;
            }
            let found = match reading.files.open(segment, FileForm::Whole) {
                Ok(found) => found,
                // Without its header nobody knows what is in it: the gap shows where it was metadata.
                Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Key(_)) => continue,
                Err(error) => return Err(error),
            };
            if found.header.stream == Stream::Meta {
                self.collect_of(segment, &found)?;
                pace(SegmentHeader::LEN as u64);
            } else {
                self.finished.insert(segment);
            }
        }
        Ok(self.waiting.len() > before)
    }

    fn collect_of(&mut self, segment: SegmentId, found: &ReadableSegment) -> Result<()> {
        let from = self.read.get(&segment).copied().unwrap_or(SegmentHeader::LEN as u64);
        let closed = match read_contents(&*found.file, &found.key) {
            Err(VaultError::Decode(_)) => None,
            other => other?,
        };
        let records: Vec<IndexEntry> = match closed {
            Some(contents) => {
                self.finished.insert(segment);
                contents.index.records
            }
            None => {
                let io = |source| VaultError::Io {
                    doing: "read",
                    path: format!("segment {segment}").into(),
                    source,
                };
                let size = found.file.size().map_err(io)?;
                let mut bytes = vec![0; size.saturating_sub(from) as usize];
                found.file.read_at(from, &mut bytes).map_err(io)?;
                let scanned = scan(&bytes, &found.key, 0);
                self.read.insert(segment, from + scanned.end);
                let of_file = |record: IndexEntry| IndexEntry { offset: record.offset + from, ..record };
                scanned.index.records.into_iter().map(of_file).collect()
            }
        };
        for record in records {
            if record.kind == RecordKind::Meta && record.offset >= from {
                self.waiting.insert(record.lsn, (segment, record));
            }
        }
        Ok(())
    }
}
