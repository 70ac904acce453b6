//! Listening. Handshakes run beside one another, so that a slow or silent client holds up nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::Facts;
use crate::client::HANDSHAKE_MAX;
use crate::failure::{Context, Side};
use crate::socket::{self, Wire};
use crate::validity::Validity;
use crate::{ByteBudget, Identity, Link, LinkError, Peer, tls};

/// Handshakes under way at once; more wait in the kernel's backlog.
const HANDSHAKES_MAX: usize = 64;
/// Links established and not yet accepted by the caller.
const ESTABLISHED_MAX: usize = 16;
/// After an error of `accept` itself (say, too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long and how much is read from a client that failed the handshake, so that it gets our alert, not a reset.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
const FAREWELL_BYTES_MAX: u64 = 64 << 10;

/// A listening server. Dropping it stops listening; links live on.
#[derive(Debug)]
pub struct Listener {
    local: SocketAddr,
    established: Mutex<mpsc::Receiver<Link>>,
    task: AbortHandle,
}

impl Listener {
    /// Listens at `address` as `identity`, within a tokio runtime. Clients may have a certificate of the identity's
    /// authority (any role), of one of `other_authorities` (DER; operators and HQ only), or none. All links share
    /// `budget`.
    pub async fn bind(
        address: impl ToSocketAddrs + std::fmt::Debug,
        identity: &Identity,
        other_authorities: &[Vec<u8>],
        budget: ByteBudget,
    ) -> Result<Self, LinkError> {
        let config = tls::server_config(identity, other_authorities)?;
        let shown = format!("{address:?}");
        let failed = |source| LinkError::Listen { address: shown.clone(), source: Arc::new(source) };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let (out, established) = mpsc::channel(ESTABLISHED_MAX);
        let door = Door { config, own_validity: identity.validity(), budget, out };
        let task = tokio::spawn(door.run(socket)).abort_handle();
        Ok(Listener { local, established: Mutex::new(established), task })
    }

    /// Where it listens: with port 0 in `bind`, the port that was found.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next client that got through its handshake. Failed handshakes are logged and don't appear here.
    pub async fn accept(&self) -> Result<Link, LinkError> {
        let stopped = || LinkError::Listen { address: self.local.to_string(), source: stopped_error() };
        self.established.lock().await.recv().await.ok_or_else(stopped)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn stopped_error() -> Arc<io::Error> {
    Arc::new(io::Error::other("the listening task has stopped"))
}

/// What every handshake needs.
#[derive(Clone)]
struct Door {
    config: Arc<ServerConfig>,
    own_validity: Validity,
    budget: ByteBudget,
    out: mpsc::Sender<Link>,
}

impl Door {
    async fn run(self, socket: TcpListener) {
        let slots = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        // Never closed, so this only waits.
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            match socket.accept().await {
                Ok((stream, peer)) => {
                    tokio::spawn(self.clone().admit(stream, peer, slot));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn admit(self, stream: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit) {
        let address = peer.to_string();
        let timed_out = LinkError::HandshakeTimeout { address, seconds: HANDSHAKE_MAX.as_secs() };
        let outcome = timeout(HANDSHAKE_MAX, self.handshake(stream, peer)).await;
        match outcome.unwrap_or(Err(timed_out)) {
            Ok(link) => {
                if self.out.send(link).await.is_err() {
                    tracing::debug!(%peer, "a connection came after listening stopped");
                }
            }
            Err(error) => tracing::warn!(%peer, %error, "a connection was refused"),
        }
        // Held until the link is handed over, so that a caller who doesn't accept bounds what waits for him.
        drop(slot);
    }

    async fn handshake(&self, stream: TcpStream, address: SocketAddr) -> Result<Link, LinkError> {
        let own_validity = Some(self.own_validity);
        let context = Context { side: Side::Server, address: address.to_string(), own_validity };
        let wire = socket::wire(stream, None).map_err(|error| context.explain(error))?;
        let accepting = TlsAcceptor::from(Arc::clone(&self.config)).accept(wire).into_fallible();
        let stream = match accepting.await {
            Ok(stream) => stream,
            Err((error, wire)) => {
                part(wire).await;
                return Err(context.explain(error));
            }
        };
        let peer = peer_of(&stream, address)?;
        Ok(Link::over(stream, peer, self.budget.clone(), context))
    }
}

fn peer_of(stream: &TlsStream<Wire>, address: SocketAddr) -> Result<Peer, LinkError> {
    match stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
        None => Ok(Peer { address, role: None, certificate: None }),
        Some(der) => {
            let facts = Facts::read(der)?;
            Ok(Peer { address, role: Some(facts.role()?), certificate: Some(facts.spki) })
        }
    }
}

/// The alert is written; what the client still sends is drained. Errors here change nothing: it's over anyway.
async fn part(mut wire: Wire) {
    let farewell = async {
        wire.shutdown().await?;
        tokio::io::copy(&mut wire.take(FAREWELL_BYTES_MAX), &mut tokio::io::sink()).await
    };
    let _ = timeout(FAREWELL_MAX, farewell).await;
}
