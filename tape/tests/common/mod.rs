//! A small simulated library and what the tests do with it.
#![allow(clippy::unwrap_used, reason = "all of this runs in tests")]
#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coffer_format::SegmentId;
use coffer_tape::conformance::{planned, scratch_label, scratch_segment};
use coffer_tape::container::{
    CartridgeContents, ContainerReceipt, ContainerWriter, LabelPolicy, PlannedSegment, label_cartridge,
};
use coffer_tape::simulator::{LibraryShape, Simulated};
use coffer_tape::{Barcode, Drive, Library, NoWaiter, TapeError};

pub(crate) fn shape() -> LibraryShape {
    LibraryShape {
        slots: 6,
        drives: 2,
        mail_slots: 1,
        cartridges: 4,
        capacity_bytes: 64 << 20,
        ..LibraryShape::default()
    }
}

pub(crate) fn simulated(dir: &Path) -> Simulated {
    Simulated::create(dir, shape()).unwrap()
}

pub(crate) fn library(simulated: &Simulated) -> Library {
    Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap()
}

pub(crate) fn barcode(number: u32) -> Barcode {
    format!("COF{number:03}L6").parse().unwrap()
}

/// Loads and labels a cartridge.
pub(crate) fn labelled(library: &mut Library, number: u32) -> coffer_tape::DriveIndex {
    let barcode = barcode(number);
    let index = library.load(&barcode).unwrap();
    let label = scratch_label(&barcode, number);
    label_cartridge(library.drive(index).unwrap(), &label, LabelPolicy::OnlyBlank).unwrap();
    index
}

pub(crate) fn segment(number: u64) -> Vec<u8> {
    scratch_segment(SegmentId(number), 600_000 + number as usize)
}

pub(crate) fn plan(numbers: impl IntoIterator<Item = u64>) -> Vec<PlannedSegment> {
    numbers.into_iter().map(|number| planned(SegmentId(number), &segment(number))).collect()
}

pub(crate) fn source(wanted: SegmentId) -> io::Result<Box<dyn Read>> {
    Ok(Box::new(io::Cursor::new(segment(wanted.0))))
}

pub(crate) fn append(
    drive: &mut Drive,
    numbers: impl IntoIterator<Item = u64>,
) -> Result<ContainerReceipt, TapeError> {
    ContainerWriter::open(drive)?.write(&plan(numbers), &mut source)
}

pub(crate) fn recorded(receipt: &ContainerReceipt) -> Vec<u64> {
    receipt.recorded.iter().map(|recorded| recorded.entry.segment.0).collect()
}

pub(crate) fn listed(contents: &CartridgeContents) -> Vec<u64> {
    contents.places().map(|place| place.entry.segment.0).collect()
}

/// A library with one cartridge whose end can be cut off, as a crash does.
pub(crate) struct Cut {
    home: PathBuf,
    file: PathBuf,
    /// Where the file ended before the last container.
    closed_len: u64,
    whole: Vec<u8>,
}

impl Cut {
    /// Bytes of one full block in a cartridge's file.
    pub(crate) const BLOCK: u64 = 16 + (256 << 10);

    /// Writes `before` and then `last` onto a fresh cartridge.
    pub(crate) fn new(dir: &Path, before: impl FnOnce(&mut Drive), last: impl FnOnce(&mut Drive)) -> Cut {
        let home = dir.join("library");
        let simulated = simulated(&home);
        let mut library = library(&simulated);
        let index = labelled(&mut library, 1);
        before(library.drive(index).unwrap());
        let file = simulated.cartridge_file(&barcode(1));
        let closed_len = std::fs::metadata(&file).unwrap().len();
        last(library.drive(index).unwrap());
        let whole = std::fs::read(&file).unwrap();
        Cut { home, file, closed_len, whole }
    }

    /// Bytes of the last container.
    pub(crate) fn whole_len(&self) -> u64 {
        self.whole.len() as u64 - self.closed_len
    }

    /// Leaves `len` bytes of the last container.
    pub(crate) fn at(&self, len: u64) -> Simulated {
        std::fs::write(&self.file, &self.whole[..(self.closed_len + len) as usize]).unwrap();
        Simulated::open(&self.home).unwrap()
    }
}

/// Changes one byte of the block that holds `needle`.
pub(crate) fn flip(path: &Path, needle: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}
