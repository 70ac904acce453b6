//! Writing: puts what a set doesn't hold yet on one of its cartridges, in one sequential run.
//!
//! Nothing is queued. What is to be written is derived from the catalog each time, so a restart, a lost tape or a new
//! set needs no special case. A copy is recorded when the medium has its container.

use std::io;
use std::sync::Arc;

use coffer_format::SegmentId;
use coffer_format::container::Label;
use coffer_format::event::{CartridgeState, Event, Place};
use coffer_tape::container::{
    CatalogMoment, ContainerReceipt, ContainerWriter, ExpectedHash, PlannedSegment,
};
use coffer_tape::{Barcode, Library, TapeError};
use coffer_vault::{SegmentState, Vault};
use serde::Serialize;

use super::media::{Choice, Stock, Tape, Tried};
use super::mounting::{Mounted, Use};
use super::parted::{self, Known, is_of_other_line};
use super::segment_stream::SegmentStream;
use super::set_catalog::SetCatalog;
use super::{TapeJob, Trouble};

/// A container is closed once it has grown so long: a crash costs at most that much writing.
const CONTAINER_BYTES: u64 = 16 << 30;

/// What a run wrote.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Written {
    pub segments: u64,
    pub bytes: u64,
    pub cartridges: Vec<String>,
    /// What couldn't be written, in sentences.
    pub refused: Vec<String>,
}

/// One cartridge being written.
struct Writing<'a> {
    vault: &'a Arc<Vault>,
    label: Label,
    /// As it's known.
    tape: Option<&'a Tape>,
    /// What the catalog counts on it so far.
    bytes: u64,
    done: Use,
}

/// How a cartridge was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Open,
    Full,
}

