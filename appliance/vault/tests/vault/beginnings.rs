//! What HQ has of a segment that never came whole there puts damage right: while the segment is written to, and after it was closed
//! with the damage.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use coffer_format::event::Place;
use coffer_format::segment::{SegmentHeader, Stream};
use coffer_format::{NodeId, SegmentId};
use coffer_vault::disk::{CrashDisk, Disk};
use coffer_vault::verify::Verdict;
use coffer_vault::{Vault, VaultError};

use crate::absence::{put_back, saved, stopped, verify};
use crate::support::Random;
use crate::support::agent::{Agent, PAGE};
use crate::support::fixture::{Fixture, enrol};
use crate::support::restored::check_point;

fn told(vault: &Vault) -> String {
    vault.reading().audit_log(20).unwrap().into_iter().map(|entry| entry.what + "\n").collect()
}

/// HQ has so much of a segment.
fn note(vault: &Vault, segment: SegmentId, bytes: usize) {
    vault.reading().note_beginnings("branch", HashMap::from([(segment, bytes as u64)]));
}

fn segment(vault: &Vault, segment: SegmentId) -> coffer_vault::SegmentState {
    vault.segments().unwrap().into_iter().find(|state| state.segment == segment).unwrap()
}

#[test]
fn damage_in_a_segment_that_is_written_to_is_put_right_in_place() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(3);
    let file = agent.make_file(NodeId::ROOT, "file", random.bytes(4 * PAGE));
    agent.close().unwrap();
    for state in vault.segments().unwrap() {
        let path = fixture.segment_path(state.segment.0);
        let copy = std::fs::read(&path).unwrap()[..state.bytes as usize].to_vec();
        // A header needs no copy.
        for at in [600, state.bytes as usize - 20] {
            let disk = std::fs::File::options().write(true).open(&path).unwrap();
            disk.write_all_at(&[copy[at] ^ 4], at as u64).unwrap();
            let place = format!("{:?}, byte {at} of {}", state.stream, state.bytes);
            vault.reading().note_beginnings("branch", HashMap::new());
            assert_eq!(verify(&vault).verdict, Verdict::Lost, "{place}");
            assert!(!vault.reading().damaged_from().unwrap().is_empty(), "{place}");
            // So much as HQ has of it, the claim is.
            note(&vault, state.segment, copy.len());
            let report = verify(&vault);
            assert_eq!(report.verdict, Verdict::Heals, "{place}: {report:?}");
            assert!(report.touched.iter().all(|one| one.from == ["HQ (branch)"]), "{place}: {report:?}");
            assert_eq!(vault.reading().to_heal().unwrap()[0].segment, state.segment, "{place}");
            vault.mend_segment(state.segment, &copy).unwrap();
            assert!(std::fs::read(&path).unwrap()[..copy.len()] == copy, "{place}");
            assert_eq!(verify(&vault).verdict, Verdict::Whole, "{place}");
            assert_eq!(vault.reading().to_heal().unwrap(), [], "{place}");
            assert!(told(&vault).contains("was healed from a copy"), "{place}");
        }
    }
    // What is written after that is as if nothing had been.
    agent.overwrite(file, 0, &random.bytes(PAGE));
    agent.close().unwrap();
    vault.roll().unwrap();
    assert_eq!(verify(&vault).verdict, Verdict::Whole);
    let memory = agent.leave();
    for (point, model) in &memory.points {
        check_point(vault.reading(), config, *point, model).unwrap();
    }
}

#[test]
fn what_a_beginning_does_not_reach_stays_damaged_and_named() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    for name in ["first", "second"] {
        agent.make_file(NodeId::ROOT, name, Random::new(name.len() as u64).bytes(4 * PAGE));
        agent.close().unwrap();
    }
    let state = vault.segments().unwrap().into_iter().find(|one| one.stream != Stream::Meta).unwrap();
    let path = fixture.segment_path(state.segment.0);
    let copy = std::fs::read(&path).unwrap();
    let disk = std::fs::File::options().write(true).open(&path).unwrap();
    for at in [700, state.bytes as usize - 20] {
        disk.write_all_at(&[copy[at] ^ 4], at as u64).unwrap();
    }
    assert_eq!(verify(&vault).verdict, Verdict::Lost);
    note(&vault, state.segment, copy.len() - 30);
    assert_eq!(verify(&vault).verdict, Verdict::Lost, "its end isn't at HQ");
    vault.mend_segment(state.segment, &copy[..copy.len() - 30]).unwrap();
    let report = verify(&vault);
    assert_eq!((report.verdict, report.damage.len()), (Verdict::Lost, 1), "{report:?}");
    assert!(told(&vault).contains("but for 1 places"), "{}", told(&vault));
    let nothing_better = vault.mend_segment(state.segment, &copy[..copy.len() - 30]);
    assert!(matches!(nothing_better, Err(VaultError::Refused { .. })), "{nothing_better:?}");
    assert!(!vault.reading().has_beginning(state.segment), "it's asked for once");
    drop(agent);
}

