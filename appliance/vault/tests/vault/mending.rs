//! The catalog and the vault's identity are made again by themselves, and it's said.

use crate::absence::closed;
use crate::support::Random;
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
