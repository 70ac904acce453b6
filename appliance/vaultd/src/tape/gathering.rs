//! Reads wanted segments from whichever cartridges have them: planned, one pass over each, by block address.
//!
//! After each cartridge what is still wanted is planned again, so that what one cartridge couldn't give is taken from another
//! copy, and damage costs only what lies nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use coffer_format::SegmentId;
use coffer_tape::container::{
    AddressReader, AddressedSegment, ExpectedHash, LabelState, read_label, read_segment, scan_cartridge,
};
use coffer_tape::{BlockAddress, Drive, TapeError};
use coffer_vault::VaultError;

use super::order::{self, Copy, Nearness, Order, Pass, Spot};

/// Where cartridges are got from: a library, or a person.
pub(super) trait Mounts {
    /// How near cartridges are; those that aren't named are away.
    fn near(&mut self) -> Result<BTreeMap<String, Nearness>, TapeError>;

    /// Loads a cartridge, has `work` done with the drive (it says how many bytes it read), and puts the cartridge away
    /// whatever happened. Fails with [`TapeError::NotInLibrary`] if it can't be had.
    fn with_loaded(&mut self, barcode: &str, work: &mut Work<'_>) -> Result<(), TapeError>;
}

/// What is done with a loaded cartridge; says how many bytes it read.
pub(super) type Work<'a> = dyn FnMut(&mut Drive) -> Result<u64, TapeError> + 'a;

/// Takes a segment that was read.
pub(super) type Sink<'a> = dyn FnMut(SegmentId, &[u8]) -> Result<(), VaultError> + 'a;

/// A segment to be read, and its copies.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Length of the whole file.
    pub(super) bytes: u64,
    pub(super) expected: ExpectedHash,
    pub(super) copies: Vec<Copy>,
}

/// How it went. Bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    pub(super) mounts: u32,
    pub(super) segments: u64,
    pub(super) bytes: u64,
    /// Cartridges that are wanted and couldn't be had.
    pub(super) away: BTreeSet<String>,
    /// What couldn't be read from anywhere, each with the last reason.
    pub(super) lost: BTreeMap<SegmentId, String>,
    /// Cartridges that aren't those that had these barcodes.
    pub(super) strangers: BTreeSet<String>,
    /// Copies that aren't what was written, or aren't there, each with the reason.
    pub(super) unreadable: Vec<(SegmentId, Copy, String)>,
}

/// Plans how to get what is wanted.
pub(super) fn plan(wanted: &BTreeMap<SegmentId, Wanted>, near: &BTreeMap<String, Nearness>) -> Order {
    let copies = wanted.iter().map(|(segment, wanted)| (*segment, wanted.copies.clone())).collect();
    order::plan(&copies, &|barcode| near.get(barcode).copied().unwrap_or(Nearness::Away))
}

/// Reads everything wanted that can be had; `tell` hears what is being done.
pub(super) fn gather(
    mounts: &mut dyn Mounts,
    mut wanted: BTreeMap<SegmentId, Wanted>,
    tell: &mut dyn FnMut(String),
    sink: &mut Sink<'_>,
) -> Result<Gathered, VaultError> {
    let mut gathered = Gathered::default();
    loop {
        let near = mounts.near().map_err(super::failed)?;
        let Some(pass) = plan(&wanted, &near).passes.into_iter().next() else { break };
        tell(format!("reading {} segments from tape {}", pass.spots.len(), pass.barcode));
        let mut read =
            Reading { pass: &pass, wanted: &wanted, sink, got: Vec::new(), failed: Vec::new(), sunk: None };
        let outcome = mounts.with_loaded(&pass.barcode, &mut |drive| read.all(drive));
        let Reading { got, failed, sunk, .. } = read;
        if let Some(error) = sunk {
            return Err(error);
        }
        match &outcome {
            Err(TapeError::NotInLibrary(_)) => drop(gathered.away.insert(pass.barcode.clone())),
            Err(TapeError::NotLabelled | TapeError::WrongCartridge { .. }) => {
                gathered.mounts += 1;
                gathered.strangers.insert(pass.barcode.clone());
            }
            _ => gathered.mounts += 1,
        }
        for segment in got {
            gathered.segments += 1;
            gathered.bytes += wanted.remove(&segment).map_or(0, |one| one.bytes);
            gathered.lost.remove(&segment);
        }
        let failed: BTreeMap<SegmentId, String> = failed.into_iter().collect();
        let is_read_through = outcome.is_ok();
        let general =
            outcome.err().map_or_else(|| "it isn't on that tape".to_owned(), |error| error.to_string());
        for spot in &pass.spots {
            let Some(one) = wanted.get_mut(&spot.segment) else { continue };
            let why = failed.get(&spot.segment).unwrap_or(&general);
            let (here, elsewhere) =
                std::mem::take(&mut one.copies).into_iter().partition(|copy| copy.barcode == pass.barcode);
            one.copies = elsewhere;
            if is_read_through || failed.contains_key(&spot.segment) {
                let here: Vec<Copy> = here;
                gathered.unreadable.extend(here.into_iter().map(|copy| (spot.segment, copy, why.clone())));
            }
            gathered.lost.insert(spot.segment, format!("tape {}: {why}", pass.barcode));
        }
    }
    for segment in wanted.into_keys() {
        gathered.lost.entry(segment).or_insert_with(|| "no tape holds it".to_owned());
    }
    Ok(gathered)
}

