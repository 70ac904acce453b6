//! What the rest of Coffer relies on, checked on any library: simulated, emulated or real.
//!
//! Scratch cartridges are overwritten. Nothing is assumed about the device but what is probed: a library may name no
//! drives, tell no addresses, and know no LOCATE or LOG SENSE; the report says what it lacks.

use std::io::{self, Read};

use coffer_format::container::Label;
use coffer_format::segment::{SegmentHeader, Trailer};
use coffer_format::{FileHash, OrgId, SegmentId, VaultId, to_bytes};
use serde::Serialize;
use thiserror::Error;

use crate::container::{
    ContainerReceipt, ContainerWriter, ExpectedHash, IndexSource, LabelPolicy, LabelState, PlannedSegment,
    label_cartridge, read_label, read_segment, scan_cartridge,
};
use crate::drive::DriveFeatures;
use crate::inventory::Whereabouts;
use crate::{Barcode, Drive, DriveIndex, Library, TapeError};

/// What a library can do, and that it did all that is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConformanceReport {
    pub changer: String,
    /// Every drive that was used, and its features.
    pub drives: Vec<(String, DriveFeatures)>,
    /// Steps passed, in order.
    pub passed: Vec<&'static str>,
}

/// Where a library fell short.
#[derive(Debug, Error)]
pub enum ConformanceError {
    #[error("{step}: the library failed")]
    Tape {
        step: &'static str,
        #[source]
        source: TapeError,
    },
    #[error("{step}: {what}")]
    Broken { step: &'static str, what: String },
}

struct Suite<'a> {
    library: &'a mut Library,
    report: ConformanceReport,
}

/// Runs every step on each of `scratch`, whose data is lost.
pub fn run(library: &mut Library, scratch: &[Barcode]) -> Result<ConformanceReport, ConformanceError> {
    let changer = library.changer().name().to_owned();
    let mut suite =
        Suite { library, report: ConformanceReport { changer, drives: Vec::new(), passed: Vec::new() } };
    suite.missing_barcode()?;
    for (number, barcode) in scratch.iter().enumerate() {
        suite.cartridge(barcode, number as u32 + 1)?;
    }
    Ok(suite.report)
}

impl Suite<'_> {
    fn step<T>(
        &mut self,
        step: &'static str,
        work: impl FnOnce(&mut Library) -> Result<T, TapeError>,
    ) -> Result<T, ConformanceError> {
        let value = work(self.library).map_err(|source| ConformanceError::Tape { step, source })?;
        self.report.passed.push(step);
        Ok(value)
    }

    fn missing_barcode(&mut self) -> Result<(), ConformanceError> {
        let step = "a barcode that isn't there is asked for";
        let barcode = "ZZZZZZZZ"
            .parse::<Barcode>()
            .map_err(|source| ConformanceError::Tape { step, source: source.into() })?;
        match self.library.load(&barcode) {
            Err(TapeError::NotInLibrary(missing)) if missing == barcode => {}
            other => return Err(broken(step, format!("{other:?}"))),
        }
        self.report.passed.push(step);
        Ok(())
    }

    fn cartridge(&mut self, barcode: &Barcode, number: u32) -> Result<(), ConformanceError> {
        let label = scratch_label(barcode, number);
        let index = self.step("load", |library| library.load(barcode))?;
        self.check_whereabouts(barcode, index)?;
        self.step("label", |library| label_cartridge(library.drive(index)?, &label, LabelPolicy::Overwrite))?;
        self.refuse_second_label(&label, index)?;
        let first = self.step("first container", |library| write_two(library.drive(index)?, &label, 1))?;
        let second = self.step("second container", |library| write_two(library.drive(index)?, &label, 3))?;
        for receipt in [&first, &second] {
            check(receipt.recorded.len() == 2, "containers", || {
                format!("not all was recorded: {receipt:?}")
            })?;
            self.step("read back", |library| read_back(library.drive(index)?, &label, receipt))?;
        }
        self.check_scan(index, &label)?;
        let features = self.step("features", |library| {
            let drive = library.drive(index)?;
            drive.tape_alerts()?;
            Ok((drive.name().to_owned(), drive.features()))
        })?;
        self.report.drives.push(features);
        self.step("unload", |library| library.unload(index))?;
        let again = self.step("load again", |library| library.load(barcode))?;
        self.check_scan(again, &label)?;
        self.step("unload again", |library| library.unload(again)).map(drop)
    }

    fn check_whereabouts(&mut self, barcode: &Barcode, index: DriveIndex) -> Result<(), ConformanceError> {
        let step = "inventory";
        let inventory = self.step(step, Library::inventory)?;
        let found = inventory.find(barcode);
        check(found == Some(Whereabouts::Drive(index.0)), step, || {
            format!("{barcode} was loaded and is at {found:?}")
        })
    }

    fn refuse_second_label(&mut self, label: &Label, index: DriveIndex) -> Result<(), ConformanceError> {
        let step = "a labelled cartridge is not labelled again";
        let state = self.step("read label", |library| read_label(library.drive(index)?))?;
        check(state == LabelState::Ours(label.clone()), step, || format!("found {state:?}"))?;
        let drive = self.library.drive(index).map_err(|source| ConformanceError::Tape { step, source })?;
        match label_cartridge(drive, label, LabelPolicy::OnlyBlank) {
            Err(TapeError::AlreadyLabelled(_)) => self.report.passed.push(step),
            other => return Err(broken(step, format!("{other:?}"))),
        }
        Ok(())
    }

    fn check_scan(&mut self, index: DriveIndex, label: &Label) -> Result<(), ConformanceError> {
        let step = "scan";
        let contents = self.step(step, |library| scan_cartridge(library.drive(index)?))?;
        check(contents.label == *label, step, || format!("the label is {:?}", contents.label))?;
        let segments: Vec<u64> = contents.places().map(|place| place.entry.segment.0).collect();
        check(segments == [1, 2, 3, 4], step, || {
            format!("segments 1 to 4 were written, {segments:?} found")
        })?;
        let walked = contents.containers.iter().any(|found| found.source == IndexSource::Walked);
        if walked {
            tracing::warn!("indexes are read forward only: scanning takes as long as reading");
        }
        Ok(())
    }
}

