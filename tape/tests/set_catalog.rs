//! The catalog of the whole set on each cartridge: it's found, it survives a crash anywhere, and its absence is told.
#![allow(clippy::unwrap_used, reason = "all of this runs in tests")]

mod common;

use std::collections::BTreeSet;

use coffer_format::segment::Stream;
use coffer_format::set_catalog::{CatalogItem, OutlinePiece};
use coffer_format::{Blob, SegmentId, VaultId};
use coffer_tape::Drive;
use coffer_tape::conformance::scratch_label;
use coffer_tape::container::{
    AddressReader, AddressedSegment, CatalogItems, CatalogMoment, CatalogReach, ContainerReceipt,
    ContainerWriter, ExpectedHash, IndexSource, read_catalog, read_segment, scan_cartridge,
};
use common::{Cut, append, barcode, flip, labelled, library, listed, plan, segment, simulated, source};

/// What an item stands for in these tests: one segment's outline.
fn outline(number: u64) -> CatalogItem {
    let bytes = Blob(vec![number as u8; 1000]);
    let piece =
        OutlinePiece { segment: SegmentId(number), stream: Stream::Fresh, total: 1000, offset: 0, bytes };
    CatalogItem::Outline { piece }
}

fn items(vault: VaultId, after: u32, numbers: Vec<u64>) -> CatalogItems {
    let begin = CatalogItem::Begin { vault, at_ms: 5, after };
    let all = [begin].into_iter().chain(numbers.into_iter().map(outline)).chain([CatalogItem::End]);
    Box::new(all.map(Ok))
}

/// Appends a container of one segment; the catalog says that 100 was before, and that segment *n* is in container *n*.
fn append_told(drive: &mut Drive, number: u64) -> ContainerReceipt {
    let mut writer = ContainerWriter::open(drive).unwrap();
    let vault = writer.label().vault;
    let mut catalog = |moment: CatalogMoment<'_>| match moment {
        CatalogMoment::Beginning => items(vault, 0, vec![100]),
        CatalogMoment::Closing { container, after, recorded } => {
            assert_eq!(recorded.len(), 1);
            items(vault, after, (after + 1..=container).map(u64::from).collect())
        }
    };
    writer.write_with_catalog(&plan([number]), &mut source, &mut catalog).unwrap()
}

fn told(drive: &mut Drive) -> (CatalogReach, BTreeSet<u64>, usize) {
    let contents = scan_cartridge(drive).unwrap();
    let (mut seen, mut count) = (BTreeSet::new(), 0);
    let reach = read_catalog(drive, &contents, &mut |item| {
        if let CatalogItem::Outline { piece } = item {
            count += 1;
            seen.insert(piece.segment.0);
        }
    })
    .unwrap();
    (reach, seen, count)
}

#[test]
fn the_newest_container_and_a_short_chain_tell_everything() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    for number in 1..=7 {
        append_told(drive, number);
        let (reach, seen, count) = told(drive);
        assert_eq!(reach, CatalogReach { from_the_beginning: true, undescribed: Vec::new() });
        assert_eq!(seen, (1..=number).chain([100]).collect());
        assert_eq!(count as u64, number + 1, "each is read once");
    }
    assert_eq!(listed(&scan_cartridge(drive).unwrap()), (1..=7).collect::<Vec<_>>());
}

#[test]
fn a_container_without_a_catalog_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    append(drive, [1]).unwrap();
    append_told(drive, 2);
    append(drive, [3]).unwrap();
    let (reach, seen, _) = told(drive);
    // Container 2's catalog covers 1 and 2; nothing tells what was before the cartridge.
    assert_eq!(reach, CatalogReach { from_the_beginning: false, undescribed: vec![3] });
    assert_eq!(seen, [1, 2].into());
}

