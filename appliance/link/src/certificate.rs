//! What we read from a certificate: its role, its public key's hash, its validity.

use coffer_format::FileHash;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::validity::Validity;
use crate::{IdentityError, Role};

/// The name that every certificate of ours carries besides its role: TLS wants one to check, the role decides.
pub(crate) const SERVER_NAME: &str = "coffer.internal";

/// A certificate's facts. Reading them proves nothing; the handshake's verifier does.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// BLAKE3 of the SPKI, DER.
    pub spki: FileHash,
    pub validity: Validity,
    common_names: Vec<String>,
}

impl Facts {
    pub(crate) fn read(der: &[u8]) -> Result<Facts, IdentityError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Certificate)?;
        if !rest.is_empty() {
            return Err(IdentityError::Certificate);
        }
        let names = certificate.subject().iter_common_name().map(|name| name.as_str().map(str::to_owned));
        Ok(Facts {
            spki: FileHash(*blake3::hash(certificate.public_key().raw).as_bytes()),
            validity: Validity {
                from_s: certificate.validity().not_before.timestamp(),
                until_s: certificate.validity().not_after.timestamp(),
            },
            common_names: names.collect::<Result<_, _>>().map_err(|_| IdentityError::Certificate)?,
        })
    }

    /// The role; a certificate with several common names, or none, has none.
    pub(crate) fn role(&self) -> Result<Role, IdentityError> {
        match self.common_names.as_slice() {
            [name] => name.parse(),
            _ => Err(IdentityError::Certificate),
        }
    }
}

/// BLAKE3 of a certificate's public key (SPKI, DER): what [`crate::Peer::certificate`] is for its holder.
pub fn certificate_hash(der: &[u8]) -> Result<FileHash, IdentityError> {
    Facts::read(der).map(|facts| facts.spki)
}
