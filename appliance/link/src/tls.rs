//! TLS 1.3 and nothing older, AES in hardware first, no resumption: a resumed session would skip the check of
//! dates and roles.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::verifier::{ClientVerifier, ServerVerifier};
use crate::{Identity, IdentityError};

pub(crate) fn provider() -> Arc<CryptoProvider> {
    let cipher_suites =
        vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..rustls::crypto::ring::default_provider() })
}

/// For a server that shows `identity`, and takes clients of the authority that it trusts, of `others`
/// (operators and HQ only), and clients without a certificate.
pub(crate) fn server_config(
    identity: &Identity,
    others: &[Vec<u8>],
) -> Result<Arc<ServerConfig>, IdentityError> {
    let provider = provider();
    let verifier = Arc::new(ClientVerifier::new(identity.authority_der(), others, &provider)?);
    let (chain, key) = shown(identity);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key))
        .map_err(|source| IdentityError::Tls { source })?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For a client that shows `identity`, or nothing where it has none yet.
pub(crate) fn client_config(
    identity: Option<&Identity>,
    verifier: ServerVerifier,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let tls = |source| IdentityError::Tls { source };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity.map(shown) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(tls)?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

fn shown(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = [identity.certificate_der(), identity.issuer_der()];
    let key = PrivatePkcs8KeyDer::from(identity.key_der().to_vec());
    (chain.map(|der| CertificateDer::from(der.to_vec())).to_vec(), key.into())
}

/// For a browser: shows `identity`, asks for no certificate, speaks HTTP/2 and HTTP/1.1.
pub fn https_config(identity: &Identity) -> Result<Arc<ServerConfig>, IdentityError> {
    let (chain, key) = shown(identity);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| IdentityError::Tls { source })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
