//! Whether what a version needs can be had, and from where: here, from a verified copy, or from nowhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use coffer_format::event::Place;
use coffer_format::{Lsn, SegmentId};
use rusqlite::{Connection, params};

use crate::Result;
use crate::catalog::{self, DamageKind, Stretch};
use crate::reading::Reading;

/// Where a record can be had from. In order: the later one decides for what needs both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Here, and nothing is known to be wrong with it.
    Here,
    /// The segment left the disk; verified copies are elsewhere.
    Elsewhere,
    /// It's damaged or missing here; a verified copy has it.
    Copy,
    Lost,
}

/// What is known of every segment: damage, whether it's on disk, its verified copies.
#[derive(Debug, Default)]
pub(crate) struct Soundness {
    stretches: BTreeMap<SegmentId, Vec<Stretch>>,
    /// Whether it's on disk, and its bytes.
    segments: HashMap<SegmentId, (bool, u64)>,
    copies: HashMap<SegmentId, Vec<Place>>,
    /// Of those that are damaged: how far HQ has their beginning.
    beginnings: HashMap<SegmentId, u64>,
    hq: Option<Place>,
    /// Metadata records in damaged stretches.
    damaged_lsns: BTreeSet<Lsn>,
}

impl Soundness {
    /// As the catalog knows it.
    pub(crate) fn known(reading: &Reading) -> Result<Soundness> {
        let damage = reading.all_damage()?.into_iter().map(|(stretch, _)| stretch);
        let cut_off = reading.readers.with(catalog::cut_off)?;
        Soundness::with(reading, damage.chain(cut_off))
    }

    /// With these damaged stretches.
    pub(crate) fn with(reading: &Reading, damaged: impl IntoIterator<Item = Stretch>) -> Result<Soundness> {
        let mut found = Soundness::default();
        for stretch in damaged {
            found.stretches.entry(stretch.segment).or_default().push(stretch);
        }
        let segments = reading.segments()?.into_iter();
        found.segments = segments.map(|state| (state.segment, (state.on_disk, state.bytes))).collect();
        let beginnings = reading.beginnings();
        found.beginnings =
            found.stretches.keys().filter_map(|id| Some((*id, beginnings.len_of(*id)?))).collect();
        found.hq = beginnings.place();
        drop(beginnings);
        for copy in reading.all_copies()? {
            found.copies.entry(copy.segment).or_default().push(copy.place);
        }
        found.damaged_lsns = reading.readers.with(|db| found.lsns_in_damage(db))?;
        Ok(found)
    }

    /// The same at HQ: what is counted there as its copy is what is looked at.
    pub(crate) fn at_hq(mut self) -> Soundness {
        for copies in self.copies.values_mut() {
            copies.retain(|place| !matches!(place, Place::Hq { .. }));
        }
        self
    }

    fn lsns_in_damage(&self, db: &Connection) -> Result<BTreeSet<Lsn>> {
        let mut lsns = BTreeSet::new();
        let mut query = db.prepare_cached(
            "SELECT lsn FROM log WHERE segment = ?1 AND offset < ?2 + ?3 AND offset + record_len > ?2",
        )?;
        for stretch in self.stretches.values().flatten() {
            let mut rows = query.query(params![stretch.segment.0, stretch.offset, stretch.len])?;
            while let Some(row) = rows.next()? {
                lsns.insert(Lsn(row.get(0)?));
            }
        }
        Ok(lsns)
    }

    pub(crate) fn has_damage(&self) -> bool {
        !self.stretches.is_empty()
    }
    pub(crate) fn is_damaged_lsn(&self, lsn: Lsn) -> bool {
        self.damaged_lsns.contains(&lsn)
    }
    pub(crate) fn has_damaged_lsns(&self) -> bool {
        !self.damaged_lsns.is_empty()
    }

    /// Verified copies of a segment, as people name them.
    pub(crate) fn places(&self, segment: SegmentId) -> Vec<String> {
        let copies = self.copies.get(&segment).into_iter().flatten();
        let beginning = self.hq.iter().filter(|_| self.beginnings.contains_key(&segment));
        let mut places: Vec<_> = copies.chain(beginning).map(name_of).collect();
        places.sort();
        places.dedup();
        places
    }

    /// Where a record can be had from. Offset and length in bytes.
    pub(crate) fn of(&self, segment: SegmentId, offset: u64, len: u64) -> Standing {
        let has_copy = self.copies.get(&segment).is_some_and(|copies| !copies.is_empty());
        let damage = self.stretches.get(&segment).into_iter().flatten();
        let mut damage = damage.filter(|stretch| stretch.overlaps(offset, len)).peekable();
        let is_damaged = damage.peek().is_some();
        let known = self.segments.get(&segment);
        let end = offset.saturating_add(len).min(known.map_or(u64::MAX, |(_, bytes)| *bytes));
        let has_beginning = is_damaged && self.beginnings.get(&segment).is_some_and(|bytes| *bytes >= end);
        match known.map(|(on_disk, _)| *on_disk) {
            _ if has_beginning => Standing::Copy,
            _ if damage.any(|stretch| stretch.kind == DamageKind::Closed) => Standing::Lost,
            Some(true) if !is_damaged => Standing::Here,
            Some(false) if !is_damaged && has_copy => Standing::Elsewhere,
            Some(_) if has_copy => Standing::Copy,
            _ => Standing::Lost,
        }
    }
}

/// A place as people name it.
pub(crate) fn name_of(place: &Place) -> String {
    match place {
        Place::Tape { barcode, .. } => format!("tape {barcode}"),
        Place::Hq { name } => format!("HQ ({name})"),
    }
}

impl Reading {
    /// Segments whose file isn't what was written, or isn't there: they can't be copied, and don't count as being on disk.
    pub fn unsound(&self) -> Result<BTreeSet<SegmentId>> {
        let damage = self.all_damage()?;
        let unsound = damage.into_iter().filter(|(stretch, _)| stretch.kind != DamageKind::Closed);
        Ok(unsound.map(|(stretch, _)| stretch.segment).collect())
    }

    /// Where the damage begins in those segments: what HQ gets of them ends there.
    pub fn damaged_from(&self) -> Result<HashMap<SegmentId, u64>> {
        let mut from: HashMap<SegmentId, u64> = HashMap::new();
        for (stretch, _) in self.all_damage()? {
            if stretch.kind != DamageKind::Closed {
                let first = from.entry(stretch.segment).or_insert(stretch.offset);
                *first = stretch.offset.min(*first);
            }
        }
        Ok(from)
    }

    /// Segments in which anything is damaged, whether or not a copy can heal it.
    pub(crate) fn damaged_segments(&self) -> Result<BTreeSet<SegmentId>> {
        let damage = self.all_damage()?;
        Ok(damage.into_iter().map(|(stretch, _)| stretch.segment).collect())
    }
}
