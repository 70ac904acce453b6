//! What HQ has of segments that never came whole there: their beginnings. No hash vouches for one, but each record in it does for
//! itself, so damage here can be put right from it: [`crate::Vault::mend_segment`].
//!
//! Known for as long as the program runs, as far as HQ has said so.

use std::collections::{BTreeSet, HashMap};
use std::sync::MutexGuard;

use coffer_format::SegmentId;
use coffer_format::event::Place;

use crate::Result;
use crate::catalog::{self, DamageKind};
use crate::reading::Reading;
use crate::vault::Vault;

/// What is known of beginnings.
#[derive(Debug, Default)]
pub(crate) struct Beginnings {
    /// The branch at HQ, and durable bytes there.
    at_hq: Option<(String, HashMap<SegmentId, u64>)>,
    /// Nothing in them was better than what is here.
    no_better: BTreeSet<SegmentId>,
    /// Closed with damage, and not handed on before HQ was asked for what it was.
    waiting: BTreeSet<SegmentId>,
}

impl Beginnings {
    /// How many bytes of a segment one has that may be better than what is here.
    pub(crate) fn len_of(&self, segment: SegmentId) -> Option<u64> {
        let (_, at_hq) = self.at_hq.as_ref()?;
        at_hq.get(&segment).copied().filter(|_| !self.no_better.contains(&segment))
    }

    /// Where they are.
    pub(crate) fn place(&self) -> Option<Place> {
        self.at_hq.as_ref().map(|(name, _)| Place::Hq { name: name.clone() })
    }
}

impl Reading {
    pub(crate) fn beginnings(&self) -> MutexGuard<'_, Beginnings> {
        self.beginnings.lock().expect("nothing panics while it holds this")
    }

    /// HQ has so many bytes of these segments, and never got them whole.
    pub fn note_beginnings(&self, branch: &str, bytes: HashMap<SegmentId, u64>) {
        self.beginnings().at_hq = Some((branch.to_owned(), bytes));
    }

    /// HQ has more of one of them.
    pub fn note_beginning(&self, segment: SegmentId, bytes: u64) {
        if let Some((_, at_hq)) = &mut self.beginnings().at_hq {
            at_hq.insert(segment, bytes);
        }
    }

    /// Whether HQ has of a segment only the beginning, and that may be better than what is here.
    pub fn has_beginning(&self, segment: SegmentId) -> bool {
        self.beginnings().len_of(segment).is_some()
    }

    /// Segments that were closed with damage, and of which HQ may have what they were: they aren't handed on.
    pub fn waiting_to_be_mended(&self) -> BTreeSet<SegmentId> {
        self.beginnings().waiting.clone()
    }

    /// Nobody has more of a segment than is here: it's handed on as it is, with its damage.
    pub fn wait_no_longer(&self, segment: SegmentId) {
        self.beginnings().waiting.remove(&segment);
    }

    pub(crate) fn note_no_better(&self, segment: SegmentId) {
        let mut beginnings = self.beginnings();
        beginnings.no_better.insert(segment);
        beginnings.waiting.remove(&segment);
    }
}

impl Vault {
    /// For a box that has an HQ: what was closed with damage isn't handed on before HQ was asked for what it was.
    pub fn ask_before_handing_on(&self) -> Result<()> {
        let damage = self.reading.readers.with(catalog::all_damage)?;
        let closed = damage.iter().filter(|(stretch, _)| stretch.kind == DamageKind::Closed);
        self.reading.beginnings().waiting = closed.map(|(stretch, _)| stretch.segment).collect();
        Ok(())
    }
}
