//! Cartridges: labels, containers, crashes, capacity, damage.

mod common;

use std::io;

use coffer_format::SegmentId;
use coffer_tape::conformance::scratch_label;
use coffer_tape::container::{
    ContainerWriter, ExpectedHash, IndexSource, LabelPolicy, LabelState, label_cartridge, read_label,
    read_segment, scan_cartridge,
};
use coffer_tape::simulator::{LibraryShape, Protection, Simulated};
use coffer_tape::{BlockAddress, Drive, TapeError};
use common::{
    Cut, append, barcode, flip, labelled, library, listed, plan, recorded, segment, shape, simulated, source,
};

#[test]
fn containers_are_appended_and_read_back_by_address() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    let first = append(drive, 1..=3).unwrap();
    let mut writer = ContainerWriter::open(drive).unwrap();
    let second = writer.write(&plan(4..=5), &mut source).unwrap();
    writer.verify(&second).unwrap();
    let third = writer.write(&plan(6..=6), &mut source).unwrap();

    assert_eq!((first.container, second.container, third.container), (1, 2, 3));
    // Label and filemark come first; each segment here takes three blocks.
    let starts: Vec<_> = first.recorded.iter().map(|recorded| recorded.start).collect();
    assert_eq!(starts, [2, 5, 8].map(|block| Some(BlockAddress(block))));
    let label = scratch_label(&barcode(1), 1);
    for (receipt, number) in [(&third, 6), (&first, 2), (&second, 5)] {
        let found = receipt.recorded.iter().find(|recorded| recorded.entry.segment.0 == number).unwrap();
        let mut bytes = Vec::new();
        read_segment(drive, &label, &receipt.place(found), &mut bytes).unwrap();
        assert_eq!(bytes, segment(number));
        assert_eq!(found.entry.hash.0, *blake3::hash(&bytes).as_bytes());
    }
    let contents = scan_cartridge(drive).unwrap();
    assert_eq!(listed(&contents), [1, 2, 3, 4, 5, 6]);
    assert!(contents.containers.iter().all(|container| container.source == IndexSource::Index));
    assert_eq!(contents.containers[1].start, Some(BlockAddress(14)));
}

#[test]
fn a_lying_address_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    let receipt = append(drive, 1..=2).unwrap();
    let mut place = receipt.place(&receipt.recorded[1]);
    for wrong in [0, 3, 9000] {
        place.start = Some(BlockAddress(wrong));
        let mut bytes = Vec::new();
        read_segment(drive, &scratch_label(&barcode(1), 1), &place, &mut bytes).unwrap();
        assert_eq!(bytes, segment(2));
    }
}

#[test]
fn foreign_and_labelled_cartridges_are_refused_unless_told() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = library.load(&barcode(1)).unwrap();
    let drive = library.drive(index).unwrap();
    let label = scratch_label(&barcode(1), 1);
    assert_eq!(read_label(drive).unwrap(), LabelState::Blank);
    assert!(matches!(ContainerWriter::open(drive), Err(TapeError::NotLabelled)));

    drive.rewind().unwrap();
    drive.write_block(&[7; 10_240]).unwrap();
    drive.write_filemarks(1).unwrap();
    assert_eq!(read_label(drive).unwrap(), LabelState::Foreign);
    assert!(matches!(label_cartridge(drive, &label, LabelPolicy::OnlyBlank), Err(TapeError::NotBlank)));
    assert_eq!(read_label(drive).unwrap(), LabelState::Foreign);

    label_cartridge(drive, &label, LabelPolicy::Overwrite).unwrap();
    assert!(matches!(
        label_cartridge(drive, &label, LabelPolicy::OnlyBlank),
        Err(TapeError::AlreadyLabelled(_))
    ));
    let other = scratch_label(&barcode(2), 2);
    assert!(matches!(ContainerWriter::open_expecting(drive, &other), Err(TapeError::WrongCartridge { .. })));
}

#[test]
fn a_write_protected_cartridge_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    simulated.set_write_protected(&barcode(1), Protection::Protected).unwrap();
    let result = append(library.drive(index).unwrap(), 1..=1);
    assert!(matches!(result, Err(TapeError::WriteProtected)), "{result:?}");
}

#[test]
fn a_bad_source_costs_only_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    let mut writer = ContainerWriter::open(drive).unwrap();
    let mut wrong = plan(1..=6);
    wrong[1].expected = ExpectedHash::Whole(coffer_format::FileHash([9; 32]));
    wrong[2].bytes += 300_000;
    wrong[4].bytes -= 1;
    let receipt = writer
        .write(&wrong, &mut |wanted| {
            if wanted == SegmentId(4) { Err(io::ErrorKind::NotFound.into()) } else { source(wanted) }
        })
        .unwrap();
    assert_eq!(recorded(&receipt), [1, 6]);
    let refused: Vec<u64> = receipt.refused.iter().map(|refused| refused.segment.0).collect();
    assert_eq!(refused, [2, 3, 4, 5]);
    writer.verify(&receipt).unwrap();
    assert_eq!(listed(&scan_cartridge(library.drive(index).unwrap()).unwrap()), [1, 6]);
}

#[test]
fn a_full_cartridge_is_closed_and_the_next_one_takes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let small = LibraryShape { capacity_bytes: 8 << 20, ..shape() };
    let simulated = Simulated::create(dir.path(), small).unwrap();
    let mut library = library(&simulated);
    let mut left: Vec<u64> = (1..=12).collect();
    let mut written = Vec::new();
    for number in 1..=2 {
        let index = labelled(&mut library, number);
        let drive = library.drive(index).unwrap();
        let receipt = append(drive, left).unwrap();
        assert!(!receipt.recorded.is_empty());
        assert_eq!(listed(&scan_cartridge(drive).unwrap()), recorded(&receipt));
        written.extend(recorded(&receipt));
        left = receipt.not_written.iter().map(|segment| segment.0).collect();
        assert_eq!(receipt.full, !left.is_empty());
        if receipt.full {
            assert!(matches!(append(drive, 1..=1), Err(TapeError::CartridgeFull)));
        }
    }
    assert_eq!(written, (1..=12).collect::<Vec<_>>());
}

