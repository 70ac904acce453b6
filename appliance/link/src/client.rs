//! Connecting.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::{Facts, SERVER_NAME};
use crate::failure::{Context, Side};
use crate::socket::{self, Wire};
use crate::tls;
use crate::verifier::{ServerVerifier, Trust, pinned};
use crate::{ByteBudget, Expect, Identity, IdentityError, Link, LinkError, Peer, Pin, Throttle};

/// For the TCP connection.
const REACH_MAX: Duration = Duration::from_secs(15);
/// For the TLS handshake.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(15);

/// Connects to `address` (`host:port`) as `identity`. The server must be of the identity's authority and have the
/// expected role. Whether it takes *us* shows with its first message: `recv` then says `NotTrusted`.
pub async fn connect(
    address: &str,
    identity: &Identity,
    expect: impl Into<Expect>,
    throttle: Option<Throttle>,
) -> Result<Link, LinkError> {
    let call =
        Call { address, trust: Trust::Authority(identity.authority_der().to_vec()), expect: expect.into() };
    call.connect(Some(identity), throttle).await.map(|(link, _)| link)
}

/// Connects without a certificate to the box or HQ whose authority `pin` names. Gives the link and the authority's
/// certificate (DER).
pub async fn connect_to_enrol(address: &str, pin: &Pin) -> Result<(Link, Vec<u8>), LinkError> {
    let call = Call { address, trust: Trust::Pin(*pin), expect: Expect::AnyServer };
    let (link, chain) = call.connect(None, None).await?;
    match pinned(pin, &chain) {
        Some(authority) => Ok((link, authority.to_vec())),
        None => Err(LinkError::OtherBox { address: address.to_owned() }),
    }
}

/// One attempt to connect.
struct Call<'a> {
    address: &'a str,
    trust: Trust,
    expect: Expect,
}

type Chain = Vec<CertificateDer<'static>>;

impl Call<'_> {
    async fn connect(
        self,
        identity: Option<&Identity>,
        throttle: Option<Throttle>,
    ) -> Result<(Link, Chain), LinkError> {
        let own_validity = identity.map(Identity::validity);
        let context = Context { side: Side::Client, address: self.address.to_owned(), own_validity };
        let tcp = self.reach().await?;
        let peer_address = tcp.peer_addr().map_err(|error| context.explain(error))?;
        let wire = socket::wire(tcp, throttle).map_err(|error| context.explain(error))?;
        let timed_out = |_| LinkError::HandshakeTimeout {
            address: context.address.clone(),
            seconds: HANDSHAKE_MAX.as_secs(),
        };
        let handshake = timeout(HANDSHAKE_MAX, self.handshake(wire, identity, &context));
        let stream = handshake.await.map_err(timed_out)??;

        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let facts = Facts::read(chain.first().ok_or(IdentityError::Certificate)?)?;
        let peer = Peer { address: peer_address, role: Some(facts.role()?), certificate: Some(facts.spki) };
        Ok((Link::over(stream, peer, ByteBudget::for_client(), context), chain))
    }

    async fn reach(&self) -> Result<TcpStream, LinkError> {
        let reached = timeout(REACH_MAX, TcpStream::connect(self.address)).await;
        let reached = reached.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let address = || self.address.to_owned();
        reached.map_err(|source| LinkError::Unreachable { address: address(), source: Arc::new(source) })
    }

    async fn handshake(
        self,
        wire: Wire,
        identity: Option<&Identity>,
        context: &Context,
    ) -> Result<TlsStream<Wire>, LinkError> {
        let (trust, expect, address) = (self.trust, self.expect, context.address.clone());
        let verifier = ServerVerifier { trust, expect, address, provider: tls::provider() };
        let connector = TlsConnector::from(tls::client_config(identity, verifier)?);
        let name = ServerName::try_from(SERVER_NAME).map_err(|_| IdentityError::Certificate)?;
        connector.connect(name, wire).await.map_err(|error| context.explain(error))
    }
}