/// Closed with damage at the next start, whatever was done to it: HQ's copy of its beginning makes it whole.
#[test]
fn what_was_closed_with_damage_is_put_right_and_closed_again() {
    let mut stopped = stopped();
    let catalog = saved(&stopped.fixture);
    let copies: Vec<_> = stopped.open.iter().map(|(id, ..)| stopped.fixture.segment_bytes(id.0)).collect();
    let mut random = Random::new(21);
    for trial in 0..90 {
        let (id, stream, durable) = stopped.open[trial % 3];
        let copy = &copies[trial % 3][..durable as usize];
        let at = random.below(durable as usize) as u64;
        let damage = |disk: &CrashDisk, fixture: &Fixture| {
            let path = fixture.segment_path(id.0);
            match trial % 9 {
                0..3 => disk.open(&path).unwrap().truncate(at).unwrap(),
                3 => disk.remove(&path).unwrap(),
                _ => disk.flip_bit(&path, at),
            }
        };
        put_back(&stopped.fixture, &catalog);
        let place = format!("trial {trial}: {stream:?}, byte {at} of {durable}");
        let vault = stopped.open_with(true, damage).unwrap();
        vault.ask_before_handing_on().unwrap();
        if verify(&vault).damage.is_empty() {
            continue;
        }
        let before = segment(&vault, id).hash;
        note(&vault, id, copy.len());
        let report = verify(&vault);
        assert_eq!(report.verdict, Verdict::Heals, "{place}: {report:?}");
        let is_offered = |vault: &Vault| {
            vault.reading().without_copy(|_| false).unwrap().iter().any(|one| one.segment == id)
        };
        assert!(!is_offered(&vault), "{place}: it isn't handed on as it is");
        if let Some(hash) = before {
            let place_on_tape = Place::Tape { barcode: "COF001L6".into(), container: 1, block: 9 };
            vault.record_copies(vec![(id, hash, place_on_tape)]).unwrap();
        }
        assert!(vault.reading().to_heal().unwrap().iter().any(|need| need.segment == id), "{place}");
        vault.mend_segment(id, copy).unwrap();
        check_whole(&stopped, &vault, &place);
        assert!(is_offered(&vault), "{place}: copies of what it was count no more");
        assert!(stopped.fixture.segment_bytes(id.0)[..copy.len()] == *copy, "{place}");
        assert!(segment(&vault, id).hash.is_some() && segment(&vault, id).hash != before, "{place}");
        // Another start, and a catalog made anew, say the same.
        drop(vault);
        check_whole(&stopped, &stopped.fixture.open(), &place);
        stopped.fixture.delete_catalog();
        check_whole(&stopped, &stopped.fixture.open(), &place);
    }
}

fn check_whole(stopped: &crate::absence::Stopped, vault: &Arc<Vault>, place: &str) {
    let report = verify(vault);
    assert_eq!(report.verdict, Verdict::Whole, "{place}: {report:?}");
    assert!(report.damage.is_empty(), "{place}: {report:?}");
    assert_eq!(vault.reading().to_heal().unwrap(), [], "{place}");
    assert!(stopped.is_whole(vault), "{place}");
}

