//! What the records of a journal come to: names to look at, and where in large files something was written.

use std::collections::{BTreeMap, BTreeSet};

use super::history::Gap;
use super::record::{Extent, FileId, Reason, Record};

/// Names beyond which looking at everything is cheaper.
const NAMES_MAX: usize = 200_000;
/// Runs of one file beyond which all of it is read.
const RUNS_MAX: usize = 4096;
/// Files with runs beyond which further ones are read whole.
const FILES_MAX: usize = 10_000;

/// Where a file was written to, as far as the journal says. A hint: what lies there is hashed before it's believed, and
/// where the journal says too little all of the file is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Extents {
    /// Start and end of each run: in order, and apart.
    Runs(BTreeMap<u64, u64>),
    Whole,
}

/// Changes since a mark.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    names: BTreeSet<(FileId, Vec<u8>)>,
    extents: BTreeMap<FileId, Extents>,
    /// Bytes changed at places that no record has named yet.
    unplaced: BTreeSet<FileId>,
    /// Files that are open still, or whose runs are told in part: more may have been written than is told.
    unfinished: BTreeSet<FileId>,
    /// Files that were closed, and not written to since.
    closed: BTreeSet<FileId>,
    /// Files of which runs were told since they were last closed.
    ranged: BTreeSet<FileId>,
}

impl Changes {
    pub(crate) fn take(&mut self, record: Record) -> Result<(), Gap> {
        match record {
            Record::Name { file, parent, reason, name } => {
                self.session(file, reason);
                self.names.insert((parent, name));
                if self.names.len() > NAMES_MAX {
                    return Err(Gap::Wrapped);
                }
                if reason.has(Reason::DATA_TRUNCATION) {
                    self.extents.insert(file, Extents::Whole);
                } else if reason.has(Reason::DATA_OVERWRITE) || reason.has(Reason::DATA_EXTEND) {
                    self.unplaced.insert(file);
                }
                Ok(())
            }
            Record::Ranges { file, extents, remaining, .. } => {
                // The record that says that the file was closed comes after all of these.
                if remaining > 0 {
                    self.unfinished.insert(file);
                }
                self.ranged.insert(file);
                self.add(file, &extents);
                Ok(())
            }
            Record::Unknown => Err(Gap::Unknown),
        }
    }

    /// Follows a file from being written to until it's closed.
    fn session(&mut self, file: FileId, reason: Reason) {
        if reason.is_of_open_data() {
            self.unfinished.insert(file);
            self.closed.remove(&file);
        } else if reason.has(Reason::CLOSE) {
            self.unfinished.remove(&file);
            self.closed.insert(file);
            // Written to without a word where: what's told of the times before and after doesn't count.
            if reason.is_of_data() && !self.ranged.remove(&file) {
                self.extents.insert(file, Extents::Whole);
            }
        }
    }

    /// Files that are being written to still.
    pub(crate) fn open(&self) -> impl Iterator<Item = FileId> {
        self.unfinished.iter().copied()
    }

    pub(crate) fn is_closed(&self, file: FileId) -> bool {
        self.closed.contains(&file)
    }

    fn add(&mut self, file: FileId, extents: &[Extent]) {
        let is_new = !self.extents.contains_key(&file);
        let room = !is_new || self.extents.len() < FILES_MAX;
        let runs = self.extents.entry(file).or_insert_with(|| Extents::Runs(BTreeMap::new()));
        if !room {
            *runs = Extents::Whole;
        }
        for extent in extents {
            runs.add(*extent);
        }
    }

    /// Directories and names in them that something happened to.
    pub(crate) fn names(&self) -> impl Iterator<Item = (FileId, &[u8])> {
        self.names.iter().map(|(parent, name)| (*parent, &name[..]))
    }

    /// Files whose bytes have changed.
    pub(crate) fn files(&self) -> impl Iterator<Item = FileId> {
        let told: BTreeSet<FileId> = self.extents.keys().chain(&self.unplaced).copied().collect();
        told.into_iter()
    }

    /// Where a file was written to; `None` where only its name or attributes changed.
    pub(crate) fn extents(&self, file: FileId) -> Option<Extents> {
        match self.extents.get(&file) {
            Some(_) if self.unfinished.contains(&file) => Some(Extents::Whole),
            Some(extents) => Some(extents.clone()),
            None => self.unplaced.contains(&file).then_some(Extents::Whole),
        }
    }
}