/// One pass over one cartridge.
struct Reading<'a, 's> {
    pass: &'a Pass,
    wanted: &'a BTreeMap<SegmentId, Wanted>,
    sink: &'a mut Sink<'s>,
    got: Vec<SegmentId>,
    failed: Vec<(SegmentId, String)>,
    /// The taker's own error: it ends everything.
    sunk: Option<VaultError>,
}

impl Reading<'_, '_> {
    fn all(&mut self, drive: &mut Drive) -> Result<u64, TapeError> {
        let label = match read_label(drive)? {
            LabelState::Ours(label) if label.barcode == self.pass.barcode => label,
            LabelState::Ours(label) => {
                let wanted = self.pass.barcode.clone();
                return Err(TapeError::WrongCartridge { wanted, found: label.barcode });
            }
            LabelState::Blank => return Err(TapeError::NotLabelled),
            LabelState::Foreign => return Err(TapeError::NotBlank),
        };
        let mut reader = AddressReader::new(drive, label);
        let (mut bytes, mut search) = (0, Vec::new());
        for spot in &self.pass.spots {
            let Some(wanted) = self.wanted.get(&spot.segment) else { continue };
            if spot.block == 0 {
                search.push(*spot);
                continue;
            }
            let addressed = AddressedSegment {
                segment: spot.segment,
                container: spot.container,
                start: BlockAddress(spot.block),
                bytes: wanted.bytes,
                expected: wanted.expected,
            };
            let mut whole = Vec::with_capacity(wanted.bytes as usize);
            match reader.read(&addressed, &mut whole) {
                Ok(()) => bytes += self.take(spot.segment, &whole)?,
                Err(error) if error.is_damage() => {
                    self.failed.push((spot.segment, error.to_string()));
                    search.push(*spot);
                }
                Err(error) => return Err(error),
            }
        }
        if !search.is_empty() {
            bytes += self.search(drive, &search)?;
        }
        Ok(bytes)
    }

    /// Goes by the cartridge's own indexes: for what has no address, or isn't there.
    fn search(&mut self, drive: &mut Drive, spots: &[Spot]) -> Result<u64, TapeError> {
        let contents = scan_cartridge(drive)?;
        let mut bytes = 0;
        for place in contents.places() {
            let segment = place.entry.segment;
            if self.got.contains(&segment) || !spots.iter().any(|spot| spot.segment == segment) {
                continue;
            }
            let mut whole = Vec::with_capacity(place.entry.bytes as usize);
            match read_segment(drive, &contents.label, &place, &mut whole) {
                Ok(()) => bytes += self.take(segment, &whole)?,
                Err(error) if error.is_damage() => self.failed.push((segment, error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    fn take(&mut self, segment: SegmentId, bytes: &[u8]) -> Result<u64, TapeError> {
        if let Err(error) = (self.sink)(segment, bytes) {
            let told = std::io::Error::other(error.to_string());
            self.sunk = Some(error);
            return Err(TapeError::Sink(told));
        }
        self.got.push(segment);
        Ok(bytes.len() as u64)
    }
}