/// Cuts a cartridge at every block (and amid every block) of its last container, its catalog and its indexes, as a crash does.
#[test]
fn cut_at_any_block_what_was_synchronized_before_reads_back_and_the_cartridge_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let before = |drive: &mut Drive| (1..=2).for_each(|number| drop(append_told(drive, number)));
    let cartridge = Cut::new(dir.path(), before, |drive| drop(append_told(drive, 3)));
    let block = Cut::BLOCK;
    // Three blocks of the segment, one of the catalog, two indexes.
    assert_eq!(cartridge.whole_len(), 6 * block + 16);
    let cuts = (0..=6).flat_map(|at| [at * block, at * block + block / 2]).chain([6 * block + 15]);
    for cut in cuts.filter(|cut| *cut < cartridge.whole_len()) {
        let simulated = cartridge.at(cut);
        let mut library = library(&simulated);
        let index = library.load(&barcode(1)).unwrap();
        let drive = library.drive(index).unwrap();
        let contents = scan_cartridge(drive).unwrap();
        let whole_segment = cut >= 3 * block;
        let expected = if whole_segment { vec![1, 2, 3] } else { vec![1, 2] };
        assert_eq!(listed(&contents), expected, "cut at {cut}");
        for place in contents.places() {
            let mut bytes = Vec::new();
            read_segment(drive, &contents.label, &place, &mut bytes).unwrap();
            assert_eq!(bytes, segment(place.entry.segment.0), "cut at {cut}");
        }
        let (reach, seen, _) = told(drive);
        assert!(reach.from_the_beginning, "cut at {cut}");
        assert!(seen.is_superset(&[1, 2, 100].into()), "cut at {cut}: {seen:?}");
        // The catalog itself counts from its own end on; a container that isn't told of is named.
        let torn = cut >= block;
        let catalog_whole = cut >= 4 * block;
        assert_eq!(reach.undescribed, if torn && !catalog_whole { vec![3] } else { vec![] }, "cut at {cut}");

        let receipt = append_told(drive, 4);
        assert_eq!(receipt.container, if torn { 4 } else { 3 }, "cut at {cut}");
        let (reach, seen, _) = told(drive);
        assert!(reach.from_the_beginning && reach.undescribed.is_empty(), "cut at {cut}: {reach:?}");
        assert!(seen.contains(&u64::from(receipt.container)));
    }
}

#[test]
fn one_damaged_block_costs_neither_the_index_nor_more_of_the_catalog_than_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    append_told(drive, 1);
    let second = append_told(drive, 2);
    let third = append_told(drive, 3);
    let file = simulated.cartridge_file(&barcode(1));
    flip(&file, &third.recorded[0].entry.hash.0);
    flip(&file, &second.recorded[0].entry.hash.0);
    let contents = scan_cartridge(drive).unwrap();
    assert!(contents.containers.iter().all(|container| container.source == IndexSource::Index));
    // The third container's catalog says 3 alone.
    flip(&file, &[3; 1000]);
    let (reach, seen, _) = told(drive);
    assert_eq!(reach, CatalogReach { from_the_beginning: true, undescribed: vec![3] });
    assert_eq!(seen, [1, 2, 100].into());
}

#[test]
fn segments_are_read_by_address_alone_and_a_wrong_address_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut library = library(&simulated);
    let index = labelled(&mut library, 1);
    let drive = library.drive(index).unwrap();
    let first = append(drive, 1..=3).unwrap();
    let second = append_told(drive, 4);
    let mut wanted = Vec::new();
    for (receipt, recorded) in [(&first, 0), (&first, 2), (&second, 0)] {
        let recorded: &coffer_tape::container::RecordedSegment = &receipt.recorded[recorded];
        wanted.push(AddressedSegment {
            segment: recorded.entry.segment,
            container: receipt.container,
            start: recorded.start.unwrap(),
            bytes: recorded.entry.bytes,
            expected: ExpectedHash::Whole(recorded.entry.hash),
        });
    }
    let mut reader = AddressReader::new(drive, scratch_label(&barcode(1), 1));
    for one in &wanted {
        let mut bytes = Vec::new();
        reader.read(one, &mut bytes).unwrap();
        assert_eq!(bytes, segment(one.segment.0));
    }
    let wrong = AddressedSegment { start: wanted[1].start, ..wanted[0] };
    assert!(reader.read(&wrong, &mut std::io::sink()).unwrap_err().is_damage());
    reader.read(&wanted[0], &mut std::io::sink()).unwrap();
}