/// Appends a container with segments `from` and `from + 1`: one longer than a block, one shorter.
fn write_two(drive: &mut Drive, label: &Label, from: u64) -> Result<ContainerReceipt, TapeError> {
    let files = [(SegmentId(from), 700_000), (SegmentId(from + 1), 5_000)];
    let files = files.map(|(segment, len)| (segment, scratch_segment(segment, len)));
    let plan: Vec<_> = files.iter().map(|(segment, bytes)| planned(*segment, bytes)).collect();
    let mut writer = ContainerWriter::open_expecting(drive, label)?;
    writer.write(&plan, &mut |wanted| {
        let found = files.iter().find(|(segment, _)| *segment == wanted);
        let (_, bytes) = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>)
    })
}

/// Last to first, so that each is gone to.
fn read_back(drive: &mut Drive, label: &Label, receipt: &ContainerReceipt) -> Result<(), TapeError> {
    for recorded in receipt.recorded.iter().rev() {
        let mut place = receipt.place(recorded);
        let mut by_address = Vec::new();
        read_segment(drive, label, &place, &mut by_address)?;
        place.start = None;
        let mut by_filemarks = Vec::new();
        read_segment(drive, label, &place, &mut by_filemarks)?;
        let wanted = scratch_segment(recorded.entry.segment, by_address.len());
        if by_address != wanted || by_filemarks != wanted {
            let (container, segment) = (receipt.container, recorded.entry.segment);
            return Err(TapeError::WrongBytes { container, segment });
        }
    }
    Ok(())
}

/// The plan's line for a segment's bytes.
pub fn planned(segment: SegmentId, bytes: &[u8]) -> PlannedSegment {
    let body = &bytes[..bytes.len().saturating_sub(Trailer::LEN)];
    let hash = FileHash(*blake3::hash(body).as_bytes());
    PlannedSegment { segment, bytes: bytes.len() as u64, expected: ExpectedHash::BeforeTrailer(hash) }
}

/// Bytes with a true trailer, different for each segment and the same each time; at least 1000.
pub fn scratch_segment(segment: SegmentId, len: usize) -> Vec<u8> {
    let body_len = len.max(1000) - Trailer::LEN;
    let mut bytes = vec![0; body_len];
    let seed = blake3::derive_key("coffer tape conformance", &segment.0.to_le_bytes());
    blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut bytes);
    let trailer = Trailer {
        index_offset: SegmentHeader::LEN as u64,
        file_len: (body_len + Trailer::LEN) as u64,
        records: 1,
        hash: FileHash(*blake3::hash(&bytes).as_bytes()),
    };
    bytes.extend(to_bytes(&trailer));
    bytes
}

/// A label that says it's scratch.
pub fn scratch_label(barcode: &Barcode, number: u32) -> Label {
    let mut cartridge = [0; 16];
    cartridge.copy_from_slice(&blake3::hash(barcode.as_str().as_bytes()).as_bytes()[..16]);
    Label {
        cartridge,
        barcode: barcode.to_string(),
        vault: VaultId([0; 16]),
        org: OrgId([0; 16]),
        set: "scratch".to_owned(),
        number,
        created_ms: 0,
    }
}

fn check(holds: bool, step: &'static str, what: impl FnOnce() -> String) -> Result<(), ConformanceError> {
    if holds { Ok(()) } else { Err(broken(step, what())) }
}

fn broken(step: &'static str, what: String) -> ConformanceError {
    ConformanceError::Broken { step, what }
}
