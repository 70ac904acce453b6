//! What one of our programs shows when it connects: a certificate, its issuer, its key, and the one authority it
//! trusts, which is the issuer unless said otherwise.
//!
//! Kept in a directory as `certificate.pem` (certificate and issuer), `key.pem` and `authority.pem`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use coffer_format::FileHash;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::{AUTHORITY_FILE, making, new_key, spki_of};
use crate::certificate::Facts;
use crate::files::{self, CERTIFICATE, PRIVATE_KEY, PemFile};
use crate::validity::Validity;
use crate::{Authority, IdentityError, Pin, Role};

const CERTIFICATE_FILE: &str = "certificate.pem";
const KEY_FILE: &str = "key.pem";
/// A key that waits for its certificate.
const PENDING_FILE: &str = ".pending.pem";
const FILES: [&str; 3] = [KEY_FILE, AUTHORITY_FILE, CERTIFICATE_FILE];
/// A certificate that we issue to ourselves is valid from this long ago: clocks in one building differ.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// A certificate, its private key and the authority that issued it. The three belong together, which is checked
/// whenever an identity comes about; whether it's in date is checked when it's used.
#[derive(Clone)]
pub struct Identity {
    certificate: Vec<u8>,
    issuer: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
    facts: Facts,
    authority_spki: FileHash,
    role: Role,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} of {})", self.role, self.authority_pin())
    }
}

impl Identity {
    /// The identity that `dir` holds.
    pub fn load(dir: &Path) -> Result<Identity, IdentityError> {
        files::read_matching(dir, &FILES, || {
            let [key] = files::read_pem_file(dir, KEY_FILE, PRIVATE_KEY)?;
            let damaged = |_| IdentityError::Damaged { path: dir.join(KEY_FILE) };
            Self::read_with(dir, KeyPair::try_from(key).map_err(damaged)?)
        })
    }

    /// The identity that `dir` holds but for its private key (PEM), which its owner keeps in a safer place.
    pub fn load_with_key(dir: &Path, key_pem: &[u8]) -> Result<Identity, IdentityError> {
        let damaged = || IdentityError::Damaged { path: dir.join(KEY_FILE) };
        let key = pem::parse(key_pem).ok().filter(|block| block.tag() == PRIVATE_KEY).ok_or_else(damaged)?;
        let key = key.into_contents();
        files::read_matching(dir, &FILES, || {
            Self::read_with(dir, KeyPair::try_from(key.clone()).map_err(|_| damaged())?)
        })
    }

    fn read_with(dir: &Path, key: KeyPair) -> Result<Identity, IdentityError> {
        let [certificate, issuer] = files::read_pem_file(dir, CERTIFICATE_FILE, CERTIFICATE)?;
        let [authority] = files::read_pem_file(dir, AUTHORITY_FILE, CERTIFICATE)?;
        Self::from_parts(key, certificate, issuer)?.trusting(&authority)
    }

