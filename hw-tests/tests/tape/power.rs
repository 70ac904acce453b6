//! Power cuts, at every block of a container.

use coffer_tape::container::{ContainerReceipt, scan_cartridge};
use coffer_tape::simulator::{Carried, CutPoint, Fault, FaultDevice, Misfortune};

use crate::site::{Site, append, barcode, labelled, read_back, recorded};

const WRITE: u8 = 0x0a;
const WRITE_FILEMARKS: u8 = 0x10;

/// Blocks of a container of two segments with its index, and some more.
const BLOCKS: u32 = 10;

#[test]
fn a_power_cut_at_any_block_costs_only_the_container_being_written() {
    let mut site = Site::start(256);
    labelled(&mut site.library(), 1);
    let mut whole: Vec<ContainerReceipt> = Vec::new();
    let mut cuts_amid = 0;
    let cuts = (0..BLOCKS).map(|after| (WRITE, after)).chain([(WRITE_FILEMARKS, 0), (WRITE_FILEMARKS, 1)]);
    for (number, (opcode, after)) in (0..).zip(cuts) {
        let first_segment = 1 + 4 * number;
        let mut library = site.library();
        let index = library.load(&barcode(1)).unwrap();
        let drive = library.drive(index).unwrap();
        if let Some(last) = whole.last() {
            read_back(drive, 1, last).unwrap();
        }
        whole.push(append(drive, first_segment..first_segment + 2).unwrap());
        site.plan(Fault::next(FaultDevice::Drive(0), opcode, misfortune(number)).after(after));
        cuts_amid += usize::from(append(drive, first_segment + 2..first_segment + 4).is_err());
        drop(library);
        site.power_on();
    }
    assert!(cuts_amid > 8, "only {cuts_amid} cuts came amid a container");

    let mut library = site.library();
    let index = library.load(&barcode(1)).unwrap();
    let drive = library.drive(index).unwrap();
    let found: Vec<u64> =
        scan_cartridge(drive).unwrap().places().map(|place| place.entry.segment.0).collect();
    for receipt in &whole {
        assert!(recorded(receipt).iter().all(|segment| found.contains(segment)), "{found:?} lacks some");
        read_back(drive, 1, receipt).unwrap();
    }
}

/// A cut before, amid and after the command, with and without what the drive had in its buffer.
fn misfortune(number: u64) -> Misfortune {
    let at = [CutPoint::Before, CutPoint::Halfway, CutPoint::After][(number % 3) as usize];
    let buffered = [Carried::Out, Carried::NotOut][(number % 2) as usize];
    Misfortune::PowerCut { at, buffered }
}