impl TapeJob {
    /// Writes what `set` lacks on the chosen cartridge, until all is written, it's full, or a restore wants the library.
    pub(super) fn write_set(
        &self,
        library: &mut Library,
        vault: &Arc<Vault>,
        (stock, choice, set): (&Stock, &Choice, &str),
        tried: &mut Tried,
        written: &mut Written,
    ) -> Result<(), Trouble> {
        let mounted = match self.mount(library, vault, choice.barcode()) {
            Ok(mounted) => mounted,
            Err(trouble) => return self.give_up_on(choice.barcode(), trouble, tried, written),
        };
        let label = match self.claim_cartridge(library, vault, (stock, choice, set), &mounted) {
            Ok(Some(label)) => label,
            Ok(None) => {
                tried.tapes.insert(choice.barcode().clone());
                return self.dismount(library, vault, mounted, Use::default());
            }
            Err(Trouble::Tape(error)) => {
                self.dismount_failed(library, vault, mounted, Use::default(), &error)?;
                return self.give_up_on(choice.barcode(), error.into(), tried, written);
            }
            Err(trouble) => return Err(trouble),
        };
        let bytes = vault.reading().cartridges()?;
        let bytes = bytes.iter().find(|one| one.barcode == label.barcode).map_or(0, |one| one.written);
        let tape = stock.tapes.get(choice.barcode());
        let mut writing = Writing { vault, label, tape, bytes, done: Use::default() };
        let plan = self.planned(vault, stock, set, tried)?;
        let before = written.segments;
        let outcome = self.write_containers(library, &mounted, &mut writing, plan, tried, written);
        written.cartridges.push(mounted.barcode.to_string());
        match outcome {
            Ok(left) => {
                // A cartridge that took nothing would be tried for ever.
                if left == Left::Full && written.segments == before {
                    tried.tapes.insert(mounted.barcode.clone());
                }
                self.dismount(library, vault, mounted, writing.done)
            }
            Err(Trouble::Tape(error)) => {
                let barcode = mounted.barcode.clone();
                self.dismount_failed(library, vault, mounted, writing.done, &error)?;
                self.give_up_on(&barcode, error.into(), tried, written)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Leaves a cartridge alone for the rest of the run, unless it's the library that failed.
    fn give_up_on(
        &self,
        barcode: &Barcode,
        trouble: Trouble,
        tried: &mut Tried,
        written: &mut Written,
    ) -> Result<(), Trouble> {
        let Trouble::Tape(error) = trouble else { return Err(trouble) };
        tracing::warn!(%barcode, %error, "a cartridge isn't written any further in this run");
        written.refused.push(format!("tape {barcode}: {error}"));
        match tried.tapes.insert(barcode.clone()) {
            true => Ok(()),
            false => Err(error.into()),
        }
    }

    /// What a set lacks and the disk has, with what it must hash to.
    fn planned(
        &self,
        vault: &Vault,
        stock: &Stock,
        set: &str,
        tried: &Tried,
    ) -> Result<Vec<SegmentState>, Trouble> {
        let lacking: std::collections::BTreeSet<SegmentId> = stock.writable(set).into_iter().collect();
        let mut plan = vault.reading().segments()?;
        plan.retain(|one| {
            one.on_disk
                && one.hash.is_some()
                && lacking.contains(&one.segment)
                && !tried.segments.contains(&one.segment)
        });
        Ok(plan)
    }

    fn write_containers(
        &self,
        library: &mut Library,
        mounted: &Mounted,
        writing: &mut Writing<'_>,
        plan: Vec<SegmentState>,
        tried: &mut Tried,
        written: &mut Written,
    ) -> Result<Left, Trouble> {
        let mut writer = ContainerWriter::open_expecting(library.drive(mounted.drive)?, &writing.label)?;
        let known = Known::of(writing.tape);
        if !known.has_all_before(writer.next_container()) {
            let drive = library.drive(mounted.drive)?;
            if is_of_other_line(drive, writing.vault, known)? {
                self.leave_to_other_line(writing.vault, &mounted.barcode, writing.tape)?;
                written.refused.push(parted::sentence(&mounted.barcode));
                return Ok(Left::Full);
            }
            writer = ContainerWriter::open_expecting(drive, &writing.label)?;
        }
        let mut set_catalog = SetCatalog::new(writing.vault, &writing.label.barcode);
        let mut left: &[SegmentState] = &plan;
        while !left.is_empty() && !self.right_of_way.is_claimed() {
            let count = fitting(left, CONTAINER_BYTES);
            let planned: Vec<PlannedSegment> = left[..count].iter().filter_map(planned).collect();
            let mut open = |segment| self.open_source(writing.vault, segment);
            let mut catalog = |moment: CatalogMoment<'_>| set_catalog.items(moment);
            let receipt = match writer.write_with_catalog(&planned, &mut open, &mut catalog) {
                Ok(receipt) => receipt,
                Err(TapeError::CartridgeFull) => {
                    let containers = writer.next_container() - 1;
                    writing.vault.record(vec![writing.state(CartridgeState::Full, containers)])?;
                    return Ok(Left::Full);
                }
                Err(error) => return Err(error.into()),
            };
            self.record(writing, &plan, &receipt, written)?;
            for refused in &receipt.refused {
                writing.vault.reading().suspect_segment(refused.segment);
                tried.segments.insert(refused.segment);
                written.refused.push(format!("segment {}: {}", refused.segment, refused.why));
            }
            if receipt.full {
                if receipt.container == 1 && receipt.recorded.is_empty() {
                    tried.segments.extend(planned.first().map(|one| one.segment));
                    written.refused.push(format!("tape {} is too small for one segment", mounted.barcode));
                }
                return Ok(Left::Full);
            }
            left = &left[count - receipt.not_written.len()..];
        }
        Ok(Left::Open)
    }

    /// A segment's bytes; stops the container where a restore waits.
    fn open_source(&self, vault: &Arc<Vault>, segment: SegmentId) -> io::Result<Box<dyn io::Read>> {
        match self.right_of_way.is_claimed() {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => Ok(Box::new(SegmentStream::new(vault, segment))),
        }
    }

    /// Records, at once, the copies and what the cartridge now holds. `plan` is in order of segments.
    fn record(
        &self,
        writing: &mut Writing<'_>,
        plan: &[SegmentState],
        receipt: &ContainerReceipt,
        written: &mut Written,
    ) -> Result<(), Trouble> {
        let mut events = Vec::with_capacity(receipt.recorded.len() + 1);
        let mut bytes = 0;
        for recorded in &receipt.recorded {
            let segment = recorded.entry.segment;
            let planned = plan.binary_search_by_key(&segment, |one| one.segment).ok();
            let Some(hash) = planned.and_then(|at| plan[at].hash) else { continue };
            let barcode = writing.label.barcode.clone();
            let block = recorded.start.map_or(0, |start| start.0);
            let place = Place::Tape { barcode, container: receipt.container, block };
            events.push(Event::CopyRecorded { segment, hash, place });
            bytes += recorded.entry.bytes;
        }
        written.segments += events.len() as u64;
        written.bytes += bytes;
        writing.bytes += bytes;
        writing.done.written += bytes;
        let state = if receipt.full { CartridgeState::Full } else { CartridgeState::Filling };
        events.push(writing.state(state, receipt.container));
        Ok(writing.vault.record(events)?)
    }
}

impl Writing<'_> {
    fn state(&self, state: CartridgeState, containers: u32) -> Event {
        Event::CartridgeSet {
            barcode: self.label.barcode.clone(),
            state,
            set: self.label.set.clone(),
            number: self.label.number,
            containers,
            written: self.bytes,
        }
    }
}

/// How many of the next segments go into one container.
fn fitting(left: &[SegmentState], bytes_max: u64) -> usize {
    let mut bytes = 0;
    let fits = left.iter().take_while(|one| {
        bytes += one.bytes;
        bytes <= bytes_max
    });
    fits.count().max(1)
}

fn planned(state: &SegmentState) -> Option<PlannedSegment> {
    Some(PlannedSegment {
        segment: state.segment,
        bytes: state.bytes,
        expected: ExpectedHash::BeforeTrailer(state.hash?),
    })
}
