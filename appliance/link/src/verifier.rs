//! Whom a handshake lets through. The chain, the dates and the signatures are checked by rustls and webpki; what
//! we add is which authority counts and which role the common name must give.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::certificate::{Facts, SERVER_NAME};
use crate::{Expect, IdentityError, LinkError, Pin, Role};

/// What a client knows of the authority that its server must be of.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// Its certificate, DER.
    Authority(Vec<u8>),
    /// Its pin; the certificate comes from the server.
    Pin(Pin),
}

/// Checks a server.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub trust: Trust,
    pub expect: Expect,
    pub address: String,
    pub provider: Arc<CryptoProvider>,
}

/// The certificate in `chain` that `pin` names.
pub(crate) fn pinned<'a>(pin: &Pin, chain: &'a [CertificateDer<'_>]) -> Option<&'a [u8]> {
    let mut ders = chain.iter().map(CertificateDer::as_ref);
    ders.find(|der| Facts::read(der).is_ok_and(|facts| Pin::of(&facts.spki) == *pin))
}

impl ServerVerifier {
    fn authority<'a>(&'a self, intermediates: &'a [CertificateDer<'_>]) -> Result<&'a [u8], Error> {
        match &self.trust {
            Trust::Authority(der) => Ok(der),
            Trust::Pin(pin) => pinned(pin, intermediates)
                .ok_or_else(|| verdict(LinkError::OtherBox { address: self.address.clone() })),
        }
    }

    fn check_role(&self, end_entity: &[u8]) -> Result<(), Error> {
        let found = role_of(end_entity)?;
        if self.expect.accepts(&found) {
            return Ok(());
        }
        let (expected, found) = (self.expect.to_string(), found.to_string());
        Err(verdict(LinkError::OtherRole { address: self.address.clone(), expected, found }))
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = Arc::new(root_store([self.authority(intermediates)?])?);
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
        let webpki = webpki.build().map_err(|error| Error::General(error.to_string()))?;
        let name = ServerName::try_from(SERVER_NAME).map_err(|error| Error::General(error.to_string()))?;
        let verified = webpki.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)?;
        self.check_role(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

/// Checks a client, if it shows a certificate at all. The server's own authority vouches for any role, the other
/// ones only for operators and HQ: nobody else numbers our computers or names our branches.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    own: Arc<dyn ClientCertVerifier>,
    others: Option<Arc<dyn ClientCertVerifier>>,
}

impl ClientVerifier {
    pub(crate) fn new(
        own_authority: &[u8],
        other_authorities: &[Vec<u8>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, IdentityError> {
        let others = match other_authorities {
            [] => None,
            ders => Some(webpki_client(ders.iter().map(Vec::as_slice), provider)?),
        };
        Ok(ClientVerifier { own: webpki_client([own_authority], provider)?, others })
    }

    fn verify_by_others(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let others = self.others.as_ref().ok_or_else(unknown)?;
        let verified = others.verify_client_cert(end_entity, intermediates, now)?;
        match role_of(end_entity)? {
            Role::Operator(_) | Role::Hq => Ok(verified),
            _ => Err(unknown()),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.own.verify_client_cert(end_entity, intermediates, now) {
            Ok(verified) => role_of(end_entity).map(|_| verified),
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => self.verify_by_others(end_entity, intermediates, now),
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.own.supported_verify_schemes()
    }
}

fn webpki_client<'a>(
    authorities: impl IntoIterator<Item = &'a [u8]>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
    let roots = root_store(authorities).map_err(|source| IdentityError::Tls { source })?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let built = builder.allow_unauthenticated().build();
    built.map_err(|error| IdentityError::Tls { source: Error::General(error.to_string()) })
}

fn root_store<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    ders.into_iter().try_for_each(|der| roots.add(CertificateDer::from(der)))?;
    Ok(roots)
}

fn role_of(end_entity: &[u8]) -> Result<Role, Error> {
    let role = Facts::read(end_entity).and_then(|facts| facts.role());
    role.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn verdict(error: LinkError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}
