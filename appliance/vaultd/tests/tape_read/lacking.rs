//! A vault made from cartridges that don't give everything says what it lacks, and takes it from whoever has it.

use coffer_format::segment::Stream;
use coffer_tape::simulator::Simulated;
use coffer_vault::verify::Verdict;
use coffer_vaultd::tape::{extract_vault, record_lost};

use crate::offline::written;
use crate::support::restored::check_point;

#[test]
fn a_bad_block_costs_what_lies_on_it_and_is_said() {
    let (world, _) = written();
    let states = world.vault.reading().segments().unwrap();
    let is_data =
        |segment| states.iter().any(|state| state.segment == segment && state.stream != Stream::Meta);
    let places = world.vault.reading().tape_places(0).unwrap();
    let place = places.iter().find(|place| is_data(place.segment) && place.block > 0).unwrap().clone();
    assert_eq!(places.iter().filter(|other| other.segment == place.segment).count(), 1);
    let copy = world.fixture.segment_bytes(place.segment.0);
    let ashes = world.burn();
    let simulated = Simulated::open(ashes.library.path()).unwrap();
    simulated.set_bad_blocks(&place.barcode.parse().unwrap(), &[place.block]).unwrap();
    drop(simulated);

    let dir = tempfile::tempdir().unwrap();
    let done = extract_vault(ashes.source(), dir.path()).unwrap();
    let lost: Vec<_> = done.lost.iter().map(|lost| (lost.segment, lost.barcode.clone())).collect();
    assert_eq!(lost, [(place.segment, place.barcode.clone())], "{done:?}");
    let vault = coffer_vault::Vault::open(
        ashes.fixture.disk.clone(),
        dir.path(),
        ashes.opener(),
        ashes.fixture.clock.clone(),
        coffer_vault::Options { reserve_bytes: 0 },
    );
    let vault = vault.unwrap();
    assert_eq!(record_lost(&vault, &done.lost).unwrap(), 1);
    assert_eq!(vault.reading().copies(place.segment).unwrap(), [], "that copy can't be read");
    for report in [vault.reading().prove().unwrap(), vault.verify(&mut |_| {}).unwrap()] {
        assert_eq!(report.verdict, Verdict::Lost, "{report:?}");
        assert!(report.lost_count > 0 && report.touched.iter().all(|one| one.is_lost), "{report:?}");
    }
    let (touched, count) = vault.reading().touched_by_damage(1).unwrap();
    assert!(touched.len() == 1 && count > 0);
    assert!(vault.reading().to_heal().unwrap().iter().any(|need| need.segment == place.segment));

    vault.import_segment(place.segment, &copy).unwrap();
    assert_eq!(vault.verify(&mut |_| {}).unwrap().verdict, Verdict::Whole);
    for (point, model) in &ashes.points {
        check_point(vault.reading(), ashes.config, *point, model).unwrap();
    }
}
