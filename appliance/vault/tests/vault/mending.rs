//! The catalog and the vault's identity are made again by themselves, and it's said.

use coffer_format::segment::Stream;
use coffer_format::wire::Message;
use coffer_format::{NodeId, PAGE_SIGNATURE_LEN, page_signature};

use crate::absence::closed;
use crate::support::Random;
use crate::support::agent::PAGE;
use crate::support::restored::check_point;

#[test]
fn a_damaged_catalog_is_made_anew_by_itself() {
    let (fixture, vault, config, memory) = closed();
    drop(vault);
    let path = fixture.dir().join("catalog.sqlite");
    let sound = std::fs::read(&path).unwrap();
    let mut random = Random::new(5);
    let mut mended = 0;
    for _ in 0..40 {
        fixture.delete_catalog();
        let mut bytes = sound.clone();
        for _ in 0..200 {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        std::fs::write(&path, &bytes).unwrap();
        let vault = fixture.open();
        for (point, model) in &memory.points {
            check_point(vault.reading(), config, *point, model).unwrap();
        }
        let told = vault.reading().audit_log(1).unwrap();
        mended += usize::from(told.iter().any(|entry| entry.what.contains("the catalog was damaged")));
    }
    assert!(mended > 30, "{mended}");
}

#[test]
fn a_damaged_or_missing_identity_is_made_again() {
    let (fixture, vault, config, memory) = closed();
    drop(vault);
    let path = fixture.dir().join("vault.id");
    let sound = std::fs::read(&path).unwrap();
    for at in [None, Some(0), Some(20), Some(100), Some(500)] {
        match at {
            None => std::fs::remove_file(&path).unwrap(),
            Some(at) => {
                let mut bytes = sound.clone();
                bytes[at] ^= 4;
                std::fs::write(&path, bytes).unwrap();
            }
        }
        let vault = fixture.open();
        let told = vault.reading().audit_log(1).unwrap();
        assert!(told[0].what.contains("vault.id"), "{told:?}");
        for (point, model) in &memory.points {
            check_point(vault.reading(), config, *point, model).unwrap();
        }
        drop(vault);
        fixture.open();
    }
}

/// A computer that lost its journal asks what the pages were. Those that are damaged here match nothing it has, so it sends them.
#[test]
fn pages_that_are_damaged_here_are_asked_for_again() {
    let (fixture, vault, config, memory) = closed();
    let (node, object) = memory.points.values().last().unwrap()[&b"file"[..]].clone();
    let signatures = |vault: &std::sync::Arc<coffer_vault::Vault>| {
        let mut all = Vec::new();
        let mut send = |message| {
            if let Message::SignaturePages { signatures, .. } = message {
                all.extend_from_slice(&signatures.0);
            }
            Ok(())
        };
        vault.reading().sign_pages(config, NodeId(node.0), &mut send).unwrap();
        all.chunks(PAGE_SIGNATURE_LEN).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let right: Vec<_> =
        object.bytes.chunks(PAGE).map(|page| page_signature(&vault.chunk_key(), page).to_vec()).collect();
    assert_eq!(signatures(&vault), right);
    let states = vault.segments().unwrap();
    let newest = states.iter().rfind(|state| state.stream != Stream::Meta).unwrap();
    let path = fixture.segment_path(newest.segment.0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[700] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let told = signatures(&vault);
    assert_eq!(told.len(), right.len());
    assert_ne!(told[0], right[0], "its page is damaged");
    assert_eq!(told[1..], right[1..]);
}
