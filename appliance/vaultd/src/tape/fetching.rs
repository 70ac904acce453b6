//! Reading back: segments that left the disk, from the cartridges they are on.

use std::collections::BTreeMap;

use coffer_format::SegmentId;
use coffer_format::event::Place;
use coffer_tape::Barcode;
use coffer_tape::container::{read_segment, scan_cartridge};
use coffer_vault::{Reading, VaultError};
use serde_json::Value;

use super::{TapeJob, failed, refused};

/// Takes a segment that was read back.
type Sink<'a> = dyn FnMut(SegmentId, &[u8]) -> Result<(), VaultError> + 'a;
impl TapeJob {
    /// Reads segments back from the cartridges they're on, each cartridge once; hands each to `sink`.
    pub(crate) fn fetch(
        &self,
        reading: &Reading,
        segments: &[SegmentId],
        working: &mut dyn FnMut(Value),
        sink: &mut Sink<'_>,
    ) -> Result<(), VaultError> {
        let mut by_cartridge: BTreeMap<String, Vec<SegmentId>> = Default::default();
        for segment in segments {
            let copies = reading.copies(*segment)?;
            let on_tape = copies.into_iter().find_map(|place| match place {
                Place::Tape { barcode, .. } => Some(barcode),
                Place::Hq { .. } => None,
            });
            if let Some(barcode) = on_tape {
                by_cartridge.entry(barcode).or_default().push(*segment);
            }
        }
        let mut library = self.library()?;
        for (barcode, wanted) in by_cartridge {
            let barcode: Barcode = barcode
                .parse()
                .map_err(|_| refused("the catalog holds a bad barcode: run `coffer rebuild`"))?;
            let index = library.load(&barcode).map_err(failed)?;
            self.tell_moves(working);
            let drive = library.drive(index).map_err(failed)?;
            let contents = scan_cartridge(drive).map_err(failed)?;
            // In the order they lie on tape, whatever order they're asked for in.
            for place in contents.places().filter(|place| wanted.contains(&place.entry.segment)) {
                let mut bytes = Vec::with_capacity(place.entry.bytes as usize);
                read_segment(drive, &contents.label, &place, &mut bytes).map_err(failed)?;
                sink(place.entry.segment, &bytes)?;
            }
            library.unload(index).map_err(failed)?;
            self.tell_moves(working);
        }
        Ok(())
    }
}
