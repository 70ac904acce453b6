//! Everything on a set of cartridges, handed out segment by segment: what a vault is rebuilt from.

use std::io::{self, Read};

use coffer_format::SegmentId;
use coffer_format::container::{ContainerEntry, Label};

use super::{CartridgeContents, SegmentPlace, scan_cartridge, stream_segment};
use crate::{Barcode, Drive, Library, TapeError};

/// One segment on its way out: read `bytes` to their end, or not at all. What stops amid them doesn't count.
pub struct Delivery<'a> {
    pub label: &'a Label,
    pub container: u32,
    pub entry: &'a ContainerEntry,
    pub bytes: &'a mut dyn Read,
}

/// A segment that couldn't be read.
#[derive(Debug)]
pub struct LostSegment {
    pub barcode: Barcode,
    pub container: u32,
    pub segment: SegmentId,
    pub error: TapeError,
}

/// A cartridge that couldn't be used, from where on its error says.
#[derive(Debug)]
pub struct FailedCartridge {
    pub barcode: Barcode,
    pub error: TapeError,
}

/// How an extraction went.
#[derive(Debug, Default)]
pub struct ExtractReport {
    /// Labels of the cartridges that were read.
    pub read: Vec<Label>,
    pub segments: u64,
    pub bytes: u64,
    pub lost: Vec<LostSegment>,
    pub failed: Vec<FailedCartridge>,
}

/// Loads each cartridge once, in order, and hands every segment on it to `out`, in the order they lie on tape.
///
/// `out` may leave a segment unread, to skip it. An error of its own ends the extraction; damage and cartridges that
/// can't be read are reported and the next ones are read all the same.
pub fn extract_all(
    library: &mut Library,
    barcodes: &[Barcode],
    out: &mut dyn FnMut(Delivery<'_>) -> io::Result<()>,
) -> Result<ExtractReport, TapeError> {
    let mut report = ExtractReport::default();
    for barcode in barcodes {
        match extract_cartridge(library, barcode, out, &mut report) {
            Err(error @ TapeError::Sink(_)) => return Err(error),
            // Nothing was ever written on it, so nothing of it lacks.
            Err(TapeError::NotLabelled) => {}
            Err(error) => report.failed.push(FailedCartridge { barcode: barcode.clone(), error }),
            Ok(()) => {}
        }
    }
    Ok(report)
}

fn extract_cartridge(
    library: &mut Library,
    barcode: &Barcode,
    out: &mut dyn FnMut(Delivery<'_>) -> io::Result<()>,
    report: &mut ExtractReport,
) -> Result<(), TapeError> {
    let index = library.load(barcode)?;
    let drive = library.drive(index)?;
    let extracted = scan_cartridge(drive).and_then(|contents| {
        report.read.push(contents.label.clone());
        extract_contents(drive, barcode, &contents, out, report)
    });
    // The tape goes back whatever happened; what happened first is what is told.
    let unloaded = library.unload(index).map(drop);
    extracted.and(unloaded)
}

fn extract_contents(
    drive: &mut Drive,
    barcode: &Barcode,
    contents: &CartridgeContents,
    out: &mut dyn FnMut(Delivery<'_>) -> io::Result<()>,
    report: &mut ExtractReport,
) -> Result<(), TapeError> {
    for place in contents.places() {
        match extract_segment(drive, &contents.label, &place, out) {
            Ok(0) => {}
            Ok(bytes) => {
                report.segments += 1;
                report.bytes += bytes;
            }
            Err(error) if error.is_damage() => report.lost.push(LostSegment {
                barcode: barcode.clone(),
                container: place.container,
                segment: place.entry.segment,
                error,
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the bytes handed out; 0 if the segment was skipped.
fn extract_segment(
    drive: &mut Drive,
    label: &Label,
    place: &SegmentPlace,
    out: &mut dyn FnMut(Delivery<'_>) -> io::Result<()>,
) -> Result<u64, TapeError> {
    stream_segment(drive, label, place, |reader| {
        let handed = out(Delivery { label, container: place.container, entry: &place.entry, bytes: reader });
        if let Some(error) = reader.take_failure() {
            return Err(error);
        }
        handed.map_err(TapeError::Sink)?;
        if reader.is_untouched() {
            return Ok(0);
        }
        match reader.is_finished() {
            true => Ok(place.entry.bytes),
            false => Err(TapeError::WrongBytes { container: place.container, segment: place.entry.segment }),
        }
    })
}