impl Extents {
    fn add(&mut self, extent: Extent) {
        let Extents::Runs(runs) = self else { return };
        let (mut start, mut end) = (extent.at, extent.at.saturating_add(extent.len));
        // Runs that it touches become one with it.
        while let Some((at, until)) = runs.range(..=end).next_back().map(|(at, until)| (*at, *until)) {
            if until < start {
                break;
            }
            runs.remove(&at);
            (start, end) = (start.min(at), end.max(until));
        }
        runs.insert(start, end);
        if runs.len() > RUNS_MAX {
            *self = Extents::Whole;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::read_batch;
    use super::*;

    /// Something done to one of a few files, each in a directory of its own number.
    #[derive(Debug, Clone)]
    enum Deed {
        Write { file: u8, extents: Vec<(u16, u16)> },
        Truncate { file: u8 },
        Rename { file: u8, to: u8 },
        Touch { file: u8 },
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let file = 0..6u8;
        let extents = prop::collection::vec((any::<u16>(), 1..2000u16), 1..12);
        let deed = prop_oneof![
            4 => (file.clone(), extents).prop_map(|(file, extents)| Deed::Write { file, extents }),
            1 => file.clone().prop_map(|file| Deed::Truncate { file }),
            1 => (file.clone(), 6..12u8).prop_map(|(file, to)| Deed::Rename { file, to }),
            1 => file.prop_map(|file| Deed::Touch { file }),
        ];
        prop::collection::vec(deed, 0..60)
    }

    /// The slow, obvious account of what a history comes to: every byte by itself.
    #[derive(Default)]
    struct Model {
        names: BTreeSet<(u128, Vec<u8>)>,
        written: BTreeMap<u128, BTreeSet<u64>>,
        truncated: BTreeSet<u128>,
    }

    fn file_name(number: u8) -> Vec<u8> {
        format!("file {number}").into_bytes()
    }

    impl Model {
        fn take(&mut self, deed: &Deed) {
            let mut name =
                |file: u8, shown: u8| self.names.insert((u128::from(file) + 100, file_name(shown)));
            match deed {
                Deed::Write { file, extents } => {
                    name(*file, *file);
                    let bytes = self.written.entry((*file).into()).or_default();
                    for (at, len) in extents {
                        bytes.extend(u64::from(*at)..u64::from(*at) + u64::from(*len));
                    }
                }
                Deed::Truncate { file } => {
                    name(*file, *file);
                    self.truncated.insert((*file).into());
                }
                Deed::Rename { file, to } => {
                    name(*file, *file);
                    name(*file, *to);
                }
                Deed::Touch { file } => {
                    name(*file, *file);
                }
            }
        }
    }

    /// As the journal writes it: ranges in records of version 4, the last followed by one with the name.
    fn records(deed: &Deed, is_v2: bool, per_record: usize) -> Vec<u8> {
        let named = |file: u8, shown: u8, reason: u32| named(file, &file_name(shown), reason, is_v2);
        match deed {
            Deed::Write { file, extents } => {
                let mut out = Vec::new();
                let mut left = extents.len();
                for part in extents.chunks(per_record) {
                    left -= part.len();
                    out.extend(ranges(*file, part, left as u32));
                }
                out.extend(named(*file, *file, 0x8000_0001));
                out
            }
            Deed::Truncate { file } => named(*file, *file, 0x8000_0004),
            Deed::Rename { file, to } => [named(*file, *file, 0x1000), named(*file, *to, 0x2000)].concat(),
            Deed::Touch { file } => named(*file, *file, 0x8000_8000),
        }
    }

    fn named(file: u8, name: &[u8], reason: u32, is_v2: bool) -> Vec<u8> {
        let wide: Vec<u8> = name.iter().flat_map(|byte| [*byte, 0]).collect();
        let (id, head) = if is_v2 { (8, 60) } else { (16, 76) };
        let mut record = vec![0; head];
        record[4] = if is_v2 { 2 } else { 3 };
        record[8] = file;
        record[8 + id] = file + 100;
        record[head - 20..head - 16].copy_from_slice(&reason.to_le_bytes());
        record[head - 4] = wide.len() as u8;
        record[head - 2] = head as u8;
        finished(record, &wide)
    }

    fn ranges(file: u8, extents: &[(u16, u16)], remaining: u32) -> Vec<u8> {
        let mut record = vec![0; 64];
        record[4] = 4;
        record[8] = file;
        record[24] = file + 100;
        record[48] = 1;
        record[56..60].copy_from_slice(&remaining.to_le_bytes());
        record[60] = extents.len() as u8;
        record[62] = 16;
        let all: Vec<u8> = extents
            .iter()
            .flat_map(|(at, len)| [u64::from(*at).to_le_bytes(), u64::from(*len).to_le_bytes()].concat())
            .collect();
        finished(record, &all)
    }

    fn finished(mut record: Vec<u8>, rest: &[u8]) -> Vec<u8> {
        record.extend(rest);
        let len = record.len() as u32;
        record[..4].copy_from_slice(&len.to_le_bytes());
        record.resize(record.len().next_multiple_of(8), 0);
        record
    }

    proptest! {
        #[test]
        fn what_a_journal_says_is_what_happened(
            deeds in deeds(),
            is_v2 in any::<bool>(),
            per_record in 1..5usize,
            per_batch in 1..7usize,
        ) {
            let (mut model, mut changes) = (Model::default(), Changes::default());
            deeds.iter().for_each(|deed| model.take(deed));
            for batch in deeds.chunks(per_batch) {
                let bytes: Vec<u8> = batch.iter().flat_map(|deed| records(deed, is_v2, per_record)).collect();
                let (_, records) = read_batch(&[&[0; 8][..], &bytes].concat()).unwrap();
                records.into_iter().try_for_each(|record| changes.take(record)).unwrap();
            }
            let names: BTreeSet<_> = changes.names().map(|(parent, name)| (parent.0, name.to_vec())).collect();
            prop_assert_eq!(names, model.names);
            for file in 0..6u128 {
                match changes.extents(FileId(file)) {
                    Some(Extents::Whole) => prop_assert!(model.truncated.contains(&file)),
                    Some(Extents::Runs(runs)) => {
                        let bytes: BTreeSet<u64> = runs.iter().flat_map(|(at, end)| *at..*end).collect();
                        prop_assert_eq!(Some(&bytes), model.written.get(&file));
                        let apart = runs.iter().zip(runs.iter().skip(1)).all(|((_, end), (at, _))| end < at);
                        prop_assert!(apart, "{:?}", runs);
                    }
                    None => prop_assert!(!model.written.contains_key(&file) && !model.truncated.contains(&file)),
                }
            }
        }
    }

    #[test]
    fn a_write_without_ranges_means_the_whole_file() {
        let mut changes = Changes::default();
        let (_, records) = read_batch(&[&[0; 8][..], &named(3, b"x", 0x1, true)].concat()).unwrap();
        records.into_iter().try_for_each(|record| changes.take(record)).unwrap();
        assert_eq!(changes.extents(FileId(3)), Some(Extents::Whole));
        assert_eq!(changes.take(Record::Unknown), Err(Gap::Unknown));
    }

    #[test]
    fn runs_of_one_session_say_nothing_of_another_that_had_none() {
        let mut changes = Changes::default();
        // Written to while it was too small for runs to be tracked, then again when it had grown.
        let history =
            [named(3, b"x", 0x8000_0001, true), ranges(3, &[(5, 6)], 0), named(3, b"x", 0x8000_0001, true)];
        let (_, records) = read_batch(&[&[0; 8][..], &history.concat()].concat()).unwrap();
        records.into_iter().try_for_each(|record| changes.take(record)).unwrap();
        assert_eq!(changes.extents(FileId(3)), Some(Extents::Whole));
        assert!(changes.is_closed(FileId(3)) && changes.open().next().is_none());
    }

    #[test]
    fn a_file_in_very_many_pieces_is_read_whole() {
        let mut extents = Extents::Runs(BTreeMap::new());
        (0..=RUNS_MAX as u64).for_each(|number| extents.add(Extent { at: number * 10, len: 3 }));
        assert_eq!(extents, Extents::Whole);
    }
}
