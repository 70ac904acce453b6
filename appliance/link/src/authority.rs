//! A private certificate authority: a box has one for its computers and operators, HQ one for its branches.
//!
//! Kept in a directory as `authority.pem` and `authority.key`. Everything it signs carries the same fixed name
//! for TLS and a role as its common name; a request contributes its public key and nothing else.

use std::path::Path;
use std::time::{Duration, SystemTime};

use coffer_format::FileHash;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use crate::certificate::{Facts, SERVER_NAME};
use crate::files::{self, CERTIFICATE, PRIVATE_KEY, PemFile};
use crate::identity::check_issued_by;
use crate::{IdentityError, Pin, Role};

/// The authority's certificate beside an authority, and the trusted one beside an identity.
pub(crate) const AUTHORITY_FILE: &str = "authority.pem";
const KEY_FILE: &str = "authority.key";
/// Longest certificate request, in bytes.
const REQUEST_MAX: usize = 8 << 10;

/// A certificate and its key, and the right to sign others with it.
pub struct Authority {
    der: Vec<u8>,
    key: Vec<u8>,
    spki: FileHash,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.pin())
    }
}

impl Authority {
    /// Makes a new authority in `dir`, which must not hold one yet. `name` is for people who look at the
    /// certificate; a random part is added to it, so that no two authorities are called the same.
    pub fn create(dir: &Path, name: &str) -> Result<Authority, IdentityError> {
        let path = dir.join(AUTHORITY_FILE);
        if path.exists() {
            return Err(IdentityError::Exists { path });
        }
        let key = new_key()?;
        let authority = Self::from_parts(self_signed(name, &key)?, key)?;
        authority.save(dir)?;
        Ok(authority)
    }

    /// An authority from its certificate and private key (PKCS#8), both DER.
    pub fn from_der(certificate: &[u8], key: &[u8]) -> Result<Authority, IdentityError> {
        let key = KeyPair::try_from(key).map_err(making)?;
        Self::from_parts(certificate.to_vec(), key)
    }

    /// Writes the authority to `dir`, durably, in place of one that is there.
    pub fn save(&self, dir: &Path) -> Result<(), IdentityError> {
        files::write_pem_files(
            dir,
            &[
                PemFile { name: KEY_FILE, tag: PRIVATE_KEY, blocks: &[&self.key] },
                PemFile { name: AUTHORITY_FILE, tag: CERTIFICATE, blocks: &[&self.der] },
            ],
        )
    }

    /// The authority that `dir` holds.
    pub fn open(dir: &Path) -> Result<Authority, IdentityError> {
        files::read_matching(dir, &[KEY_FILE, AUTHORITY_FILE], || {
            let [der] = files::read_pem_file(dir, AUTHORITY_FILE, CERTIFICATE)?;
            let [key] = files::read_pem_file(dir, KEY_FILE, PRIVATE_KEY)?;
            let damaged = |_| IdentityError::Damaged { path: dir.join(KEY_FILE) };
            Self::from_parts(der, KeyPair::try_from(key).map_err(damaged)?)
        })
    }

    fn from_parts(der: Vec<u8>, key: KeyPair) -> Result<Authority, IdentityError> {
        let spki = Facts::read(&der)?.spki;
        if spki != spki_of(&key) {
            return Err(IdentityError::KeyMismatch);
        }
        check_issued_by(&der, &der)?;
        let key_der = key.serialize_der();
        let issuer = Issuer::from_ca_cert_der(&der.as_slice().into(), key).map_err(making)?;
        Ok(Authority { der, key: key_der, spki, issuer })
    }

    /// Certifies the public key of a request (PKCS#10, DER) for `role`, as a DER certificate valid from
    /// `not_before` for `lifetime`. The request must be signed by its own key; its subject and extensions don't
    /// count.
    pub fn sign_request(
        &self,
        csr_der: &[u8],
        role: &Role,
        lifetime: Duration,
        not_before: SystemTime,
    ) -> Result<Vec<u8>, IdentityError> {
        if csr_der.len() > REQUEST_MAX {
            return Err(IdentityError::Request);
        }
        let request =
            CertificateSigningRequestParams::from_der(&csr_der.into()).map_err(|_| IdentityError::Request)?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(IdentityError::Request);
        }
        let params = leaf_params(role, lifetime, not_before)?;
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(making)?;
        Ok(certificate.der().to_vec())
    }

    pub fn certificate_der(&self) -> &[u8] {
        &self.der
    }

    /// The private key (PKCS#8, DER): for its escrow.
    pub fn key_der(&self) -> &[u8] {
        &self.key
    }

    /// What a typed code names this authority by.
    pub fn pin(&self) -> Pin {
        Pin::of(&self.spki)
    }
}

pub(crate) fn making(source: rcgen::Error) -> IdentityError {
    IdentityError::Making { source }
}

/// ECDSA on P-256: in every TLS library, with small signatures.
pub(crate) fn new_key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(making)
}

pub(crate) fn spki_of(key: &KeyPair) -> FileHash {
    use rcgen::PublicKeyData;
    FileHash(*blake3::hash(&key.subject_public_key_info()).as_bytes())
}

fn self_signed(name: &str, key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("{name} {}", Pin::of(&spki_of(key))));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // An authority is pinned, not dated: a branch's clock may stand in any year after a flat battery.
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    Ok(params.self_signed(key).map_err(making)?.der().to_vec())
}

fn leaf_params(
    role: &Role,
    lifetime: Duration,
    not_before: SystemTime,
) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::new([SERVER_NAME.to_owned()]).map_err(making)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, role.checked()?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match role {
        Role::Box(_) | Role::Hq => {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        }
        _ => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    let too_long = || IdentityError::Lifetime { seconds: lifetime.as_secs() };
    let not_after = not_before.checked_add(lifetime).ok_or_else(too_long)?;
    (params.not_before, params.not_after) = (not_before.into(), not_after.into());
    if params.not_after > date_time_ymd(9999, 12, 31) {
        return Err(too_long());
    }
    Ok(params)
}
