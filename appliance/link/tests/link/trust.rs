//! Certificates of others, and clocks that disagree.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coffer_link::{Authority, ClockLimit, Identity, LinkError, Message, Pin, connect_to_enrol};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::world::{DAY, World, computer, dated, the_box};

fn years(count: u64) -> Duration {
    Duration::from_secs(count * 365 * 86_400)
}

#[tokio::test]
async fn a_client_refuses_a_server_of_another_authority() {
    let (world, other) = (World::new().await, World::new().await);
    let refused = world.connect_as(&other.issue(computer(7))).await;
    assert!(matches!(refused, Err(LinkError::OtherBox { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_server_refuses_a_client_of_another_authority() {
    let (world, other) = (World::new().await, World::new().await);
    let stranger = other.issue(computer(7)).trusting(world.authority.certificate_der()).unwrap();
    let mut link = world.connect_as(&stranger).await.unwrap();
    let refused = link.receiver.recv().await;
    assert!(matches!(refused, Err(LinkError::NotTrusted { .. })), "{refused:?}");
    let refused = link.sender.send(Message::ConfigsWanted).await;
    assert!(matches!(refused, Err(LinkError::NotTrusted { .. })), "{refused:?}");
    // The server goes on.
    let _client = world.connect_as(&world.issue(computer(1))).await.unwrap();
    assert_eq!(world.listener.accept().await.unwrap().peer.role, Some(computer(1)));
}

#[tokio::test]
async fn without_a_certificate_a_client_has_no_role() {
    let world = World::new().await;
    let (_link, authority) = connect_to_enrol(&world.address(), &world.authority.pin()).await.unwrap();
    assert_eq!(authority, world.authority.certificate_der());
    let server = world.listener.accept().await.unwrap();
    assert_eq!((server.peer.role, server.peer.certificate), (None, None));
}

#[tokio::test]
async fn a_stranger_may_not_send_long_messages() {
    let world = World::new().await;
    let (link, _) = connect_to_enrol(&world.address(), &world.authority.pin()).await.unwrap();
    let mut server = world.listener.accept().await.unwrap();
    link.sender.send(crate::world::segment_bytes(100_000)).await.unwrap();
    let refused = server.receiver.recv().await;
    assert!(matches!(refused, Err(LinkError::TooLong { .. })), "{refused:?}");
}

#[tokio::test]
async fn another_pin_is_another_box() {
    let world = World::new().await;
    let refused = connect_to_enrol(&world.address(), &Pin([0; Pin::LEN])).await;
    assert!(matches!(refused, Err(LinkError::OtherBox { .. })), "{refused:?}");
}

#[tokio::test]
async fn the_pinned_certificate_alone_proves_nothing() {
    // A server that shows the pinned authority (which is public) after a certificate of its own making.
    let (world, thief) = (World::new().await, World::new().await);
    let chain = [thief.issue(the_box()), world.issue(the_box())];
    let (address, serving) = serve_tls(&thief, &chain[0], chain[1].authority_der()).await;
    let refused = connect_to_enrol(&address, &world.authority.pin()).await;
    assert!(matches!(refused, Err(LinkError::OtherBox { .. })), "{refused:?}");
    assert!(serving.await.unwrap().is_err());
}

/// A plain TLS server for one connection, with `leaf` and then `above` as its chain.
async fn serve_tls(
    world: &World,
    leaf: &Identity,
    above: &[u8],
) -> (String, JoinHandle<std::io::Result<TlsStream<TcpStream>>>) {
    let place = world.dir.path().join("served");
    leaf.save(&place).unwrap();
    let key = PrivateKeyDer::from_pem_file(place.join("key.pem")).unwrap();
    let chain = [leaf.certificate_der(), above].map(|der| CertificateDer::from(der.to_vec()));
    let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.to_vec(), key)
        .unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let serving = async move {
        let (stream, _) = socket.accept().await?;
        TlsAcceptor::from(Arc::new(config)).accept(stream).await
    };
    (address, tokio::spawn(serving))
}

#[tokio::test]
async fn a_server_out_of_date_is_a_matter_of_clocks() {
    for (from, late) in [(SystemTime::now() - years(2), true), (SystemTime::now() + years(2), false)] {
        let dir = TempDir::new().unwrap();
        let authority = Authority::create(dir.path(), "Leeds").unwrap();
        let server = dated(&authority, the_box(), from);
        let world = World::with_server(dir, authority, &server, &[]).await;
        let refused = world.connect_as(&world.issue(computer(7))).await;
        let Err(error @ LinkError::WrongClock { limit, .. }) = &refused else { panic!("{refused:?}") };
        assert_eq!(matches!(limit, ClockLimit::NotAfter(_)), late);
        assert!(error.to_string().contains("set the clocks"), "{error}");
    }
}

#[tokio::test]
async fn a_client_out_of_date_is_told_so() {
    let world = World::new().await;
    for (from, late) in [(SystemTime::now() - years(2), true), (SystemTime::now() + years(2), false)] {
        let client = dated(&world.authority, computer(7), from);
        let mut link = world.connect_as(&client).await.unwrap();
        let refused = link.receiver.recv().await;
        let Err(LinkError::WrongClock { limit, .. }) = &refused else { panic!("{refused:?}") };
        assert_eq!(matches!(limit, ClockLimit::NotAfter(_)), late);
        assert_eq!(matches!(limit, ClockLimit::NotBefore(_)), !late);
    }
}

#[tokio::test]
async fn something_else_at_the_address_is_foreign() {
    let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = web.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = web.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });
    let world = World::new().await;
    let identity: Identity = world.issue(computer(7));
    let refused = coffer_link::connect(&address, &identity, the_box(), None).await;
    assert!(matches!(refused, Err(LinkError::Foreign { .. })), "{refused:?}");
    let _ = serving.await.unwrap();
}

#[tokio::test]
async fn silent_clients_hold_up_nobody() {
    let world = World::new().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(world.listener.local_addr()).await.unwrap());
    }
    let (client, _server) = world.pair().await;
    assert_eq!(client.peer.role, Some(the_box()));
    let short_lived = Identity::issue(&world.authority, computer(2), DAY).unwrap();
    assert!(short_lived.validity().until_s > short_lived.validity().from_s);
}
