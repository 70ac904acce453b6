//! Authorities and identities on disk.

use std::fs;
use std::time::{Duration, SystemTime};

use coffer_link::{Authority, Identity, IdentityError, Role};
use tempfile::TempDir;

use crate::world::{DAY, computer, the_box};

#[test]
fn an_authority_is_the_same_after_reopening() {
    let dir = TempDir::new().unwrap();
    let made = Authority::create(dir.path(), "Leeds").unwrap();
    let opened = Authority::open(dir.path()).unwrap();
    assert_eq!((made.pin(), made.certificate_der()), (opened.pin(), opened.certificate_der()));
    let identity = Identity::issue(&opened, the_box(), DAY).unwrap();
    assert_eq!((identity.authority_pin(), identity.role()), (made.pin(), the_box()));
}

#[test]
fn an_authority_is_never_replaced() {
    let dir = TempDir::new().unwrap();
    let made = Authority::create(dir.path(), "Leeds").unwrap();
    assert!(matches!(Authority::create(dir.path(), "Leeds"), Err(IdentityError::Exists { .. })));
    assert_eq!(Authority::open(dir.path()).unwrap().pin(), made.pin());
}

#[test]
fn an_identity_is_the_same_after_saving_and_replaces_an_older_one() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::create(&dir.path().join("authority"), "Leeds").unwrap();
    let place = dir.path().join("identity");
    Identity::issue(&authority, computer(1), DAY).unwrap().save(&place).unwrap();
    let identity = Identity::issue(&authority, computer(2), DAY).unwrap();
    identity.save(&place).unwrap();
    let loaded = Identity::load(&place).unwrap();
    assert_eq!((loaded.role(), loaded.certificate_hash()), (computer(2), identity.certificate_hash()));
    assert_eq!(fs::read_dir(&place).unwrap().count(), 3, "nothing is left beside");
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let authority = Authority::create(&dir.path().join("authority"), "Leeds").unwrap();
    Identity::issue(&authority, computer(1), DAY).unwrap().save(&dir.path().join("identity")).unwrap();
    for key in ["authority/authority.key", "identity/key.pem"] {
        assert_eq!(fs::metadata(dir.path().join(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
    }
}

#[test]
fn a_mixed_up_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let place = |name: &str| dir.path().join(name);
    let authority = Authority::create(&place("authority"), "Leeds").unwrap();
    let other = Authority::create(&place("other"), "York").unwrap();
    Identity::issue(&authority, computer(1), DAY).unwrap().save(&place("one")).unwrap();
    Identity::issue(&authority, computer(2), DAY).unwrap().save(&place("two")).unwrap();
    fs::copy(place("two/key.pem"), place("one/key.pem")).unwrap();
    assert!(matches!(Identity::load(&place("one")), Err(IdentityError::KeyMismatch)));

    fs::write(place("two/key.pem"), "not a key").unwrap();
    assert!(matches!(Identity::load(&place("two")), Err(IdentityError::Damaged { .. })));
    fs::remove_file(place("two/key.pem")).unwrap();
    assert!(matches!(Identity::load(&place("two")), Err(IdentityError::Read { .. })));

    let pending = Identity::request().unwrap();
    let certificate = other.sign_request(pending.csr_der(), &computer(3), DAY, SystemTime::now()).unwrap();
    let refused = pending.complete(&certificate, authority.certificate_der());
    assert!(matches!(refused, Err(IdentityError::OtherAuthority)), "{refused:?}");
}

#[test]
fn a_request_must_be_signed_by_its_own_key_and_names_nothing() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::create(dir.path(), "Leeds").unwrap();
    let sign = |csr: &[u8], role: &Role| authority.sign_request(csr, role, DAY, SystemTime::now());
    let pending = Identity::request().unwrap();
    let mut forged = pending.csr_der().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(sign(&forged, &computer(1)), Err(IdentityError::Request)));
    assert!(matches!(sign(&[], &computer(1)), Err(IdentityError::Request)));
    assert!(matches!(sign(&[0x30; 9000], &computer(1)), Err(IdentityError::Request)));
    let nameless = Role::Operator(String::new());
    assert!(matches!(sign(pending.csr_der(), &nameless), Err(IdentityError::Role { .. })));
    let for_ever = Duration::from_secs(u64::MAX);
    let too_long = authority.sign_request(pending.csr_der(), &computer(1), for_ever, SystemTime::now());
    assert!(matches!(too_long, Err(IdentityError::Lifetime { .. })));
}

#[test]
fn errors_end_with_what_to_do() {
    let text = Identity::load(&TempDir::new().unwrap().path().join("nowhere")).unwrap_err().to_string();
    assert!(text.ends_with("restore it or enrol again"), "{text}");
}

/// A power cut between putting one file in place and the next leaves a new key beside an old certificate.
#[test]
fn a_cut_at_any_moment_of_saving_leaves_the_old_identity_or_the_new_one() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::create(&dir.path().join("authority"), "Leeds").unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    Identity::issue(&authority, computer(1), DAY).unwrap().save(&old).unwrap();
    Identity::issue(&authority, computer(2), DAY).unwrap().save(&new).unwrap();
    let files = ["key.pem", "authority.pem", "certificate.pem"];
    for placed in 0..=files.len() {
        let cut = dir.path().join(format!("cut-{placed}"));
        fs::create_dir(&cut).unwrap();
        for (at, name) in files.iter().enumerate() {
            if at < placed {
                fs::copy(new.join(name), cut.join(name)).unwrap();
            } else {
                fs::copy(old.join(name), cut.join(name)).unwrap();
                fs::copy(new.join(name), cut.join(format!(".{name}.new"))).unwrap();
            }
        }
        let expected = if placed == 0 { computer(1) } else { computer(2) };
        assert_eq!(Identity::load(&cut).unwrap().role(), expected, "{placed} files were in place");
        assert_eq!(Identity::load(&cut).unwrap().role(), expected, "and so it stays");
    }
}

/// The first time there is nothing to fall back on: what is there counts once all of it is there.
#[test]
fn a_cut_while_the_first_authority_is_put_in_place_costs_nothing() {
    let dir = TempDir::new().unwrap();
    let made = Authority::create(&dir.path().join("made"), "Leeds").unwrap();
    let cut = dir.path().join("cut");
    fs::create_dir(&cut).unwrap();
    fs::copy(dir.path().join("made/authority.key"), cut.join("authority.key")).unwrap();
    fs::copy(dir.path().join("made/authority.pem"), cut.join(".authority.pem.new")).unwrap();
    assert_eq!(Authority::open(&cut).unwrap().pin(), made.pin());
}