/// A catalog that was made anew lists nothing of what was damaged: HQ is asked all the same.
#[test]
fn what_was_closed_with_damage_is_put_right_without_the_catalog() {
    let mut stopped = stopped();
    let catalog = saved(&stopped.fixture);
    let copies: Vec<_> = stopped.open.iter().map(|(id, ..)| stopped.fixture.segment_bytes(id.0)).collect();
    let mut random = Random::new(22);
    for trial in 0..30 {
        let (id, stream, durable) = stopped.open[trial % 3];
        let copy = &copies[trial % 3][..durable as usize];
        // Behind the first record: so that there's something before and after it.
        let at = random.below(durable as usize) as u64;
        let place = format!("trial {trial}: {stream:?}, byte {at} of {durable}");
        put_back(&stopped.fixture, &catalog);
        let flip = |disk: &CrashDisk, fixture: &Fixture| disk.flip_bit(&fixture.segment_path(id.0), at);
        drop(stopped.open_with(true, flip).unwrap());
        stopped.fixture.delete_catalog();
        let vault = stopped.fixture.open();
        if verify(&vault).damage.is_empty() {
            continue;
        }
        note(&vault, id, copy.len());
        let needs = vault.reading().to_heal().unwrap();
        assert!(needs.iter().any(|need| need.segment == id), "{place}: {needs:?}");
        let mended = vault.mend_segment(id, copy);
        drop(vault);
        let vault = stopped.fixture.open();
        match mended {
            Ok(()) => {
                if stream == Stream::Meta && at < SegmentHeader::LEN as u64 {
                    // Nothing of it could be read, so numbers were left out: nobody knows that none of them had been given before the
                    // computer has compared everything.
                    let report = verify(&vault);
                    assert!(report.damage.is_empty() && report.touched.is_empty(), "{place}: {report:?}");
                    vault.note_recalled(stopped.config).unwrap();
                }
                check_whole(&stopped, &vault, &place);
            }
            // The numbers of its newest records were given out again.
            Err(_) => assert!(stream == Stream::Meta && verify(&vault).verdict == Verdict::Lost, "{place}"),
        }
    }
}

/// Bytes of another segment, or of another line of history, change nothing.
#[test]
fn a_beginning_of_something_else_is_refused() {
    let mut stopped = stopped();
    let (first, second) = (stopped.open[0].0, stopped.open[1].0);
    let other = stopped.fixture.segment_bytes(second.0);
    let path = stopped.fixture.segment_path(first.0);
    let vault = stopped.open_with(true, |disk, _| disk.flip_bit(&path, 600)).unwrap();
    let before = stopped.fixture.segment_bytes(first.0);
    for bytes in [&other[..], &other[..100], &[]] {
        assert!(matches!(vault.mend_segment(first, bytes), Err(VaultError::Refused { .. })));
    }
    assert!(stopped.fixture.segment_bytes(first.0) == before);
}

/// A file that somebody removes while it's written to is noticed without a read, and written again from what is open.
#[test]
fn a_removed_file_of_an_open_segment_is_written_again() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    let mut random = Random::new(3);
    let file = agent.make_file(NodeId::ROOT, "file", random.bytes(4 * PAGE));
    agent.close().unwrap();
    assert_eq!(vault.look_for_missing().unwrap(), 0);
    for state in vault.segments().unwrap() {
        let path = fixture.segment_path(state.segment.0);
        let before = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(vault.look_for_missing().unwrap(), 1);
        assert!(std::fs::read(&path).unwrap().starts_with(&before), "{:?}", state.stream);
        assert!(told(&vault).contains("it was written again"), "{}", told(&vault));
        assert_eq!(vault.look_for_missing().unwrap(), 0);
    }
    agent.overwrite(file, 0, &random.bytes(PAGE));
    agent.close().unwrap();
    vault.roll().unwrap();
    let memory = agent.leave();
    drop(vault);
    fixture.delete_catalog();
    let vault = fixture.open();
    assert_eq!(verify(&vault).verdict, Verdict::Whole);
    for (point, model) in &memory.points {
        check_point(vault.reading(), config, *point, model).unwrap();
    }
}

#[test]
fn a_removed_file_of_a_closed_segment_is_damage_at_once() {
    let fixture = Fixture::real();
    let vault = fixture.open();
    let (computer, config) = enrol(&vault, "desk").unwrap();
    let mut agent = Agent::new(&vault, computer, config).unwrap();
    agent.make_file(NodeId::ROOT, "file", Random::new(3).bytes(4 * PAGE));
    agent.close().unwrap();
    vault.roll().unwrap();
    let state = vault.segments().unwrap().into_iter().find(|one| one.stream != Stream::Meta).unwrap();
    let path = fixture.segment_path(state.segment.0);
    let copy = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        assert_eq!(vault.look_for_missing().unwrap(), 1);
        assert_eq!(vault.reading().known_damage().unwrap(), [(state.segment, 0)]);
    }
    assert_eq!(vault.reading().to_heal().unwrap()[0].segment, state.segment);
    assert_eq!(vault.reading().prove().unwrap().verdict, Verdict::Lost);
    vault.import_segment(state.segment, &copy).unwrap();
    assert_eq!(vault.look_for_missing().unwrap(), 0);
    assert_eq!(vault.reading().prove().unwrap().verdict, Verdict::Whole);
    assert!(told(&vault).contains("was healed from a copy"), "{}", told(&vault));
    drop(agent);
}
