//! The end of a cartridge, on the simulator and on whatever devices are named.

use coffer_tape::TapeError;
use coffer_tape::container::scan_cartridge;

use crate::site::{Site, append, labelled, named_library, read_back, recorded};

#[test]
fn a_full_cartridge_says_so_and_everything_recorded_is_there() {
    let site = Site::start(8);
    let mut library = named_library().unwrap_or_else(|| site.library());
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    let receipt = append(drive, 1..=30).unwrap();
    assert!(receipt.full && !receipt.recorded.is_empty() && !receipt.not_written.is_empty(), "{receipt:?}");
    assert_eq!(receipt.recorded.len() + receipt.not_written.len(), 30);
    read_back(drive, 1, &receipt).unwrap();
    // Some drives only tell that it's full when they're written to.
    match append(drive, 40..=41) {
        Err(TapeError::CartridgeFull) => {}
        other => {
            let more = other.unwrap();
            assert!(more.full && more.recorded.is_empty(), "{more:?}");
        }
    }
    let contents = scan_cartridge(drive).unwrap();
    let found: Vec<u64> = contents.places().map(|place| place.entry.segment.0).collect();
    assert_eq!(found, recorded(&receipt));
    library.unload(index).unwrap();
}