/// Cuts a cartridge's file at many places after the first container, as a crash does, and goes on with it.
#[test]
fn a_torn_container_gives_its_whole_segments_and_the_cartridge_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let write = |numbers: std::ops::RangeInclusive<u64>| {
        move |drive: &mut Drive| drop(append(drive, numbers).unwrap())
    };
    let cartridge = Cut::new(dir.path(), write(1..=2), write(3..=5));
    let block = Cut::BLOCK;
    // Where the file ends, in blocks behind the first container (9 of segments, 1 of index, the filemark), and which
    // segments of the second container must be found.
    let cuts: [(u64, &[u64]); 8] = [
        (0, &[]),
        (block / 2, &[]),
        (block, &[]),
        (3 * block - 1, &[]),
        (3 * block, &[3]),
        (8 * block + 77, &[3, 4]),
        (9 * block, &[3, 4, 5]),
        (10 * block, &[3, 4, 5]),
    ];
    for (cut, found) in cuts {
        let simulated = cartridge.at(cut);
        let mut library = library(&simulated);
        let index = library.load(&barcode(1)).unwrap();
        let drive = library.drive(index).unwrap();
        let mut expected = vec![1, 2];
        expected.extend(found);
        assert_eq!(listed(&scan_cartridge(drive).unwrap()), expected, "cut at {cut}");

        let receipt = append(drive, 7..=8).unwrap();
        assert_eq!(receipt.container, if cut < block { 2 } else { 3 }, "cut at {cut}");
        expected.extend([7, 8]);
        let contents = scan_cartridge(drive).unwrap();
        assert_eq!(listed(&contents), expected, "cut at {cut}, then written on");
        for place in contents.places() {
            let mut bytes = Vec::new();
            read_segment(drive, &contents.label, &place, &mut bytes).unwrap();
            assert_eq!(bytes, segment(place.entry.segment.0));
        }
    }
}

#[test]
fn a_label_without_its_filemark_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("library");
    let file = {
        let simulated = simulated(&home);
        let mut library = library(&simulated);
        labelled(&mut library, 1);
        simulated.cartridge_file(&barcode(1))
    };
    let len = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(len - 16).unwrap();
    let simulated = Simulated::open(&home).unwrap();
    let mut library = library(&simulated);
    let index = library.load(&barcode(1)).unwrap();
    let drive = library.drive(index).unwrap();
    assert_eq!(listed(&scan_cartridge(drive).unwrap()), [0u64; 0]);
    assert_eq!(append(drive, 1..=1).unwrap().container, 1);
    assert_eq!(listed(&scan_cartridge(drive).unwrap()), [1]);
}

#[test]
fn a_damaged_block_costs_only_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    let receipt = append(drive, 1..=3).unwrap();
    flip(&simulated.cartridge_file(&barcode(1)), &segment(2)[300_000..300_032]);
    let contents = scan_cartridge(drive).unwrap();
    assert_eq!(listed(&contents), [1, 2, 3]);
    for place in contents.places() {
        let mut bytes = Vec::new();
        let result = read_segment(drive, &contents.label, &place, &mut bytes);
        match place.entry.segment.0 {
            2 => assert!(
                matches!(result, Err(TapeError::Damaged { container: 1, block: 4, .. })),
                "{result:?}"
            ),
            number => assert_eq!(bytes, segment(number)),
        }
    }
    assert_eq!(recorded(&receipt).len(), 3);
    assert!(ContainerWriter::open(drive).unwrap().verify(&receipt).is_err());
}

#[test]
fn a_damaged_index_is_made_up_for_by_walking() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    let receipt = append(drive, 1..=3).unwrap();
    append(drive, 4..=4).unwrap();
    let file = simulated.cartridge_file(&barcode(1));
    // The hash of the first entry is only in the index, which is there twice.
    let hash = receipt.recorded[0].entry.hash.0;
    flip(&file, &hash);
    let contents = scan_cartridge(drive).unwrap();
    assert_eq!(listed(&contents), [1, 2, 3, 4]);
    assert!(contents.containers.iter().all(|container| container.source == IndexSource::Index));
    flip(&file, &hash);
    flip(&file, &segment(2)[..32]);
    let contents = scan_cartridge(drive).unwrap();
    assert_eq!(listed(&contents), [1, 3, 4]);
    let sources: Vec<_> = contents.containers.iter().map(|container| container.source).collect();
    assert_eq!(sources, [IndexSource::Walked, IndexSource::Index]);
    // The index's blocks and the segment's.
    assert_eq!(contents.containers[0].damage.len(), 3);
    assert_eq!(append(drive, 5..=5).unwrap().container, 3);
}

#[test]
fn after_an_error_the_writer_refuses_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let mut writer = ContainerWriter::open(library.drive(index).unwrap()).unwrap();
    simulated.set_write_protected(&barcode(1), Protection::Protected).unwrap();
    assert!(matches!(writer.write(&plan(1..=1), &mut source), Err(TapeError::WriteProtected)));
    simulated.set_write_protected(&barcode(1), Protection::Writable).unwrap();
    assert!(matches!(writer.write(&plan(1..=1), &mut source), Err(TapeError::Stopped)));
    assert_eq!(recorded(&append(library.drive(index).unwrap(), 1..=1).unwrap()), [1]);
}