    /// Writes the identity to `dir`, durably, in place of one that is there.
    pub fn save(&self, dir: &Path) -> Result<(), IdentityError> {
        files::write_pem_files(
            dir,
            &[
                PemFile { name: KEY_FILE, tag: PRIVATE_KEY, blocks: &[&self.key] },
                PemFile { name: AUTHORITY_FILE, tag: CERTIFICATE, blocks: &[&self.authority] },
                PemFile {
                    name: CERTIFICATE_FILE,
                    tag: CERTIFICATE,
                    blocks: &[&self.certificate, &self.issuer],
                },
            ],
        )?;
        let pending = dir.join(PENDING_FILE);
        match std::fs::remove_file(&pending) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(IdentityError::Write { path: pending, source })
            }
            _ => Ok(()),
        }
    }

    /// A new key, certified on the spot: for a server's own identity and for local operators. Valid from an hour
    /// ago until `lifetime` from now.
    pub fn issue(authority: &Authority, role: Role, lifetime: Duration) -> Result<Identity, IdentityError> {
        let pending = Self::request()?;
        let not_before = SystemTime::now() - CLOCK_SLACK;
        let lifetime = lifetime.saturating_add(CLOCK_SLACK);
        let certificate = authority.sign_request(pending.csr_der(), &role, lifetime, not_before)?;
        pending.complete(&certificate, authority.certificate_der())
    }

    /// A new key and the request to have it certified by someone else.
    pub fn request() -> Result<PendingIdentity, IdentityError> {
        Self::request_for(new_key()?)
    }

    /// The same with a key that is kept in `dir` until an identity is saved there: whoever asks again after being broken off asks for the
    /// same key.
    pub fn request_kept(dir: &Path) -> Result<PendingIdentity, IdentityError> {
        let kept = files::read_pem_file(dir, PENDING_FILE, PRIVATE_KEY).ok();
        if let Some(key) = kept.and_then(|[der]| KeyPair::try_from(der).ok()) {
            return Self::request_for(key);
        }
        let key = new_key()?;
        files::write_pem_files(
            dir,
            &[PemFile { name: PENDING_FILE, tag: PRIVATE_KEY, blocks: &[&key.serialize_der()] }],
        )?;
        Self::request_for(key)
    }

    fn request_for(key: KeyPair) -> Result<PendingIdentity, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key).map_err(making)?;
        Ok(PendingIdentity { csr: csr.der().to_vec(), key })
    }

    fn from_parts(key: KeyPair, certificate: Vec<u8>, issuer: Vec<u8>) -> Result<Identity, IdentityError> {
        let facts = Facts::read(&certificate)?;
        if facts.spki != spki_of(&key) {
            return Err(IdentityError::KeyMismatch);
        }
        check_issued_by(&certificate, &issuer)?;
        check_issued_by(&issuer, &issuer)?;
        let (authority_spki, role) = (Facts::read(&issuer)?.spki, facts.role()?);
        let (authority, key) = (issuer.clone(), key.serialize_der());
        Ok(Identity { certificate, issuer, key, authority, facts, authority_spki, role })
    }

    /// The same identity, trusting another authority than its issuer (certificate, DER): for HQ's operators at a
    /// box, which counts HQ among its other authorities.
    pub fn trusting(mut self, authority_der: &[u8]) -> Result<Identity, IdentityError> {
        check_issued_by(authority_der, authority_der)?;
        self.authority_spki = Facts::read(authority_der)?.spki;
        self.authority = authority_der.to_vec();
        Ok(self)
    }

    /// Who this identity is to others.
    pub fn role(&self) -> Role {
        self.role.clone()
    }

    /// BLAKE3 of our public key (SPKI, DER): what the other side sees as [`crate::Peer::certificate`].
    pub fn certificate_hash(&self) -> FileHash {
        self.facts.spki
    }

    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The certificate of the authority that issued ours.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// The certificate of the authority that we trust.
    pub fn authority_der(&self) -> &[u8] {
        &self.authority
    }

    pub fn authority_pin(&self) -> Pin {
        Pin::of(&self.authority_spki)
    }

    /// From when until when the certificate can be used: to renew it in time.
    pub fn validity(&self) -> Validity {
        self.facts.validity
    }

    pub(crate) fn key_der(&self) -> &[u8] {
        &self.key
    }
}

/// A key that waits for its certificate.
pub struct PendingIdentity {
    key: KeyPair,
    csr: Vec<u8>,
}

impl PendingIdentity {
    /// The request: PKCS#10, DER.
    pub fn csr_der(&self) -> &[u8] {
        &self.csr
    }

    /// Joins the key with its certificate; refuses one for another key or of another authority.
    pub fn complete(self, certificate_der: &[u8], authority_der: &[u8]) -> Result<Identity, IdentityError> {
        Identity::from_parts(self.key, certificate_der.to_vec(), authority_der.to_vec())
    }
}

impl std::fmt::Debug for PendingIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingIdentity")
    }
}

/// Fails unless an authority signed a certificate, and no bit of it is another than it was then: also of what is around the signed part,
/// which others may look at more closely than we do.
pub(crate) fn check_issued_by(certificate: &[u8], authority: &[u8]) -> Result<(), IdentityError> {
    let read =
        |der| X509Certificate::from_der(der).map(|(_, read)| read).map_err(|_| IdentityError::Certificate);
    let (signed, authority) = (read(certificate)?, read(authority)?);
    let around = as_der(signed.tbs_certificate.as_ref(), &signed.signature_value.data);
    if around != certificate {
        return Err(IdentityError::Certificate);
    }
    signed.verify_signature(Some(authority.public_key())).map_err(|_| IdentityError::OtherAuthority)
}

/// A certificate from what is signed and the signature: RFC 5280, 4.1, with ECDSA and SHA-256, as all of ours are.
fn as_der(signed: &[u8], signature: &[u8]) -> Vec<u8> {
    const ECDSA_WITH_SHA256: [u8; 12] =
        [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let (sequence, bit_string) = (0x30, 0x03);
    let signature = enclosed(bit_string, &[&[0], signature].concat());
    enclosed(sequence, &[signed, &ECDSA_WITH_SHA256, &signature].concat())
}

/// One DER value: its tag, its length and what is in it.
fn enclosed(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len().to_be_bytes();
    let len = &len[content.len().leading_zeros() as usize / 8..];
    let head = match len {
        [] => vec![tag, 0],
        [short] if *short < 0x80 => vec![tag, *short],
        long => [&[tag, 0x80 | long.len() as u8], long].concat(),
    };
    [&head, content].concat()
}
